"""Lists in any spelling, labels with a separator, and columns of 0 and 1 give the same labels."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.labels.several_labels import (
    as_list,
    distinct_labels,
    find_separator,
    flag_columns,
    named_columns,
    read_flags,
    read_label_cells,
)
from pretune.text.readers.records import Record

LABELS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8), max_size=5)


@pytest.mark.parametrize(
    "cell",
    [
        ["a", "b c"],
        ("a", "b c"),
        '["a", "b c"]',
        "['a', 'b c']",
        " ['a', \"b c\"] ",
        "['a' 'b c']",  # as numpy prints an array
        '["a"\n "b c"]',
        "[a, b c]",
    ],
)
def test_lists_in_any_spelling(cell: Any) -> None:
    assert as_list(cell) == ["a", "b c"]


@pytest.mark.parametrize("cell", ["a", "", "a, b", 3, None, {"a": 1}, "[a", "{'a'}"])
def test_other_cells_are_no_lists(cell: Any) -> None:
    assert as_list(cell) is None


@given(LABELS)
def test_json_is_read_back(labels: list[str]) -> None:
    assert as_list(json.dumps(labels)) == labels


def test_nothing_in_a_list_is_run() -> None:
    assert as_list("[__import__('os').getpid()]") == ["__import__('os').getpid()"]


def test_labels_have_one_written_form_and_no_repeats() -> None:
    assert distinct_labels([" b ", "a", 1.0, "b", True, "", None, "1"]) == (("b", "a", "1", "true"), 2)


def test_cells_with_lists() -> None:
    rows, repeats = read_label_cells([["b", "a", "b"], [], "", None, float("nan"), "NaN"], range(6), "rows.jsonl")
    assert rows == [("b", "a"), (), (), None, None, None]
    assert repeats == 1


def test_cells_with_a_separator() -> None:
    rows, repeats = read_label_cells(["27", "4, 27", "4,,4", 3, ["x,y"]], range(5), "rows.tsv", ",")
    assert rows == [("27",), ("4", "27"), ("4",), ("3",), ("x,y",)]
    assert repeats == 1


def test_a_list_within_a_list_is_refused_with_its_line() -> None:
    with pytest.raises(InputDataError, match=r"rows.jsonl, line 9: expected a list of labels.*found \['b'\] in it"):
        read_label_cells([["a"], ["a", ["b"]]], [8, 9], "rows.jsonl")


@pytest.mark.parametrize(
    ("labels", "sign"),
    [
        (["bad,garden", "bad", "good,garden", "good", "garden"], ","),
        (["bad#garden", "bad", "good#garden", "good", "garden"], "#"),
        (["4|27", "27", "4", "1|4", "1|27", "1"], "|"),
        (["a/b", "a", "b", "a/c", "c", "b/c"], "/"),
        (["Sci, Tech", "World", "Sports"], None),
        (["Sci/Tech", "Arts/Culture", "World"], None),
        (["C", "C++", "C#", "F#"], None),
        (["A", "A+", "B", "B+"], None),
        (["C", "C#", "F", "F#"], None),
        (["a+b", "a", "b", "a+", "b+"], None),
        (["a+b", "b+c", "a", "b", "c", "a+c"], "+"),
        (["0", "1"], None),
    ],
)
def test_the_separator_is_found(labels: list[str], sign: str | None) -> None:
    assert find_separator(Counter(labels)) == sign


def flags(*rows: tuple[str, ...]) -> list[Record]:
    names = ("id", "x", "y", "z", "never")
    return [Record(dict(zip(names, row, strict=True)), line) for line, row in enumerate(rows, 2)]


def test_columns_of_flags() -> None:
    records = flags(("7", "0", "true", "1.0", "0"), ("8", "1", "false", "0", "0"), ("9", "0", "False", "0", "0"))
    assert flag_columns(records, ["id", "x", "y", "z", "never"]) == ("x", "z")
    columns = flag_columns(records, ["id", "x", "y", "z", "never"], with_words=True)
    assert columns == ("x", "y", "z")
    assert read_flags(records, columns, "rows.csv") == [("y", "z"), ("x",), ()]


@pytest.mark.parametrize("cell", ["", " ", "NaN"])
def test_a_flag_with_a_missing_cell_is_not_left_out(cell: str) -> None:
    """The file was read without that label, and nothing said so."""
    records = flags(("7", "0", "1", "1", ""), ("8", "1", "0", "0", ""), ("9", cell, "1", "1", ""))
    columns = flag_columns(records, ["x", "y", "z", "never"])
    assert columns == ("x", "y", "z")
    with pytest.raises(InputDataError, match=r"rows.csv, line 4: expected 0 or 1 in the column 'x', .* found '"):
        read_flags(records, columns, "rows.csv")


def test_answers_of_a_survey_that_are_mostly_missing_are_no_flags() -> None:
    """A table with three such columns beside that of the label was refused."""
    answered = [(str(row), "1" if row % 2 else "0", "0", "1", "") for row in range(1, 5)]
    records = flags(*answered, *((str(row), "", "", "", "") for row in range(36)))
    assert flag_columns(records, ["x", "y", "z", "never"]) == ()
    few = flags(*(10 * answered), *((str(row), "", "0", "1", "") for row in range(2)))
    assert flag_columns(few, ["x"]) == ("x",)


def test_a_flag_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"rows.csv, line 3: expected 0 or 1 in the column 'x'.*found '2'"):
        read_flags(flags(("7", "0", "1", "0", "0"), ("8", "2", "0", "0", "0")), ["x"], "rows.csv")


def test_flags_inside_objects() -> None:
    """The columns were accepted and their cells refused as empty."""
    values = [{"labels": {"cold": cold, "flu": 1 - cold}} for cold in (0, 1)]
    records = [Record({"labels": str(value["labels"])}, line, value) for line, value in enumerate(values, 1)]
    columns = named_columns("labels.cold,labels.flu", records)
    assert columns == ("labels.cold", "labels.flu")
    assert read_flags(records, columns, "rows.jsonl") == [("labels.flu",), ("labels.cold",)]
