"""A split is made once, on clean text, and comes back from its folder as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError, UsageError
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.detect_task import TaskWord
from pretune.text.labels.split import choose_example, describe_slices, example_of, labels_fields, split_labels
from pretune.text.labels.target_checks import names_of
from pretune.text.splits import SPLITS, normalise_for_hash

RULES = task_named


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


VARIANTS = ("{0} film, see it", "{0} film,<br /><br />see it", "{0} film, see\u200b it", "{0} FILM,&nbsp;see it")


def test_texts_that_are_equal_after_cleaning_share_a_side(tmp_path: Path) -> None:
    """Of 2,000 such pairs 322 lay in train and test while the key was the text as found."""
    rows = [{"text": v.format(f"Good {n}"), "label": n % 2} for n in range(500) for v in VARIANTS]
    split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES)
    side_of: dict[str, set[str]] = {}
    for side in SPLITS:
        for row in split.by_split[side]:
            side_of.setdefault(normalise_for_hash(clean_text(row.raw)), set()).add(side)
            assert row.text == clean_text(row.raw)
    assert len(side_of) == 500
    assert all(len(sides) == 1 for sides in side_of.values())
    assert any(concern.rule == "duplicate" and concern.count == 1500 for concern in split.lint.concerns)


def test_training_rows_that_equal_a_test_row_after_cleaning_are_left_out(tmp_path: Path) -> None:
    rows = [{"text": f"A text of number {n}", "label": n % 2} for n in range(100)]
    test = [{"text": f"Another text {n}", "label": n % 2} for n in range(20)]
    test[0]["text"] = "A text&nbsp;of <b>number</b> 7"
    split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES, write(tmp_path / "test.jsonl", test))
    assert "A text of number 7" not in {row.text for row in split.by_split["train"] + split.by_split["validation"]}
    assert len(split.by_split["test"]) == 20


def test_training_rows_that_are_part_of_a_test_row_are_left_out(tmp_path: Path) -> None:
    """Phrases of test sentences stayed in training, as with the phrases of SST-2 and whole sentences as the test."""
    rows = [{"text": f"A text of number {n}", "label": n % 2} for n in range(100)]
    test = [{"text": f"He wrote a text of number {n} again", "label": n % 2} for n in range(20)]
    split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES, write(tmp_path / "test.jsonl", test))
    assert {row.row for row in split.by_split["train"]}.isdisjoint(range(20))
    number = 100 - len(split.by_split["train"]) - len(split.by_split["validation"])
    assert 10 < number < 20  # those for validation stay
    assert split.lint.dropped.count("part_of_test") == number
    (sentence,) = (concern.sentence for concern in split.lint.concerns if concern.rule == "part_of_test")
    assert f"{number} rows left out of training because their texts are part of longer ones in" in sentence


@pytest.mark.parametrize(
    "of", [lambda label: label, lambda label: [label, "every"]], ids=["classification", "multilabel"]
)
def test_a_label_whose_texts_are_all_in_the_test_file_is_refused(tmp_path: Path, of: Callable[[str], Any]) -> None:
    """Only the test rows had it then, and writing them ended in a traceback."""
    rare = [{"text": f"A rare text {n}", "label": of("rare")} for n in range(2)]
    rows = [{"text": f"A text of number {n}", "label": of("ab"[n % 2])} for n in range(100)]
    test = [{"text": f"Another text {n}", "label": of("ab"[n % 2])} for n in range(20)]
    paths = write(tmp_path / "rows.jsonl", rows + rare), write(tmp_path / "test.jsonl", test + rare)
    with pytest.raises(InputDataError, match=r"every text with the label 'rare' is also in .*test\.jsonl, so no row"):
        split_labels(paths[0], RULES, paths[1])


@pytest.mark.parametrize("task", ["multilabel", "tokens"])
def test_every_label_of_a_row_can_be_learned(tmp_path: Path, task: TaskWord) -> None:
    """A row counts for its rarest label only, so another label could lose all of its training rows: x was refused."""

    def cells(text: str, names: str) -> dict[str, Any]:
        spans = [[place, place + 1, name] for place, name in enumerate(names)]
        return {"text": text, "label": list(names) if task == "multilabel" else spans}

    num_moved = 0
    for number in range(20):
        rows = [cells(f"The text {number} of row {n}", names) for n, names in enumerate(("ax", "bx", "a", "b"))]
        split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES, task=task, test_fraction=0.0)
        assert {name for row in split.by_split["train"] for name in names_of(row.label)} == set("abx")
        num_moved += split.num_moved
    assert num_moved > 20


@pytest.mark.parametrize("number", [9, 21, 22, 28])
def test_no_label_is_lost_with_the_parts_of_held_out_texts(tmp_path: Path, number: int) -> None:
    """Only the rarest label of each row was looked at: the label x is in parts of one text only."""
    parts = [f"the kettle {number}", f"saw our {number}", f"near that {number}"]
    whole = " and ".join(parts)
    owls = [f"an owl number {n} sleeps" for n in range(60)]
    rows = [{"text": text, "label": [name, "x"]} for text, name in zip(parts, "bcd", strict=True)]
    rows += [{"text": f"{name}{n} stands alone", "label": [name]} for name in "bcd" for n in range(2)]
    rows += [{"text": text, "label": ["z"]} for text in (*owls, *(f"{text} well" for text in owls))]
    path = write(tmp_path / "rows.jsonl", [*rows, {"text": whole, "label": ["z"]}])
    for test in (None, write(tmp_path / "test.jsonl", [{"text": f"{whole} {n}", "label": ["z"]} for n in range(9)])):
        split = split_labels(path, RULES, test, task="multilabel", test_fraction=0.3)
        assert {name for row in split.by_split["train"] for name in row.label} == set("bcdxz")


def test_a_file_whose_second_class_leaves_with_the_test_texts_is_refused(tmp_path: Path) -> None:
    shared = [{"text": f"A rare text {n}", "label": "b"} for n in range(3)]
    rows = [{"text": f"A text of number {n}", "label": "a"} for n in range(100)]
    test = [{"text": f"Another text {n}", "label": "a"} for n in range(20)]
    relabelled = [{**row, "label": "a"} for row in shared]
    paths = write(tmp_path / "rows.jsonl", rows + shared), write(tmp_path / "test.jsonl", test + relabelled)
    with pytest.raises(InputDataError, match="every text with the label 'b' is also in"):
        split_labels(paths[0], RULES, paths[1])


def test_a_name_for_a_tag_that_does_not_occur_is_refused(tmp_path: Path) -> None:
    """A misspelt tag had no effect, and nothing said so."""
    rows = [{"tokens": ["Ada", f"ran{n}"], "tags": ["B-per", "O"]} for n in range(40)]
    path = write(tmp_path / "rows.jsonl", rows)
    assert split_labels(path, RULES, label_names=["B-per=B-PER"]).labels == ["PER"]
    assert split_labels(path, RULES, label_names=["per=person"]).names == ["person"]
    with pytest.raises(UsageError, match=r"renames 'B-pre', which is neither a tag nor a type .*; its types are per\."):
        split_labels(path, RULES, label_names=["B-pre=B-PER"])


def test_scores_of_the_test_file_are_written_as_those_of_the_training_file(tmp_path: Path) -> None:
    """Three digits after each decimal comma were read as thousands."""
    train = [f"A text of number {n};{n % 5},{n % 4}5" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text;score", *train]) + "\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text;score\nA new text;3,125\nAnother text;2,875\n", encoding="utf-8")
    split = split_labels(tmp_path / "rows.csv", RULES, tmp_path / "test.csv", task="regression")
    assert [row.label for row in split.by_split["test"]] == [3.125, 2.875]
    assert labels_fields(split)["number_form"] == "1250,5"


def test_numbers_with_fractions_are_classes_if_the_user_says_so(tmp_path: Path) -> None:
    rows = [{"text": f"A text of number {n}", "label": ("1.1", "1.2", "2.1")[n % 3]} for n in range(90)]
    path = write(tmp_path / "rows.jsonl", rows)
    assert split_labels(path, RULES).rules.name == "regression"
    split = split_labels(path, RULES, task="classification")
    assert split.labels == ["1.1", "1.2", "2.1"]
    assert "measurement" in [concern.rule for concern in split.lint.concerns]


def test_a_text_that_is_empty_after_cleaning_is_missing(tmp_path: Path) -> None:
    rows = [{"text": f"A text of number {n}", "label": n % 2} for n in range(100)]
    rows[3]["text"] = "<br /> &nbsp;"
    split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES)
    assert len(split.all) == 99
    assert [rule.name for rule in split.lint.dropped.rules.values()] == ["empty_text"]


def test_the_example_is_a_test_row_that_can_be_shown(tmp_path: Path) -> None:
    rows = [{"text": f"A text of number {n} " + "very " * (80 * (n % 5)), "label": n % 2} for n in range(300)]
    side, row = example_of(split_labels(write(tmp_path / "rows.jsonl", rows), RULES))
    assert side == "test"
    assert len(row.text.split()) < 60
    without_test = split_labels(tmp_path / "rows.jsonl", RULES, test_fraction=0.0)
    assert example_of(without_test)[0] == "validation"


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_the_example_does_not_depend_on_the_order(texts: list[str]) -> None:
    pairs = [(text, clean_text(text)) for text in texts]
    keys = {normalise_for_hash(clean) for _, clean in pairs}
    if len(keys) == len(pairs):
        assert choose_example(pairs) == choose_example(reversed(pairs))


@pytest.mark.parametrize("validation_slice", ["seen", "unseen"])
def test_slices_that_validation_lacks_are_reported(tmp_path: Path, validation_slice: str) -> None:
    rows = [{"text": f"A text of number {n}", "label": n % 2, "slice": "seen"} for n in range(200)]
    test = [{"text": f"Another text {n}", "label": n % 2, "slice": "seen"} for n in range(40)]
    for row in test[:20] if validation_slice == "seen" else []:
        row["slice"] = "unseen"
    split = split_labels(write(tmp_path / "rows.jsonl", rows), RULES, write(tmp_path / "test.jsonl", test))
    sentences = [concern.sentence for concern in split.lint.concerns if concern.rule == "parts_differ"]
    if validation_slice == "seen":
        assert sentences == [
            "Slice 'unseen' makes up 50% of the test rows and 0% of the validation rows, so a validation score "
            "does not predict the test score."
        ]
        shown = describe_slices(split)
        assert shown is not None
        assert "unseen 0 train, 0 validation, 20 test" in shown
    else:
        assert not sentences
