"""A question that says anything false is found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.quiz.make import make_quiz
from pretune.run_trace.quiz.verify import verify
from pretune.trace_schema import Json, Question, RunTrace


@pytest.fixture
def document(make_trace: Callable[..., RunTrace]) -> Json:
    return to_json(make_trace())


@pytest.fixture
def questions(make_trace: Callable[..., RunTrace]) -> list[Question]:
    quiz = make_quiz(make_trace())
    assert quiz is not None
    return [*quiz.quiz, *quiz.practice, *quiz.test]


def first(questions: list[Question], kind: str, *, is_concept: bool = False) -> Question:
    return next(q for q in questions if q.kind == kind and (q.expression is None) == is_concept)


def test_another_answer_is_found_out(questions: list[Question], document: Json) -> None:
    for question in questions:
        if question.kind == "number":
            assert question.answer is not None and question.tolerance is not None
            off = question.answer + max(2 * question.tolerance, 1.0)
            assert not verify(dataclasses.replace(question, answer=off), document)


def test_another_right_option_is_found_out(questions: list[Question], document: Json) -> None:
    for question in questions:
        if question.kind == "choice" and question.expression is not None:
            turned = [dataclasses.replace(option, is_right=not option.is_right) for option in question.options]
            assert not verify(dataclasses.replace(question, options=turned), document)


def test_two_right_options_are_found_out(questions: list[Question], document: Json) -> None:
    for is_concept in (False, True):
        question = first(questions, "choice", is_concept=is_concept)
        both = [dataclasses.replace(option, is_right=True) for option in question.options]
        assert not verify(dataclasses.replace(question, options=both), document)


def test_a_wrong_number_that_would_count_as_right_is_found_out(questions: list[Question], document: Json) -> None:
    question = next(q for q in questions if q.kind == "number" and q.options)
    same = [dataclasses.replace(option, value=question.answer) for option in question.options]
    assert not verify(dataclasses.replace(question, options=same), document)


def test_a_document_without_the_place_is_no_proof(questions: list[Question]) -> None:
    assert not verify(first(questions, "number"), {})
    assert verify(first(questions, "choice", is_concept=True), {})


def test_another_document_gives_another_answer(questions: list[Question], document: Json) -> None:
    question = first(questions, "number")
    place = question.pointers[0].split("/")[1]
    assert verify(question, document)
    document[place] = _doubled(document[place])
    document["errors"] = _doubled(document["errors"])
    assert not verify(question, document)


def _doubled(value: Json) -> Json:
    """With every number doubled and one more, so that no ratio stays as it was."""
    if isinstance(value, dict):
        return {name: _doubled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_doubled(item) for item in value]
    return value if isinstance(value, bool | str) or value is None else 2 * value + 1
