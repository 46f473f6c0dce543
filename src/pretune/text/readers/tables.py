"""Rows of csv, tsv, json, jsonl and parquet files as records of strings, with the line that each begins on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal

from pretune.errors import InputDataError
from pretune.text.raw.compression import COMPRESSED_ENDINGS, open_bytes
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.delimited import iter_delimited, sniff_tab_table
from pretune.text.readers.json_rows import iter_json, sniff_json
from pretune.text.readers.parquet import iter_parquet
from pretune.text.readers.records import Malformed, Record
from pretune.text.reading_report import Findings

TableFormat = Literal["csv", "tsv", "jsonl", "json", "parquet"]
TABLE_ENDINGS: Mapping[str, TableFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def table_format_of(path: str | PurePath) -> TableFormat | None:
    """The format that a file's name indicates, compressed or not; None if it indicates none."""
    return TABLE_ENDINGS.get(ending_of(path))


def ending_of(path: str | PurePath) -> str:
    """The last ending of a file name in lower case, without that of a compression."""
    endings = [ending.lower() for ending in PurePath(path).suffixes]
    while endings and endings[-1] in COMPRESSED_ENDINGS:
        endings.pop()
    return endings[-1] if endings else ""


def sniff_table(head: str) -> TableFormat | None:
    """The format of a table whose name does not tell it, if its beginning does."""
    return sniff_json(head) or ("tsv" if sniff_tab_table(head) else None)


def iter_records(
    path: str | Path,
    *,
    findings: Findings | None = None,
    columns: Sequence[str] = (),
    format: TableFormat | None = None,
) -> Iterator[Record]:
    """The rows of a table file, in order.

    `columns` are names to expect in a header, or in a single JSON object. Rows that do not parse are skipped and
    counted in `findings.dropped`, with file and line. Raises InputDataError if these are more than 1 % of the rows, for
    a missing or damaged file, a csv without a header, and parquet without pyarrow.
    """
    findings = findings if findings is not None else Findings()
    kind = format or table_format_of(path)
    if kind == "parquet":
        yield from iter_parquet(open_bytes(path), findings)
        return
    stream = TextStream(path, findings)
    if kind is None:
        kind = sniff_json(stream.peek())
    if kind is None:
        raise InputDataError(
            f"{stream.name} is not recognised as a table; expected a file that ends in .csv, .tsv, .jsonl or .parquet "
            "(or one of these with .gz, .bz2, .xz or .zst)."
        )
    yield from iter_stream_records(stream, kind, columns=columns)


def iter_stream_records(
    stream: TextStream,
    kind: TableFormat,
    *,
    columns: Sequence[str] = (),
    known_names: Sequence[str] = (),
    keep_crlf: bool = False,
) -> Iterator[Record]:
    """The rows of an opened csv, tsv, json or jsonl stream; see `iter_records`.

    `known_names` are those of the columns of csv and tsv without a header. With `keep_crlf`, CRLF in quoted cells of
    csv and tsv stays, as the places of characters need; otherwise it becomes a line feed.
    """
    if stream.is_empty:
        raise InputDataError(f"{stream.name} is empty; expected a row for each text.")
    malformed = Malformed(stream.name, stream.findings)
    if kind in ("csv", "tsv"):
        yield from iter_delimited(stream, kind, columns, malformed, known_names, keep_crlf=keep_crlf)
    else:
        yield from iter_json(stream, malformed, columns)
    malformed.refuse_if_too_many(is_end=True)
