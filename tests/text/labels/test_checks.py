"""Rows that cannot work are refused with file and line; those that probably will not are counted and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pretune.errors import InputDataError
from pretune.text.labels import checks
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.detect_task import DetectedTask
from pretune.text.labels.task_rows import TaskRows
from pretune.text.reading_report import Findings


def make_file(pairs: Sequence[tuple[str, str]]) -> TaskRows:
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    lines = list(range(2, len(pairs) + 2))
    task = DetectedTask(task="classification", text_column="text", label_column="label", form="cell", sentence="")
    return TaskRows(
        path="rows.csv",
        task=task,
        texts=texts,
        text_pairs=None,
        labels=[label or None for label in labels],
        slices=[None] * len(pairs),
        lines=lines,
        scheme=None,
        detected={},
    )


def make_rows(pairs: Sequence[tuple[str, str]]) -> list[LabeledRow]:
    return checks.keep_usable(make_file(pairs), Lint())


def test_what_reading_found_is_worded_as_elsewhere() -> None:
    """A single byte was `1 bytes of rows.csv` in a split, and right in predict and evaluate."""
    findings = Findings(broken_bytes=1, warnings=["rows.csv is odd."], notices=["Read as tsv."])
    findings.dropped.add("ragged_row", "a row with too few or too many cells", "rows.csv, line 3: a")
    lint = Lint()
    checks.report_findings("rows.csv", findings, lint)
    assert lint.dropped.total == 1
    assert [(concern.rule, concern.count, concern.sentence) for concern in lint.concerns] == [
        ("ragged_row", 1, "rows.csv: 1 left out, a row with too few or too many cells."),
        ("broken_bytes", 1, "rows.csv: 1 byte is invalid in its encoding; replaced by U+FFFD."),
        ("reading", 1, "rows.csv is odd."),
    ]
    assert findings.sentences_about("rows.csv") == [lint.concerns[1].sentence, "rows.csv is odd.", "Read as tsv."]


MANY = [(f"text {n}", "ab"[n % 2]) for n in range(60)]


def test_rows_without_text_or_label_are_left_out() -> None:
    lint = Lint()
    kept = checks.keep_usable(make_file([("x", "a"), (" \n", "a"), ("y", ""), ("z", "b")]), lint)
    assert [(row.row, row.line, row.text) for row in kept] == [(0, 2, "x"), (3, 5, "z")]
    assert (lint.dropped.count("empty_text"), lint.dropped.count("no_label")) == (1, 1)
    assert [c.sentence for c in lint.concerns] == [
        "rows.csv: 1 row without a text left out (line 3).",
        "rows.csv: 1 row without a label left out (line 4).",
    ]
    with pytest.raises(InputDataError, match="2 rows, and none has both"):
        checks.keep_usable(make_file([("", "a"), ("x", "")]), lint)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"only one label \('a', 2 rows\)"):
        checks.check_labels("rows.csv", make_rows([("x", "a"), ("y", "a")]), Lint())


@pytest.mark.parametrize(
    ("others", "said"),
    [([], "row; a"), (["d"], "row, as does 1 other label; a"), (["d", "e"], "row, as do 2 other labels; a")],
)
def test_a_class_of_one_row_is_refused_with_its_line(others: list[str], said: str) -> None:
    rows = make_rows([*MANY, ("odd", "c"), *((f"odd {label}", label) for label in others)])
    with pytest.raises(InputDataError, match=f"line 62: the label 'c' has a single {said} class needs"):
        checks.check_labels("rows.csv", rows, Lint())


@pytest.mark.parametrize("others", [[], ["a first one"]])
def test_a_label_of_one_row_that_is_written_as_another_is_told_so(others: list[str]) -> None:
    """The advice was to add rows or to remove the row; that another spelling has 30 rows was not said."""
    rows = make_rows([*MANY, ("odd", "A_"), *((f"odd {label}", label) for label in others)])
    said = "row, as does 1 other label," if others else "row,"
    expected = (
        rf"line 62: the label 'A_' has a single {said} and seems to be another spelling of 'a' \(30 rows\); write"
    )
    with pytest.raises(InputDataError, match=expected):
        checks.check_labels("rows.csv", rows, Lint())


def test_a_number_with_zeros_before_it_is_another_spelling() -> None:
    """The sentence named only case, spacing and punctuation."""
    sevens = [(f"text {n}", "7") for n in range(30)]
    with pytest.raises(InputDataError, match=r"'007' has a single row, and seems to be another spelling of '7' \(30 "):
        checks.check_labels("rows.csv", make_rows([*MANY, *sevens, ("odd", "007")]), Lint())
    lint = Lint()
    checks.check_labels("rows.csv", make_rows([*MANY, *sevens, ("odd", "007"), ("odder", "007")]), lint)
    assert "Labels that seem to be spellings of the same one: '007' / '7'." in [c.sentence for c in lint.concerns]


def test_small_classes_and_names_that_look_alike() -> None:
    lint = Lint()
    checks.check_labels("rows.csv", make_rows([*MANY, ("x", "A"), ("y", "A")]), lint)
    assert {c.rule: c.count for c in lint.concerns} == {"few_rows": 1, "alike_labels": 1}
    assert "'A' / 'a'" in lint.concerns[1].sentence


@pytest.mark.parametrize(
    ("names", "are_alike"), [(("दिन", "दीन"), False), (("दिन", "दिन!"), True), (("a_b", "A b"), True)]
)
def test_labels_that_differ_in_vowel_signs_are_not_alike(names: tuple[str, str], are_alike: bool) -> None:
    lint = Lint()
    checks.check_labels("rows.csv", make_rows([(f"text {n}", names[n % 2]) for n in range(40)]), lint)
    assert ("alike_labels" in {concern.rule for concern in lint.concerns}) == are_alike


def test_repeats_and_contradictions() -> None:
    lint = Lint()
    checks.check_repeats("rows.csv", make_rows([("Good  film", "a"), ("good film", "a"), ("good film", "b")]), lint)
    assert {c.rule: c.count for c in lint.concerns} == {"duplicate": 1, "contradiction": 1}
    assert "'Good film' is 'a' in line 2, 'b' in line 4" in lint.concerns[1].sentence


def test_a_contradiction_names_several_labels_one_by_one() -> None:
    lint = Lint()
    one, other = make_rows([("good film", "a"), ("Good film", "a")])
    checks.check_repeats("rows.csv", [replace(one, label=("joy", "love")), replace(other, label=())], lint)
    (found,) = lint.concerns
    assert found.sentence.endswith("'good film' is 'joy', 'love' in line 2, no label in line 3.")


def test_labels_in_another_order_are_no_contradiction() -> None:
    lint = Lint()
    one, other = make_rows([("good film", "a"), ("Good film", "a")])
    checks.check_repeats("rows.csv", [replace(one, label=("joy", "love")), replace(other, label=("love", "joy"))], lint)
    assert {c.rule: c.count for c in lint.concerns} == {"duplicate": 1}


def test_a_label_that_only_the_test_has() -> None:
    with pytest.raises(InputDataError, match=r"test.csv, line 3: the label 'c' never occurs .* labels are a, b"):
        checks.check_test_labels(make_rows(MANY), make_rows([("x", "a"), ("y", "c")]), "test.csv", Lint())
    lint = Lint()
    checks.check_test_labels(make_rows(MANY), make_rows([("x", "a")]), "test.csv", lint)
    assert [c.sentence for c in lint.concerns] == ["1 class without a test row: b."]


def test_texts_shared_with_the_test_leave_training() -> None:
    lint = Lint()
    test = make_rows([("TEXT 3", "a"), *[(f"new {n}", "b") for n in range(9)]])
    kept = checks.drop_shared(make_rows(MANY), test, "test.csv", lint)
    assert len(kept) == 59
    assert "text 3" not in [row.text for row in kept]
    assert lint.dropped.count("in_test") == lint.concerns[0].count == 1


def test_a_test_that_was_trained_on_is_refused() -> None:
    test = make_rows([(f"text {n}", "a") for n in range(3)] + [(f"new {n}", "b") for n in range(9)])
    with pytest.raises(InputDataError, match=r"3 of the 12 rows of test\.csv also occur in the training file"):
        checks.drop_shared(make_rows(MANY), test, "test.csv", Lint())


def test_splits_that_cannot_work() -> None:
    rows = make_rows([("x", "a"), ("y", "b")])
    with pytest.raises(InputDataError, match="no training row is left for the label 'b'"):
        checks.check_splits("rows.csv", rows, ["train", "validation"], Lint())
    with pytest.raises(InputDataError, match="the validation split, which decides when to stop, is empty"):
        checks.check_splits("rows.csv", rows, ["train", "train"], Lint())
    lint = Lint()
    checks.check_splits("rows.csv", make_rows(MANY[:3]), ["train", "train", "validation"], lint)
    checks.check_test_split(rows, [], lint)
    assert [c.rule for c in lint.concerns] == ["not_in_validation", "no_test"]


def test_labels_are_sorted_as_numbers_where_all_are() -> None:
    assert checks.sort_labels(["10", "9", "-1", "10"]) == ["-1", "9", "10"]
    assert checks.sort_labels(["b", "10", "9"]) == ["10", "9", "b"]
    assert checks.sort_labels(["nan", "1"]) == ["1", "nan"]


def test_classes_are_named() -> None:
    assert checks.name_classes(["0", "1", "2"], ["0=negative", " 1 = positive "]) == ["negative", "positive", "2"]
    for names, problem in ((["0"], "expected label=name"), (["5=x"], "not a label here"), (["0=1"], "must differ")):
        with pytest.raises(InputDataError, match=problem):
            checks.name_classes(["0", "1"], names)


def test_imbalance() -> None:
    assert checks.imbalance_of(["a"] * 97 + ["b"] * 3) == pytest.approx(97 / 3)


def lines_of(labels: list[str]) -> list[LabeledRow]:
    return [
        LabeledRow.of_text(row=n, line=n + 2, text=f"A text {n}", raw=f"A text {n}", label=label, slice=None)
        for n, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (['["bad", "garden"]', '["good"]'] * 9, 1),
        (["bad,garden", "bad", "good,garden", "good", "garden"] * 9, 2),
        (["bad|garden", "garden", "good|garden", "bad|good"] * 9, 3),
    ],
)
def test_several_labels_a_row_are_refused_unless_the_user_calls_them_classes(labels: list[str], several: int) -> None:
    """Joined labels such as rock/pop were refused although the task was named."""
    with pytest.raises(InputDataError, match="contains several labels; expected one per row"):
        checks.check_labels("rows.csv", lines_of(labels), Lint())
    lint = Lint()
    checks.check_labels("rows.csv", lines_of(labels), lint, is_named=True)
    concern = lint.concerns[0]
    assert (concern.rule, concern.count) == ("several_labels", several)
    assert f"{labels[0]!r} looks like several labels, but is a single class" in concern.sentence


def test_one_label_whose_parts_are_labels_is_warned_of_with_the_option() -> None:
    """A page promised that such a cell is found to be two labels, and nothing was said."""
    lint = Lint()
    checks.check_labels("rows.csv", lines_of(["bug", "payment", "login", "bug|payment"] * 20), lint)
    [concern] = lint.concerns
    assert (concern.rule, concern.count) == ("several_labels", 20)
    assert concern.sentence.startswith("rows.csv, line 5: 'bug|payment' is one class, but its parts are classes, too.")
    assert concern.sentence.endswith("give --task multilabel --label-separator '|'.")
    lint = Lint()
    checks.check_labels("rows.csv", lines_of(["Sci/Tech", "World", "Sports"] * 20), lint)
    assert lint.concerns == []


@pytest.mark.parametrize("is_named", [False, True])
def test_a_label_in_brackets_is_one_label(is_named: bool) -> None:
    lint = Lint()
    checks.check_labels("rows.csv", lines_of(["[SPAM]", "[HAM]"] * 20), lint, is_named=is_named)
    assert lint.concerns == []


@pytest.mark.parametrize(
    "labels", [["1.5", "2", "3.5", "4"] * 9, [str(n) for n in range(100)] + ["7"]], ids=["halves", "scores"]
)
def test_a_column_of_numbers_is_refused_by_name(labels: list[str]) -> None:
    with pytest.raises(InputDataError, match=r"different numbers .* look like a measurement, not classes"):
        checks.check_labels("rows.csv", lines_of(labels), Lint())


def test_numbers_that_the_user_calls_classes_are_only_warned_of() -> None:
    """They were refused although the task was named."""
    lint = Lint()
    checks.check_labels("rows.csv", lines_of(["1.1", "1.2", "2.1"] * 20), lint, is_named=True)
    [concern] = lint.concerns
    assert (concern.rule, concern.count) == ("measurement", 3)
    assert "3 different numbers (1.1, 1.2, 2.1), which look like a measurement. Each is a class" in concern.sentence
    lint = Lint()
    checks.check_labels("rows.csv", lines_of([f"{n}.5" for n in range(30)] * 20), lint, is_named=True)
    assert [concern.rule for concern in lint.concerns] == ["measurement"]


@pytest.mark.parametrize(
    "labels",
    [range(18, 91), range(101), range(1, 101), range(80, 101), [*range(7), *range(8, 40)], [*range(-15, 16)]],
    ids=["ages", "from 0 to 100", "from 1 to 100", "points", "gap", "negative"],
)
def test_many_whole_numbers_that_recur_are_warned_of(labels: list[int]) -> None:
    lint = Lint()
    checks.check_labels("rows.csv", lines_of([str(number) for number in labels] * 20), lint)
    [concern] = lint.concerns
    assert (concern.rule, concern.count) == ("measurement", len(labels))
    assert f"whole numbers from {labels[0]} to {labels[-1]}, which may be a measurement" in concern.sentence


@pytest.mark.parametrize(
    "labels",
    [
        range(77),
        range(1, 78),
        range(151),
        range(100),
        range(5),
        range(1, 11),
        [0, 2, 4],
        [-1, 0, 1],
        [1990, 2000, 2010],
    ],
    ids=["77 from 0", "77 from 1", "151", "100", "grades", "ratings", "three", "signs", "decades"],
)
def test_the_numbers_of_classes_are_not_warned_of(labels: list[int]) -> None:
    lint = Lint()
    checks.check_labels("rows.csv", lines_of([str(number) for number in labels] * 20), lint)
    assert lint.concerns == []


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1"] * 9,
        ["1", "2", "3", "4", "5"] * 9,
        [str(n) for n in range(77)] * 3,
        ["0.5", "1"] * 9,
        ["Sci, Tech", "World"] * 9,
        ["A", "A+", "B", "B+"] * 9,
    ],
    ids=["binary", "stars", "ids", "two", "comma", "grades"],
)
def test_classes_with_such_names_are_fine(labels: list[str]) -> None:
    checks.check_labels("rows.csv", lines_of(labels), Lint())
