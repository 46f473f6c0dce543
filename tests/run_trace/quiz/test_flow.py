"""A funnel with many steps is asked about in few numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

from pretune.run_trace.codec import to_json
from pretune.run_trace.quiz.flow import MOST_STEPS, TEMPLATES
from pretune.run_trace.quiz.template import finish
from pretune.trace_schema import RunTrace

FUNNEL = next(each for each in TEMPLATES if each.id == "Q-FUNNEL")


def test_the_smallest_of_many_steps_are_given_as_one_sum(make_trace: Callable[..., RunTrace]) -> None:
    trace = make_trace()
    assert trace.funnel is not None
    example = trace.funnel.steps[0]
    left, steps = 10_000, [dataclasses.replace(example, step="found", documents=10_000)]
    for number, dropped in enumerate([5, 6, 27, 7, 828, 1_975, 585]):
        left -= dropped
        steps.append(dataclasses.replace(example, step=f"rule_{number}", documents=left))
    trace = dataclasses.replace(trace, funnel=dataclasses.replace(trace.funnel, steps=steps))
    question = finish(FUNNEL, FUNNEL.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None
    assert "18 by 3 other steps together" in question.prompt
    assert question.solution == ["10,000 - 27 - 828 - 1,975 - 585 - 18 = 6,567 documents."]
    assert question.solution[0].count(" - ") == MOST_STEPS
    assert question.answer == left == 6_567


def test_few_steps_are_named_one_by_one(make_trace: Callable[..., RunTrace]) -> None:
    draft = FUNNEL.make(make_trace(), Random(0))
    assert draft.solution == ["60,000 - 10 - 38 - 33 = 59,919 documents."]
    assert "together" not in draft.prompt
