"""Stage 4: rows come out checked, split and encoded, or the file is refused and no folder is left."""

from __future__ import annotations

import json
import random
import re
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import (
    CorruptModelError,
    FolderInTheWayError,
    InputDataError,
    ModelError,
    ModelNotFoundError,
    UsageError,
)
from pretune.model.folder import load_model_folder
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import Manifest, sealed
from pretune.runtime.stage_folder import open_stage
from pretune.settings import PrepareConfig, SplitConfig
from pretune.stages.prepare import prepare
from pretune.text.seen_texts import PRETRAINING, save_seen
from pretune.text.splits import SPLITS, assign_splits
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.long_texts import Reading
from pretune.text.tokenizer.tokenizer import load_tokenizer

WORDS = "the film hotel book phone food was warm funny dreadful cold dull long wonderful".split()


def draw_texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=8)) + f" {n}" for n in range(count)]


def write_rows(path: Path, texts: list[str], labels: list[Any], **more: list[Any]) -> Path:
    rows = [{"review": t, "sentiment": y} for t, y in zip(texts, labels, strict=True)]
    for name, values in more.items():
        rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", draw_texts(300), [n % 2 for n in range(300)])


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def events_of(out: Path, kind: str) -> list[Event]:
    return [event for event in read_events(out) if event["event"] == kind]


def read_labels_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "labels.json").read_text(encoding="utf-8"))
    return found


def run(labels: Path, out: Path, base: Path, test_labels: Path | None = None, **settings: Any) -> Manifest:
    config = PrepareConfig(**{name: settings.pop(name) for name in ("max_seq_len", "long_texts") if name in settings})
    return prepare(labels, out, config, base=base, test_labels=test_labels, split=SplitConfig(**settings))


def test_rows_and_shards_agree(tmp_path: Path, labels_file: Path, tokenizer_folder: Path) -> None:
    out = tmp_path / "prepare"
    manifest = run(labels_file, out, tokenizer_folder, label_names=("0=negative", "1=positive"))
    texts = draw_texts(300)
    expected = assign_splits(texts, [str(n % 2) for n in range(300)], 0.1, 0.1)
    tokenizer = load_tokenizer(out)
    assert json.loads((out / "labels.json").read_text())["names"] == ["negative", "positive"]
    for split in ("train", "validation", "test"):
        rows, shard = read_jsonl(out / f"{split}.jsonl"), TokenShard(out, split)
        assert [row["row"] for row in rows] == [n for n in range(300) if expected[n] == split]
        assert [row["text"] for row in rows] == [texts[row["row"]] for row in rows]
        assert all(row["label"] == row["row"] % 2 for row in rows)
        assert [shard.doc(i).tolist() for i in range(len(shard))] == tokenizer.encode_batch([r["text"] for r in rows])
        assert manifest.summary[split] == len(rows)
    assert manifest.status == "finished"
    assert manifest.summary["early_stopping_metric"] == "accuracy"
    assert manifest.summary["long_fraction"] == 0.0


def test_the_log_has_all_events(tmp_path: Path, tokenizer_folder: Path) -> None:
    texts = [*draw_texts(100), "", "only once", "only once"]
    out = tmp_path / "prepare"
    run(write_rows(tmp_path / "rows.jsonl", texts, ["a", "b"] * 50 + ["a", "a", "b"]), out, tokenizer_folder)
    (detected,), (flow,), (example,) = (events_of(out, kind) for kind in ("detected", "flow", "example"))
    assert (detected["text_column"], detected["label_column"]) == ("review", "sentiment")
    assert flow["shape_in"] == [{"name": "labelled rows", "value": 103}]
    assert sum(shape["value"] for shape in flow["shape_out"][:3]) == 102
    assert [(rule["rule"], rule["count"]) for rule in flow["dropped"]] == [("empty_text", 1)]
    assert flow["peak_memory_bytes"] > 0
    assert {event["rule"]: event["count"] for event in events_of(out, "warning")} == {
        "empty_text": 1,
        "contradiction": 1,
    }
    assert example["split"] == "test"
    assert example["num_tokens"] > 2


def test_a_test_file_with_slices(tmp_path: Path, labels_file: Path, tokenizer_folder: Path) -> None:
    texts = [draw_texts(300)[7], *draw_texts(40, seed=1)]
    parts = ["seen", "unseen"] * 20
    test = write_rows(tmp_path / "test.jsonl", texts, [n % 2 for n in range(41)], slice=["seen", *parts])
    out = tmp_path / "prepare"
    manifest = run(labels_file, out, tokenizer_folder, test)
    assert manifest.summary["test"] == 41
    assert manifest.summary["train"] + manifest.summary["validation"] == 299
    assert [row["slice"] for row in read_jsonl(out / "test.jsonl")] == ["seen", *parts]
    assert [rule["rule"] for rule in events_of(out, "flow")[0]["dropped"]] == ["in_test"]


def test_strong_imbalance_switches_the_metric(tmp_path: Path, tokenizer_folder: Path) -> None:
    labels = ["spam" if n % 33 == 0 else "ham" for n in range(600)]
    out = tmp_path / "prepare"
    manifest = run(write_rows(tmp_path / "rows.jsonl", draw_texts(600), labels), out, tokenizer_folder)
    assert manifest.summary["early_stopping_metric"] == "macro_f1"
    assert any("early stopping uses macro-F1" in event["sentence"] for event in events_of(out, "warning"))
    rows = read_jsonl(out / "validation.jsonl")
    assert sum(row["label"] == 1 for row in rows) >= 5


@pytest.mark.parametrize(("rare", "metric"), [(120, "macro_f1"), (121, "accuracy")])
def test_four_to_one_is_imbalanced_whatever_the_test_labels_are(
    tmp_path: Path, tokenizer_folder: Path, rare: int, metric: str
) -> None:
    labels = ["spam"] * rare + ["ham"] * (600 - rare)
    rows = write_rows(tmp_path / "rows.jsonl", draw_texts(600), labels)
    test = write_rows(tmp_path / "test.jsonl", draw_texts(40, seed=1), ["spam"] * 20 + ["ham"] * 20)
    manifest = run(rows, tmp_path / "prepare", tokenizer_folder, test)
    assert manifest.summary["early_stopping_metric"] == metric


def test_long_texts_are_cut_and_counted(tmp_path: Path, tokenizer_folder: Path) -> None:
    texts = [text * (5 if n % 10 == 0 else 1) for n, text in enumerate(draw_texts(100))]
    out = tmp_path / "prepare"
    file = write_rows(tmp_path / "rows.jsonl", texts, ["a", "b"] * 50)
    manifest = run(file, out, tokenizer_folder, max_seq_len=48)
    assert (manifest.summary["long_texts"], manifest.summary["long_fraction"]) == ("cut", 0.1)
    assert max(TokenShard(out, "train").lengths) == 48


def test_texts_that_are_all_too_long_may_be_cut(tmp_path: Path, tokenizer_folder: Path) -> None:
    """A refusal gave advice that nobody could follow: a larger --max-seq-len than the model reads."""
    file = write_rows(tmp_path / "rows.jsonl", draw_texts(100), ["a", "b"] * 50)
    manifest = run(file, tmp_path / "out", tokenizer_folder, max_seq_len=8, long_texts="cut")
    assert manifest.summary["long_fraction"] == 1.0
    [warning] = [event for event in events_of(tmp_path / "out", "warning") if event["rule"] == "cut"]
    assert warning["sentence"].startswith("100 rows (100.0%) are longer than 8 tokens; only their beginning and end")
    assert warning["sentence"].endswith(
        "Every row is cut; --long-texts windows reads all of them, and --max-seq-len 512 reads more of each."
    )


def test_long_texts_are_kept_whole_and_read_in_windows(tmp_path: Path, tokenizer_folder: Path) -> None:
    texts = [text * (5 if n % 9 == 0 else 1) for n, text in enumerate(draw_texts(100))]
    texts[1] = " ".join(texts[2:30] * 120)
    file = write_rows(tmp_path / "rows.jsonl", texts, ["a", "b"] * 50)
    out, tokenizer = tmp_path / "prepare", load_tokenizer(tokenizer_folder)
    manifest = run(file, out, tokenizer_folder, max_seq_len=48)
    lengths = [len(tokenizer.encode(text)) for text in texts]
    assert max(lengths) > 30_000
    assert sum(manifest.summary[split] for split in SPLITS) == 100
    assert sum(TokenShard(out, split).num_tokens for split in SPLITS) == sum(lengths)
    assert (manifest.summary["long_texts"], manifest.summary["long_fraction"]) == ("windows", 0.13)
    assert read_labels_of(out)["long_texts"] == "windows"
    [notice] = [event["sentence"] for event in events_of(out, "notice")]
    assert notice.startswith("13 rows (13.0%) are longer than 48 tokens. Each of them is read in several windows")
    assert "1 of them have more than 64 windows; 64, spread evenly" in notice
    assert f"In all, {manifest.summary['tokens_read']:,} of {sum(lengths):,} tokens are read" in notice
    assert not [event for event in events_of(out, "warning") if event["rule"] == "cut"]


@pytest.mark.parametrize(("wanted", "way"), [("auto", "cut"), ("cut", "cut"), ("windows", "windows")])
def test_the_way_of_reading_can_be_given(tmp_path: Path, tokenizer_folder: Path, wanted: str, way: str) -> None:
    texts = [text * (5 if n % 10 == 0 else 1) for n, text in enumerate(draw_texts(100))]
    file = write_rows(tmp_path / "rows.jsonl", texts, ["a", "b"] * 50)
    out = tmp_path / "prepare"
    manifest = run(file, out, tokenizer_folder, max_seq_len=48, long_texts=wanted)
    assert manifest.summary["long_texts"] == way
    assert read_labels_of(out).get("long_texts") == (None if way == "cut" else "windows")
    [sentence] = [event["sentence"] for event in read_events(out) if "longer than 48" in event.get("sentence", "")]
    assert ("only their beginning and end are read" in sentence) == (way == "cut")
    assert re.search(r"In all, [\d,]+ of [\d,]+ tokens are read", sentence)


def test_token_ids_are_not_kept_as_lists(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million rows of 300 tokens took 11 GB."""
    held = []

    def measure(**fields: Any) -> Reading:
        lists = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/tokenizer/tokenizer.py")])
        held.append(sum(each.size for each in lists.statistics("filename")))
        return Reading(**fields)

    monkeypatch.setattr("pretune.stages.prepare.Reading", measure)
    file = write_rows(tmp_path / "rows.jsonl", [text * 10 for text in draw_texts(300)], ["a", "b"] * 150)
    tracemalloc.start()
    manifest = run(file, tmp_path / "out", tokenizer_folder)
    tracemalloc.stop()
    assert manifest.summary["tokens"] > 30_000
    assert held[0] < manifest.summary["tokens"]  # a list has at least 8 bytes for each


def test_pairs_have_no_windows(tmp_path: Path, tokenizer_folder: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"text": text * 4, "second": text, "label": ("a", "b")[n % 2]} for n, text in enumerate(draw_texts(100))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = SplitConfig(task="pairs", text_column="text", text_pair_column="second", label_column="label")
    settings = {"base": tokenizer_folder, "split": split}
    with pytest.raises(InputDataError, match=r"--long-texts is windows, but .* has pairs of texts or labelled tokens"):
        prepare(file, tmp_path / "a", PrepareConfig(max_seq_len=64, long_texts="windows"), **settings)
    manifest = prepare(file, tmp_path / "b", PrepareConfig(max_seq_len=64), **settings)
    assert manifest.summary["long_texts"] == "cut"
    assert 0 < manifest.summary["long_fraction"] < 1
    assert prepare(file, tmp_path / "c", PrepareConfig(max_seq_len=16), **settings).summary["long_fraction"] == 1.0
    [warning] = [event for event in events_of(tmp_path / "c", "warning") if event["rule"] == "cut"]
    assert warning["sentence"].endswith("Every row is cut; --max-seq-len 512 reads more of each.")


def test_pairs_with_nothing_between_are_warned_of(tmp_path: Path, tokenizer_folder: Path, endless_model: Path) -> None:
    rows = [{"text": text, "text2": text[:20], "label": ("a", "b")[n % 2]} for n, text in enumerate(draw_texts(100))]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for base, is_warned in ((endless_model, True), (tokenizer_folder, False)):
        out = tmp_path / base.name
        prepare(tmp_path / "pairs.jsonl", out, base=base)
        found = [event for event in events_of(out, "warning") if event["rule"] == "unseparated_pairs"]
        assert bool(found) == is_warned
        assert all("puts no token between the two texts of a pair" in event["sentence"] for event in found)


def test_the_example_is_that_of_earlier_stages(tmp_path: Path, labels_file: Path, run_folder: Path) -> None:
    base = tmp_path / "pretrain"
    folder = open_stage(base, "pretrain", config={}, inputs={})
    shutil.copytree(run_folder / "pretrain" / "checkpoint", base / "checkpoint")
    folder.finish(example={"text": draw_texts(300)[11].upper()}, synthetic=True)
    out = tmp_path / "prepare"
    manifest = run(labels_file, out, base)
    assert manifest.summary["example"]["row"] == 11
    assert manifest.summary["synthetic"] is True
    assert events_of(out, "stage_started")[0]["synthetic"] is True
    with pytest.raises(InputDataError, match="--max-seq-len is 1024, and the model reads at most 512"):
        run(labels_file, tmp_path / "long", base, max_seq_len=1024)
    config = base / "checkpoint" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 2048}))
    with pytest.raises(InputDataError, match="at most 512 tokens"):  # a prediction does not read more
        run(labels_file, tmp_path / "long", base / "checkpoint", max_seq_len=1024)


@pytest.mark.parametrize("name", ["pretrain", "pretrain/checkpoint"])
def test_a_model_that_reads_less_sets_the_length(
    tmp_path: Path, labels_file: Path, run_folder: Path, name: str
) -> None:
    base = tmp_path / "pretrain"
    folder = open_stage(base, "pretrain", config={}, inputs={})
    shutil.copytree(run_folder / "pretrain" / "checkpoint", base / "checkpoint")
    fields = json.loads((base / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    (base / "checkpoint" / "config.json").write_text(json.dumps({**fields, "max_position_embeddings": 16}))
    folder.finish(example={"text": draw_texts(300)[11]}, synthetic=True)
    manifest = run(labels_file, tmp_path / "prepare", tmp_path / name, long_texts="cut")
    assert manifest.summary["max_seq_len"] == 16
    assert max(TokenShard(tmp_path / "prepare", "train").lengths) == 16
    assert (manifest.summary["example"]["row"], manifest.summary["synthetic"]) == (11, True)


@pytest.mark.parametrize("content", ['{"vocab_size": 4', "[]", '{"max_position_embeddings": "many"}'])
def test_a_model_whose_config_is_damaged_is_named(
    tmp_path: Path, labels_file: Path, run_folder: Path, content: str
) -> None:
    base = shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path / "model")
    (base / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CorruptModelError, match=r"config\.json is damaged"):
        run(labels_file, tmp_path / "prepare", base)
    assert not (tmp_path / "prepare").exists()


def test_a_checkpoint_next_to_other_files_passes_nothing_on(
    tmp_path: Path, labels_file: Path, run_folder: Path
) -> None:
    shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path / "checkpoint")
    (tmp_path / "manifest.json").write_text("{}")
    manifest = run(labels_file, tmp_path / "prepare", tmp_path / "checkpoint")
    assert (manifest.summary["synthetic"], manifest.summary["max_seq_len"]) == (False, 512)


def test_a_second_call_is_skipped_and_another_refused(
    tmp_path: Path, labels_file: Path, tokenizer_folder: Path
) -> None:
    out = tmp_path / "prepare"
    first = run(labels_file, out, tokenizer_folder)
    log = (out / "events.jsonl").read_bytes()
    assert run(labels_file, out, tokenizer_folder) == first
    assert (out / "events.jsonl").read_bytes() == log
    with pytest.raises(FolderInTheWayError, match="max_seq_len"):
        run(labels_file, out, tokenizer_folder, max_seq_len=64)


def test_a_refusal_leaves_no_folder(tmp_path: Path, tokenizer_folder: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", draw_texts(10), ["a"] * 10)
    with pytest.raises(InputDataError, match="only one label"):
        run(file, tmp_path / "prepare", tokenizer_folder)
    assert not (tmp_path / "prepare").exists()


def test_a_notice_is_for_conversations(tmp_path: Path, labels_file: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(UsageError, match="--notice is for conversations"):
        prepare(labels_file, tmp_path / "prepare", PrepareConfig(notice="Beware."), base=tokenizer_folder)
    assert not (tmp_path / "prepare").exists()


def test_missing_inputs_are_named(tmp_path: Path, labels_file: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        run(tmp_path / "none.csv", tmp_path / "prepare", tokenizer_folder)
    with pytest.raises(InputDataError, match="is a folder"):
        run(tmp_path, tmp_path / "prepare", tokenizer_folder)
    with pytest.raises(ModelNotFoundError, match=r"has no tokenizer\.json"):
        run(labels_file, tmp_path / "prepare", tmp_path)
    with pytest.raises(UsageError, match="leave no room"):
        run(labels_file, tmp_path / "prepare", tokenizer_folder, validation_fraction=0.5, test_fraction=0.5)


def test_an_interrupted_stage_starts_over(tmp_path: Path, labels_file: Path, tokenizer_folder: Path) -> None:
    out = tmp_path / "prepare"
    first = run(labels_file, out, tokenizer_folder)
    manifest = json.loads((out / "manifest.json").read_text())
    begun = {**manifest, "status": "running", "outputs": {}, "summary": {}, "log": None}
    (out / "manifest.json").write_text(json.dumps(sealed(begun)))
    (out / "train.jsonl").unlink()
    again = run(labels_file, out, tokenizer_folder)
    assert again.fingerprint == first.fingerprint
    assert len(events_of(out, "flow")) == 1


def test_a_base_that_finetune_would_refuse_is_refused_already(
    tmp_path: Path, labels_file: Path, run_folder: Path
) -> None:
    """With the sentence of `finetune`, before rows are encoded for nothing."""
    base = tmp_path / "base"
    base.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(run_folder / "pretrain" / "checkpoint" / name, base / name)
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(ModelError) as early:
        run(labels_file, tmp_path / "prepare", base)
    assert not (tmp_path / "prepare").exists()
    with pytest.raises(ModelError) as late:
        load_model_folder(base)
    assert str(early.value) == str(late.value)
    assert "only as a pickle (pytorch_model.bin)" in str(early.value)


def make_base(path: Path, model: Path, *, longest: int = 512, **summary: Any) -> Path:
    folder = open_stage(path, "pretrain", config={}, inputs={})
    shutil.copytree(model, path / "checkpoint")
    fields = json.loads((path / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    (path / "checkpoint" / "config.json").write_text(json.dumps({**fields, "max_position_embeddings": longest}))
    folder.finish(**summary)
    return path


def test_a_folder_is_not_taken_for_that_of_another_base(tmp_path: Path, labels_file: Path, run_folder: Path) -> None:
    """With the same tokenizer it was returned, with the row length and the checks of the first base."""
    model, out = run_folder / "pretrain" / "checkpoint", tmp_path / "prepare"
    first = run(labels_file, out, make_base(tmp_path / "a", model))
    assert run(labels_file, out, make_base(tmp_path / "same", model)) == first
    others = {
        "shorter": make_base(tmp_path / "b", model, longest=32),
        "example": make_base(tmp_path / "c", model, example={"text": "Another."}),
        "split": make_base(tmp_path / "d", model, split="0123"),
        "synthetic": make_base(tmp_path / "e", model, synthetic=True),
        "learned": make_base(tmp_path / "f", model),
    }
    save_seen(others["learned"], PRETRAINING, draw_texts(1, seed=9))
    for base in others.values():
        with pytest.raises(FolderInTheWayError, match="differs in: input base"):
            run(labels_file, out, base)


def test_a_finished_folder_of_an_older_version_stays_valid(
    tmp_path: Path, labels_file: Path, tokenizer_folder: Path
) -> None:
    """It records only the tokenizer of its base."""
    out = tmp_path / "prepare"
    run(labels_file, out, tokenizer_folder)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["inputs"]["base"]
    (out / "manifest.json").write_text(json.dumps(sealed(manifest)))
    assert "base" not in run(labels_file, out, tokenizer_folder).inputs
    again = prepare(labels_file, out, base=tokenizer_folder, redo=True)
    assert "base" in again.inputs
