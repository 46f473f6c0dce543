import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.exporting import views
from pretune.exporting.views import RowView, View, measure_view
from pretune.text.token_shards import ShardWriter, TokenShard

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


def rows_of(view: RowView) -> Documents:
    return [row for rows in view for row in rows.ids.tolist()]


@pytest.fixture(autouse=True, params=[(1 << 16, 1 << 19), (3, 16)], ids=["all at once", "few at once"], scope="module")
def at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blocks of everything, and blocks of three chunks and of a row or two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "CHUNKS_AT_ONCE", request.param[0])
        patch.setattr(views, "SLOTS_AT_ONCE", request.param[1])
        yield


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9))
def test_rows_contain_every_token_in_order(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    view = RowView(shard, row_tokens, PAD, "rows")
    expected = [piece + [PAD] * (row_tokens - len(piece)) for piece in pieces(documents, row_tokens)]
    assert rows_of(view) == expected
    assert (view.shape.rows, view.shape.row_tokens) == (len(expected), row_tokens)


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9))
def test_packed_rows_contain_every_chunk_once(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    found = []
    for rows in RowView(shard, row_tokens, PAD, "packed"):
        first = 0
        for row, count in zip(rows.ids.tolist(), rows.counts.tolist(), strict=True):
            place = 0
            for length in rows.lengths[first : first + count].tolist():
                found.append(row[place : place + length])
                place += length
            assert row[place:] == [PAD] * (row_tokens - place)
            first += count
        assert first == len(rows.lengths)
    assert sorted(found) == sorted(pieces(documents, row_tokens))


@given(documents=documents_of_any_length, row_tokens=st.integers(1, 9), view=st.sampled_from(["rows", "packed"]))
def test_the_shape_is_known_without_making_rows(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, row_tokens: int, view: View
) -> None:
    shard = shard_of(tmp_path_factory.mktemp("shard"), documents)
    measured = measure_view(shard, row_tokens, view)
    rows = rows_of(RowView(shard, row_tokens, PAD, view))
    assert measured.rows == len(rows)
    assert measured.padding_share == pytest.approx(sum(row.count(PAD) for row in rows) / max(1, len(rows) * row_tokens))


def random_shard(folder: Path, count: int) -> TokenShard:
    """Documents of 2 to 169 tokens."""
    folder.mkdir()
    lengths = np.random.default_rng(0).integers(2, 170, count)
    with ShardWriter(folder, "train", 100) as writer:
        writer.add_many(np.ones(int(lengths.sum()), dtype=np.uint16), lengths)
    return TokenShard(folder, "train")


def test_packing_leaves_little_padding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "CHUNKS_AT_ONCE", 2000)
    shard = random_shard(tmp_path / "shard", 5000)
    shape = measure_view(shard, 50, "packed")
    assert shape.rows < measure_view(shard, 50, "rows").rows
    assert shape.padding_share < 0.05
    assert shape.as_json == {"shape": [shape.rows, 50], "padding_share": round(shape.padding_share, 6)}


@pytest.mark.parametrize("kind", ["rows", "packed"])
def test_memory_does_not_grow_with_the_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: View) -> None:
    """The peak memory while iterating over the rows is the same for four times the documents."""
    monkeypatch.setattr(views, "CHUNKS_AT_ONCE", 1000)
    monkeypatch.setattr(views, "SLOTS_AT_ONCE", 10_000)
    peaks = []
    for count in (3000, 12_000):
        shard = random_shard(tmp_path / str(count), count)
        tracemalloc.start()
        assert sum(len(rows.counts) for rows in RowView(shard, 50, PAD, kind)) > count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
