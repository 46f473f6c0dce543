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
RULE = next(each for each in TEMPLATES if each.id == "Q-RULE")


def with_drops(trace: RunTrace, *drops: int) -> RunTrace:
    """The trace with 10,000 documents, and a step for each of these numbers of dropped ones."""
    assert trace.funnel is not None
    example = trace.funnel.steps[0]
    left, steps = 10_000, [dataclasses.replace(example, step="found", documents=10_000)]
    for number, dropped in enumerate(drops):
        left -= dropped
        steps.append(dataclasses.replace(example, step=f"rule_{number}", documents=left))
    return dataclasses.replace(trace, funnel=dataclasses.replace(trace.funnel, steps=steps))


@pytest.mark.parametrize("drops", [[10] * 6, [10, 10, 10, 10, 10, 3], [3, 20, 10, 10, 10, 10]])
def test_steps_with_equal_counts_are_not_named_beside_an_empty_sum(
    make_trace: Callable[..., RunTrace], drops: list[int]
) -> None:
    draft = FUNNEL.make(with_drops(make_trace(), *drops), Random(0))
    together = sum(sorted(drops)[:2])
    assert f"{together} by 2 other steps together" in draft.prompt
    assert draft.solution[0].count(" - ") == MOST_STEPS


def test_the_smallest_of_many_steps_are_given_as_one_sum(make_trace: Callable[..., RunTrace]) -> None:
    trace = with_drops(make_trace(), 5, 6, 27, 7, 828, 1_975, 585)
    question = finish(FUNNEL, FUNNEL.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None
    assert "18 by 3 other steps together" in question.prompt
    assert question.solution == ["10,000 - 27 - 828 - 1,975 - 585 - 18 = 6,567 documents."]
    assert question.solution[0].count(" - ") == MOST_STEPS
    assert question.answer == 6_567


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


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("The film was good.", {"Q-TOKENS", "Q-SUBWORDS", "Q-PER-WORD"}),
        ("Too short", {"Q-SUBWORDS", "Q-PER-WORD"}),
        ("电影 很 好看", set()),
        ("หนัง สนุก มาก", set()),
        ("ﾃﾚﾋﾞ ｶﾒﾗ ﾗｼﾞｵ", set()),
    ],
)
def test_words_are_counted_only_where_blanks_are_between_them(
    make_trace: Callable[..., RunTrace], text: str, asked: set[str]
) -> None:
    trace = make_trace()
    assert trace.example is not None
    changed = dataclasses.replace(trace, example=dataclasses.replace(trace.example, clean_text=text))
    found = {each.id for each in TEMPLATES if each.requires(changed)}
    assert found & {"Q-TOKENS", "Q-SUBWORDS", "Q-PER-WORD"} == asked


def test_subwords_are_asked_for_only_if_words_are_cut(make_trace: Callable[..., RunTrace]) -> None:
    """Of a vocabulary of whole words, a rare word is unknown, and only punctuation marks are further tokens."""
    trace = make_trace()
    assert trace.tokenizer is not None
    for kind, asked in (("bpe", {"Q-SUBWORDS", "Q-PER-WORD"}), ("words", {"Q-PER-WORD"})):
        changed = dataclasses.replace(trace, tokenizer=dataclasses.replace(trace.tokenizer, kind=kind))
        found = {each.id for each in TEMPLATES if each.requires(changed)}
        assert found & {"Q-SUBWORDS", "Q-PER-WORD"} == asked


def test_few_steps_are_named_one_by_one(make_trace: Callable[..., RunTrace]) -> None:
    draft = FUNNEL.make(make_trace(), Random(0))
    assert draft.solution == ["60,000 - 10 - 38 - 33 = 59,919 documents."]
    assert "together" not in draft.prompt


@pytest.mark.parametrize(("stage", "is_asked"), [("preprocess", True), ("prepare", False), ("collect", False)])
def test_only_the_stage_that_drops_documents_is_asked_about(
    make_trace: Callable[..., RunTrace], stage: str, is_asked: bool
) -> None:
    trace = make_trace()
    renamed = [dataclasses.replace(each, name=stage) for each in trace.stages]
    assert RULE.requires(dataclasses.replace(trace, stages=renamed)) == is_asked
