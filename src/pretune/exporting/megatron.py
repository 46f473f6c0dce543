"""From a token shard to Megatron-LM's indexed data set: `NAME.bin` (the ids) and `NAME.idx` (where each document is).

The index is little-endian: the bytes `MMIDIDX` and two zeros; version 1 (8 bytes); a code for the type of an id (1
byte); the number of sequences (8) and of document boundaries (8); the length of each sequence (4 bytes each); the
offset of each sequence in the .bin, in bytes (8 each); the first sequence of each document, followed by the number of
sequences (8 each). Described in Megatron-LM, megatron/core/datasets/indexed_dataset.py.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from pretune.text.token_shards import TokenShard

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
_CODES = {2: 8, 4: 4}  # by the bytes of an id: unsigned 16 bits, signed 32 bits
_AT_ONCE = 1 << 20


def write_megatron(shard: TokenShard, out: Path, name: str) -> list[Path]:
    """Write NAME.bin and NAME.idx, with one sequence for each document, and return them.

    Ids of four bytes are declared as signed, since Megatron has no unsigned type; no vocabulary is large enough for
    that to matter.
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
