"""Rows that can be used are cleaned with their labels; the others are counted by reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.clean_rows import CleanRow, keep_clean, names_of, refuse_alike, refuse_unseen
from pretune.text.labels.detect_task import TaskWord
from pretune.text.labels.spans import Span
from pretune.text.labels.task_rows import TaskRows, read_task_rows


def read(path: Path, rows: list[dict[str, Any]], task: TaskWord = "auto") -> TaskRows:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_task_rows(path, task=task)


def test_pairs_without_a_second_text_are_left_out_and_counted(tmp_path: Path) -> None:
    row = {"text": "A <b>man</b>.", "text2": "Somebody &amp; me.", "label": "yes"}
    path = tmp_path / "rows.jsonl"
    found = keep_clean(read(path, [row, {**row, "text2": " "}, {**row, "text": None}, {**row, "label": None}]))
    [kept] = found.rows
    assert (kept.text, kept.text_pair, kept.raw_pair) == ("A man.", "Somebody & me.", "Somebody &amp; me.")
    assert found.warnings == [
        ("empty_text", 1, f"{path}: 1 row without a text left out (line 3)."),
        ("no_second_text", 1, f"{path}: 1 row without a second text left out (line 2)."),
        ("no_label", 1, f"{path}: 1 row without a label left out (line 4)."),
    ]
    assert found.dropped.total == 3


def test_a_file_without_any_second_text_is_refused(tmp_path: Path) -> None:
    rows = [{"text": "A man.", "text2": "Who?", "label": "yes"}] * 3
    read_rows = read(tmp_path / "rows.jsonl", rows)
    assert read_rows.text_pairs is not None
    read_rows.text_pairs[:] = ["", " ", ""]
    with pytest.raises(InputDataError, match=r"has 3 rows, and none has a second text in the column 'text2'"):
        keep_clean(read_rows)


def test_targets_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    scores = [1.5, float("nan"), None, float("inf"), "n/a", 2]
    found = keep_clean(read(tmp_path / "r.jsonl", [{"text": "a b", "score": x} for x in scores], "regression"))
    assert [row.label for row in found.rows] == [1.5, 2.0]
    [(rule, count, sentence)] = found.warnings
    assert (rule, count) == ("no_label", 4)
    assert sentence.endswith("4 rows without a finite number left out (lines 2, 3, 4, 5).")


def test_rows_without_labels_are_valid_where_several_are_possible(tmp_path: Path) -> None:
    labels = [["x", "y"], [], None]
    found = keep_clean(read(tmp_path / "r.jsonl", [{"text": "a b", "label": x} for x in labels]))
    assert [row.label for row in found.rows] == [("x", "y"), ()]


def test_spans_are_those_of_the_clean_text(tmp_path: Path) -> None:
    text = "<i>Ada</i>  in <br /> K&ouml;ln"
    spans = [[3, 6, "PER"], [15, 21, "GAP"], [22, 31, "LOC"]]
    path = tmp_path / "r.jsonl"
    found = keep_clean(read(path, [{"text": text, "spans": spans}, {"text": "Nobody is here.", "spans": []}] * 2))
    assert [row.label for row in found.rows[:2]] == [(Span(0, 3, "PER"), Span(7, 11, "LOC")), ()]
    assert (found.rows[0].text, found.rows[0].raw) == ("Ada in Köln", text)
    lost = ("vanished_entity", 2, f"{path}: 2 entities left out, since cleaning leaves nothing of their text.")
    assert found.warnings == [lost]


@pytest.mark.parametrize(
    ("task", "labels", "problem"),
    [
        ("multilabel", [("b", "a"), ("a", "b")], r"each of its 2 rows has the same labels \(a, b\)"),
        ("multilabel", [(), ()], "each of its 2 rows has no label"),
        ("regression", [2.5, 2.5, 2.5], "the labels of all 3 rows are the number 2.5, so there is nothing to learn"),
        ("tokens", [(), ()], "has 2 rows and no entity"),
        ("regression", [2.5], "a single usable row"),
    ],
)
def test_labels_that_are_all_alike_are_refused(task: str, labels: list[Any], problem: str) -> None:
    with pytest.raises(InputDataError, match=problem):
        refuse_alike("rows.jsonl", labels, task)


def test_labels_that_differ_are_fine() -> None:
    refuse_alike("rows.jsonl", [("a",), ()], "multilabel")
    refuse_alike("rows.jsonl", [1.0, 2.0], "regression")
    refuse_alike("rows.jsonl", [(), (Span(0, 1, "X"),)], "tokens")


def test_names_that_training_lacks_are_refused_with_their_line() -> None:
    labels: list[Any] = [("a",), ("a", "c")]
    rows = [CleanRow(row=n, line=n + 2, text="x", raw="x", label=x, slice=None) for n, x in enumerate(labels)]
    with pytest.raises(InputDataError, match=r"test.csv, line 3: the label 'c' never occurs .*\(its labels are a, b\)"):
        refuse_unseen("test.csv", rows, ["b", "a"])
    refuse_unseen("test.csv", rows, ["b", "a", "c"])
    assert (names_of("a"), names_of(1.5), names_of((Span(0, 1, "X"),))) == (("a",), (), ("X",))
