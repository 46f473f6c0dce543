"""Questions about reasons define the terms that they use."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.quiz.reasons import TEMPLATES
from pretune.trace_schema import RunTrace


@pytest.mark.parametrize("name", ["Q-FLIP", "Q-ATTENTION"])
def test_the_score_is_defined_in_the_question(name: str, make_trace: Callable[..., RunTrace]) -> None:
    draft = next(each for each in TEMPLATES if each.id == name).make(make_trace(), Random(0))
    assert "a score (logit of “mood 0” minus that of “mood 1”) of 0.50." in draft.prompt
    assert not [text for text in (*draft.hints, *draft.solution) if "occlusion" in text]
