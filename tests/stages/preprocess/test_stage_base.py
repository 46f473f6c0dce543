"""Stage 2 for a base: its tokenizer encodes the text as it is, and none is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pretune.data.pretraining_data import Corpus
from pretune.data.special_ids import special_ids
from pretune.errors import InputDataError, ModelNotFoundError, UsageError
from pretune.inference.load import load_generator
from pretune.run_trace.text_reports import read_tokenizer
from pretune.runtime.events import read_events
from pretune.runtime.manifest import hash_file, read_manifest
from pretune.runtime.stage_folder import open_stage
from pretune.settings import PreprocessConfig, PretrainConfig, Sampling
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.stages.pretrain.choices import row_settings
from pretune.stages.pretrain.stage import pretrain
from pretune.stages.split import split
from pretune.tasks.registry import task_named
from pretune.text.chat.tokens import read_template
from pretune.text.document_store import iter_corpus
from pretune.text.labels.split import open_split
from pretune.text.seen_texts import PRETRAINING, save_seen
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.budget import Budget

WORDS = "sun moon film hotel soup room book river stone garden window letter".split()


def sentence(number: int) -> str:
    parts = [WORDS[(number // len(WORDS) ** k) % len(WORDS)] for k in range(3)]
    return f"The {parts[0]} was near the {parts[1]}, and number {number} liked the {parts[2]}."


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("\n".join(sentence(n) for n in range(300)) + "\n", encoding="utf-8")
    collect([folder / "text.txt"], folder / "collect")
    return folder / "collect"


@pytest.fixture(scope="module")
def out(collected: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "preprocess"
    preprocess(collected, folder, base=run_folder)
    return folder


def test_the_tokenizer_of_the_base_is_copied_byte_for_byte(out: Path, run_folder: Path) -> None:
    checkpoint = run_folder / "pretrain" / "checkpoint"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (checkpoint / name).read_bytes()
    assert read_manifest(out).inputs["tokenizer"] == hash_file(checkpoint / "tokenizer.json")


def test_the_chat_template_of_the_base_stays(collected: Path, run_folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path / "base")
    (base / "chat_template.jinja").write_text("{{ messages }}")
    preprocess(collected, tmp_path / "out", base=base)
    assert read_template(tmp_path / "out") == "{{ messages }}"  # pretrain takes the tokenizer from there


@pytest.mark.parametrize("side", ["train", "validation"])
def test_the_shards_are_the_clean_text_in_its_tokens(out: Path, run_folder: Path, side: str) -> None:
    tokenizer = load_tokenizer(run_folder / "pretrain" / "checkpoint")
    texts = [row["text"] for row in iter_corpus(out) if row["split"] == side]
    shard = TokenShard(out, side)
    assert texts
    assert [shard.doc(n).tolist() for n in range(len(shard))] == tokenizer.encode_batch(texts)


def test_the_report_says_whose_tokenizer_it_is(out: Path) -> None:
    report = read_tokenizer(read_events(out))
    assert report is not None
    assert report.size_rule is not None
    assert report.size_rule.endswith("tokens, as in the base: its tokenizer was not trained on this text.")
    assert report.trainer is None
    assert report.tokens_per_word is not None
    assert report.tokens_per_word > 1.5  # most words are not those that it was trained on
    assert "all of its" in " ".join(e["sentence"] for e in read_events(out) if e["event"] == "notice")


def test_documents_end_although_the_tokenizer_adds_no_end(collected: Path, endless_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "preprocess"
    preprocess(collected, out, base=endless_model)
    assert (out / "tokenizer.json").read_bytes() == (endless_model / "tokenizer.json").read_bytes()
    tokenizer, shard = load_tokenizer(endless_model), TokenShard(out, "train")
    texts = [row["text"] for row in iter_corpus(out) if row["split"] == "train"]
    assert [shard.doc(n).tolist() for n in range(len(shard))] == [[*ids, 0] for ids in tokenizer.encode_batch(texts)]
    report = read_tokenizer(read_events(out))
    every = [row["text"] for row in iter_corpus(out)]
    num_tokens = sum(map(len, tokenizer.encode_batch(every)))  # without the ends, which stand for no text
    assert report is not None
    assert report.characters_per_token == pytest.approx(sum(map(len, every)) / num_tokens, abs=1e-4)
    corpus = Corpus(
        out,
        row_settings(PretrainConfig(objective="causal", row_tokens=64, tokens_per_step=256), Budget(epochs=1.0), "cpu"),
        special_ids(tokenizer),
        tokenizer.is_sentence_end,
    )
    [batch] = corpus.short_batches(1)
    ends = int((batch.input_ids == tokenizer.end_id).sum()) - int((batch.attention.document_ids < 0).sum())
    assert int((batch.labels == tokenizer.end_id).sum()) == ends > 5  # each end is learned


@pytest.mark.slow
def test_a_base_without_an_end_learns_to_end_a_text(collected: Path, endless_model: Path, tmp_path: Path) -> None:
    preprocess(collected, tmp_path / "preprocess", base=endless_model)
    config = PretrainConfig(
        epochs=20.0, row_tokens=64, tokens_per_step=512, long_row_tokens=64, evaluations=1, compile="off"
    )
    pretrain(tmp_path / "preprocess", tmp_path / "out", config, base=endless_model)
    [found] = load_generator(tmp_path / "out").generate(
        ["The sun was near the"], Sampling(max_tokens=80, temperature=0)
    )
    assert found.ending == "end of text" and found.text.count(".") == 1


@pytest.mark.parametrize("settings", [{"vocab_size": 300}, {"tokenizer": "words"}, {"lowercase": True}])
def test_settings_of_a_new_tokenizer_are_refused(
    collected: Path, run_folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    [flag] = [f"--{name.replace('_', '-')}" for name in settings]
    with pytest.raises(UsageError, match=f"{flag} is given, but the tokenizer is that of the base"):
        preprocess(collected, tmp_path / "out", PreprocessConfig(**settings), base=run_folder)
    with pytest.raises(ModelNotFoundError, match="has no tokenizer"):
        preprocess(collected, tmp_path / "out", base=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_base_that_has_learned_the_test_rows_is_refused_before_pretraining(
    collected: Path, run_folder: Path, tmp_path: Path
) -> None:
    """`prepare` would refuse it, too, but only after hours of pre-training."""
    rows = [{"text": f"{sentence(n)} It is row {n}.", "label": n % 2} for n in range(80)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split(tmp_path / "labels.jsonl", tmp_path / "split")
    held_out = [row.text for row in open_split(tmp_path / "split", task_named).by_split["test"]]
    for name, fingerprint in (("with another split", "f" * 64), ("with none", None)):
        base = tmp_path / name
        folder = open_stage(base, "pretrain", config={}, inputs={})
        shutil.copytree(run_folder / "pretrain" / "checkpoint", base / "checkpoint")
        save_seen(base, PRETRAINING, held_out)
        folder.finish(split=fingerprint)
    with pytest.raises(InputDataError, match="because another split was held out from its text"):
        preprocess(collected, tmp_path / "out", split=tmp_path / "split", base=tmp_path / "with another split")
    assert not (tmp_path / "out").exists()
    preprocess(collected, tmp_path / "out", split=tmp_path / "split", base=tmp_path / "with none")
    [warning] = [e for e in read_events(tmp_path / "out") if e.get("rule") == "seen_in_pretraining"]
    assert warning["count"] == len(held_out)
