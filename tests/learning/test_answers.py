from __future__ import annotations

import pytest

from pretune.learning.answers import parse_number, read_answer
from pretune.trace_schema import Question


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("59919", 59919), ("59,919", 59919), ("1,234,567.5", 1234567.5), ("0,42", 0.42), ("0.42", 0.42),
        ("0,125", 0.125), ("-0,125", -0.125),
        ("12 %", 12), ("-3", -3), ("−3", -3), ("+3", 3), ("1e3", 1000), ("1 000", 1000), (".5", 0.5),
    ],
)  # fmt: skip
def test_a_number_is_read_as_people_type_it(typed: str, value: float) -> None:
    assert parse_number(typed) == value


@pytest.mark.parametrize("typed", ["", "x", "nan", "inf", "1,2,3", "1.2.3", "--1", "1e999", "%", "１２x"])
def test_what_is_no_number_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="Expected a number"):
        parse_number(typed)


@pytest.mark.parametrize(
    ("typed", "is_right"), [("59919", True), ("59909", True), ("59929.0", True), ("59908.9", False)]
)
def test_a_number_is_right_up_to_its_tolerance(number: Question, typed: str, is_right: bool) -> None:
    assert read_answer(number, typed).is_right == is_right


def test_a_known_mistake_is_recognised(number: Question) -> None:
    answer = read_answer(number, "81")
    assert answer.option == number.options[0] and not answer.is_right
    assert read_answer(number, "5").option is None


def test_a_choice_is_its_number(choice: Question) -> None:
    assert [read_answer(choice, typed).is_right for typed in "123"] == [False, True, False]


@pytest.mark.parametrize("typed", ["0", "4", "-1", "1.0", "a", "", "²", "1" * 5000])
def test_a_number_that_no_option_has_is_refused(choice: Question, typed: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 3"):
        read_answer(choice, typed)
