"""Rows of parquet files as records of strings, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.raw.compression import ByteStream, ExpansionMeter
from pretune.text.readers.records import Record, cell_text
from pretune.text.reading_report import Findings, shorten

ROWS_AT_A_TIME = 64  # as fast as thousands; each may have megabytes, which a file that repeats them stores only once
_BUFFER_BYTES = 1 << 20  # read from a column at a time; without it, whole row groups are read
_OFFSET_BYTES = 4  # of a list or object, which may be empty
MAGIC = b"PAR1"


def iter_parquet(stream: ByteStream, findings: Findings) -> Iterator[Record]:
    """The rows of a parquet file, counted from 1; unless it is a plain file, it is read into memory, up to a limit.

    Raises InputDataError if pyarrow is missing, or if the file cannot be read or unpacks to far more than its size.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        stream.close()
        raise InputDataError(
            f"{stream.name} is a parquet file and needs pyarrow, which is not installed: "
            "pip install 'pretune[parquet]', or convert the file to jsonl."
        ) from error
    source, size = _source(stream, pyarrow)
    meter = ExpansionMeter(stream.name, num_in=size)
    try:
        with pyarrow.parquet.ParquetFile(source, buffer_size=_BUFFER_BYTES) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME):
                num_bytes = sum(_num_bytes(column, pyarrow) for column in batch.columns)
                findings.bytes_read += num_bytes
                meter.add(num_bytes)
                decimals = [field.name for field in batch.schema if "decimal" in str(field.type)]
                for row in batch.to_pylist():
                    row.update({column: _without_decimals(row[column]) for column in decimals})
                    number += 1
                    yield Record({column: cell_text(cell) for column, cell in row.items()}, number, row)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        raise InputDataError(
            f"{stream.name} cannot be read as parquet ({shorten(str(error), 120)}); get it again."
        ) from error


def _num_bytes(column: Any, pyarrow: Any) -> int:
    """The bytes of the values of a column. Of a categorical one, every batch has the categories of the whole file, so
    the texts of its rows are counted; repeated for each row, they might not fit into memory."""
    if pyarrow.types.is_dictionary(column.type):
        lengths = pyarrow.compute.binary_length(column.dictionary).take(column.indices)
        return int(column.indices.nbytes) + int(pyarrow.compute.sum(lengths).as_py() or 0)
    if pyarrow.types.is_nested(column.type):
        parts = column.flatten()  # the columns of an object, or the items of all lists
        num_bytes = sum(_num_bytes(part, pyarrow) for part in (parts if isinstance(parts, list) else [parts]))
        return num_bytes + _OFFSET_BYTES * len(column)
    return int(column.nbytes)


def _without_decimals(cell: Any) -> Any:
    """The cell with decimals as the numbers of every other format; those without decimal places are whole."""
    if isinstance(cell, Decimal):
        return float(cell) if int(cell.as_tuple().exponent) < 0 else int(cell)
    if isinstance(cell, list):
        return [_without_decimals(item) for item in cell]
    if isinstance(cell, dict):
        return {key: _without_decimals(item) for key, item in cell.items()}
    return cell


def _source(stream: ByteStream, pyarrow: Any) -> tuple[Any, int]:
    """What pyarrow reads, and its size in bytes."""
    if stream.path is None:
        content = stream.read_all("a parquet file")
        return pyarrow.BufferReader(content), len(content)
    stream.close()
    return stream.path, Path(stream.path).stat().st_size
