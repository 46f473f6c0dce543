from __future__ import annotations

import json
import signal
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pretune.api import load_model, load_pretrained_model
from pretune.errors import (
    FolderInTheWayError,
    InputDataError,
    InterruptedByUserError,
    PretuneError,
    StageDiffersError,
    UsageError,
)
from pretune.runtime.interruption import StopFlag
from pretune.runtime.stage_folder import take_lock
from pretune.settings import SplitConfig
from pretune.text.labels.task_rows import read_task_rows
from pretune.train_folder import TrainFolder, as_keywords, read_examples

EXAMPLES = [
    (f"The {thing} {n} was {word}.", word) for n in range(12) for thing in ("film", "meal") for word in ("good", "bad")
]
SETTINGS: dict[str, Any] = {"epochs": 1, "seeds": 1, "learning_rates": [1e-3], "quiet": True}


def test_a_training_that_was_stopped_says_how_to_resume_and_does(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without out= it said to run the same command again, which started over in another folder."""

    def interrupt(_ranks: object, stop: StopFlag, _what: str) -> bool:
        stop.signal_number = signal.SIGINT
        return True

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = load_pretrained_model(run_folder)
    with monkeypatch.context() as patch, pytest.raises(InterruptedByUserError) as caught:
        patch.setattr("pretune.training.finetuning_trial.agree_to_stop", interrupt)
        model.train(EXAMPLES, **SETTINGS)
    [folder] = tmp_path.iterdir()
    assert str(caught.value).endswith(f"Call train again with out='{folder}' to resume.")
    model.train(EXAMPLES, folder, **SETTINGS)
    assert '"resumed"' in (folder / "finetune" / "events.jsonl").read_text(encoding="utf-8")


def test_a_folder_with_other_settings_is_renamed_on_request(run_folder: Path, tmp_path: Path) -> None:
    model = load_pretrained_model(run_folder)
    model.train(EXAMPLES, tmp_path / "out", **SETTINGS)
    model = load_pretrained_model(run_folder)
    with pytest.raises(StageDiffersError, match="add redo=True"):
        model.train(EXAMPLES, tmp_path / "out", **SETTINGS, batch_size=8)
    model.train(EXAMPLES, tmp_path / "out", redo=True, **SETTINGS, batch_size=8)
    assert (tmp_path / "out" / "finetune.old-1").is_dir()


def test_a_folder_in_which_another_process_works_is_named_as_the_call_names_it(
    run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "prepare").mkdir(parents=True)
    with (
        take_lock(tmp_path / "out" / "prepare"),
        pytest.raises(FolderInTheWayError, match="or choose another out=") as caught,
    ):
        load_pretrained_model(run_folder).train(EXAMPLES, tmp_path / "out", **SETTINGS)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("redo", [False, True])
def test_a_model_is_not_trained_into_the_folder_that_it_was_loaded_from(
    run_folder: Path, tmp_path: Path, redo: bool
) -> None:
    """With redo=True its own folder was renamed, which broke the object; without, redo=True was advised."""
    (tmp_path / "real" / "finetune").mkdir(parents=True)
    load_model(run_folder).save(tmp_path / "real" / "finetune" / "checkpoint")
    (tmp_path / "link").symlink_to("real")
    model = load_model(tmp_path / "real")
    before = sorted(tmp_path.rglob("*"))
    for out in ("real", "link"):
        with pytest.raises(UsageError, match=rf"{out} has the model to start from: .* or load the base again"):
            model.train(EXAMPLES, tmp_path / out, redo=redo, **SETTINGS)
    assert sorted(tmp_path.rglob("*")) == before
    assert model.predict(["A film."]).labels


@pytest.mark.parametrize("inner", [".", "checkpoint"], ids=["a model folder", "a stage folder"])
def test_a_folder_with_a_model_is_no_place_to_train_in(run_folder: Path, tmp_path: Path, inner: str) -> None:
    """The model in the folder, rather than the trained one, was loaded after the training."""
    out = tmp_path / "out"
    load_model(run_folder).save(out / inner)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FolderInTheWayError, match=r"out has a model of its own, .*; choose another out="):
        load_pretrained_model(run_folder).train(EXAMPLES, out, **SETTINGS)
    assert sorted(tmp_path.rglob("*")) == before


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an example": ({"data": [*EXAMPLES, ("New.", "rare")]}, r"^data, example 49: the label 'rare' has a single row"),
    "a label": ({"data": [*EXAMPLES, ("N.", "line 2")]}, r"^data, example 49: the label 'line 2' has a single row"),
    "all": ({"data": [("a", "x")] * 3}, r"^data has only one label"),
    "names": ({"label_names": ("x=y",)}, r"^data: label_names renames 'x'|^label_names renames 'x'"),
    "a test example": ({"test_data": [("N.", "other")]}, r"^test_data, example 1: the label 'other' never occurs"),
    "a setting": ({"max_seq_len": 1}, r"^max_seq_len is 1; expected at least"),
    "a column": ({"task": "multilabel", "text_pair_column": "b"}, r'^text_pair_column is given, but task="multilabel"'),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named_as_the_call_names_it(
    run_folder: Path, tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    """It named a line of a temporary file, which was gone, and options of the command line."""
    for _ in range(2):  # also if the file of the examples is there already
        with pytest.raises(PretuneError, match=sentence) as caught:
            load_pretrained_model(run_folder).train(**{"data": EXAMPLES, "out": tmp_path / "out", **SETTINGS, **given})
        assert "--" not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"self_train": True}, UsageError, "^self_train needs unlabelled text, .* name one with corpus=, or leave"),
        ({"self_train": True, "corpus": "missing"}, InputDataError, "^missing does not exist"),
        ({"corpus": "texts"}, UsageError, "^The corpus texts is given, which only self_train reads"),
        ({"self_train": True, "self_train_sentences": 100}, UsageError, "^self_train_sentences is 100; expected at le"),
    ],
)
def test_a_corpus_that_is_of_no_use_is_refused_before_anything_is_written(
    run_folder: Path, tmp_path: Path, given: dict[str, Any], error: type[PretuneError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        load_pretrained_model(run_folder).train(EXAMPLES, tmp_path / "out", **SETTINGS, **given)
    assert "--" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_warnings_name_examples_as_the_call_does(
    run_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = [*EXAMPLES, ("", "good"), (None, "bad")]
    with caplog.at_level("WARNING", "pretune"):
        load_pretrained_model(run_folder).train(data, tmp_path / "out", **{**SETTINGS, "quiet": False})
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "prepare: data: 2 rows without a text left out (examples 49, 50)." in warnings
    assert not any(str(tmp_path) in warning for warning in warnings)


def test_a_file_of_the_user_keeps_its_name_and_lines(run_folder: Path, tmp_path: Path) -> None:
    rows = "".join(f"{text},{label}\n" for text, label in [*EXAMPLES, ("New.", "rare")])
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    with pytest.raises(InputDataError, match=r"rows\.csv, line 50: the label 'rare' has a single row"):
        load_pretrained_model(run_folder).train(tmp_path / "rows.csv", **SETTINGS)


def test_options_are_written_as_keyword_arguments() -> None:
    for message, expected in (
        ("choose --task multilabel, or --task tokens if", 'choose task="multilabel", or task="tokens" if'),
        ("name them with --text-column and --label-column.", "name them with text_column and label_column."),
        ("give --label-separator '|'; (see --label-separator)", "give label_separator='|'; (see label_separator)"),
        ("--validation-fraction 0.5 and --test-fraction 0.6", "validation_fraction=0.5 and test_fraction=0.6"),
        ("or give --test-labels.", "or give test_data."),
        ("as in --label-names 0=O,1=B-PER.", "as in label_names 0=O,1=B-PER."),
        ("give --method head, or --epochs 2, or", 'give method="head", or epochs=2, or'),
        ("--no-stack or `pretune prepare F --task chat`", "stack=False or `pretune prepare F --task chat`"),
        ("--method head reads, --from DIR", 'method="head" reads, --from DIR'),
    ):
        assert as_keywords(message) == expected


@pytest.mark.parametrize("missing", [None, float("nan"), "", " "], ids=repr)
@pytest.mark.parametrize("several", [["a", "b"], "a|b"], ids=["lists", "joined"])
def test_a_missing_label_is_not_learned_as_none_of_the_labels(tmp_path: Path, several: object, missing: object) -> None:
    """With several labels a row, None was learned as the answer that none of them fits."""
    examples = read_examples([("A text.", several), ("More.", missing), ("Other.", [])], SplitConfig())
    assert isinstance(examples.content, str)
    (tmp_path / "labels.jsonl").write_text(examples.content, encoding="utf-8")
    rows = read_task_rows(
        tmp_path / "labels.jsonl", task="multilabel", label_separator="|" if several == "a|b" else None
    )
    assert rows.labels == [("a", "b"), None, ()]


def test_examples_that_an_earlier_version_wrote_are_the_same(tmp_path: Path) -> None:
    """It wrote a missing label as a blank one, and entities in the order given; the folder was then refused."""
    target = tmp_path / "labels.jsonl"
    folder = TrainFolder(tmp_path)
    data = [("Ann met Bob.", [(8, 11, "name"), (0, 3, "name"), (0, 3, "name")]), ("x", None), ("é\u2028", "b")]
    before = (
        '{"text": "Ann met Bob.", "label": [[8, 11, "name"], [0, 3, "name"], [0, 3, "name"]]}\n'
        '{"text": "x", "label": ""}\n{"text": "é\u2028", "label": "b"}\n'
    )
    target.write_text(before, encoding="utf-8")
    examples = read_examples(data, SplitConfig())
    assert examples.content != before
    assert folder.labels_file(examples, "labels.jsonl").read_text(encoding="utf-8") == before
    accented = unicodedata.normalize("NFD", "\u00e9t\u00e9")  # which it wrote as it was given
    for name, label in (("one", accented), ("several", [accented, "b"]), ("entities", [(0, 3, accented)])):
        row = json.dumps({"text": "Ann.", "label": label}, ensure_ascii=False)
        (tmp_path / name).write_text(f"{row}\n", encoding="utf-8")
        folder.labels_file(read_examples([("Ann.", label)], SplitConfig()), name)
    for other in (before[:-20], before + "{}\n", before.replace("11", "10"), before.replace('"b"', '""'), "[" * 9999):
        target.write_text(other, encoding="utf-8")
        with pytest.raises(FolderInTheWayError, match=r"labels\.jsonl has other examples"):
            folder.labels_file(examples, "labels.jsonl")
