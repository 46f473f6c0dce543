"""Map: encode the kept texts of one shard as token ids; then join all shards to one token shard per split."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.steps.select import SPLITS, kept_texts
from pretune.text.token_shards import ShardWriter, TokenShard
from pretune.text.tokenizer.fast_encoder import CleanTextEncoding
from pretune.text.tokenizer.tokenizer import load_tokenizer

_BATCH_TEXTS = 20_000
_of_thread = threading.local()  # the encoder of each worker, which remembers the words of earlier shards


def encode_shard(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Encode the kept texts of a shard (see `select.kept_texts`) with the tokenizer in `task["tokenizer"]`.

    Writes one token shard per split. Returns documents, bytes (of all texts, each with the blank before its first
    word), encoder (the library that encoded), is_refused (whether gigatoken is installed but disagreed with the
    tokenizer) and is_exact (whether the table of stretches agreed with the tokenizer).
    """
    encoder = _encoder(task["tokenizer"], task["tokenizer_sha256"])
    texts, _, is_validation = kept_texts(task)
    num_bytes = sum(len(text.encode()) + 1 for text in texts)
    for split, wanted in zip(SPLITS, (False, True), strict=True):
        of_split = [texts[row] for row in np.flatnonzero(is_validation == wanted)]
        with ShardWriter(out, split, encoder.tokenizer.vocab_size) as writer:
            for start in range(0, len(of_split), _BATCH_TEXTS):
                writer.add_many(*encoder.encode(of_split[start : start + _BATCH_TEXTS]))
    used = {"encoder": encoder.encoder, "is_refused": encoder.is_refused, "is_exact": encoder.is_exact}
    return {"documents": len(texts), "bytes": num_bytes, **used}


def _encoder(folder: str, sha256: str) -> CleanTextEncoding:
    if getattr(_of_thread, "key", None) != (folder, sha256):
        _of_thread.encoder = CleanTextEncoding(load_tokenizer(Path(folder)))
        _of_thread.key = (folder, sha256)
    encoder: CleanTextEncoding = _of_thread.encoder
    return encoder


def join_shards(folders: Sequence[Path], out: Path, split: str, vocab_size: int) -> TokenShard:
    """Join the token shards of a split, in order, to one in `out`."""
    with ShardWriter(out, split, vocab_size) as writer:
        for folder in folders:
            shard = TokenShard(folder, split)
            writer.add_many(shard.tokens, shard.lengths)
    shard = TokenShard(out, split)
    if (shard.num_tokens, len(shard)) != (writer.num_tokens, writer.num_documents):
        raise RuntimeError(f"the {split} shard does not contain what was written to it")
    return shard
