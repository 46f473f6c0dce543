"""Numbers as people and programs write them; a word among them is refused, a hole is left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.labels.scores import (
    NumberForm,
    are_measures,
    describe_measures,
    detect_number_form,
    have_decimal_commas,
    number_of,
    read_scores,
)


@pytest.mark.parametrize(
    ("cells", "numbers", "said"),
    [
        (["1", "2.5", "-3e2", ".5", "+4."], [1, 2.5, -300, 0.5, 4], None),
        (["2,5", "3", "0,125"], [2.5, 3, 0.125], "2,5 is 2.5"),
        (["1,250", "2,000,000", "17"], [1250, 2000000, 17], "1,250 is 1250"),
        (["1,250.75", "3.5"], [1250.75, 3.5], "1,250 is 1250"),
        (["1.250,75", "3,5"], [1250.75, 3.5], "1.250 is 1250"),
        (["1.250.000", "3"], [1250000, 3], "1.250 is 1250"),
        (["1.250", "3"], [1.25, 3], None),
        (["45 %", "7%"], [45, 7], "45 % is 45"),
        (["1 250", "12\u00a0000,5", "\u22123"], [1250, 12000.5, -3], "2,5 is 2.5"),
        ([1, 2.5, "3"], [1, 2.5, 3], None),
    ],
)
def test_forms_of_numbers(cells: list[Any], numbers: list[float], said: str | None) -> None:
    targets, form = read_scores(cells, range(len(cells)), "rows.csv")
    assert targets == numbers
    assert (said in form.sentence) if said and form.sentence else said == form.sentence


@pytest.mark.parametrize("form", [NumberForm(), NumberForm(","), NumberForm(",", "."), NumberForm(".", ",")])
@pytest.mark.parametrize("is_percent", [False, True])
def test_the_form_is_found_in_its_example(form: NumberForm, is_percent: bool) -> None:
    form = replace(form, is_percent=is_percent)
    assert detect_number_form([form.example]) == form


@pytest.mark.parametrize(
    ("cells", "preferred", "numbers"),
    [
        (["3,125", "2,875"], NumberForm(","), [3.125, 2.875]),
        (["3,125", "2,875"], None, [3125, 2875]),
        (["3,125", "2,875"], NumberForm(), [3125, 2875]),
        (["1.250", ""], NumberForm(",", "."), [1250, None]),
        (["3.5", "1.250"], NumberForm(",", "."), [3.5, 1.25]),
        (["2,5", "3"], NumberForm(".", ","), [2.5, 3]),
        (["45", "7"], NumberForm(is_percent=True), [45, 7]),
    ],
)
def test_the_form_of_the_training_file_is_taken_if_it_reads_every_cell(
    cells: list[str], preferred: NumberForm | None, numbers: list[float | None]
) -> None:
    assert read_scores(cells, range(len(cells)), "test.csv", preferred)[0] == numbers


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes_is_read(number: float) -> None:
    assert number_of(repr(number)) == number == number_of(number)


@pytest.mark.parametrize("cell", ["", "NaN", "n/a", "None", "-", "inf", "-Infinity", None, math.nan, math.inf])
def test_rows_without_a_finite_number_are_left_out(cell: Any) -> None:
    assert read_scores([1.5, cell, "2"], [1, 2, 3], "rows.jsonl")[0] == [1.5, None, 2]


@pytest.mark.parametrize("cell", ["good", "4 stars", "1/2", True, [3], "1_000", "0x10"])
def test_a_word_among_numbers_is_refused_with_its_line(cell: Any) -> None:
    with pytest.raises(InputDataError, match=r"rows.csv, line 3: the label .* is not a number, but 2 of 3 labels are;"):
        read_scores(["1", "2.5", cell], [1, 2, 3], "rows.csv")


def test_a_single_word_among_many_numbers_is_not_called_a_class() -> None:
    """The advice was --task classification, which refused the numbers and advised --task regression."""
    cells = [*(f"{n / 7:.3f}" for n in range(40)), "good"]
    with pytest.raises(InputDataError, match=r"line 40: the label 'good' .*: correct it, or leave it empty\.$"):
        read_scores(cells, range(41), "rows.csv")
    with pytest.raises(InputDataError, match="leave it empty, or choose --task classification"):
        read_scores(["1", "2.5", "good"], range(3), "rows.csv")


def test_a_percent_sign_once_and_not_elsewhere_is_refused() -> None:
    with pytest.raises(
        InputDataError, match=r"line 2: the label '0\.4' has no percent sign, but other labels have one"
    ):
        read_scores(["45%", "0.4"], [1, 2], "rows.csv")


def test_a_mixture_of_signs_is_not_guessed() -> None:
    assert detect_number_form(["2,5", "2.5"]) == NumberForm()
    with pytest.raises(InputDataError, match="'2,5' is not a number"):
        read_scores(["2,5", "2.5"], [1, 2], "rows.csv")


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        (["0", "1"] * 9, False),
        (["1", "2", "3", "4", "5"] * 9, False),
        ([str(n) for n in range(77)] * 3, False),
        (["0.5", "1"] * 9, False),
        (["1.5", "2", "3.5", "4"] * 9, True),
        ([f"{n / 700:.4f}" for n in range(2500)], True),
        ([*map(str, range(100)), "7"], True),
        ([f"{n},5" for n in range(30)], True),
        (["1,2", "3,4", "1,4"] * 9, False),
        (["good", "bad", "1.5", "2.5", "3.5"] * 9, False),
        ([f"{n / 7:.3f}" for n in range(60)] + ["good", "bad"], True),
        (["nan"] * 4, False),
        *(
            ([*map(str, range(77)), *map(str, range(77)), word], False)
            for word in ("NA", "NaN", "null", "n/a", "-", "?")
        ),
        ([*map(str, range(100)), "7", "NA", "NA"], True),
    ],
)
def test_measures_and_classes(labels: list[str], measured: bool) -> None:
    assert are_measures(Counter(labels)) is measured


def test_missing_numbers_are_not_described() -> None:
    assert describe_measures(Counter(["3", "1", "NA", "-", "inf"])) == "2 different numbers (1, 3)"


def with_comma(numbers: Iterable[float]) -> list[str]:
    return [f"{number:g}".replace(".", ",") for number in numbers]


@pytest.mark.parametrize(
    ("labels", "are_decimals"),
    [
        (with_comma(n / 10 for n in range(101)), True),
        (with_comma(n / 4 for n in range(41)), True),
        (with_comma(n / 10 for n in range(-15, 16)), True),
        (with_comma(n / 2 for n in range(200)), True),
        ([f"0,{n:02}" for n in range(100)], True),
        ([f"{n}.250,{n}" for n in range(10, 40)], True),
        ([f"{n},{n + 3}" for n in range(30)], False),
        ([*map(str, range(9)), *(f"{n},{(n + step) % 9}" for n in range(9) for step in (2, 5))], False),
        ([f"{n:02},{(n * 7 + 1) % 30:02}" for n in range(30)] + [f"{n:02}" for n in range(30)], False),
        (["7,5", "8", "7,7"], False),
        (with_comma(range(30)), False),
        (["a,b", "a"], False),
    ],
)
def test_decimal_commas_are_told_from_signs_between_classes(labels: list[str], are_decimals: bool) -> None:
    assert have_decimal_commas(Counter(labels)) is are_decimals
    assert not are_decimals or are_measures(Counter(labels * 2))
