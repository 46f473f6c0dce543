"""The arithmetic of a question is right with the digits that its reader sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.quiz.make import TEMPLATES as EVERY
from pretune.run_trace.quiz.prediction import TEMPLATES
from pretune.trace_schema import RunTrace, StackedDecision

SOFTMAX = next(each for each in TEMPLATES if each.id == "Q-SOFTMAX")


def test_the_solution_of_a_softmax_follows_from_the_logits_shown(make_trace: Callable[..., RunTrace]) -> None:
    trace = make_trace()
    (prediction,) = trace.predictions
    head = dataclasses.replace(prediction.head, logits=[0.6951, -0.8349])  # shown as 0.70 and -0.83
    trace = dataclasses.replace(trace, predictions=[dataclasses.replace(prediction, head=head)])
    drafts = [SOFTMAX.make(trace, Random(seed)) for seed in range(8)]
    lines = {draft.solution[0] for draft in drafts}
    assert lines == {"0.70 - (-0.83) = 1.53.", "-0.83 - 0.70 = -1.53."}
    shown = {draft.solution[1].split(" = ")[1] for draft in drafts}
    assert shown == {f"{100 / (1 + math.exp(sign * 1.53)):.1f} %." for sign in (-1, 1)}


@pytest.mark.parametrize("name", ["Q-PART", "Q-SUM", "Q-SOFTMAX", "Q-FLIP", "Q-IG", "Q-ATTENTION"])
def test_a_label_that_a_stack_changes_is_not_asked_about(name: str, make_trace: Callable[..., RunTrace]) -> None:
    """These questions are about the network, and the page shows the label of the model as delivered."""
    template, trace = next(each for each in EVERY if each.id == name), make_trace()
    (prediction,) = trace.predictions

    def stacked(label: str) -> RunTrace:
        stack = StackedDecision(probabilities=[0.6, 0.4], label=label, index=0, probability=0.6, parts=[], ngrams=[])
        return dataclasses.replace(trace, predictions=[dataclasses.replace(prediction, stack=stack)])

    assert template.requires(stacked(prediction.decision.label))
    assert not template.requires(stacked("mood 1"))


@pytest.mark.parametrize("name", ["Q-WRONG", "Q-RECALL", "Q-PART", "Q-FLIP"])
def test_figures_of_the_network_are_said_of_it(name: str, make_trace: Callable[..., RunTrace]) -> None:
    prompt = next(each for each in EVERY if each.id == name).make(make_trace(), Random(0)).prompt
    assert "the network" in prompt.lower() and "the model" not in prompt.lower()
