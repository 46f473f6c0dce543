"""From a token shard or a view of it to parquet, one group of rows after another, so that memory stays constant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import UsageError
from pretune.exporting.views import RowView
from pretune.text.token_shards import TokenShard

DOCUMENTS_AT_ONCE = 10_000
TOKENS_AT_ONCE = 1 << 20  # of DOCUMENTS_AT_ONCE documents, unless a single document is longer


def write_parquet(shard: TokenShard, out: Path, name: str, view: RowView | None, about: dict[str, str]) -> list[Path]:
    """Write NAME.parquet and return it.

    Without a view, each row is a document, with the list `input_ids`. With a view, `input_ids` is a list of fixed
    length, padding included, and `lengths` has the tokens of each chunk in the row, which separates documents that
    share a row. `about` becomes the metadata of the schema. Raises UsageError if pyarrow is not installed.
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
    start = 0
    while start < len(shard):
        offsets = np.array(shard.offsets[start : start + DOCUMENTS_AT_ONCE + 1])
        count = max(1, int(np.searchsorted(offsets, offsets[0] + TOKENS_AT_ONCE, side="right")) - 1)
        ids = np.ascontiguousarray(shard.tokens[offsets[0] : offsets[count]])
        yield [pyarrow.ListArray.from_arrays((offsets[: count + 1] - offsets[0]).astype(np.int32), ids)]
        start += count


def _of_view(view: RowView, pyarrow: Any) -> Iterator[list[Any]]:
    for rows in view:
        ids = pyarrow.FixedSizeListArray.from_arrays(rows.ids.reshape(-1), view.row_tokens)
        ends = np.concatenate([[0], np.cumsum(rows.counts)]).astype(np.int32)
        yield [ids, pyarrow.ListArray.from_arrays(ends, rows.lengths.astype(np.int32))]
