"""Examples are chosen by rule, from whatever a run has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.inference.load import load_classifier
from pretune.runtime.events import EventLog
from pretune.tracing.examples import TestRows, choose_rows, choose_sentences, read_test_rows, trace_examples


def make_rows(probabilities: list[float], labels: list[int], lengths: list[int] | None = None) -> TestRows:
    count = len(labels)
    return TestRows(
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
        assert each.text == rows.texts[each.row]
        assert each.true_label == names[rows.labels[each.row]]
        np.testing.assert_allclose(each.decision.probabilities, rows.probabilities[each.row], atol=1e-4)
        assert (each.why == "wrong") <= (each.decision.label != each.true_label)
        assert all(readout.probe is not None for readout in each.readouts)
