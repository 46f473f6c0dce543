"""Data of a program becomes pairs of a text and a label, in whichever of the accepted forms it comes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pretune.errors import InputDataError
from pretune.text.labels.python_data import as_pairs, as_texts, examples_of, existing_file, written_label


def test_examples_comeas_pairs_or_as_columns() -> None:
    pairs = [("a", "x"), ("b", "y")]
    assert as_pairs(pairs) == pairs
    assert as_pairs(tuple(pairs)) == pairs
    assert as_pairs((["a", "b"], ["x", "y"])) == pairs
    assert as_pairs((np.array(["a", "b"]), np.array([0, 1]))) == [("a", "0"), ("b", "1")]
    assert as_pairs([["a", 1], ["b", True]]) == [("a", "1"), ("b", "true")]
    assert as_pairs(iter(pairs)) == pairs
    with pytest.raises(InputDataError, match="2 texts and 1 labels"):
        as_pairs((["a", "b"], ["x"]))
    with pytest.raises(InputDataError, match="Example 2 is 'b'; expected a pair"):
        as_pairs([("a", "x"), "b"])


def test_two_columns_may_be_tuples() -> None:
    """They were refused, because each was taken for an example."""
    texts, labels = ("a", "b", "c"), ("x", "y", "z")
    assert as_pairs((texts, labels)) == list(zip(texts, labels, strict=True))
    assert as_pairs((texts, list(labels))) == as_pairs((list(texts), labels)) == as_pairs((texts, labels))
    assert as_pairs((("a", "b"), np.array(["x", "y"]))) == [("a", "x"), ("b", "y")]
    assert examples_of((("a",), ("x",))) == [("a", "x")]
    assert as_pairs(((("a", "b"), ("c", "d"), ("e", "f")), labels))[2] == (("e", "f"), "z")
    with pytest.raises(InputDataError, match="3 texts and 2 labels"):
        as_pairs((texts, labels[:2]))
    assert as_pairs((("a", "x"), ("b", "y"))) == [("a", "x"), ("b", "y")]  # two examples
    assert as_pairs((("a", "x"), ["b", "y"])) == [("a", "x"), ("b", "y")]


def test_two_texts_are_not_two_columns() -> None:
    assert examples_of(("a", "b")) == ["a", "b"]
    assert examples_of((None, "b")) == [None, "b"]
    assert examples_of((["a"], ["x"])) == [("a", "x")]


def test_a_list_of_dicts_is_a_table(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x", "n": 1}, {"label": "y", "text": None}, {"text": "c"}]
    pairs = [("a", "x"), ("", "y"), ("c", "")]
    assert as_pairs(rows, "text", "label") == as_pairs(iter(rows), "text", "label") == pairs
    assert examples_of(rows, preferred={"text_column": "text"}) == ["a", None, "c"]
    assert examples_of([{"text": "a"}, {"text": "b"}]) == ["a", "b"]
    (tmp_path / "rows.csv").write_text("text,label\na,x\nb,y\n")
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert as_pairs(csv.DictReader(file), "text", "label") == [("a", "x"), ("b", "y")]
    with pytest.raises(InputDataError, match=r"a table with the columns text, label, n; .* text_column=\.\.\."):
        as_pairs(rows)
    with pytest.raises(InputDataError, match=r"Example 2 is \('b', 'y'\)|Example 1 is \{'text': 'a'"):
        as_pairs([rows[0], ("b", "y")], "text", "label")
    columns = ({"text": ["a", "b"]}, {"label": ["x", "y"]})
    assert as_pairs(columns) == [("a", "x"), ("b", "y")]  # two tables of one column, not two rows


def test_entities_are_in_order() -> None:
    """Expected ones were compared in any order with predictions, which are in order, and counted as wrong."""
    assert written_label([[9, 12, "b"], {"start": 0, "end": 3, "label": "a"}, [9, 12, "b"]]) == [
        (0, 3, "a"),
        (9, 12, "b"),
    ]


def test_a_missing_text_is_empty_and_a_number_is_refused() -> None:
    assert as_texts(["a", None, float("nan"), "b\ud800"]) == ["a", "", "", "b\ufffd"]
    with pytest.raises(InputDataError, match=r"Text 2 is 3; expected a string"):
        as_texts(["a", 3])


def test_a_table_and_a_single_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="a table with the columns text, label"):
        examples_of({"text": ["a"], "label": ["x"]})
    with pytest.raises(InputDataError, match=r"is not a file; .* put a single text in \[ \]"):
        existing_file("A text. " * 1000)
    (tmp_path / "a.csv").touch()
    assert existing_file(str(tmp_path / "a.csv")) == tmp_path / "a.csv"
