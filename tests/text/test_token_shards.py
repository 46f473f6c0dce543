from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.token_shards import ShardWriter, TokenShard, token_type

documents = st.lists(st.lists(st.integers(0, 300), max_size=12), max_size=20)


@settings(max_examples=40)
@given(documents=documents, vocab_size=st.sampled_from([301, 70_000]), by_one=st.booleans())
def test_written_documents_are_read(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], vocab_size: int, by_one: bool
) -> None:
    folder = tmp_path_factory.mktemp("shard")
    with ShardWriter(folder, "train", vocab_size) as writer:
        if by_one:
            for ids in documents:
                writer.add(ids)
        else:
            flat = np.array([i for ids in documents for i in ids], dtype=np.uint32)
            writer.add_many(flat, np.array([len(ids) for ids in documents], dtype=np.int64))
    shard = TokenShard(folder, "train")
    assert [shard.doc(i).tolist() for i in range(len(shard))] == documents
    assert shard.num_tokens == writer.num_tokens == sum(map(len, documents))
    assert shard.lengths.tolist() == [len(ids) for ids in documents]
    if shard.num_tokens:
        assert shard.tokens.dtype == token_type(vocab_size)


def test_two_bytes_fit_65536_tokens() -> None:
    assert token_type(65_536).itemsize == 2
    assert token_type(65_537).itemsize == 4


def test_single_and_many_may_be_mixed(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "x", 100) as writer:
        writer.add([1, 2])
        writer.add_many(np.array([3, 4, 5], dtype=np.uint32), np.array([1, 2]))
        writer.add([6])
    shard = TokenShard(tmp_path, "x")
    assert [shard.doc(i).tolist() for i in range(4)] == [[1, 2], [3], [4, 5], [6]]


def test_nothing_appears_under_its_name_before_the_end(tmp_path: Path) -> None:
    with pytest.raises(KeyError), ShardWriter(tmp_path, "x", 100) as writer:
        writer.add([1, 2])
        raise KeyError
    assert not (tmp_path / "x.tokens").exists()
    with pytest.raises(InputDataError, match=r"x.tokens does not exist; expected the token shard"):
        TokenShard(tmp_path, "x")


@pytest.mark.parametrize("ending", [".tokens", ".offsets"])
def test_a_truncated_shard_is_refused(tmp_path: Path, ending: str) -> None:
    with ShardWriter(tmp_path, "x", 100) as writer:
        writer.add([1, 2, 3, 4, 5])
    path = tmp_path / f"x{ending}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputDataError, match="does not match"):
        TokenShard(tmp_path, "x")


def test_the_files_are_little_endian_numbers_and_nothing_else(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "x", 100) as writer:
        writer.add([1, 258])
    assert (tmp_path / "x.tokens").read_bytes() == b"\x01\x00\x02\x01"
    assert (tmp_path / "x.offsets").read_bytes() == bytes(8) + b"\x02" + bytes(7)
