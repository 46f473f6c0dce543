from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.data.shards import ShardWriter, TokenShard
from pretune.data.views import RowView, View, measure_view

PAD = 0
Documents = list[list[int]]
documents_of_any_length = st.lists(st.integers(0, 23).map(lambda n: list(range(1, n + 1))), max_size=12)


def shard_of(folder: Path, documents: Documents) -> TokenShard:
    """A shard with these documents."""
    with ShardWriter(folder, "train", 100) as writer:
        for ids in documents:
            writer.add(ids)
    return TokenShard(folder, "train")


def pieces(documents: Documents, row_tokens: int) -> Documents:
    return [ids[i : i + row_tokens] for ids in documents for i in range(0, len(ids), row_tokens)]


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9))
def test_rows_hold_every_token_in_order(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    view = RowView(shard, row_tokens, PAD, "rows")
    expected = [piece + [PAD] * (row_tokens - len(piece)) for piece in pieces(documents, row_tokens)]
    assert view.rows(0, len(view)).tolist() == expected
    assert view.shape == (len(expected), row_tokens)
    assert [view.rows(i, i + 1).tolist()[0] for i in range(len(view))] == expected


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9))
def test_packed_rows_hold_every_piece_once(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    view = RowView(shard, row_tokens, PAD, "packed")
    lengths, counts = view.lengths(0, len(view))
    found, first = [], 0
    for row, count in zip(view.rows(0, len(view)).tolist(), counts, strict=True):
        place = 0
        for length in lengths[first : first + count].tolist():
            found.append(row[place : place + length])
            place += length
        assert row[place:] == [PAD] * (row_tokens - place)
        first += count
    assert sorted(found) == sorted(pieces(documents, row_tokens))


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9), view=st.sampled_from(["rows", "packed"]))
def test_the_shape_is_known_without_making_rows(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int, view: View
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    made, measured = RowView(shard, row_tokens, PAD, view), measure_view(shard.length_blocks(2), row_tokens, view)
    assert (measured.rows, measured.row_tokens) == made.shape
    assert measured.padding_share == pytest.approx(made.padding_share)


def test_many_pieces_are_counted_as_they_are_packed() -> None:
    lengths = np.random.default_rng(0).integers(2, 170, 5000)
    shape = measure_view([lengths], 50, "packed")
    assert shape.rows < measure_view([lengths], 50, "rows").rows
    assert shape.padding_share < 0.05
    assert shape.told == {"shape": [shape.rows, 50], "padding_share": round(shape.padding_share, 6)}
