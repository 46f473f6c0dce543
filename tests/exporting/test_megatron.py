"""The index is read back from its public description, and compared with what datatrove writes for Megatron."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pretune.exporting import megatron
from pretune.exporting.megatron import write_megatron
from pretune.text.token_shards import ShardWriter, TokenShard

DOCUMENTS = [[1, 7, 9, 2], [1, 2], [], [1, *range(10, 60), 2]]


@pytest.fixture(params=[1000, 100_000], ids=["two bytes", "four bytes"])
def shard(request: pytest.FixtureRequest, tmp_path: Path) -> TokenShard:
    """Some documents, as ids of two or of four bytes."""
    with ShardWriter(tmp_path, "train", request.param) as writer:
        for ids in DOCUMENTS:
            writer.add(ids)
    return TokenShard(tmp_path, "train")


def read_megatron(prefix: Path) -> tuple[list[list[int]], list[int]]:
    """The sequences and the first sequence of each document, read from the index alone."""
    index, data = prefix.with_suffix(".idx").read_bytes(), prefix.with_suffix(".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    kind = np.dtype({4: "<i4", 8: "<u2"}[code])
    at = 9 + 8 + 1 + 8 + 8
    lengths = np.frombuffer(index, "<i4", sequences, at)
    pointers = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    starts = np.frombuffer(index, "<i8", documents, at + 12 * sequences)
    assert len(index) == at + 12 * sequences + 8 * documents
    found = [np.frombuffer(data, kind, n, p).tolist() for n, p in zip(lengths, pointers, strict=True)]
    assert len(data) == int(lengths.sum()) * kind.itemsize
    return found, starts.tolist()


@pytest.mark.parametrize("at_once", [1 << 20, 3])
def test_it_is_read_back(shard: TokenShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(megatron, "_AT_ONCE", at_once)
    files = write_megatron(shard, tmp_path, "x")
    assert [file.name for file in files] == ["x.bin", "x.idx"]
    sequences, starts = read_megatron(tmp_path / "x")
    assert sequences == DOCUMENTS
    assert starts == [0, 1, 2, 3, 4]


def test_it_is_what_datatrove_writes_for_megatron(shard: TokenShard, tmp_path: Path) -> None:
    theirs = pytest.importorskip("datatrove.pipeline.tokens.megatron_tokenizer")
    size = shard.tokens.dtype.itemsize
    writer = theirs.MegatronTokenizedFile(str(tmp_path / "theirs"), "x", token_size=size)
    for number in range(len(shard)):
        writer.write(shard.doc(number).tolist())
    writer.close()
    (tmp_path / "ours").mkdir()
    for file in write_megatron(shard, tmp_path / "ours", "x"):
        assert file.read_bytes() == (tmp_path / "theirs" / file.name).read_bytes()
