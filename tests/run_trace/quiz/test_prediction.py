"""The arithmetic of a question is right with the digits that its reader sees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from random import Random

from pretune.run_trace.quiz.prediction import TEMPLATES
from pretune.trace_schema import RunTrace

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
