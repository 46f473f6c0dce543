"""Megatron-LM's indexed data set: `NAME.bin` with the ids of all documents, `NAME.idx` with where each one is.

The index, little-endian: the bytes `MMIDIDX` and two zeros; version 1 (8 bytes); a code of the type of an id (1 byte);
the number of sequences (8) and of document boundaries (8); then of every sequence its length (4 bytes each), of every
sequence where it begins in the .bin in bytes (8 each), and the sequence with which each document begins, and at last
the number of sequences (8 each). Described in Megatron-LM, megatron/core/datasets/indexed_dataset.py.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from pretune.text.token_shards import TokenShard

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
_CODES = {2: 8, 4: 4}  # bytes of an id: unsigned 16 bits; 32 bits, which Megatron has only signed
_AT_ONCE = 1 << 20


def write_megatron(shard: TokenShard, out: Path, name: str) -> list[Path]:
    """Write NAME.bin and NAME.idx; every document is one sequence. Returns the files.

    Ids of four bytes keep their bytes and are signed from then on, which is the same for every vocabulary there is.
    """
    data, index = out / f"{name}.bin", out / f"{name}.idx"
    size, documents = shard.tokens.dtype.itemsize, len(shard)
    with data.open("wb") as file:
        for start in range(0, shard.num_tokens, _AT_ONCE):
            file.write(shard.tokens[start : start + _AT_ONCE].tobytes())
    with index.open("wb") as file:
        file.write(MAGIC + struct.pack("<QBQQ", VERSION, _CODES[size], documents, documents + 1))
        for start in range(0, documents, _AT_ONCE):
            file.write(np.diff(shard.offsets[start : start + _AT_ONCE + 1]).astype("<i4").tobytes())
        for start in range(0, documents, _AT_ONCE):
            file.write((shard.offsets[start : min(start + _AT_ONCE, documents)] * size).astype("<i8").tobytes())
        for start in range(0, documents + 1, _AT_ONCE):
            file.write(np.arange(start, min(start + _AT_ONCE, documents + 1), dtype="<i8").tobytes())
    return [data, index]
