"""Examples are chosen by rule, from whatever a run has."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pretune.inference.load import load_classifier
from pretune.runtime.events import EventLog
from pretune.runtime.stage_folder import open_stage
from pretune.scoring.prediction_files import AVERAGED_PREDICTIONS, PREDICTIONS, STACK_PREDICTIONS, seed_predictions
from pretune.tracing.examples import (
    OwnExample,
    TestRows,
    choose_rows,
    choose_sentences,
    read_own_example,
    read_test_rows,
    trace_examples,
)


def make_rows(probabilities: list[float], labels: list[int], lengths: list[int] | None = None) -> TestRows:
    count = len(labels)
    return TestRows(
        numbers=[10 * number for number in range(count)],
        texts=[f"text {number}" for number in range(count)],
        labels=np.array(labels),
        probabilities=np.array([[1 - p, p] for p in probabilities]),
        lengths=np.array(lengths or [10] * count),
        slices=[None] * count,
    )


def test_wrong_borderline_and_typical_rows_are_chosen() -> None:
    rows = make_rows([0.9, 0.95, 0.99, 0.52, 0.2, 0.97, 0.96], [1, 1, 1, 1, 1, 0, 1])
    assert choose_rows(rows, set()) == {"typical": 1, "borderline": 3, "wrong": 5}


def test_the_typical_row_is_in_the_middle_of_length_too() -> None:
    rows = make_rows([0.9, 0.94, 0.95, 0.96, 0.99], [1] * 5, [5, 60, 60, 21, 20])
    assert choose_rows(rows, set())["typical"] == 3


def test_no_row_is_chosen_twice_and_none_that_is_taken() -> None:
    rows = make_rows([0.6, 0.9, 0.95], [0, 1, 1])
    assert choose_rows(rows, set()) == {"typical": 2, "borderline": 1, "wrong": 0}
    assert choose_rows(rows, {1}) == {"borderline": 2, "wrong": 0}


def test_without_a_wrong_row_there_is_no_wrong_example() -> None:
    assert set(choose_rows(make_rows([0.6, 0.9, 0.95], [1, 1, 1]), set())) == {"typical", "borderline"}


def test_short_texts_are_preferred() -> None:
    rows = make_rows([0.99, 0.8, 0.51, 0.6, 0.9], [0, 0, 1, 1, 1], [500, 20, 500, 20, 20])
    chosen = choose_rows(rows, set())
    assert (chosen["wrong"], chosen["borderline"]) == (1, 3)
    long = make_rows([0.99, 0.8], [0, 1], [500, 400])
    assert choose_rows(long, set()) == {"borderline": 1, "wrong": 0}


@pytest.mark.parametrize(
    ("example", "place"),
    [
        ({"row": 20, "text": "  text 2", "split": "test"}, 2),  # the text as it was found, before cleaning
        ({"row": 2, "text": "text 2", "split": "test"}, None),  # a number of the file, not of the split
        ({"row": 20, "text": "another text", "split": "validation"}, None),
        ({"text": "text 2"}, None),  # a document of the corpus
    ],
)
def test_the_own_example_is_found_by_its_number_in_its_file(
    tmp_path: Path, example: dict[str, Any], place: int | None
) -> None:
    stage = open_stage(tmp_path / "prepare", "prepare", config={}, inputs={})
    stage.finish(example={**example, "text_pair": "a second text", "label": "b"})
    rows = make_rows([0.5] * 3, [0] * 3)
    expected = OwnExample(text=example["text"], text_pair="a second text", label="b", place=place)
    assert read_own_example(tmp_path, rows) == expected
    assert read_own_example(tmp_path, None) == replace(expected, place=None)
    assert read_own_example(tmp_path / "elsewhere", rows) is None


def test_of_the_parts_of_a_long_text_the_one_with_the_text_is_found() -> None:
    rows = replace(make_rows([0.5] * 3, [0] * 3), numbers=[7, 7, 8])
    assert (rows.find(7, "text 1"), rows.find(7, "text 2"), rows.find(8, "text 2")) == (1, None, 2)


def sentence(word: str, *, is_in_training: bool = False) -> dict[str, Any]:
    return {"masked_text": f"The [MASK] was {word}.", "true_word": "film", "is_in_training": is_in_training}


def test_the_sentences_are_the_example_and_the_first_held_out_ones() -> None:
    watched = [sentence("own"), sentence("seen", is_in_training=True), *map(sentence, "abc")]
    events = [
        {"event": "evaluation", "sentences": [sentence("older")]},
        {"event": "evaluation", "sentences": watched},
        {"event": "example", **sentence("own")},
    ]
    chosen = choose_sentences(events)
    assert {name: each["masked_text"][-2] for name, each in chosen.items()} == {
        "example": "n", "watched-1": "a", "watched-2": "b",
    }  # fmt: skip
    assert choose_sentences([]) == {}


def test_a_run_of_models_alone_has_no_examples(run_folder: Path) -> None:
    assert trace_examples(run_folder) == ([], [])
    assert read_test_rows(run_folder) is None


def test_test_rows_are_judged_by_what_the_delivered_model_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pretune.tracing.examples.TokenShard", lambda *_: SimpleNamespace(lengths=np.array([5])))
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare" / "test.jsonl").write_text('{"row": 7, "text": "a", "label": 1}\n', encoding="utf-8")
    stage = open_stage(tmp_path / "finetune", "finetune", config={}, inputs={})
    (stage.path / PREDICTIONS).mkdir()
    stage.finish(chosen={"seed": 3})
    for name, probability in ((seed_predictions(3), 0.25), (AVERAGED_PREDICTIONS, 0.375), (STACK_PREDICTIONS, 0.75)):
        line = {"row": 7, "label": 1, "probabilities": [1 - probability, probability]}
        (stage.path / PREDICTIONS / name).write_text(json.dumps(line) + "\n", encoding="utf-8")
        rows = read_test_rows(tmp_path)
        assert rows is not None and rows.numbers == [7]
        assert rows.probabilities[0, 1] == probability
        assert rows.judge().is_right.tolist() == [probability > 0.5]


def test_a_run_without_labels_has_fills_only(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "checkpoint").symlink_to(run_folder / "pretrain" / "checkpoint")
    log = EventLog(tmp_path / "pretrain", "pretrain")
    log.write("evaluation", sentences=[sentence("cold"), sentence("warm " * 600)])
    predictions, fills = trace_examples(tmp_path)
    assert predictions == []
    assert [(fill.id, fill.true_word) for fill in fills] == [("watched-1", "film")]  # the other one is too long


@pytest.fixture
def trained_run(small_run: Path, tmp_path: Path) -> Path:
    """A copy of a real run, which may be changed."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_trained_run_has_its_example_and_its_test_rows(trained_run: Path, is_whole: bool) -> None:
    if not is_whole:
        (trained_run / "prepare" / "test.jsonl").unlink()
    predictions, _ = trace_examples(trained_run)
    assert [each.why for each in predictions][:1] == ["example"]
    rows = read_test_rows(trained_run)
    if rows is None:
        assert not is_whole and len(predictions) == 1
        return
    assert {"typical", "borderline"} <= {each.why for each in predictions}
    names = load_classifier(trained_run).label_names
    for each in predictions[1:]:
        assert each.row is not None
        place = rows.numbers.index(each.row)
        assert each.text == rows.texts[place]
        assert each.true_label == names[rows.labels[place]]
        delivered = each.stack or each.decision
        np.testing.assert_allclose(delivered.probabilities, rows.probabilities[place], atol=1e-4)
        assert (each.why == "wrong") <= (delivered.label != each.true_label)
        assert all(readout.probe is not None for readout in each.readouts)
