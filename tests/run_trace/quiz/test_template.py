"""From a draft to a question: what does not hold in the run is left out, and the answer is computed."""

from __future__ import annotations

from random import Random
from typing import Any

from pretune.run_trace.quiz.template import (
    Claim,
    Draft,
    Template,
    WrongNumber,
    at,
    excerpt,
    finish,
    plain_number,
)
from pretune.trace_schema import Question

DOCUMENT = {"n": 10, "k": 4}


def made(**draft: Any) -> Question | None:
    template = Template("Q-X", "easy", "x", "flow", lambda trace: True, lambda trace, rng: Draft(**whole))
    whole = {"prompt": "?", "hints": ["a"], "solution": ["b"], **draft}
    return finish(template, Draft(**whole), DOCUMENT, Random(0))


def claim(text: str, holds: Any) -> Claim:
    return Claim(text=text, why="because", holds=holds, misconception="guesses")


def test_the_answer_of_a_number_is_computed_from_its_expression() -> None:
    question = made(number=["div", at("k"), at("n")], tolerance=0.01)
    assert question is not None
    assert (question.kind, question.answer, question.pointers) == ("number", 0.4, ["/k", "/n"])


def test_a_wrong_number_that_counts_as_right_here_is_left_out() -> None:
    wrong = [
        WrongNumber(0.405, "near", "rounds"),
        WrongNumber(["div", at("n"), at("k")], "2.5", "divides the other way"),
    ]
    question = made(number=["div", at("k"), at("n")], tolerance=0.01, wrong_numbers=wrong)
    assert question is not None
    assert [option.value for option in question.options] == [2.5]


def test_a_wrong_option_that_holds_here_is_left_out() -> None:
    right = Claim(text="ten", why="n", holds=["eq", at("n"), 10])
    wrong = [claim("many", ["gt", at("n"), 5]), claim("two", ["eq", at("n"), 2]), claim("one", ["eq", at("n"), 1])]
    question = made(right=right, wrong=wrong)
    assert question is not None
    assert {option.text for option in question.options} == {"ten", "two", "one"}
    assert [option.is_right for option in question.options].count(True) == 1


def test_without_two_wrong_options_there_is_no_question() -> None:
    right = Claim(text="ten", why="n", holds=["eq", at("n"), 10])
    assert made(right=right, wrong=[claim("two", ["eq", at("n"), 2]), claim("many", ["gt", at("n"), 5])]) is None


def test_a_right_option_that_does_not_hold_makes_no_question() -> None:
    right = Claim(text="nine", why="n", holds=["eq", at("n"), 9])
    assert made(right=right, wrong=[claim("two", ["eq", at("n"), 2]), claim("one", ["eq", at("n"), 1])]) is None


def test_options_with_an_order_are_shown_in_it() -> None:
    claims = [Claim(text=str(k), why="k", holds=["eq", at("k"), k], misconception="guesses", order=k) for k in range(6)]
    question = made(right=claims[4], wrong=[claims[k] for k in (5, 0, 3, 1, 2)])
    assert question is not None
    assert [option.text for option in question.options] == list("012345")


def test_numbers_and_texts_are_short() -> None:
    assert [plain_number(value) for value in (59919.0, 0.4567, 12.0, 123.456)] == ["59,919", "0.457", "12", "123.5"]
    assert excerpt("short") == "“short”"
    assert len(excerpt("x" * 1000)) == 242
