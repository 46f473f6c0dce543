"""Detects csv rows joined by stray quotes, from the position of the quotes and the cells next to them."""

from __future__ import annotations

import csv
from collections.abc import Sequence

_MOST_CELLS_SEEN, _SHORT_CELL = 10_000, 40  # characters


class StrayQuotes:
    """Notices rows joined by stray quotes: a quote opens in one row and closes in the next, so that one row is lost.

    A text of several lines looks the same if each line has as many delimiters as a row. The difference is the position
    of the quotes, or the cells next to them, which in separate rows also occur in other rows.
    """

    def __init__(self, name: str, delimiter: str) -> None:
        self.name, self.delimiter, self.count = name, delimiter, 0
        self.first: int | None = None  # line
        self._seen: set[tuple[int, str]] = set()

    def note(self, row: Sequence[str]) -> None:
        """Remember the short cells of a good row."""
        if len(self._seen) < _MOST_CELLS_SEEN:
            self._seen.update((place, cell) for place, cell in enumerate(row) if 0 < len(cell) <= _SHORT_CELL)

    def check(self, lines: Sequence[str], line: int, width: int) -> None:
        """Check the lines of one row, the first of which is number `line`, in a table of `width` columns."""
        if self._is_suspect(lines, width):
            self.first = line if self.first is None else self.first
            self.count += 1

    def _is_suspect(self, lines: Sequence[str], width: int) -> bool:
        rows = [row for row in csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE) if row]
        if width < 2 or not all(len(row) == width for row in rows):
            return False
        opened = [i for i, cell in enumerate(rows[0]) if cell.startswith('"') and cell.count('"') % 2]
        closed = [i for i, cell in enumerate(rows[-1]) if cell.endswith('"') and cell.count('"') % 2]
        if not opened or opened != closed:
            return True
        after = [(i, cell) for i, cell in enumerate(rows[0]) if i > opened[0]]
        before = [(i, cell) for i, cell in enumerate(rows[-1]) if i < closed[0]]
        return all(other in self._seen for other in (*after, *before))

    @property
    def sentences(self) -> list[str]:
        """The warning, if any."""
        rows = "a row" if self.count == 1 else f"{self.count:,} rows"
        sentence = (
            f"{self.name}, line {self.first}: a stray quote seems to join {rows} with the next; if these are separate "
            "rows, double the quotes inside a cell, or remove them."
        )
        return [sentence] if self.count else []
