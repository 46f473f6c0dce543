"""Questions about concepts do not contradict what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pretune.run_trace.quiz.concepts import TEMPLATES
from pretune.trace_schema import RunTrace

RESULTS = Path(__file__).parents[3] / "benchmarks/results"


@pytest.mark.parametrize("base", ["own-base", "smollm2"])
def test_the_strategy_that_suits_a_small_budget_is_the_one_that_was_best(
    make_trace: Callable[..., RunTrace], base: str
) -> None:
    measured = json.loads((RESULTS / f"strategies-{base}.json").read_text(encoding="utf-8"))
    draft = next(each for each in TEMPLATES if each.id == "C-CHATBOT").make(make_trace(), Random(0))
    assert measured["conclusion"].startswith("Best here: fine-tuning.")
    assert draft.right is not None and draft.right.text.startswith("Fine-tune ")
    assert "for an hour" in draft.prompt  # without a budget the question has no answer
