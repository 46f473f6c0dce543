"""Rows of csv and tsv files as records; delimiter, quoting and header are detected from a sample."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pretune.errors import InputDataError
from pretune.text.arrays.scripts import marks_in_words
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.records import KNOWN_NAMES, SAMPLE_ROWS, Malformed, Record
from pretune.text.readers.stray_quotes import StrayQuotes
from pretune.text.reading_report import join_names, shorten

_NUMBER = re.compile(r"\s*[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?%?\s*")
_EXCEL_DELIMITER = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)  # Excel's line that names the delimiter
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')

# A cell may be long, but at this size (characters) a quote was opened and never closed.
csv.field_size_limit(1 << 24)


def iter_delimited(
    stream: TextStream,
    kind: Literal["csv", "tsv"],
    columns: Sequence[str],
    malformed: Malformed,
    known_names: Sequence[str],
    *,
    keep_crlf: bool = False,
) -> Iterator[Record]:
    """The rows of a csv or tsv stream.

    `columns` are names to expect in a header, `known_names` those of all columns if there is no header. Line breaks in
    quoted cells are line feeds, or with `keep_crlf` also CRLF, as found. Raises InputDataError for a missing header, a
    doubled column, and a row that csv cannot parse.
    """
    head, text, start = stream.peek(), stream.lines(keep_crlf=keep_crlf), 1
    excel_line = _EXCEL_DELIMITER.match(head)
    if excel_line:
        head, start = head[excel_line.end() :], 2
        next(text)
    dialect, sample = _sniff_dialect(head, kind, excel_line[1] if excel_line else None)
    header = _names_without_header(sample, stream.name, columns, known_names)
    if dialect.is_escaped:
        notice = f'{stream.name}: quotes inside cells are escaped as \\".'
        stream.findings.file_notices.add("escaped_quotes", notice)  # a table may have thousands of parts
    lines, merges = _RawLines(text, is_escaped=dialect.is_escaped), StrayQuotes(stream.name, dialect.delimiter)
    reader = dialect.reader(lines)
    while (row := _next_row(reader, stream.name, start)) is not None:
        if len(lines.row) > 1 and dialect.is_quoted:
            if "".join(lines.row).count('"') % 2:
                raise InputDataError(_unclosed(stream.name, start))
            merges.check(lines.row, start, len(header or ()))
        # A quoted empty cell is a row of a file of one column: programs write a missing value like that.
        if not row or (row == [""] and len(header or ()) != 1):
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


def sniff_tab_table(head: str) -> bool:
    """Whether a text named .txt is a table: a header with usual names, and the same number of tabs in every line."""
    lines = [line for line in head.split("\n")[: SAMPLE_ROWS + 1] if line]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut short
    names = [name.strip().casefold() for name in lines[0].split("\t")] if lines else []
    is_even = len({line.count("\t") for line in lines}) == 1
    return len(names) > 1 and len(lines) > 1 and is_even and any(name in KNOWN_NAMES for name in names)


class _RawLines:
    """Lines for csv.reader; `row` has those of the row being read, without their ends."""

    def __init__(self, lines: Iterator[str], *, is_escaped: bool) -> None:
        self._lines, self._is_escaped = lines, is_escaped
        self.row: list[str] = []

    def __iter__(self) -> _RawLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if "\0" in line:
            line = line.replace("\0", "")  # csv rejects it
        if self._is_escaped:
            line = _ESCAPED_QUOTE.sub('\\1""', line)
        self.row.append(line.removesuffix("\r"))
        return f"{line}\n"


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    is_quoted: bool
    is_escaped: bool = False  # quotes inside a cell are written \\" rather than doubled, as in Spark and MySQL

    def reader(self, lines: Iterator[str] | _RawLines) -> Any:
        if self.is_quoted:
            return csv.reader(lines, delimiter=self.delimiter)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)


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


def _sniff_dialect(
    head: str, kind: Literal["csv", "tsv"], given: str | None = None
) -> tuple[_Dialect, list[list[str]]]:
    """The dialect under which most sample rows have as many cells as the first, and these rows.

    `given` is the delimiter, if the file names it.
    """
    candidates = given or ("\t" if kind == "tsv" else ",;\t|")
    best: tuple[tuple[float, ...], _Dialect, list[list[str]]] | None = None
    for delimiter in candidates:
        # If the header begins with a quote, cells are quoted.
        for is_quoted in (True,) if kind == "csv" and head.startswith('"') else (True, False):
            dialect = _Dialect(delimiter, is_quoted)
            rows = _sample_rows(head, dialect)
            width = len(rows[0]) if rows else 0
            even = sum(len(row) == width for row in rows) / max(1, len(rows))
            score: tuple[float, ...]
            if kind == "csv":
                score = (width > 1, round(even, 2), is_quoted, width, -candidates.index(delimiter))
            else:  # in tsv a quote is an ordinary character, unless quotes enclose cells
                score = (width > 1, is_quoted == _has_paired_quotes(head, delimiter), even)
            if best is None or score > best[0]:
                best = (score, dialect, rows)
    assert best is not None
    _, dialect, rows = best
    if kind == "csv" and _has_escaped_quotes(head, dialect.delimiter):
        escaped = _Dialect(dialect.delimiter, True, is_escaped=True)
        rows_escaped = _sample_rows(_ESCAPED_QUOTE.sub('\\1""', head), escaped)
        if _evenness(rows_escaped) >= _evenness(rows):
            return escaped, rows_escaped
    return dialect, rows


def _has_escaped_quotes(head: str, delimiter: str) -> bool:
    """Whether a quoted cell continues after \\", so that this quote does not close it, and no quote is doubled."""
    escaped = re.escape(delimiter)
    continued = re.compile(rf'(?:^|{escaped})"[^"\n]*\\"[^"\n{escaped}]', re.MULTILINE)
    return continued.search(head) is not None and '""' not in head.replace('\\"', "")


def _evenness(rows: Sequence[Sequence[str]]) -> float:
    """The fraction of the rows that have as many cells as the first."""
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
    """Whether the sample has cells that begin with a quote, and all of them also end with one."""
    cells = [cell for line in head.split("\n")[:SAMPLE_ROWS] for cell in line.split(delimiter) if cell.startswith('"')]
    return bool(cells) and all(len(cell) > 1 and cell.endswith('"') for cell in cells)


def _names_without_header(
    rows: list[list[str]], name: str, columns: Sequence[str], known_names: Sequence[str]
) -> list[str] | None:
    """The names of the columns if there is no header: the known ones if they are as many, otherwise their numbers.

    None if there is a header. Raises InputDataError if there is neither, and no column is requested by number.
    """
    if not rows or _looks_like_header(rows[0], rows[1 : SAMPLE_ROWS + 1], columns):
        return None
    if len(known_names) == len(rows[0]):
        return list(known_names)
    numbers = [str(number) for number in range(1, len(rows[0]) + 1)]
    if known_names or set(columns) & set(numbers):
        return numbers
    raise InputDataError(
        f"{name}, line 1 looks like data, not like column names ({shorten(' | '.join(rows[0]), 100)}); expected a "
        "header such as text,label: add one as the first line, or give the number of the text column, as in "
        "--text-column 1; if these are column names, name the one of the texts with --text-column."
    )


def _looks_like_header(first: list[str], rows: list[list[str]], columns: Sequence[str]) -> bool:
    names = [cell.strip() for cell in first]
    known = {*KNOWN_NAMES, *(column.casefold() for column in columns)}
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
    return all(not name or _identifier().fullmatch(name) for name in names)


@cache
def _identifier() -> re.Pattern[str]:
    """A name of one word, in any script."""
    character = f"[\\w{marks_in_words()}]"
    return re.compile(rf"[^\W\d]{character}*(?:[.\-/]{character}+)*")


def _are_numbered(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether columns of words are named by number, as in pandas (after an index column without a name)."""
    numbers = [name for name in names if name]
    if numbers != [str(i) for i in range(len(numbers))]:
        return False
    cells = [{row[i].strip() for row in rows if i < len(row)} for i, name in enumerate(names) if name]
    return len(numbers) > 1 and any(of_column and not any(map(_NUMBER.fullmatch, of_column)) for of_column in cells)


def _check_header(row: list[str], name: str) -> list[str]:
    names = [cell.replace("\r\n", "\n").strip() or f"column_{i}" for i, cell in enumerate(row, 1)]
    doubled = sorted(column for column, count in Counter(names).items() if count > 1)
    if doubled:
        raise InputDataError(f"{name}: the column {doubled[0]!r} occurs twice in the header; rename one of them.")
    return names
