"""Tokens as parquet: a document a row, or a row of a view a row. Written in groups of rows, so memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretune.data.shards import TokenShard
from pretune.data.views import ROWS_AT_ONCE, RowView
from pretune.errors import UsageError


def write_parquet(shard: TokenShard, out: Path, name: str, view: RowView | None, about: dict[str, str]) -> list[Path]:
    """Write NAME.parquet. Returns the file.

    Without a view a row is a document: `input_ids`, a list. With one, `input_ids` is a list of fixed length, padding
    included, and `lengths` has the tokens of each piece in the row, so that documents that share a row can be told
    apart. `about` is kept as the schema's metadata. Raises UsageError where pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow, which is not installed: pip install 'pretune[parquet]'.") from error
    kind = pyarrow.from_numpy_dtype(shard.tokens.dtype)
    ids = pyarrow.list_(kind) if view is None else pyarrow.list_(kind, view.row_tokens)
    fields = [("input_ids", ids)] + ([] if view is None else [("lengths", pyarrow.list_(pyarrow.int32()))])
    schema = pyarrow.schema(fields, metadata=about)
    target = out / f"{name}.parquet"
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for columns in _of_documents(shard, pyarrow) if view is None else _of_view(view, pyarrow):
            arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return [target]


def _of_documents(shard: TokenShard, pyarrow: Any) -> Iterator[list[Any]]:
    for start in range(0, len(shard), ROWS_AT_ONCE):
        offsets = shard.offsets[start : start + ROWS_AT_ONCE + 1]
        ids = np.ascontiguousarray(shard.tokens[offsets[0] : offsets[-1]])
        yield [pyarrow.ListArray.from_arrays((offsets - offsets[0]).astype(np.int32), ids)]


def _of_view(view: RowView, pyarrow: Any) -> Iterator[list[Any]]:
    for start, stop in view.batches():
        ids = pyarrow.FixedSizeListArray.from_arrays(view.rows(start, stop).reshape(-1), view.row_tokens)
        lengths, counts = view.lengths(start, stop)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        yield [ids, pyarrow.ListArray.from_arrays(ends, lengths.astype(np.int32))]
