"""What the files of a base say, wherever the path leads: to a run, a stage, a checkpoint or a bare model folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pretune.errors import CorruptModelError, InputDataError, ModelNotFoundError
from pretune.model.base_folder import describe_pretrained_rows, read_base_folder, splits_of
from pretune.runtime.stage_folder import open_stage
from pretune.settings import SplitConfig
from pretune.tasks.labelled_file import split_file
from pretune.text.seen_texts import PRETRAINING, join_pair, load_seen, save_seen


@pytest.fixture
def run(tmp_path: Path, run_folder: Path) -> Path:
    """A run with a finished pretrain stage that has recorded a split and the texts it has learned."""
    stage = tmp_path / "run" / "pretrain"
    folder = open_stage(stage, "pretrain", config={}, inputs={})
    shutil.copytree(run_folder / "pretrain" / "checkpoint", stage / "checkpoint")
    save_seen(stage, PRETRAINING, ["one text"])
    folder.finish(synthetic=True, example={"text": "The sun rises."}, split="s" * 64, tokens=7)
    return tmp_path / "run"


def test_a_run_its_stage_and_its_checkpoint_are_the_same_base(run: Path) -> None:
    found = [read_base_folder(path) for path in (run, run / "pretrain", run / "pretrain" / "checkpoint")]
    for base in found:
        assert base.path == run / "pretrain" / "checkpoint"
        assert (base.max_seq_len, base.is_synthetic, base.example) == (512, True, "The sun rises.")
        assert base.splits == {"s" * 64}
        assert base.seen is not None
        assert base.seen.among(["One  text", "another"]).tolist() == [True, False]
        assert base.summary["tokens"] == 7
    assert len({base.fingerprint for base in found}) == 1


def test_the_tokens_of_all_bases_count(run: Path) -> None:
    base = read_base_folder(run)
    assert base.trained_tokens == 7
    earlier = {"tokens": 20, "base": {"steps": 3, "base": {"tokens": 100}}}
    assert replace(base, summary={"tokens": 7, "base": earlier}).trained_tokens == 127
    assert replace(base, summary={}).trained_tokens == 0


def test_only_what_was_trained_here_from_the_beginning_is_on_record(run: Path) -> None:
    base = read_base_folder(run)
    assert base.is_recorded
    assert replace(
        base, summary={"tokens": 7, "base": {"path": "chat", "tokens": 5, "base": {"tokens": 9}}}
    ).is_recorded
    assert not replace(base, summary={"tokens": 7, "base": {"path": "a public model"}}).is_recorded
    assert not replace(base, summary={}).is_recorded


def test_a_copy_has_the_same_identity_and_no_history(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run / "pretrain" / "checkpoint", tmp_path / "copy")
    before, base = read_base_folder(run), read_base_folder(copy)
    assert (base.fingerprint, base.tokenizer_hash) == (before.fingerprint, before.tokenizer_hash)
    assert (base.splits, base.seen, base.summary) == (frozenset(), None, {})
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    assert read_base_folder(copy).fingerprint != before.fingerprint


def test_an_adapter_is_known_by_its_corrections_and_by_the_model_that_it_corrects(run: Path, tmp_path: Path) -> None:
    base, adapter = run / "pretrain" / "checkpoint", tmp_path / "adapter"
    adapter.mkdir()
    shutil.copy(base / "tokenizer.json", adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"corrections")

    def fingerprint(corrected: Path, rank: int = 4) -> str:
        fields = {"r": rank, "base_model_name_or_path": str(corrected)}
        (adapter / "adapter_config.json").write_text(json.dumps(fields))
        return read_base_folder(adapter).fingerprint

    found = fingerprint(base)
    assert read_base_folder(adapter).max_seq_len == read_base_folder(base).max_seq_len == 512
    assert fingerprint(shutil.copytree(base, tmp_path / "moved")) == found
    assert fingerprint(base, rank=8) != found
    assert fingerprint(tmp_path / "nothing") != found
    assert read_base_folder(adapter).max_seq_len is None
    (tmp_path / "moved" / "model.safetensors").write_bytes(b"other weights")
    assert fingerprint(tmp_path / "moved") != found
    (adapter / "adapter_config.json").write_text("[1]")
    with pytest.raises(CorruptModelError, match=r"adapter_config\.json is damaged"):
        read_base_folder(adapter).fingerprint  # noqa: B018


def test_an_adapter_without_a_tokenizer_has_that_of_the_model_that_it_corrects(run: Path, tmp_path: Path) -> None:
    """PEFT's `save_pretrained` writes none."""
    base, adapter = run / "pretrain" / "checkpoint", tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    found = read_base_folder(adapter)
    assert (found.path, found.tokenizer_path) == (adapter, base)
    assert found.tokenizer_hash == read_base_folder(base).tokenizer_hash
    shutil.copy(base / "tokenizer.json", adapter)
    assert read_base_folder(adapter).tokenizer_path == adapter
    (adapter / "tokenizer.json").unlink()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "meta-llama/Llama-3.2-1B"}')
    with pytest.raises(ModelNotFoundError, match=r"without tokenizer\.json for meta-llama/.*, which does not exist"):
        read_base_folder(adapter)


def test_no_tokenizer_and_damage_are_named(tmp_path: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist; expected the folder of the pretrain stage"):
        read_base_folder(tmp_path / "nothing")
    with pytest.raises(ModelNotFoundError, match=r"has no tokenizer\.json"):
        read_base_folder(tmp_path)
    base = shutil.copytree(tokenizer_folder, tmp_path / "base")
    assert read_base_folder(base).max_seq_len is None
    (base / "config.json").write_text("[]")
    with pytest.raises(CorruptModelError, match=r"config\.json is damaged"):
        read_base_folder(base)


def test_the_splits_of_all_bases_before_it_count() -> None:
    assert splits_of({}) == splits_of({"split": None, "base": None}) == frozenset()
    assert splits_of({"split": "a", "base": {"splits": ["b", "c"]}}) == {"a", "b", "c"}


def test_learned_test_rows_are_refused_if_any_text_left_out_another_split(run: Path, tmp_path: Path) -> None:
    rows = [{"text": f"text number {n}", "label": n % 2} for n in range(60)]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = split_file(labels, None, SplitConfig())
    base = read_base_folder(run)
    assert describe_pretrained_rows(split, base, None) is None
    save_seen(tmp_path, PRETRAINING, [row.text for row in split.all])
    base = replace(base, seen=load_seen(tmp_path, PRETRAINING))
    with pytest.raises(InputDataError, match="because another split was held out from its text"):
        describe_pretrained_rows(split, base, None)
    found = describe_pretrained_rows(split, base, "s" * 64)
    assert found is not None
    assert found[0] == len(split.held_out)
    assert "validation rows and " in found[1]


def test_a_pair_was_learned_if_both_texts_were_or_the_very_pair(run: Path, tmp_path: Path) -> None:
    """As `evaluate` and `compare` count: one premise may stand in many pairs."""
    labels = tmp_path / "labels.jsonl"
    rows = [{"text": f"premise {n}", "text_pair": f"hypothesis {n}", "label": n % 2} for n in range(60)]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = split_file(labels, None, SplitConfig())
    learned, as_row, half = split.held_out[:3]
    texts = [*learned.texts, join_pair(as_row.text, as_row.text_pair or ""), half.text]
    save_seen(tmp_path, PRETRAINING, texts)
    base = replace(read_base_folder(run), seen=load_seen(tmp_path, PRETRAINING))
    found = describe_pretrained_rows(split, base, None)
    assert found is not None and found[0] == 2
