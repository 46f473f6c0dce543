from pathlib import Path

import numpy as np
import pytest

from pretune.exporting.datatrove import write_datatrove
from pretune.text.token_shards import ShardWriter, TokenShard

DOCUMENTS = [[1, 7, 9, 2], [1, 2], [1, *range(10, 60), 2], [1, 4, 2]]


@pytest.fixture(params=[1000, 100_000], ids=["two bytes", "four bytes"])
def shard(request: pytest.FixtureRequest, tmp_path: Path) -> TokenShard:
    """Some documents, as ids of two or of four bytes."""
    with ShardWriter(tmp_path, "train", request.param) as writer:
        for ids in DOCUMENTS:
            writer.add(ids)
    return TokenShard(tmp_path, "train")


def test_the_files_are_as_described(shard: TokenShard, tmp_path: Path) -> None:
    files = write_datatrove(shard, tmp_path, "x", "a|b\nc")
    assert [file.name for file in files] == ["x.ds", "x.ds.index", "x.ds.metadata"]
    size = shard.tokens.dtype.itemsize
    ends = np.fromfile(files[1], dtype="<u8").tolist()
    ids = np.fromfile(files[0], dtype=f"<u{size}").tolist()
    assert [ids[a:b] for a, b in zip([0, *ends], ends, strict=False)] == DOCUMENTS
    assert files[2].read_text(encoding="utf-8") == f"a_b_c|{size}\n61\n61.0 T"


def test_datatrove_reads_it(shard: TokenShard, tmp_path: Path) -> None:
    reader = pytest.importorskip("datatrove.utils.dataset")
    write_datatrove(shard, tmp_path, "x", "tokenizer.json")
    size, length = shard.tokens.dtype.itemsize, 9
    rows = reader.DatatroveFileDataset(str(tmp_path / "x.ds"), seq_len=length, token_size=size, return_positions=True)
    ids = [i for document in DOCUMENTS for i in document]
    place = [i for document in DOCUMENTS for i in range(len(document))]
    assert len(rows) == len(ids) // (length + 1)
    for number in range(len(rows)):
        row, at = rows[number], number * (length + 1)
        assert row["input_ids"].tolist() == ids[at : at + length + 1]
        # Its positions count from the start of the document, or of the row where the document began before it.
        start = next((i for i in range(at, at + length + 1) if place[i] == 0), at + length + 1)
        assert row["positions"].tolist()[start - at :] == place[start : at + length + 1]


def test_the_metadata_are_as_datatrove_writes_them(tmp_path: Path) -> None:
    theirs = pytest.importorskip("datatrove.pipeline.tokens.tokenizer")
    for number, count in enumerate((0, 3, 1_000, 45_678, 999_600)):
        with ShardWriter(tmp_path, str(number), 1000) as writer:
            writer.add([5] * count)
        (_, index, about) = write_datatrove(TokenShard(tmp_path, str(number)), tmp_path, str(number), "some/name")
        file = theirs.TokenizedFile(
            str(tmp_path / "theirs"), f"{number}.ds", tokenizer_name_or_path="some/name", save_final_metadata=True
        )
        file.write([5] * count, None)
        file.close()
        assert about.read_bytes() == (tmp_path / "theirs" / about.name).read_bytes()
        assert index.read_bytes() == (tmp_path / "theirs" / index.name).read_bytes()
