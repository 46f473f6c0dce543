"""The model object, as the README writes it: load, train, predict, print, save."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

import pretune
from pretune.api import Predictions, load_model, load_pretrained_model, open_run
from pretune.errors import (
    CorruptModelError,
    FolderInTheWayError,
    InputDataError,
    ModelError,
    ModelNotFoundError,
    UsageError,
)
from pretune.runtime.events import read_events
from pretune.tasks.prediction import Prediction
from pretune.text.labels.python_data import as_pairs

TEXTS = ["A wonderful film.", "The hotel was dreadful.", "x"]
EXAMPLES = [
    (f"{opening} {thing} was {word}.", label)
    for opening in ("The", "This", "Our", "That")
    for thing in ("film", "hotel", "food", "phone", "battery", "soup")
    for word, label in (("wonderful", "good"), ("warm and funny", "good"), ("dreadful", "bad"), ("rude", "bad"))
]


def test_each_way_to_load_gives_the_model_of_its_name(run_folder: Path, tmp_path: Path) -> None:
    model = load_pretrained_model(run_folder)
    assert not model.is_classifier
    assert repr(model) == f"Model({str(run_folder / 'pretrain' / 'checkpoint')!r}: pre-trained language model)"
    assert "fine-tuned classifier, labels negative, neutral, positive" in repr(load_model(run_folder))
    (tmp_path / "pretrain").symlink_to(run_folder / "pretrain")
    with pytest.raises(ModelNotFoundError, match=r"no fine-tuned model: its finetune stage is missing"):
        load_model(tmp_path)


def test_a_run_is_its_fine_tuned_model(run_folder: Path) -> None:
    model = load_model(run_folder)
    assert model.is_classifier
    assert model.path == run_folder / "finetune" / "checkpoint"
    assert "negative" in repr(model)
    assert [len(words) for words in model.fill("The [MASK] rises.", top=3)] == [3]


def test_a_language_model_fills_and_does_not_classify(run_folder: Path) -> None:
    model = load_pretrained_model(str(run_folder / "pretrain"))
    assert not model.is_classifier
    assert len(model.fill("The [MASK] rises in the [MASK].")) == 2
    for call in (lambda: model.predict(TEXTS), lambda: model.trace("x")):
        with pytest.raises(ModelError, match=r"call train\(data\) first"):
            call()


def test_wrong_paths_raise_and_never_give_none(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere does not exist"):
        load_pretrained_model(tmp_path / "nowhere")
    (tmp_path / "collect").mkdir()
    with pytest.raises(ModelNotFoundError, match="its pretrain stage is missing"):
        load_pretrained_model(tmp_path)
    saved = load_model(run_folder).save(tmp_path / "saved")
    os.truncate(saved / "model.safetensors", 99)
    with pytest.raises(CorruptModelError, match="99 bytes"):
        load_pretrained_model(saved)


def test_predictions_are_a_sequence_that_prints(run_folder: Path) -> None:
    predictions = load_model(run_folder).predict(TEXTS)
    assert [prediction.text for prediction in predictions] == TEXTS
    assert predictions.labels == [prediction.label for prediction in predictions]
    assert isinstance(predictions[0], Prediction)
    assert isinstance(predictions[1:], Predictions)
    assert len(predictions[1:]) == 2
    lines = str(predictions).splitlines()
    assert lines[0].split() == ["text", "label", "probability"]
    assert lines[2].startswith("A wonderful film.")
    assert predictions[0].label in lines[2]
    assert f"{predictions[0].probability:.3f}" in lines[2]
    assert predictions.accuracy is None


def test_what_is_printed_is_harmless_and_short() -> None:
    made = [
        Prediction(
            text="\x1b[31mred\x1b[0m\nline " + "long " * 100, label="a", probability=0.5, probabilities={"a": 0.5}
        )
    ] * 60
    printed = str(Predictions(made))
    assert "\x1b" not in printed
    assert printed.endswith("... and 20 more")
    assert str(Predictions([])).split() == ["text", "label", "probability", *["────", "─────", "───────────"]]


def test_pairs_show_what_was_expected(run_folder: Path) -> None:
    model = load_model(run_folder)
    predictions = model.predict([(text, "negative") for text in TEXTS])
    assert predictions.expected == ("negative",) * 3
    assert predictions.accuracy == sum(label == "negative" for label in predictions.labels) / 3
    assert "expected" in str(predictions)
    assert str(predictions).endswith("(n = 3)")


def test_a_path_is_read(run_folder: Path, tmp_path: Path) -> None:
    model = load_model(run_folder)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    assert model.predict(tmp_path / "texts.txt").labels == model.predict(TEXTS).labels
    assert model.predict(str(tmp_path / "texts.txt")).labels == model.predict(TEXTS).labels
    for wrong in ("A text alone.", "long " * 1000):
        with pytest.raises(InputDataError, match=r"is not a file; .* put a single text in \[ \]"):
            model.predict(wrong)
    with pytest.raises(InputDataError, match="Text 2 is 3; expected a string"):
        model.predict(["a", 3])


@pytest.mark.parametrize("data", [None, 7, {"text": TEXTS, "label": ["a", "b", "c"]}], ids=str)
def test_data_that_is_not_a_list_is_refused(run_folder: Path, tmp_path: Path, data: object) -> None:
    model = load_model(run_folder)
    sentence = r"a table with the columns text, label; expected" if isinstance(data, dict) else rf"is {data}; expected"
    for call in (lambda: model.predict(data), lambda: model.train(data, tmp_path / "out")):
        with pytest.raises(InputDataError, match=sentence):
            call()
    assert not (tmp_path / "out").exists()


def test_trace_agrees_with_predict(run_folder: Path) -> None:
    model = load_model(run_folder)
    traced = model.trace(TEXTS[0]).decision
    assert traced.label == model.predict(TEXTS)[0].label
    assert traced.probability == pytest.approx(model.predict(TEXTS)[0].probability, abs=1e-5)


def test_a_notebook_shows_everything_as_tables_without_markup_from_texts(run_folder: Path, small_run: Path) -> None:
    attack = '<img src=x onerror="alert(1)"></script> dreadful'
    model, run = load_model(run_folder), open_run(small_run)
    shown = {
        "predictions": model.predict([attack]),
        "trace": model.trace(attack),
        "history": model.history,
        "run": run,
    }
    for name, value in shown.items():
        html = value._repr_html_()
        assert "<img" not in html, name
        assert "<script" not in html, name
        assert "</script" not in html, name
        assert "\n" not in repr(value), name
    assert run.trace.run.headline in run._repr_html_()
    assert run._repr_html_().count("<tr>") > len(run.trace.phases.pretrain.evaluations)


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="no run"):
        open_run(tmp_path)
    with pytest.raises(InputDataError, match="no folder"):
        open_run(tmp_path / "nothing")


def test_the_page_of_a_run(small_run: Path, tmp_path: Path) -> None:
    path = open_run(small_run).report(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(FolderInTheWayError, match="is a folder"):
        open_run(small_run).report(tmp_path)


def test_save_is_complete_and_overwrites_nothing(run_folder: Path, tmp_path: Path) -> None:
    model = load_model(run_folder)
    saved = model.save(tmp_path / "deep" / "saved")
    again = load_model(saved)
    assert again.path == saved
    assert [p.probabilities for p in again.predict(TEXTS)] == [p.probabilities for p in model.predict(TEXTS)]
    with pytest.raises(FolderInTheWayError, match="not overwritten"):
        model.save(saved)


def test_a_copy_of_an_adapter_is_for_the_same_base(
    save_language_model: Callable[[Path, str], Path], save_adapter: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    """The copy did not know for which weights it was made, and was added to any others."""
    base = save_language_model(tmp_path / "base", "causal")
    saved = load_pretrained_model(save_adapter(tmp_path / "adapter", base)).save(tmp_path / "copy")
    load_pretrained_model(saved)
    weights = load_file(base / "model.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in weights.items()}, base / "model.safetensors", {"format": "pt"})
    (base / "manifest.json").unlink()
    with pytest.raises(ModelError, match="is an adapter for another model"):
        load_pretrained_model(saved)


def test_settings_are_checked_before_anything_is_written(run_folder: Path, tmp_path: Path) -> None:
    model = load_model(run_folder)
    with pytest.raises(UsageError, match="no setting 'epoch'; did you mean epochs"):
        model.train(EXAMPLES, tmp_path / "out", epoch=3)
    with pytest.raises(UsageError, match=r"call pretune\.finetune"):
        model.train(EXAMPLES, tmp_path / "out", from_scratch=True)
    assert not (tmp_path / "out").exists()


def test_refused_data_leaves_nothing_behind(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(run_folder)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputDataError, match="There are no examples"):
        model.train([])
    for number, texts in enumerate([(5,), ("A film.", 5)], 1):
        with pytest.raises(InputDataError, match=f"Text {number} is 5; expected a string"):
            model.trace(*texts)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(FolderInTheWayError, match="is a run made by `pretune run`; choose another out="):
        model.train(EXAMPLES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.toml"]


def test_examples_that_are_refused_are_not_in_the_way_of_the_corrected_ones(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, out = load_pretrained_model(run_folder), tmp_path / "new" / "out"
    one_label = [(text, "good") for text, _ in EXAMPLES]
    for folder in (None, out):
        with pytest.raises(InputDataError, match="has only one label"):
            model.train(one_label, folder, test_data=EXAMPLES)
        assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputDataError, match="has only one label"):
        model.train(one_label, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    model.train(EXAMPLES, out, epochs=1, seeds=1, learning_rates=[1e-3], quiet=True)
    with pytest.raises(FolderInTheWayError, match=r"labels\.jsonl has other examples"):
        load_pretrained_model(run_folder).train(one_label, out)
    assert (out / "labels.jsonl").is_file() and model.path.is_dir()


def test_many_labels_are_counted(run_folder: Path) -> None:
    model = load_model(run_folder)
    assert repr(model).endswith("labels negative, neutral, positive)")
    model.label_names = tuple("abcdefgh")
    assert repr(model).endswith("labels a, b, c, d, e and 3 more)")


def test_other_examples_are_not_overwritten(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("mine")
    with pytest.raises(FolderInTheWayError, match=r"labels\.jsonl has other examples"):
        load_model(run_folder).train(EXAMPLES, tmp_path)
    assert (tmp_path / "labels.jsonl").read_text() == "mine"


@pytest.mark.parametrize("start", ["pretrain", ""], ids=["from pre-trained", "from fine-tuned"])
def test_train_starts_from_the_current_weights(run_folder: Path, tmp_path: Path, start: str) -> None:
    model = pretune.load_pretrained_model(run_folder) if start else pretune.load_model(run_folder)
    settings = {"epochs": 2, "seeds": 1, "learning_rates": [1e-3], "quiet": True}
    history = model.train(EXAMPLES, tmp_path / "out", **settings)
    assert model.label_names == ("bad", "good")
    assert model.path.is_relative_to(tmp_path / "out" / "finetune")
    assert model.history == [history]
    assert repr(history) == f"History({len(history)} rows)"
    assert {"epoch", "loss", "accuracy"} <= set(history[-1])
    assert len(history) >= 2
    assert "validation" in str(history)
    predictions = model.predict([text for text, _ in EXAMPLES])
    assert set(predictions.labels) <= {"bad", "good"}
    again = pretune.load_model(tmp_path / "out")
    assert again.predict(TEXTS).labels == model.predict(TEXTS).labels


def test_without_out_the_run_is_temporary_and_only_the_trace_is_printed(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    caplog.set_level(logging.INFO, "pretune")
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in EXAMPLES))
    model = pretune.load_pretrained_model(run_folder / "pretrain")
    settings = {"epochs": 1, "seeds": 1, "learning_rates": (1e-3,)}
    history = model.train(tmp_path / "data.jsonl", **settings)
    assert capsys.readouterr() == (f"{history.table()}\n", "")
    assert len(history.table().splitlines()) < 10
    first, *others = [record.getMessage() for record in caplog.records]
    assert first.startswith(f"The run is in {tmp_path}")
    assert str(model.path).startswith(first.removeprefix("The run is in "))
    assert "finetune: started" in others
    model.train(tmp_path / "data.jsonl", quiet=True, **settings)
    assert capsys.readouterr() == ("", "")


class Column:
    """Like a column of pandas or polars: it is iterable, has keys, and returns its values."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def keys(self) -> list[int]:
        return list(range(len(self.values)))

    def tolist(self) -> list[Any]:
        return self.values


def test_columns_and_arrays_are_lists(run_folder: Path) -> None:
    model = load_model(run_folder)
    expected = model.predict(TEXTS).labels
    assert model.predict(Column(TEXTS)).labels == expected
    assert model.predict(np.array(TEXTS)).labels == expected
    pairs = model.predict(np.array([(text, "negative") for text in TEXTS]))
    assert (pairs.labels, pairs.expected) == (expected, ("negative",) * 3)
    assert as_pairs((Column(["a", "b"]), Column([True, None]))) == [("a", "true"), ("b", "")]


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  ", np.float64("nan")], ids=repr)
def test_a_missing_text_gets_an_empty_prediction_in_its_place(run_folder: Path, missing: Any) -> None:
    predictions = load_model(run_folder).predict([TEXTS[0], missing, TEXTS[1]])
    assert [p.is_empty for p in predictions] == [False, True, False]
    assert (predictions[1].label, predictions[1].probability, predictions[1].probabilities) == (None, None, {})
    assert "1 without a text and so without a label" in str(predictions)


@pytest.mark.parametrize("missing", [None, float("nan"), "", " \n"], ids=repr)
def test_two_columns_are_readas_pairs(run_folder: Path, missing: Any) -> None:
    model = load_model(run_folder)
    texts, labels = [TEXTS[0], missing, TEXTS[1], "\u2028"], ["negative", "positive", missing, missing]
    pairs = model.predict(list(zip(texts, labels, strict=True)))
    for columns in ((texts, labels), (Column(texts), Column(labels)), (np.array(texts, object), labels)):
        predictions = model.predict(columns)
        assert (predictions.labels, predictions.expected) == (pairs.labels, pairs.expected)
        assert predictions.expected == ("negative", "positive", None, None)
        assert [p.is_empty for p in predictions] == [False, True, False, True]
        assert predictions.num_empty == 2
        assert str(predictions).endswith("(n = 1)")
    assert model.predict((texts[:2], labels[:2])).expected == ("negative", "positive")
    assert model.predict(([], [])).labels == []


def test_what_is_not_a_pair_is_named(run_folder: Path) -> None:
    model = load_model(run_folder)
    assert [p.is_empty for p in model.predict((None, TEXTS[0]))] == [True, False]  # two texts
    for data in ([("a", "negative"), (3, "positive")], (["a", 3], ["negative", "positive"])):
        with pytest.raises(InputDataError, match=r"Example 2 is \(3, 'positive'\); expected a pair"):
            model.predict(data)
    with pytest.raises(InputDataError, match="2 texts and 1 labels"):
        model.predict((["a", "b"], ["negative"]))


@pytest.mark.parametrize("text", [None, float("nan"), "", " \n", "<p></p>"], ids=repr)
def test_a_text_without_content_is_refused(run_folder: Path, text: Any) -> None:
    with pytest.raises(UsageError, match="There is no text to trace"):
        load_model(run_folder).trace(text)
    with pytest.raises(UsageError, match=r"The text has no \[MASK\]"):
        load_pretrained_model(run_folder).fill(text)
    with pytest.raises(InputDataError, match="Text 1 is 5; expected a string"):
        load_pretrained_model(run_folder).fill(5)  # type: ignore[arg-type]


def test_half_a_surrogate_pair_becomes_the_same_character_in_texts_and_labels(run_folder: Path, tmp_path: Path) -> None:
    data = [(f"{text}\udc80", f"{label}\ud800") for text, label in EXAMPLES]
    assert as_pairs(data)[0] == (f"{EXAMPLES[0][0]}\ufffd", f"{EXAMPLES[0][1]}\ufffd")
    model = load_pretrained_model(run_folder)
    model.train(data, tmp_path / "o", epochs=1, seeds=1, learning_rates=[1e-3], quiet=True)
    assert model.label_names == ("bad\ufffd", "good\ufffd")
    assert model.predict(data).accuracy == model.predict([(t, y.replace("\ud800", "\ufffd")) for t, y in data]).accuracy


@pytest.mark.parametrize("missing", [None, float("nan"), ""], ids=repr)
def test_examples_without_a_label_are_left_out_and_counted(run_folder: Path, tmp_path: Path, missing: Any) -> None:
    model = load_pretrained_model(run_folder)
    history = model.train([*EXAMPLES, ("A text.", missing)], tmp_path / "o", epochs=1, seeds=1, quiet=True)
    assert model.label_names == ("bad", "good")
    assert len(history)
    warnings = {event.get("rule"): event.get("count") for event in read_events(tmp_path / "o" / "prepare")}
    assert warnings["no_label"] == 1


def test_expected_labels_count_by_the_names_of_the_model(run_folder: Path) -> None:
    model = load_model(run_folder)
    labels = model.predict(TEXTS).labels
    numbers = [["negative", "neutral", "positive"].index(str(label)) for label in labels]
    assert model.predict(list(zip(TEXTS, [0, *numbers[1:]], strict=True))).accuracy in (2 / 3, 1.0)
    assert model.predict([(text, f" {label} ") for text, label in zip(TEXTS, labels, strict=True)]).accuracy == 1.0
    assert model.predict([(TEXTS[0], labels[0]), (TEXTS[1], None), (None, "negative")]).accuracy == 1.0
    with pytest.raises(InputDataError, match=r"item 2: the label 'mixed' is not one of the model's classes"):
        model.predict([(TEXTS[0], "negative"), (TEXTS[1], "mixed")])


def test_true_is_true_however_it_is_spelled(run_folder: Path, tmp_path: Path) -> None:
    model = load_pretrained_model(run_folder)
    data = [(text, label == "good") for text, label in EXAMPLES]
    model.train(data, tmp_path / "o", epochs=1, seeds=1, learning_rates=[1e-3], quiet=True)
    assert model.label_names == ("false", "true")
    accuracy = model.predict(data).accuracy
    assert accuracy is not None and accuracy > 0
    for write in (str, np.bool_, lambda label: str(label).upper()):
        assert model.predict([(text, write(label)) for text, label in data]).accuracy == accuracy


def test_a_data_frame_is_read_by_the_names_of_its_columns(run_folder: Path, tmp_path: Path) -> None:
    rows = {"id": range(len(EXAMPLES)), "review": [t for t, _ in EXAMPLES], "stars": [y == "good" for _, y in EXAMPLES]}
    frame, names = pd.DataFrame(rows), {"text_column": "review", "label_column": "stars"}
    frame.loc[0, "review"] = None
    model = load_pretrained_model(run_folder)
    held_out = (["A warm phone.", "Our rude soup."], [True, False])  # test data of another form
    settings = {"epochs": 1, "seeds": 1, "learning_rates": [1e-3], "quiet": True}
    model.train(frame, tmp_path / "o", test_data=held_out, **names, **settings)
    assert model.label_names == ("false", "true")
    warnings = {event.get("rule"): event.get("count") for event in read_events(tmp_path / "o" / "prepare")}
    assert warnings["empty_text"] == 1
    expected = model.predict(list(frame["review"]))
    one, rows_of = frame[["review"]], frame.to_dict("records")
    for same in (frame, pl.from_pandas(frame), one, frame["review"], rows_of):  # the column that it learned from
        assert model.predict(same).labels == expected.labels
    shown = model.predict(frame, label_column="stars")
    assert shown.expected == tuple(str(value).lower() for value in frame["stars"])
    assert model.predict(frame.rename(columns={"review": "x"}), text_column="x").labels == expected.labels
    file = tmp_path / "o" / "labels.jsonl"
    assert model.predict(file, text_column="review").labels == expected.labels
    with pytest.raises(UsageError, match=r"the data is a file; call pretune\.evaluate"):
        model.predict(file, label_column="stars")
    with pytest.raises(InputDataError, match="no column named 'text'"):
        model.predict(frame, text_column="text")


SETTINGS: dict[str, Any] = {"epochs": 1, "seeds": 1, "learning_rates": [1e-3], "quiet": True}
FIRST, SECOND = [text for text, _ in EXAMPLES], [f"It was {label}." for _, label in EXAMPLES]


def test_pairs_of_texts_from_columns_tuples_and_tables(run_folder: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"review": FIRST, "summary": SECOND, "fits": [y == "good" for _, y in EXAMPLES]})
    model = load_pretrained_model(run_folder)
    names = {"text_column": "review", "text_pair_column": "summary", "label_column": "fits"}
    model.train(frame, tmp_path / "o", task="pairs", **names, **SETTINGS)
    expected = model.predict(list(zip(FIRST, SECOND, strict=True)))
    assert expected.expected is None
    for same in (frame, pl.from_pandas(frame), frame[["review", "summary"]].to_numpy()):
        assert model.predict(same).labels == expected.labels
    file = tmp_path / "o" / "labels.jsonl"
    assert model.predict(file).labels == model.predict(file, text_column="review").labels == expected.labels
    labelled = model.predict((frame[["review", "summary"]], frame["fits"]))
    assert (labelled.labels, labelled.accuracy is not None) == (expected.labels, True)
    assert [p.is_empty for p in model.predict([(FIRST[0], SECOND[0]), (FIRST[0], None)])] == [False, True]
    for missing in (None, float("nan"), " ", (None, None)):  # alone, they were refused as single texts
        found = model.predict([(FIRST[0], SECOND[0]), missing])
        assert [p.is_empty for p in found] == [False, True]
        assert [p.is_empty for p in pretune.predict(model, [missing])] == [True]
    with pytest.raises(InputDataError, match="was trained on two texts a row"):
        model.predict(FIRST)


def test_several_labels_a_row_from_lists_and_from_columns_of_flags(run_folder: Path, tmp_path: Path) -> None:
    flags = pd.DataFrame({"good": [int(y == "good") for _, y in EXAMPLES], "warm": [int("warm" in t) for t in FIRST]})
    flags["film"] = [int("film" in text) for text in FIRST]
    model = load_pretrained_model(run_folder)
    model.train((FIRST, flags), tmp_path / "o", task="multilabel", **SETTINGS)
    assert model.label_names == ("film", "good", "warm")
    shown = model.predict((FIRST, flags))
    assert shown.expected is not None
    assert shown.expected[1] == model.predict([(FIRST[1], ["warm", "film", "good"])]).expected[0]  # type: ignore[index]
    assert shown.accuracy is not None
    with pytest.raises(InputDataError, match="item 1: the label 'rude' is not one of"):
        model.predict([(FIRST[0], ["rude"])])


def test_scores_from_a_column_of_numbers(run_folder: Path, tmp_path: Path) -> None:
    model = load_pretrained_model(run_folder)
    scores = np.array([4.25 + len(text) / 7 if label == "good" else 1.0 for text, label in EXAMPLES])
    scores[0] = np.nan
    model.train((pl.Series(FIRST), scores), tmp_path / "o", task="regression", **SETTINGS)
    shown = model.predict((FIRST, scores))
    assert shown.expected is not None
    assert shown.expected[0] is None
    assert shown.expected[1] == f"{scores[1]:.4g}"
    assert shown.accuracy is None  # of scores, near is good enough
    with pytest.raises(InputDataError, match="not those of the task regression"):
        model.predict([(FIRST[0], "good")])


def test_texts_without_letters_are_texts(run_folder: Path, tmp_path: Path) -> None:
    """They were refused with the advice to give --text-column, which train has not."""
    model = load_pretrained_model(run_folder)
    rows = [(f"{i} + {i % 7}", "even" if i % 2 else "odd") for i in range(40)]
    model.train(rows[4:], tmp_path / "one", test_data=rows[:4], **SETTINGS)
    assert model.label_names == ("even", "odd")
    pairs = [((f"{i}", f"{i % 7} + 1"), label) for i, (_, label) in enumerate(rows)]
    model.train(pairs, tmp_path / "two", **SETTINGS)
    assert not model.predict([("1", "2")])[0].is_empty
