"""A funnel with many steps is asked about in few numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

import pytest

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


@pytest.mark.parametrize(
    ("first", "last", "is_asked"),
    [("[BOS]", "[EOS]", True), ("<s>", "</s>", True), ("<|begin|>", ".", False), ("The", ".", False)],
)
def test_tokens_are_asked_for_only_if_a_text_stands_between_two_special_ones(
    make_trace: Callable[..., RunTrace], first: str, last: str, is_asked: bool
) -> None:
    trace = make_trace()
    assert trace.example is not None
    tokens = [first, *trace.example.tokens[1:-1], last]
    changed = dataclasses.replace(trace, example=dataclasses.replace(trace.example, tokens=tokens))
    assert next(each for each in TEMPLATES if each.id == "Q-TOKENS").requires(changed) == is_asked


def test_few_steps_are_named_one_by_one(make_trace: Callable[..., RunTrace]) -> None:
    draft = FUNNEL.make(make_trace(), Random(0))
    assert draft.solution == ["60,000 - 10 - 38 - 33 = 59,919 documents."]
    assert "together" not in draft.prompt
