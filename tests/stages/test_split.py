"""The split: made once, used by every later stage; no model is trained on held-out rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError, UsageError
from pretune.runtime.events import read_events
from pretune.runtime.stage_folder import open_stage
from pretune.settings import PreprocessConfig, SplitConfig
from pretune.stages.collect.stage import collect
from pretune.stages.prepare import prepare
from pretune.stages.preprocess.stage import preprocess
from pretune.stages.split import split
from pretune.tasks.registry import task_named
from pretune.text.document_store import iter_corpus
from pretune.text.labels.split import open_split
from pretune.text.splits import SPLITS, normalise_for_hash

WORDS = "sun moon film hotel soup room book river stone garden window letter".split()
PLAIN = PreprocessConfig(decontaminate="off", near_duplicates=False)  # the sentences are made of the same phrases


def sentence(number: int) -> str:
    parts = [WORDS[(number // len(WORDS) ** k) % len(WORDS)] for k in range(3)]
    return f"The {parts[0]} was near the {parts[1]}, and number {number} liked the {parts[2]}."


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [{"text": sentence(n) + "<br />" * (n % 3), "label": n % 2, "slice": "ab"[n % 5 == 0]} for n in range(400)]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(rows: list[Any]) -> set[str]:
    return {normalise_for_hash(row.text) for row in rows}


def test_the_folder_gives_back_the_split(labels: Path, tmp_path: Path) -> None:
    manifest = split(labels, tmp_path / "split", SplitConfig(label_names=("0=bad", "1=good")))
    found = open_split(tmp_path / "split", task_named)
    assert {side: len(found.by_split[side]) for side in SPLITS} == {side: manifest.summary[side] for side in SPLITS}
    assert len(found.all) == 400
    assert (found.labels, found.names) == (["0", "1"], ["bad", "good"])
    assert found.columns == {"text_column": "text", "label_column": "label"}
    assert {row.slice for row in found.all} == {"a", "b"}
    assert all("<br />" in row.raw for row in found.all if row.raw != row.text)
    assert all(row.label == str(row.row % 2) for row in found.all)
    assert manifest.summary["example"]["split"] == "test"
    (flow,) = [event for event in read_events(tmp_path / "split") if event["event"] == "flow"]
    assert sum(count for counts in flow["parts"].values() for count in counts.values()) == 400


def test_a_notice_of_reading_is_in_the_log(tmp_path: Path) -> None:
    """Escaped quotes were reported for the corpus only."""
    rows = "".join(f'"He said \\"{sentence(n)}\\" twice",{n % 2}\n' for n in range(60))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    split(tmp_path / "rows.csv", tmp_path / "split")
    notices = [event["sentence"] for event in read_events(tmp_path / "split") if event["event"] == "notice"]
    assert f'{tmp_path / "rows.csv"}: quotes inside cells are escaped as \\".' in notices


def test_an_altered_split_is_refused(labels: Path, tmp_path: Path) -> None:
    split(labels, tmp_path / "split")
    file = tmp_path / "split" / "test.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("sun", "sea"), encoding="utf-8")
    with pytest.raises(InputDataError, match=r"test\.jsonl was altered after the split stage"):
        open_split(tmp_path / "split", task_named)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_no_held_out_row_reaches_the_text_whatever_the_fractions(labels: Path, tmp_path: Path, fraction: float) -> None:
    (tmp_path / "more.txt").write_text("\n".join(sentence(n).upper() for n in range(700)), encoding="utf-8")
    split(labels, tmp_path / "split", SplitConfig(test_fraction=fraction))
    collect([tmp_path / "more.txt"], tmp_path / "collect", split=tmp_path / "split")
    preprocess(tmp_path / "collect", tmp_path / "preprocess", PLAIN, split=tmp_path / "split")
    found = open_split(tmp_path / "split", task_named)
    learned = {normalise_for_hash(document["text"]) for document in iter_corpus(tmp_path / "preprocess")}
    assert not learned & texts(found.held_out)
    assert texts(found.by_split["train"]) <= learned


def test_a_different_split_than_that_of_the_text_is_refused(labels: Path, tmp_path: Path) -> None:
    split(labels, tmp_path / "split")
    split(labels, tmp_path / "other", SplitConfig(test_fraction=0.3))
    collect([], tmp_path / "collect", split=tmp_path / "split")
    for given in (tmp_path / "other", None):
        with pytest.raises(InputDataError, match="contains the training texts of a split"):
            preprocess(tmp_path / "collect", tmp_path / "preprocess", PLAIN, split=given)


@pytest.fixture
def pretrained(labels: Path, tmp_path: Path) -> Path:
    """A folder of stage 3 as the stage writes it, but without training."""
    split(labels, tmp_path / "split")
    collect([], tmp_path / "collect", split=tmp_path / "split")
    source = preprocess(tmp_path / "collect", tmp_path / "preprocess", PLAIN, split=tmp_path / "split")
    folder = open_stage(tmp_path / "pretrain", "pretrain", config={}, inputs={})
    (folder.path / "checkpoint").mkdir()
    for name in ("checkpoint/tokenizer.json", "checkpoint/tokenizer_config.json", "seen-pretraining.npy"):
        shutil.copyfile(tmp_path / "preprocess" / Path(name).name, folder.path / name)
    folder.finish(split=source.summary["split"])
    return folder.path


def test_rows_that_were_pretrained_on_are_not_held_out_in_silence(
    labels: Path, pretrained: Path, tmp_path: Path
) -> None:
    """`prepare --test-fraction 0.3` after pre-training with 0.1 tested on rows of the training text."""
    prepare(tmp_path / "split", tmp_path / "prepare", base=pretrained)
    with pytest.raises(InputDataError, match=r"pre-trained on .* of the .* test rows, because another split"):
        prepare(labels, tmp_path / "leaks", base=pretrained, split=SplitConfig(test_fraction=0.3))
    assert not (tmp_path / "leaks").exists()
    again = prepare(labels, tmp_path / "same", base=pretrained)  # the same rows give the same split
    assert again.summary["test"] == len(open_split(tmp_path / "split", task_named).by_split["test"])


def test_a_model_pretrained_without_a_split_warns(labels: Path, pretrained: Path, tmp_path: Path) -> None:
    manifest = json.loads((pretrained / "manifest.json").read_text(encoding="utf-8"))
    base = tmp_path / "no-split"
    folder = open_stage(base, "pretrain", config={}, inputs={})
    (base / "checkpoint").mkdir()
    for name in manifest["outputs"]:
        shutil.copyfile(pretrained / name, base / name)
    folder.finish()
    prepare(labels, tmp_path / "warned", base=base, split=SplitConfig(test_fraction=0.3))
    warnings = [event for event in read_events(tmp_path / "warned") if event.get("rule") == "seen_in_pretraining"]
    assert len(warnings) == 1
    assert "results on them may be too good" in warnings[0]["sentence"]


def test_settings_of_the_split_have_no_effect_on_a_split_folder(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is already split"):
        prepare(tmp_path / "split", tmp_path / "p", base=pretrained, split=SplitConfig(test_fraction=0.3))


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist; expected a csv"):
        split(tmp_path / "none.csv", tmp_path / "split")
    assert not (tmp_path / "split").exists()


def test_validation_rows_that_were_pretrained_on_are_a_warning(labels: Path, pretrained: Path, tmp_path: Path) -> None:
    """As with a smaller label file, in which other rows move to validation so that small classes have some."""
    rows = labels.read_text(encoding="utf-8").splitlines()
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("\n".join(rows[:60]) + "\n", encoding="utf-8")
    prepare(fewer, tmp_path / "fewer", base=pretrained, split=SplitConfig(test_fraction=0.1))
    rules = [event["rule"] for event in read_events(tmp_path / "fewer") if event["event"] == "warning"]
    assert "seen_in_pretraining" in rules
