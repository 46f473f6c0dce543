"""Questions about the loss of pre-training speak of what the objective hides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.quiz.losses import TEMPLATES
from pretune.trace_schema import RunTrace


@pytest.mark.parametrize(
    ("objective", "context"),
    [
        ("masked", "the words around a mask"),
        ("hybrid", "the words around a mask"),
        ("causal", "the words before a token"),
    ],
)
def test_the_context_is_that_of_the_objective(
    make_trace: Callable[..., RunTrace], objective: str, context: str
) -> None:
    trace = make_trace()
    phase = dataclasses.replace(trace.phases.pretrain, objective=objective)  # type: ignore[type-var]
    trace = dataclasses.replace(trace, phases=dataclasses.replace(trace.phases, pretrain=phase))
    crossing = next(each for each in TEMPLATES if each.id == "Q-CROSSING")
    assert f"that the model uses {context}?" in crossing.make(trace, Random(0)).prompt
