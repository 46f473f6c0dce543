"""The figures of evaluate are those of the model's own predictions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, ModelNotFoundError, UsageError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.transformer import SequenceClassifier, TokenClassifier
from pretune.scoring.metrics import summarize
from pretune.scoring.nested_rows import groups_of_lines
from pretune.scoring.uncertainty import accuracy_over_seeds
from pretune.text.labels.labelling import Labelling
from pretune.text.seen_texts import PRETRAINING, TRAINING, save_seen

TEXTS = ["A wonderful film.", "Cold soup, noisy rooms.", "The sun rises.", "", "We never liked the food."]
LABELS = ["positive", "negative", "neutral", "positive", "negative"]


def write_file(path: Path, labels: list[str]) -> Path:
    return write_rows(path, [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)])


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def token_model(run_folder: Path) -> Classifier:
    """A model of people and places with random weights, trained, it says, on rows of tokens and tags."""
    trained, outputs = load_classifier(run_folder), ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    columns = {"text_column": "tokens", "label_column": "tags"}
    labelling = Labelling(names=("LOC", "PER"), task="tokens", output_names=outputs, columns=columns)
    return replace(trained, model=TokenClassifier(trained.model.config, len(outputs)).eval(), labelling=labelling)


def test_figures_are_those_of_the_predictions(tmp_path: Path, run_folder: Path) -> None:
    found = evaluate(run_folder, write_file(tmp_path / "rows.jsonl", LABELS))
    texts = [text for text in TEXTS if text]
    probabilities = load_classifier(run_folder).predict_outputs(texts)
    expected = summarize(np.array([2, 0, 1, 0]), probabilities, ["negative", "neutral", "positive"])
    assert {name: found[name] for name in expected} == expected
    assert (found["n"], found["skipped"]) == (4, 1)
    json.dumps(found)


def test_parts_of_a_text_are_one_observation(tmp_path: Path, run_folder: Path) -> None:
    texts = [
        f"{first} film, {word} and {last}." for word in ("warm", "cold", "rude") for first in "AB" for last in "xyz"
    ]
    rows = [
        {"text": part, "label": "positive"}
        for text in texts
        for part in (text, text[2:], text[: text.index("and") + 3])
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = evaluate(run_folder, tmp_path / "rows.jsonl", label_column="label")
    groups = groups_of_lines(rows)
    assert groups is not None
    correct = load_classifier(run_folder).predict_outputs([row["text"] for row in rows]).argmax(axis=1) == 2
    assert found["accuracy_interval"] == list(accuracy_over_seeds(correct[None], groups)[1])
    assert found["n"] == len(rows)


def test_classes_by_position_and_by_renaming(tmp_path: Path, run_folder: Path) -> None:
    expected = evaluate(run_folder, write_file(tmp_path / "rows.jsonl", LABELS))
    numbers = write_file(tmp_path / "numbers.jsonl", ["2", "0", "1", "2", "0"])
    assert evaluate(run_folder, numbers)["confusion_matrix"] == expected["confusion_matrix"]
    stars = write_file(tmp_path / "stars.jsonl", ["5", "1", "3", "5", "1"])
    names = ("1=negative", " 3 = neutral", "5=positive")
    assert evaluate(run_folder, stars, label_names=names)["confusion_matrix"] == expected["confusion_matrix"]


def test_the_numbers_of_the_training_file_are_its_classes(tmp_path: Path, run_folder: Path) -> None:
    """A file with 0 and 1 alone, of -1, 0 and 1, was read with every label one class too low."""
    trained = load_classifier(run_folder)
    renamed = replace(trained, labelling=replace(trained.labelling, labels=("-1", "0", "1")))
    numbers = write_file(tmp_path / "numbers.jsonl", ["1", "0", "0", "1", "0"])
    named = write_file(tmp_path / "named.jsonl", ["positive", "neutral", "neutral", "positive", "neutral"])
    found = evaluate(renamed, numbers)
    assert found["confusion_matrix"] == evaluate(renamed, named)["confusion_matrix"]
    assert "positions" not in found["detected"]
    assert "positions of the model's classes (0 is negative, 1 is neutral" in evaluate(trained, numbers)["detected"]


def test_numbers_that_may_be_stars_are_not_positions(tmp_path: Path, run_folder: Path) -> None:
    """Counted from 1, every row would get the class next to its own."""
    with pytest.raises(InputDataError, match=r"line 1: the label '2' is not one of .* rename them with --label-names"):
        evaluate(run_folder, write_file(tmp_path / "rows.jsonl", ["2", "1", "1", "2", "1"]))


def test_a_renaming_that_cannot_be_read(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(InputDataError, match="--label-names has '0:negative'; expected label=name"):
        evaluate(run_folder, write_file(tmp_path / "rows.jsonl", LABELS), label_names=("0:negative",))


def test_a_label_that_the_model_does_not_know(tmp_path: Path, run_folder: Path) -> None:
    file = write_file(tmp_path / "rows.jsonl", ["positive", "mixed", "neutral", "positive", "negative"])
    with pytest.raises(InputDataError, match=r"line 2: the label 'mixed' is not one of the model's classes \(negative"):
        evaluate(run_folder, file)


def test_files_that_cannot_be_read(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(InputDataError, match="no row with both"):
        evaluate(run_folder, write_file(tmp_path / "rows.jsonl", [""] * 5), label_column="label")
    with pytest.raises(ModelNotFoundError):
        evaluate(tmp_path / "none", write_file(tmp_path / "rows.jsonl", LABELS))


def test_rows_that_the_model_was_trained_on_are_counted(tmp_path: Path, run_folder: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder / "finetune", run / "finetune")
    file = write_file(tmp_path / "rows.jsonl", LABELS)
    assert evaluate(run, file)["seen"] == {"pretraining": None, "training": None}
    assert "is not known" in evaluate(run, file)["seen_sentence"]
    save_seen(run / "finetune", PRETRAINING, ["A new text."], is_complete=False)
    assert evaluate(run, file)["seen_sentence"].startswith("None of the 4 rows is among those on record; what else")
    save_seen(run / "finetune", PRETRAINING, ["a wonderful film.", "The sun rises."])
    save_seen(run / "finetune", TRAINING, ["Cold soup, noisy rooms."])
    found = evaluate(run, file)
    assert found["seen"] == {"pretraining": 2, "training": 1}
    assert "2 in the pre-training text and 1 among the training rows" in found["seen_sentence"]


def test_true_and_whole_numbers_match_however_they_are_spelled(tmp_path: Path, run_folder: Path) -> None:
    for given in (["2.0", "0.0", "1.0", "2.0", "0.0"], ["2", "0", "1", "2", "0"]):
        assert evaluate(run_folder, write_file(tmp_path / "rows.jsonl", given))["n"] == 4


def test_numbered_tags_are_read_with_their_names(tmp_path: Path, run_folder: Path) -> None:
    """They could be trained on, but not evaluated."""
    model = token_model(run_folder)
    rows = [{"tokens": ["Ada", "saw", "Rome"], "tags": [1, 0, 3]}, {"tokens": ["Nobody", "came"], "tags": [0, 0]}]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    found = evaluate(model, file, label_names=("0=O", "1=B-PER", "2=I-PER", "3=B-LOC"))
    assert [(each["label"], each["support"]) for each in found["types"]] == [("LOC", 1), ("PER", 1)]
    named = [{**row, "tags": [["O", "B-PER", "I-PER", "B-LOC"][tag] for tag in row["tags"]]} for row in rows]
    assert evaluate(model, write_rows(tmp_path / "named.jsonl", named))["types"] == found["types"]
    with pytest.raises(InputDataError, match="the tags are numbers, such as 1, whose names are not in the file"):
        evaluate(model, file)


def test_the_second_texts_are_in_the_column_that_is_named(
    tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The errors advised to name it, but it could not be named."""
    model = load_classifier(run_folder)
    columns = {"text_column": "ask", "text_pair_column": "reply", "label_column": "label"}
    pairs = replace(model, labelling=replace(model.labelling, columns=columns))
    rows = [{"ask": text, "say": TEXTS[0], "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InputDataError, match=r"no column that is recognised as a second text .* --text-pair-column"):
        evaluate(pairs, file)
    assert evaluate(pairs, file, text_pair_column="say")["n"] == 4
    with pytest.raises(InputDataError, match=r"--text-pair-column names 'say', but the model in .* one text a"):
        evaluate(model, file, text_pair_column="say")
    words = ["evaluate", str(run_folder), "--labels", str(file), "--text-pair-column", "say"]
    assert run_command_line(words) == 3
    assert "reads one text a row; leave the option out" in capsys.readouterr().err


def test_scores_are_read_in_the_form_of_the_training_file(tmp_path: Path, run_folder: Path) -> None:
    model = load_classifier(run_folder)
    labelling = Labelling(names=("score",), task="regression", columns={"number_form": "1250,5"})
    scores = replace(model, model=SequenceClassifier(model.model.config, 1).eval(), labelling=labelling)
    assert Labelling.from_dict(labelling.to_dict()) == labelling
    (tmp_path / "rows.csv").write_text("text;score\nA new text;3,125\nAnother text;2,875\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("text;score\nA new text;3.125\nAnother text;2.875\n", encoding="utf-8")
    found, expected = (evaluate(scores, tmp_path / name) for name in ("rows.csv", "points.csv"))
    assert found["mean_absolute_error"] == expected["mean_absolute_error"] < 1000
    with pytest.raises(UsageError, match=r"--label-names renames labels, and .* predicts scores; leave it out"):
        evaluate(scores, tmp_path / "rows.csv", label_names=("1=low",))  # it had no effect


def test_a_file_without_an_entity_is_evaluated(tmp_path: Path, run_folder: Path) -> None:
    model = token_model(run_folder)
    columns = {"text_column": "text", "label_column": "spans"}
    spans = replace(model, labelling=replace(model.labelling, columns=columns))
    file = write_rows(tmp_path / "rows.jsonl", [{"text": text, "spans": []} for text in TEXTS])
    found = evaluate(spans, file)
    assert (found["n"], found["skipped"], found["entities"]) == (4, 1, 0)


def test_what_reading_loses_or_changes_is_counted_and_said(
    tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that did not parse was not counted, and no warning of reading was ever shown."""
    rows = [f"A film of number {n}.,{LABELS[n % 2]}" for n in range(200)]
    lines = ["text,label", *rows, "one,cell,too many", "None,positive", "A caf\udce9.,positive"]
    file = tmp_path / "rows.csv"
    file.write_bytes("\n".join([*lines, "A d\u00e9j\u00e0 vu.,negative", ""]).encode("utf-8", "surrogateescape"))
    found = evaluate(run_folder, file)
    assert (found["n"], found["skipped"]) == (202, 2)
    assert [sentence.replace(f"{file}: ", "") for sentence in found["warnings"]] == [
        "1 left out, a row with too few or too many cells.",
        "1 byte is invalid in its encoding; replaced by U+FFFD.",
        "1 cell of the column 'text' contains only 'None', taken as missing; if that is a class or a text, spell it "
        "differently.",
    ]
    words = ["evaluate", str(run_folder), "--labels", str(file)]
    assert run_command_line(words) == 0
    shown = capsys.readouterr()
    assert "1 byte is invalid in its encoding" in shown.err
    assert "202 (2 skipped)" in shown.out
    assert run_command_line([*words, "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["warnings"] == found["warnings"]
    assert "left out" not in shown.err


def test_a_line_of_a_sentence_that_does_not_parse_is_no_row(tmp_path: Path, run_folder: Path) -> None:
    lines = [f"Ada B-PER\nsaw O\nRome{n} B-LOC\n" for n in range(60)]
    lines[1] += "alone\n"
    (tmp_path / "rows.conll").write_text("\n".join(lines), encoding="utf-8")
    found = evaluate(token_model(run_folder), tmp_path / "rows.conll")
    assert (found["n"], found["skipped"]) == (60, 0)
    assert "1 left out" in found["warnings"][0]
