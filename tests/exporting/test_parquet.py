import sys
from pathlib import Path

import pytest

from pretune.errors import UsageError
from pretune.exporting import parquet, views
from pretune.exporting.parquet import write_parquet
from pretune.exporting.views import RowView, View
from pretune.text.token_shards import ShardWriter, TokenShard

DOCUMENTS = [[1, 7, 9, 2], [1, 2], [], [1, *range(10, 60), 2], [1, 4, 2]]


@pytest.fixture
def shard(tmp_path: Path) -> TokenShard:
    """Some documents."""
    with ShardWriter(tmp_path, "train", 1000) as writer:
        for ids in DOCUMENTS:
            writer.add(ids)
    return TokenShard(tmp_path, "train")


@pytest.fixture(params=[(10_000, 1 << 20), (2, 1 << 20), (10_000, 7)], ids=["all", "two documents", "seven tokens"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of everything, of at most two documents or rows, or of at most seven tokens or one longer document."""
    documents, tokens = request.param
    monkeypatch.setattr(parquet, "DOCUMENTS_AT_ONCE", documents)
    monkeypatch.setattr(parquet, "TOKENS_AT_ONCE", tokens)
    monkeypatch.setattr(views, "SLOTS_AT_ONCE", min(8 * documents, tokens))


@pytest.mark.usefixtures("at_once")
def test_documents_are_read_back(shard: TokenShard, tmp_path: Path) -> None:
    reader = pytest.importorskip("pyarrow.parquet")
    (file,) = write_parquet(shard, tmp_path, "x", None, {"vocab_size": "1000"})
    table = reader.read_table(file)
    assert table.column("input_ids").to_pylist() == DOCUMENTS
    assert str(table.schema.field("input_ids").type.value_type) == "uint16"
    assert table.schema.metadata[b"vocab_size"] == b"1000"


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", ["rows", "packed"])
def test_a_view_is_read_back(shard: TokenShard, tmp_path: Path, kind: View) -> None:
    reader = pytest.importorskip("pyarrow.parquet")
    view = RowView(shard, 8, 0, kind)
    (file,) = write_parquet(shard, tmp_path, "x", view, {})
    table = reader.read_table(file)
    rows = table.column("input_ids").to_pylist()
    assert rows == [row for rows in view for row in rows.ids.tolist()]
    assert len(rows) == view.shape.rows
    lengths = table.column("lengths").to_pylist()
    assert sum(map(sum, lengths)) == shard.num_tokens
    assert all(not any(row[sum(length) :]) for row, length in zip(rows, lengths, strict=True))
    assert max(map(len, lengths)) == (1 if kind == "rows" else 2)


def test_without_pyarrow_the_error_names_the_package(
    shard: TokenShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'pretune\[parquet\]'"):
        write_parquet(shard, tmp_path, "x", None, {})
