"""The same work for all contenders: text, tokenizer, token rows, shape of the model, share of hidden tokens."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretune.builtin_world.world import labeled_rows
from pretune.model.config import PRESETS, ModelConfig, with_special_tokens
from pretune.settings import CollectConfig, PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.text.labels.task_rows import read_task_rows
from pretune.text.readers.tables import iter_records
from pretune.text.reading_report import Findings
from pretune.text.token_shards import ShardWriter, TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

MASK_PROB = 0.2
VOCAB_SIZE = 8192
SIZES = {"1M": "tiny", "5M": "mini", "20M": "small"}  # parameters, and the preset that has about so many
IntArray = npt.NDArray[np.int64]


def model_config(size: str, tokenizer: Tokenizer) -> ModelConfig:
    """The shape of one size, for this tokenizer."""
    ids = tokenizer.special_ids
    config = PRESETS[SIZES.get(size, size)](tokenizer.vocab_size)
    return with_special_tokens(config, pad=ids["pad"], bos=ids["bos"], eos=ids["eos"], mask=ids["mask"])


def real_data() -> Path | None:
    """The folder of real corpora, where PRETUNE_DATA names one."""
    folder = Path(os.environ["PRETUNE_DATA"]) if os.environ.get("PRETUNE_DATA") else None
    return folder if folder is not None and (folder / "imdb").is_dir() else None


def make_pretraining_text(work: Path, documents: int) -> tuple[Path, str]:
    """A preprocess folder of IMDB reviews, or of built-in text, made once; and what it holds, in words."""
    data = real_data()
    words = f"{documents:,} unlabelled IMDB reviews" if data else f"{documents:,} documents of the built-in world"
    root = work / f"{'imdb' if data else 'builtin'}-{documents}"
    if data:
        source = root / "text.txt"
        if not source.is_file():
            root.mkdir(parents=True, exist_ok=True)
            records = iter_records(data / "imdb" / "unsup.jsonl.zst", findings=Findings())
            texts = [record.fields["text"] for record in itertools.islice(records, documents)]
            source.write_text("".join(" ".join(text.split()) + "\n" for text in texts), encoding="utf-8")
        config = CollectConfig(text_unit="line")
        collect([str(source)], root / "collect", config)
    else:
        collect([], root / "collect", CollectConfig(builtin_documents=documents))
    vocab_size = VOCAB_SIZE if data else None  # built-in text has too few words for so many
    preprocess(root / "collect", root / "preprocess", PreprocessConfig(vocab_size=vocab_size))
    return root / "preprocess", words


def make_task(work: Path, base: Path, rows: int, max_seq_len: int) -> tuple[Path, str]:
    """Labelled texts, encoded with the tokenizer in `base` and cut to `max_seq_len`; and what they are, in words.

    The folder holds a token shard `task`, its labels, the texts, and the tokenizer.
    """
    texts, labels, words = _labelled(rows)
    folder = work / f"task-{len(texts)}-{max_seq_len}-{'real' if real_data() else 'builtin'}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, folder / name)
    tokenizer = load_tokenizer(base)
    with ShardWriter(folder, "task", tokenizer.vocab_size) as shard:
        for ids in tokenizer.encode_batch(texts):
            shard.add([*ids[: max_seq_len - 1], tokenizer.eos_id] if len(ids) > max_seq_len else ids)
    np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    return folder, words


def _labelled(rows: int) -> tuple[list[str], list[int], str]:
    """Some hundreds or thousands of texts with labels 0 and 1: phrases of SST-2, or built-in ones."""
    data = real_data()
    if data is None:
        built_in = labeled_rows(rows)
        return [row.text for row in built_in], [int(row.label == "positive") for row in built_in], "built-in texts"
    found = read_task_rows(data / "sst2" / "train.tsv.zst", task="classification")
    step = max(1, len(found) // rows)
    return found.texts[::step][:rows], [int(str(label)) for label in found.labels[::step][:rows]], "SST-2 phrases"


def task_texts(rows: int) -> list[str]:
    """The texts alone."""
    return _labelled(rows)[0]


def blocks_of(folder: Path, length: int) -> IntArray:
    """All training tokens one after another, cut into rows of `length`, as run_mlm's `group_texts` does it."""
    tokens = TokenShard(folder, "train").tokens
    count = len(tokens) // length
    return np.asarray(tokens[: count * length], dtype=np.int64).reshape(count, length)
