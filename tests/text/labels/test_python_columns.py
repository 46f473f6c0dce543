"""Columns and tables of the libraries that people have become lists of Python values, without importing any."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from pretune.errors import InputDataError
from pretune.text.labels.python_columns import column_of, is_table, names_of, values_of
from pretune.text.labels.python_data import as_pairs, examples_of, texts_and_labels

TEXTS = ["good film", None, "bad soup"]
TABLE = {"text": TEXTS, "label": ["good", "bad", None], "n": [1, 2, 3]}


def of_arrow(values: Any) -> Any:
    return pytest.importorskip("pyarrow").table(values)


class FakeDataset:
    """What is read of a Dataset of Hugging Face: it has no `columns`, and its rows are dicts."""

    def __init__(self, values: dict[str, list[Any]]) -> None:
        self.values = values

    @property
    def column_names(self) -> list[str]:
        return list(self.values)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.to_list()), len(self.values)

    def to_list(self) -> list[dict[str, Any]]:
        return [dict(zip(self.values, row, strict=True)) for row in zip(*self.values.values(), strict=True)]

    def __getitem__(self, name: str) -> list[Any]:
        return self.values[name]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_list())


def of_datasets(values: Any) -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(values)


MAKERS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "dict": dict,
    "pyarrow": of_arrow,
    "like datasets": FakeDataset,
    "datasets": of_datasets,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_named_columns_of_a_table(make: Any) -> None:
    table = make(TABLE)
    assert is_table(table)
    assert names_of(table) == ["text", "label", "n"]
    pairs = [("good film", "good"), ("", "bad"), ("bad soup", "")]
    assert as_pairs(table, "text", "label") == pairs
    assert as_pairs((table["text"], table["label"])) == pairs
    assert as_pairs((make({"text": TEXTS}), make({"label": ["good", "bad", None]}))) == pairs
    assert len(examples_of(table, "text")) == 3
    assert examples_of(table, preferred={"text_column": "text"})[0] == "good film"
    assert examples_of(table, None, "label", preferred={"text_column": "text"})[0] == ("good film", "good")
    assert values_of(make({"text": ["a", "b"]})) == ["a", "b"]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_table_is_refused_unless_the_columns_are_named(make: Any) -> None:
    table = make(TABLE)
    for call in (as_pairs, examples_of, lambda data: examples_of(data, preferred={"text_column": "review"})):
        with pytest.raises(InputDataError, match=r"a table with the columns text, label, n; .* text_column=\.\.\."):
            call(table)
    with pytest.raises(InputDataError, match="label_column is missing; name one of the columns of the table, which"):
        as_pairs(table, "text")
    with pytest.raises(InputDataError, match="text_column is missing; name one of"):
        as_pairs(table, None, "label")
    with pytest.raises(InputDataError, match="no column named 'texts'; its columns are text, label, n"):
        as_pairs(table, "texts", "label")


def test_a_stream_without_names_of_columns_is_refused() -> None:
    class Stream:
        column_names = None

    with pytest.raises(InputDataError, match=r"a stream without the names of its columns; give a list of its rows"):
        values_of(Stream())


MISSING = {
    "object": pd.Series(["a", None, float("nan"), pd.NA, pd.NaT], dtype=object),
    "string": pd.Series(["a", None, None, None, None], dtype="string"),
    "str": pd.Series(["a", None, None, None, None], dtype="str"),
    "category": pd.Series(["a", None, None, None, None], dtype="category"),
    "polars": pl.Series(["a", None, None, None, None]),
    "polars categorical": pl.Series(["a", None, None, None, None], dtype=pl.Categorical),
    "polars enum": pl.Series(["a", None, None, None, None], dtype=pl.Enum(["a", "b"])),
    "masked": np.ma.array(["a", "b", "b", "b", "b"], mask=[0, 1, 1, 1, 1]),
}


@pytest.mark.parametrize("column", MISSING.values(), ids=MISSING)
def test_missing_cells_are_empty_whatever_the_type_of_the_column(column: Any) -> None:
    assert as_pairs((column, column)) == [("a", "a"), *[("", "")] * 4]


NUMBERS = {
    "Int64": (pd.Series([1, 0, None], dtype="Int64"), ["1", "0", ""]),
    "floats for whole numbers": (pd.Series([1, 0, None]), ["1", "0", ""]),
    "category": (pd.Series([1, 0, None], dtype="category"), ["1", "0", ""]),
    "boolean": (pd.Series([True, False, None], dtype="boolean"), ["true", "false", ""]),
    "bool": (pd.Series([True, False, True]), ["true", "false", "true"]),
    "polars": (pl.Series([True, False, None]), ["true", "false", ""]),
    "polars ints": (pl.Series([1, 0, None]), ["1", "0", ""]),
    "numpy": (np.array([1, 0, 1], dtype=np.int8), ["1", "0", "1"]),
}


@pytest.mark.parametrize(("labels", "written"), NUMBERS.values(), ids=NUMBERS)
def test_labels_of_any_type_have_one_written_form(labels: Any, written: list[str]) -> None:
    assert as_pairs((["a", "b", "c"], labels)) == list(zip("abc", written, strict=True))


def test_rows_count_by_their_place_not_by_their_index() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}, index=["columns", "keys"])
    assert as_pairs((frame["text"], frame["label"].iloc[::-1])) == [("a", "y"), ("b", "x")]
    assert not is_table(frame["text"])  # which has an item called `columns`


def test_arrays_of_one_and_of_two_columns() -> None:
    assert values_of(np.array([["a"], ["b"]])) == ["a", "b"]
    assert as_pairs(np.array([["a", "x"], ["b", "y"]])) == [("a", "x"), ("b", "y")]
    assert as_pairs((np.array([["a"], ["b"]]), np.array([[0], [1]]))) == [("a", "0"), ("b", "1")]
    assert values_of(np.array(["a", "b"], dtype=np.dtypes.StringDType())) == ["a", "b"]


def test_columns_named_by_numbers_and_named_twice() -> None:
    frame = pd.DataFrame([["a", "x"], ["b", "y"]])
    assert as_pairs(frame, "0", "1") == [("a", "x"), ("b", "y")]
    doubled = pd.DataFrame([["a", "x"]], columns=["text", "text"])
    with pytest.raises(InputDataError, match="2 columns named 'text'"):
        column_of(doubled, "text")
    with pytest.raises(InputDataError, match="2 texts and 1 labels"):
        as_pairs({"text": ["a", "b"], "label": ["x"]}, "text", "label")


def test_what_is_no_list_is_refused_in_one_line() -> None:
    with pytest.raises(InputDataError, match=r"a lazy frame, .*call \.collect\(\)"):
        values_of(pl.DataFrame(TABLE).lazy())
    with pytest.raises(InputDataError, match="The data is array"):
        values_of(np.array("one text"))
    with pytest.raises(InputDataError, match="Example 1 is 0 a") as found:
        as_pairs([pd.Series(["a", "b"])])
    assert "\n" not in str(found.value)


@pytest.mark.slow
def test_no_library_of_tables_is_imported() -> None:
    program = "import sys, pretune.api; print([m for m in ('pandas', 'polars', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FLAGS = {"toxic": [1, 0, 0], "rude": [1, 1, 0]}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_columns_of_flags_are_lists_of_labels(make: Any) -> None:
    expected = [("a", ["toxic", "rude"]), ("b", ["rude"]), ("c", [])]
    assert as_pairs((["a", "b", "c"], make(FLAGS))) == expected
    with pytest.raises(InputDataError, match=r"Row 2 of the labels is \[0, 2\]; expected 0 or 1 for each of the 2"):
        as_pairs((["a", "b"], make({"toxic": [1, 0], "rude": [1, 2]})))


def test_several_labels_come_as_lists_sets_arrays_or_matrices() -> None:
    expected = [("a", ["x", "y"]), ("b", []), ("c", "")]
    assert as_pairs([("a", ["x", "y"]), ("b", []), ("c", None)]) == expected
    assert as_pairs([("a", {"y", "x"}), ("b", ()), ("c", None)]) == expected
    assert as_pairs([("a", np.array(["x", "y"])), ("b", [None, " "]), ("c", float("nan"))]) == expected
    assert as_pairs((pl.Series(["a", "b", "c"]), pl.Series([["x", "y"], [], None]))) == expected
    matrix = np.array([[1, 1], [0, 0], [0, 1]])
    for flags in (matrix, sparse.csr_array(matrix), matrix.astype(bool)):
        assert as_pairs((["a", "b", "c"], flags)) == [("a", ["0", "1"]), ("b", []), ("c", ["1"])]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_pairs_of_texts_come_as_two_columns(make: Any) -> None:
    table = make({"premise": ["a", None], "hypothesis": ["b", "c"], "label": ["x", "y"]})
    expected = [(("a", "b"), "x"), (("", "c"), "y")]
    assert as_pairs(table, "premise", "label", "hypothesis") == expected
    assert as_pairs((make({"premise": ["a", None], "hypothesis": ["b", "c"]}), ["x", "y"])) == expected
    assert as_pairs([(("a", "b"), "x"), (["", "c"], "y")]) == expected


def test_two_strings_are_a_pair_or_a_text_with_its_label_as_the_model_reads_them() -> None:
    items = [("a", "b"), (None, "c")]
    assert texts_and_labels(items, has_pairs=True) == ([("a", "b"), ("", "c")], None)
    assert texts_and_labels(items, has_pairs=False) == (["a", ""], ["b", "c"])
    assert texts_and_labels([(("a", "b"), 1)], has_pairs=True) == ([("a", "b")], [1])
    assert texts_and_labels(["a", None], has_pairs=False) == (["a", ""], None)
    with pytest.raises(InputDataError, match="Text 2 is 3"):
        texts_and_labels([("a", "b"), 3], has_pairs=True)


def test_a_single_text_is_not_a_column_of_its_letters() -> None:
    for data in ("A film.", b"A film."):
        with pytest.raises(InputDataError, match=r"The data is the single text b?'A film.'; .* put it in \[ \]"):
            values_of(data)
    with pytest.raises(InputDataError, match=r"The column 'text' is the single text 'A film.'; .* put it in \[ \]"):
        examples_of({"text": "A film."})
    with pytest.raises(InputDataError, match="The column 'label' is the single text 'good'"):
        as_pairs({"text": ["A film.", "A", "b", "c"], "label": "good"}, "text", "label")
    with pytest.raises(InputDataError, match="The data is the single text 'ab'"):
        as_pairs((["A film.", "A meal."], "ab"))


@pytest.mark.parametrize("missing", [pd.NA, None, float("nan")], ids=str)
def test_a_missing_flag_is_named(missing: Any) -> None:
    flags = pd.DataFrame({"toxic": pd.array([1, missing], dtype="Int64"), "rude": pd.array([0, 1], dtype="Int64")})
    with pytest.raises(InputDataError, match=r"Row 2 of the labels is \[<NA>, 1\]; expected 0 or 1"):
        as_pairs((["A film.", "A meal."], flags))
