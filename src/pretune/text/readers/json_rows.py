"""Rows of json and jsonl files as records."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Literal

from pretune.errors import InputDataError
from pretune.text.raw.text_stream import BLOCK_BYTES, LONGEST_LINE, TextStream
from pretune.text.readers.json_lists import begins_list, begins_list_of_objects, iter_list
from pretune.text.readers.nested_rows import rows_within, what_is_not_read
from pretune.text.readers.records import UNPARSABLE_ROW, Malformed, Record, cell_text
from pretune.text.reading_report import shorten

JSON_FORMATS = ("json", "jsonl")
_OBJECT = re.compile(r'\{\s*"')
# Characters of a full block: at least a fourth of its bytes, since none has more than four. A fifth is safe, since a
# byte order mark is left out and the last character may be cut.
_FEWEST_IN_BLOCK = BLOCK_BYTES // 5
scan_json: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def iter_json(stream: TextStream, malformed: Malformed, columns: Collection[str] = ()) -> Iterator[Record]:
    """The rows of a list of objects, or of one object per line; `columns` are names to expect."""
    is_list = json_format(stream.peek()) == "json"
    return _iter_json_list(stream, malformed) if is_list else _iter_jsonl(stream, malformed, columns)


def sniff_json(head: str) -> Literal["json", "jsonl"] | None:
    """jsonl if the first line is a JSON object, json if a list of objects begins, None otherwise.

    A line that is longer than a block ends outside `head`; it counts as an object if it begins as one does.
    """
    if begins_list_of_objects(head):
        return "json"
    first, line_end, _ = head.lstrip().partition("\n")
    if not first.startswith("{"):
        return None
    try:
        return "jsonl" if isinstance(json.loads(first), dict) else None
    except RecursionError:  # a row that is counted as malformed
        return "jsonl" if _OBJECT.match(first) else None
    except ValueError:
        is_cut = not line_end and len(head) >= _FEWEST_IN_BLOCK
        return "jsonl" if is_cut and _OBJECT.match(first) else None


def json_format(head: str) -> Literal["json", "jsonl"]:
    """Whether a text named .json is a list or has one object per line, which the ending leaves open."""
    return "json" if begins_list(head) else "jsonl"


def _iter_json_list(stream: TextStream, malformed: Malformed) -> Iterator[Record]:
    for line, value in iter_list(stream.blocks(), stream.name):
        record = _record_of(value, line, malformed)
        if record is not None:
            yield record


def _iter_jsonl(stream: TextStream, malformed: Malformed, columns: Collection[str]) -> Iterator[Record]:
    if stream.peek().lstrip().split("\n", 1)[0].strip() == "{":
        raise InputDataError(
            f"{stream.name} contains a JSON object over several lines; expected one object per line, or a list of "
            "objects: convert it, for example with: jq -c . (or jq -c '.data[]' if the rows are a list inside it)."
        )
    return _expand_single(iter_json_records(stream.numbered_lines(), malformed), malformed, columns)


def _expand_single(records: Iterator[Record], malformed: Malformed, columns: Collection[str]) -> Iterator[Record]:
    """The records; if there is only one and it contains a whole table, the rows of that table."""
    first = next(records, None)
    if first is None:
        return
    second = next(records, None)
    rows = None
    if second is None and first.values is not None:
        rows = rows_within(first.values, columns)
        if (lost := what_is_not_read(first.values, rows, columns)) is not None:
            part = "rows" if rows is None else "text"  # a folder may have thousands of such files
            malformed.findings.file_notices.add(f"{part}_not_read", f"{malformed.name}: {lost}")
    if rows is None:
        yield first
    else:
        malformed.num_good = 0
        yield from (record for row in rows if (record := _record_of(row, first.line, malformed)) is not None)
    if second is not None:
        yield second
        yield from records


def iter_json_records(numbered: Iterable[tuple[int, str]], malformed: Malformed) -> Iterator[Record]:
    """The records of numbered jsonl lines; a line that is not a record is counted in `malformed`."""
    long = 0  # the number of a line that was split
    for number, line in numbered:
        if not line or line.isspace() or number == long:
            continue
        try:
            value = _parse(line)
        except (ValueError, RecursionError):
            long = number if len(line) >= LONGEST_LINE else 0
            found = f"more than {LONGEST_LINE:,} characters" if long else repr(shorten(line, 60))
            malformed.add(UNPARSABLE_ROW, number, f"expected one JSON object per line, found {found}", line)
            continue
        record = _record_of(value, number, malformed)
        if record is not None:
            yield record


def _record_of(value: Any, line: int, malformed: Malformed) -> Record | None:
    """An object as a record, or a string as one with a text; None for any other value, which is counted."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        found = shorten(cell_text([value])[1:-1], 60)  # as JSON
        malformed.add(UNPARSABLE_ROW, line, f"expected a JSON object, found {found!r}", found)
        return None
    malformed.num_good += 1
    return Record({name: cell_text(cell) for name, cell in value.items()}, line, value)


def _parse(line: str) -> Any:
    """`json.loads`, in a third of the time for a line that is a single value without blanks around it."""
    try:
        value, end = scan_json(line, 0)
    except StopIteration:
        end = -1
    return value if end == len(line) else json.loads(line)
