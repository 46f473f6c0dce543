"""Rows of csv, tsv, jsonl and parquet files as records of strings, one at a time, with the line they came from."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

from pretune.errors import InputDataError
from pretune.text.raw.compression import COMPRESSED_ENDINGS, open_bytes
from pretune.text.raw.text_stream import LONGEST_LINE, TextStream
from pretune.text.readers.json_lists import begins_list, begins_list_of_objects, iter_list
from pretune.text.readers.nested_rows import rows_within
from pretune.text.readers.stray_quotes import StrayQuotes
from pretune.text.reading_report import Findings, join_names, shorten

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
JSON_FORMATS = ("json", "jsonl")
MAX_MALFORMED_SHARE = 0.01  # of the rows; beyond that the file is refused
SAMPLE_ROWS = 200
UNPARSABLE_ROW = "unparsable_row"  # the name of the rule by which they are left out

# Names that people give to columns; a first row with one of them is a header.
TEXT_NAMES = (
    "text", "content", "sentence", "review", "body", "document", "comment", "tweet", "message", "utterance", "abstract",
    "transcription", "transcript", "post", "question", "article", "description", "passage", "paragraph", "title",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "category", "class", "target", "sentiment", "intent", "topic", "polarity", "stance", "tag",
    "rating", "stars", "score", "emotion", "gold", "y",
)  # fmt: skip
OTHER_NAMES = ("id", "index", "idx", "name", "date", "user", "author", "lang", "language", "url", "source", "split")
_KNOWN_NAMES = frozenset((*TEXT_NAMES, *LABEL_NAMES, *OTHER_NAMES))
_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:[.\-/]\w+)*")
_NUMBER = re.compile(r"\s*[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?%?\s*")
scan_json: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_EXCEL_DELIMITER = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)  # a line that Excel writes before the header, and obeys
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_SURROGATE = re.compile("[\ud800-\udfff]")

# A cell may be long; one of this size means that a quote was opened and never closed.
csv.field_size_limit(1 << 24)


class Record(NamedTuple):
    """One row: its cells by column name, and the line (parquet: the row) it starts on, counted from 1."""

    fields: dict[str, str]
    line: int
    values: dict[str, Any] | None = None  # jsonl and parquet: the cells as they were, for who writes them out again


def table_format_of(path: str | PurePath) -> TableFormat | None:
    """The format that a file's name tells, compressed or not; None where it tells none."""
    return TABLE_ENDINGS.get(ending_of(path))


def ending_of(path: str | PurePath) -> str:
    """The last ending of a file name, in lower case, leaving out that of the compression."""
    endings = [ending.lower() for ending in PurePath(path).suffixes]
    while endings and endings[-1] in COMPRESSED_ENDINGS:
        endings.pop()
    return endings[-1] if endings else ""


def iter_records(
    path: str | Path,
    *,
    findings: Findings | None = None,
    columns: Sequence[str] = (),
    format: TableFormat | None = None,
) -> Iterator[Record]:
    """The rows of a table file, in order.

    `columns` are names that the caller expects, which helps to recognise a header. Rows that do not parse are skipped
    and counted in `findings.dropped`, with file and line; where they are more than 1 % of the rows, or all, that is an
    InputDataError, as are a missing or damaged file, a csv without a header, and parquet without pyarrow.
    """
    findings = findings if findings is not None else Findings()
    kind = format or table_format_of(path)
    if kind == "parquet":
        from pretune.text.readers.parquet import iter_parquet  # which makes records like these

        yield from iter_parquet(open_bytes(path), findings)
        return
    stream = TextStream(path, findings)
    if kind is None:
        kind = sniff_table(stream.peek())
    if kind is None:
        raise InputDataError(
            f"{stream.name} is not recognised as a table; expected a file that ends in .csv, .tsv, .jsonl or .parquet "
            "(or one of these with .gz, .bz2, .xz or .zst)."
        )
    yield from iter_stream_records(stream, kind, columns=columns)


def iter_stream_records(
    stream: TextStream, kind: TableFormat, *, columns: Sequence[str] = (), header: Sequence[str] = ()
) -> Iterator[Record]:
    """The rows of an opened csv, tsv, json or jsonl stream; see `iter_records`. `header` names unnamed columns."""
    if stream.is_empty:
        raise InputDataError(f"{stream.name} is empty; expected a table with a text column.")
    malformed = Malformed(stream.name, stream.findings)
    if kind in JSON_FORMATS:
        is_list = json_format(stream.peek()) == "json"
        yield from _iter_json_list(stream, malformed) if is_list else _iter_jsonl(stream, malformed)
    else:
        yield from _iter_delimited(stream, kind, columns, malformed, list(header) or None)
    malformed.refuse_if_too_many(is_end=True)


def sniff_table(head: str) -> TableFormat | None:
    """jsonl, where the first line is a JSON object; json, where a list of objects begins; None otherwise."""
    if begins_list_of_objects(head):
        return "json"
    first = head.lstrip().split("\n", 1)[0]
    if not first.startswith("{"):
        return None
    try:
        return "jsonl" if isinstance(json.loads(first), dict) else None
    except ValueError:
        return None


def json_format(head: str) -> Literal["json", "jsonl"]:
    """Which of the two a text that is called JSON is, since the ending does not tell."""
    return "json" if begins_list(head) else "jsonl"


class Malformed:
    """Counts good rows and malformed ones, and decides when a file has too many of these."""

    def __init__(self, name: str, findings: Findings) -> None:
        self.name = name
        self.findings = findings
        self.num_good = 0
        self.num_bad = 0
        self.first: tuple[int, str] | None = None

    def add(self, rule: str, line: int, problem: str, example: str) -> None:
        self.num_bad += 1
        self.findings.unparsable_lines.append(line)
        if self.first is None:
            self.first = (line, problem)
        reason = "a row that does not parse" if rule == UNPARSABLE_ROW else "a row with too few or too many cells"
        self.findings.dropped.add(rule, reason, f"{self.name}, line {line}: {shorten(example, 120)}")
        if self.num_bad >= 100:
            self.refuse_if_too_many()

    def refuse_if_too_many(self, *, is_end: bool = False) -> None:
        rows = self.num_good + self.num_bad
        if self.first is None or self.num_bad <= MAX_MALFORMED_SHARE * rows:
            return
        line, problem = self.first
        these = "all" if not self.num_good else f"{self.num_bad:,} of {'' if is_end else 'the first '}{rows:,}"
        raise InputDataError(
            f"{self.name}, line {line}: {problem}; {these} rows do not parse (at most {MAX_MALFORMED_SHARE:.0%} are "
            "skipped), so repair the file or check its format."
        )


def _iter_json_list(stream: TextStream, malformed: Malformed) -> Iterator[Record]:
    for line, value in iter_list(stream.blocks(), stream.name):
        record = _record_of(value, line, malformed)
        if record is not None:
            yield record


def _iter_jsonl(stream: TextStream, malformed: Malformed) -> Iterator[Record]:
    if stream.peek().lstrip().split("\n", 1)[0].strip() == "{":
        raise InputDataError(
            f"{stream.name} holds a JSON object over several lines; expected one object a line, or a list of objects: "
            "convert it, for example with: jq -c . (or jq -c '.data[]', where the rows are a list inside of it)."
        )
    return _expand_single(iter_json_records(stream.numbered_lines(), malformed), malformed)


def _expand_single(records: Iterator[Record], malformed: Malformed) -> Iterator[Record]:
    """The records; if there is only one and it holds a whole table, the rows of that."""
    first = next(records, None)
    if first is None:
        return
    second = next(records, None)
    rows = None if second is not None or first.values is None else rows_within(first.values)
    if rows is None:
        yield first
    else:
        malformed.num_good = 0
        yield from (record for row in rows if (record := _record_of(row, first.line, malformed)) is not None)
    if second is not None:
        yield second
        yield from records


def iter_json_records(numbered: Iterable[tuple[int, str]], malformed: Malformed) -> Iterator[Record]:
    """The records of jsonl lines with their numbers; what is none is counted in `malformed`."""
    long = 0  # the number of a line that comes in pieces
    for number, line in numbered:
        if not line or line.isspace() or number == long:
            continue
        try:
            value = _parse(line)
        except (ValueError, RecursionError):
            long = number if len(line) >= LONGEST_LINE else 0
            found = f"more than {LONGEST_LINE:,} characters" if long else repr(shorten(line, 60))
            malformed.add(UNPARSABLE_ROW, number, f"expected one JSON object a line, found {found}", line)
            continue
        record = _record_of(value, number, malformed)
        if record is not None:
            yield record


def _record_of(value: Any, line: int, malformed: Malformed) -> Record | None:
    """An object, or a string as the text, as a record; None for what is neither, which is counted."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, dict):
        found = shorten(json.dumps(value), 60)
        malformed.add(UNPARSABLE_ROW, line, f"expected a JSON object, found {found!r}", found)
        return None
    malformed.num_good += 1
    return Record({name: cell_text(cell) for name, cell in value.items()}, line, value)


def _parse(line: str) -> Any:
    """`json.loads`, in a third of its time where a value is all there is."""
    try:
        value, end = scan_json(line, 0)
    except StopIteration:
        end = -1
    return value if end == len(line) else json.loads(line)


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, which UTF-8 cannot write."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def cell_text(cell: Any) -> str:
    """A JSON or parquet value as text: nothing for null and NaN, JSON for lists and objects; no lone surrogates."""
    if isinstance(cell, str):
        return replace_surrogates(cell)
    if cell is None or cell != cell:  # NaN, which JSON has none of and pandas writes all the same
        return ""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return str(cell)
    return json.dumps(cell, default=str)


# --- csv and tsv


class _RawLines:
    """Lines for csv.reader, remembering those of the row that is being read."""

    def __init__(self, lines: Iterator[str], *, is_escaped: bool) -> None:
        self._lines, self._is_escaped = lines, is_escaped
        self.row: list[str] = []

    def __iter__(self) -> _RawLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if "\0" in line:
            line = line.replace("\0", "")  # which csv refuses
        if self._is_escaped:
            line = _ESCAPED_QUOTE.sub('\\1""', line)
        self.row.append(line)
        return line + "\n"


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    is_quoted: bool
    is_escaped: bool = False  # quotes inside a cell are written as \\" and not doubled, as by Spark and MySQL

    def reader(self, lines: Iterator[str] | _RawLines) -> Any:
        if self.is_quoted:
            return csv.reader(lines, delimiter=self.delimiter)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)


def _iter_delimited(
    stream: TextStream, kind: TableFormat, columns: Sequence[str], malformed: Malformed, header: list[str] | None
) -> Iterator[Record]:
    head, text, start = stream.peek(), stream.lines(), 1
    told = _EXCEL_DELIMITER.match(head)
    if told:
        head, start = head[told.end() :], 2
        next(text)
    dialect, sample = _sniff_dialect(head, kind, told[1] if told else None)
    if header is None:
        header = _numbers_as_header(sample, stream.name, columns)
    if dialect.is_escaped:
        stream.findings.notices.append(f'{stream.name}: quotes inside cells are written as \\", and read so.')
    lines, merges = _RawLines(text, is_escaped=dialect.is_escaped), StrayQuotes(stream.name, dialect.delimiter)
    reader = dialect.reader(lines)
    while (row := _next_row(reader, stream.name, start)) is not None:
        if len(lines.row) > 1 and dialect.is_quoted:
            if "".join(lines.row).count('"') % 2:
                raise InputDataError(_unclosed(stream.name, start))
            merges.look_at(lines.row, start, len(header or ()))
        if not row or row == [""]:
            pass
        elif header is None:
            header = _check_header(row, stream.name)
        elif len(row) != len(header):
            problem = f"{len(row)} cells, expected {len(header)} ({join_names(header)})"
            malformed.add("ragged_row", start, problem, " | ".join(row))
        else:
            malformed.num_good += 1
            merges.note(row)
            yield Record(dict(zip(header, row, strict=True)), start)
        start += len(lines.row)
        lines.row.clear()
    malformed.findings.warnings += merges.sentences


def _next_row(reader: Any, name: str, start: int) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        if "field larger" in str(error):
            raise InputDataError(_unclosed(name, start, f" within {csv.field_size_limit():,} characters")) from error
        raise InputDataError(f"{name}, line {start}: the row does not parse ({error}); repair it.") from error


def _unclosed(name: str, line: int, where: str = "") -> str:
    problem = "a quote is opened and never closed" if not where else f"a quote is opened and not closed{where}"
    return f"{name}, line {line}: {problem}; close it, or double the quotes inside a cell."


def _sniff_dialect(head: str, kind: TableFormat, told: str | None = None) -> tuple[_Dialect, list[list[str]]]:
    """The delimiter and quoting under which most sample rows have as many cells as the first, and these rows."""
    candidates = told or ("\t" if kind == "tsv" else ",;\t|")
    best: tuple[tuple[float, ...], _Dialect, list[list[str]]] | None = None
    for delimiter in candidates:
        # Names of columns in quotes leave no doubt that these are not a part of them.
        for is_quoted in (True,) if kind == "csv" and head.startswith('"') else (True, False):
            dialect = _Dialect(delimiter, is_quoted)
            rows = _sample_rows(head, dialect)
            width = len(rows[0]) if rows else 0
            even = sum(len(row) == width for row in rows) / max(1, len(rows))
            score: tuple[float, ...]
            if kind == "csv":
                score = (width > 1, round(even, 2), is_quoted, width, -candidates.index(delimiter))
            else:  # in tsv a quote is a character like any other, but where quotes stand in pairs around cells
                score = (width > 1, is_quoted == _has_paired_quotes(head, delimiter), even)
            if best is None or score > best[0]:
                best = (score, dialect, rows)
    assert best is not None
    _, dialect, rows = best
    if kind == "csv" and _holds_escaped_quotes(head, dialect.delimiter):
        escaped = _Dialect(dialect.delimiter, True, is_escaped=True)
        rows_escaped = _sample_rows(_ESCAPED_QUOTE.sub('\\1""', head), escaped)
        if _evenness(rows_escaped) >= _evenness(rows):
            return escaped, rows_escaped
    return dialect, rows


def _holds_escaped_quotes(head: str, delimiter: str) -> bool:
    """Whether a cell in quotes goes on after \\", which it cannot if that quote closes it; none may be doubled."""
    of_cell = re.escape(delimiter)
    goes_on = re.compile(rf'(?:^|{of_cell})"[^"\n]*\\"[^"\n{of_cell}]', re.MULTILINE)
    return goes_on.search(head) is not None and '""' not in head.replace('\\"', "")


def _evenness(rows: Sequence[Sequence[str]]) -> float:
    """The share of the rows that have as many cells as the first."""
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows) if rows else 0.0


def _sample_rows(head: str, dialect: _Dialect) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in dialect.reader(iter(head.replace("\0", "").split("\n"))):
            if row and row != [""]:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return rows[:1]
    return rows


def _has_paired_quotes(head: str, delimiter: str) -> bool:
    """Whether every cell of the sample that begins with a quote also ends with one, and there is one."""
    cells = [cell for line in head.split("\n")[:SAMPLE_ROWS] for cell in line.split(delimiter) if cell.startswith('"')]
    return bool(cells) and all(len(cell) > 1 and cell.endswith('"') for cell in cells)


def _numbers_as_header(rows: list[list[str]], name: str, columns: Sequence[str]) -> list[str] | None:
    """The numbers of the columns, where no header is and one is asked for by number; None where there is a header."""
    if not rows or _looks_like_header(rows[0], rows[1 : SAMPLE_ROWS + 1], columns):
        return None
    numbers = [str(number) for number in range(1, len(rows[0]) + 1)]
    if set(columns) & set(numbers):
        return numbers
    raise InputDataError(
        f"{name}, line 1 looks like data, not like column names ({shorten(' | '.join(rows[0]), 100)}); expected a "
        "header such as text,label: add one as the first line, or give the text's number, as in --text-column 1."
    )


def _looks_like_header(first: list[str], rows: list[list[str]], columns: Sequence[str]) -> bool:
    names = [cell.strip() for cell in first]
    known = {*_KNOWN_NAMES, *(column.casefold() for column in columns)}
    if _are_numbered(names, rows):
        return True
    if any(_NUMBER.fullmatch(name) for name in names):
        return False
    if any(name.casefold() in known for name in names):
        return True
    if any(len(name) > 60 or name.endswith((".", "!", "?")) for name in names):
        return False
    cells_of_column = [{row[i].strip() for row in rows if i < len(row)} for i in range(len(names))]
    if any(name and name in cells for name, cells in zip(names, cells_of_column, strict=True)):
        return False
    if any(cells and all(_NUMBER.fullmatch(cell) for cell in cells) for cells in cells_of_column):
        return True
    return all(not name or _IDENTIFIER.fullmatch(name) for name in names)


def _are_numbered(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether columns are called by their numbers, as pandas does (after an index without a name), and hold words."""
    numbers = [name for name in names if name]
    if numbers != [str(i) for i in range(len(numbers))]:
        return False
    cells = [{row[i].strip() for row in rows if i < len(row)} for i, name in enumerate(names) if name]
    return len(numbers) > 1 and any(of_column and not any(map(_NUMBER.fullmatch, of_column)) for of_column in cells)


def sniff_tab_table(head: str) -> bool:
    """Whether a text that is called txt is a table: a header with usual names, and as many tabs in every line."""
    lines = [line for line in head.split("\n")[: SAMPLE_ROWS + 1] if line]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut short
    names = [name.strip().casefold() for name in lines[0].split("\t")] if lines else []
    is_even = len({line.count("\t") for line in lines}) == 1
    return len(names) > 1 and len(lines) > 1 and is_even and any(name in _KNOWN_NAMES for name in names)


def _check_header(row: list[str], name: str) -> list[str]:
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(row, 1)]
    doubled = sorted({column for column in names if names.count(column) > 1})
    if doubled:
        raise InputDataError(f"{name}: the column {doubled[0]!r} occurs twice in the header; rename one of them.")
    return names
