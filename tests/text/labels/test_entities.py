"""Rows with tags or spans give texts with entities; what breaks is repaired and counted, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.entities import read_tagged, read_with_spans
from pretune.text.labels.spans import Span
from pretune.text.readers.records import Record, cell_text


def rows(*cells: dict[str, Any]) -> list[Record]:
    return [Record({k: cell_text(v) for k, v in row.items()}, n, row) for n, row in enumerate(cells, 1)]


def tagged(*pairs: tuple[Any, Any]) -> list[Record]:
    return rows(*({"tokens": words, "tags": tags} for words, tags in pairs))


def test_words_and_tags() -> None:
    found = read_tagged(tagged((["EU", "rejects"], ["I-ORG", "O"]), ([], []), (["x"], None)), "tokens", "tags", "f")
    assert found.texts == ["EU rejects", "", "x"]
    assert found.spans == [(Span(0, 2, "ORG"),), (), None]
    assert (found.scheme, found.warnings) == ("IOB1", [])


def test_lists_in_the_cells_of_a_csv() -> None:
    records = [Record({"tokens": "['EU', 'said']", "tags": "['B-ORG' 'O']"}, 2)]
    assert read_tagged(records, "tokens", "tags", "f").spans == [(Span(0, 2, "ORG"),)]


def test_tags_that_break_their_scheme_are_repaired_and_counted() -> None:
    records = tagged(*[(["a", "b"], ["B-X", "I-X"])] * 3, (["a", "b"], ["O", "I-X"]), (["a"], ["I-Y"]))
    found = read_tagged(records, "tokens", "tags", "rows.jsonl")
    assert found.spans[3:] == [(Span(2, 3, "X"),), (Span(0, 1, "Y"),)]
    [warning] = found.warnings
    assert warning.startswith("rows.jsonl: 2 entities break the scheme IOB2, first in line 4 (I-X); repaired:")


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ([(["a", "b"], ["O"])], "line 1: expected a tag for each word, found 2 in 'tokens' and 1 in 'tags'"),
        ([(["a"], ["B-X"]), (["a"], ["LOC"])], "the tag 'LOC' has no letter .*; expected one scheme"),
        ([(["a"], ["NN"])], "no word has the tag O"),
        ([(["a", "b"], ["B-X", "E-Y"])] * 9, "line 1: the tags .* look like IOBES, but 18 of 18 entities break"),
        ([("a b", ["O", "O"])], "line 1: expected a list of words"),
        ([(["a"], "B-X")], "line 1: expected a list of tags in the column 'tags', found 'B-X'"),
        ([(["a"], [3])], r"line 1: the tags are numbers, such as 3, whose names are not in the file: .*--label-names"),
    ],
)
def test_rows_that_make_no_sense_are_refused(pairs: list[tuple[Any, Any]], problem: str) -> None:
    with pytest.raises(InputDataError, match=problem):
        read_tagged(tagged(*pairs), "tokens", "tags", "rows.jsonl")


def test_numbered_tags_with_names() -> None:
    names = {"0": "O", "1": "B-PER"}
    assert read_tagged(tagged((["a", "b"], [0, 1])), "tokens", "tags", "f", names).spans == [(Span(2, 3, "PER"),)]
    with pytest.raises(InputDataError, match="--label-names has no name for 2"):
        read_tagged(tagged((["a"], [2])), "tokens", "tags", "f", names)


def test_the_letters_of_a_tag_may_be_composed_in_two_ways() -> None:
    """The type was two types."""
    records = tagged((["a", "b"], ["B-caf\u00e9", "B-cafe\u0301"]))
    found = read_tagged(records, "tokens", "tags", "f", {"B-x": "B-y"}).spans[0]
    assert found == (Span(0, 1, "caf\u00e9"), Span(2, 3, "caf\u00e9"))
    found = read_tagged(records, "tokens", "tags", "f", {"B-caf\u00e9": "B-y"}).spans[0]
    assert found == (Span(0, 1, "y"), Span(2, 3, "y"))


def test_names_of_tags_that_do_not_occur() -> None:
    numbered, named = tagged((["a", "b"], [0, 1])), tagged((["a", "b"], ["O", "B-per"]))
    names = {"0": "O", "1": "B-PER", "2": "I-PER"}
    assert read_tagged(numbered, "tokens", "tags", "f", names).unused_names == ()
    assert read_tagged(named, "tokens", "tags", "f", {"B-per": "B-PER", "B-pre": "B-PER"}).unused_names == ("B-pre",)
    assert read_tagged(named, "tokens", "tags", "f").unused_names == ()


def test_texts_with_spans() -> None:
    cells = [[[0, 3, "PER"]], [], None, [{"start": 3, "end": 9, "label": "LOC"}]]
    records = rows(*({"text": "Ada in Rome", "spans": cell} for cell in cells))
    found = read_with_spans(records, "text", "spans", "f")
    assert found.spans == [(Span(0, 3, "PER"),), (), None, (Span(4, 9, "LOC"),)]
    assert found.warnings == ["f: 1 entity had a blank at the beginning or the end; left out of it."]


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ([[0, 3, "A"], [2, 5, "B"]], "line 1: the entities 0-3 'A' and 2-5 'B' overlap"),
        ([[0, 30, "A"]], "line 1: the entity 0-30 'A' lies outside the text, which has 11 characters"),
        ("PER", "line 1: expected a list of entities"),
    ],
)
def test_spans_that_make_no_sense_are_refused(cell: Any, problem: str) -> None:
    with pytest.raises(InputDataError, match=problem):
        read_with_spans(rows({"text": "Ada in Rome", "spans": cell}), "text", "spans", "rows.jsonl")
