"""Labels that leave nothing to learn, or that training has not seen, are refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.checks import LabeledRow
from pretune.text.labels.spans import Span
from pretune.text.labels.target_checks import names_of, refuse_alike, refuse_unseen


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
    rows = [LabeledRow.of_text(row=n, line=n + 2, text="x", raw="x", label=x, slice=None) for n, x in enumerate(labels)]
    with pytest.raises(InputDataError, match=r"test.csv, line 3: the label 'c' never occurs .*\(its labels are a, b\)"):
        refuse_unseen("test.csv", rows, ["b", "a"])
    refuse_unseen("test.csv", rows, ["b", "a", "c"])
    assert (names_of("a"), names_of(1.5), names_of((Span(0, 1, "X"),))) == (("a",), (), ("X",))
