"""Series of points in, a line chart as text out: braille dots (2 x 4 per character) or ASCII, with labelled axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rich.cells import cell_len
from rich.text import Text

from pretune.terminal import Lines, Page, pad, wrap

Point = tuple[float, float]
SMALLEST_SPAN = 1e-9  # of an axis
Pen = Literal["solid", "dashed"]

# The bits of a braille character (U+2800 and up), by row and column of its dots.
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ASCII_MARKS = {"solid": "*", "dashed": "."}
_LEGEND_MARKS = {"solid": "━", "dashed": "┅"}


@dataclass(frozen=True)
class Series:
    """A named line through points (x, y), in ascending x."""

    name: str
    points: Sequence[Point]
    pen: Pen = "solid"
    style: str = ""


@dataclass(frozen=True)
class Reference:
    """A horizontal line to read the series against; `label` gives its name and value."""

    label: str
    value: float


@dataclass(frozen=True)
class Marker:
    """A named point to highlight, such as the checkpoint that was kept."""

    name: str
    point: Point


@dataclass(frozen=True)
class Chart:
    """One panel. No tick goes beyond `y_limits`; `format_y` formats a tick."""

    title: str
    x_label: str
    series: Sequence[Series]
    references: Sequence[Reference] = ()
    markers: Sequence[Marker] = ()
    y_limits: tuple[float, float] = (-math.inf, math.inf)
    format_y: Callable[[float], str] = "{:g}".format


@dataclass(frozen=True)
class _Scale:
    """Maps values onto dots 0 .. dots - 1."""

    low: float
    high: float
    dots: int

    def dot(self, value: float) -> int:
        fraction = (value - self.low) / (self.high - self.low)
        return round(min(max(fraction, 0.0), 1.0) * (self.dots - 1))


def draw_chart(chart: Chart, page: Page, *, height: int = 9) -> Lines:
    """The panel as lines of the page's width: title, legend, `height` rows of plot, x axis and its label."""
    points = [point for series in chart.series for point in series.points]
    if not points:
        return [Text(chart.title, style="bold"), Text("(no evaluation yet)", style="dim")]
    ticks_y = _y_ticks(chart, points, height)
    margin = max(cell_len(chart.format_y(tick)) for tick in ticks_y) + 2
    columns = page.width - margin
    across, down = (2, 4) if page.charset == "unicode" else (1, 1)
    x = _Scale(min(0.0, min(p[0] for p in points)), max(*(p[0] for p in points), SMALLEST_SPAN), columns * across)
    y = _Scale(ticks_y[0], ticks_y[-1], height * down)
    plot = _Plot(x, y, across, down, page.charset)
    for series in sorted(chart.series, key=lambda series: series.pen):  # dashed first, so that solid is on top
        plot.draw(series)
    left_over = plot.draw_references(chart.references)
    plot.mark(chart.markers)
    lines = _title_lines(chart, page)
    lines += _with_y_axis(plot, chart, ticks_y, margin)
    lines += _x_axis(x, across, margin, chart.x_label)
    for label in left_over:
        lines.append(Text(" " * margin + f"╌ {label}", style="dim"))
    return lines


def nice_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that cover low to high: at least 2, at most `at_most`."""
    span = max(high - low, max(abs(high), abs(low)) * 1e-6) or 0.1
    span = max(span, SMALLEST_SPAN)
    high = low + span
    exponent = math.floor(math.log10(span / max(at_most - 1, 1)))
    for power in range(exponent, exponent + 3):
        for mantissa in (1, 2, 5):
            step = mantissa * 10.0**power
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            last = max(last, first + 1)
            if last - first + 1 <= max(at_most, 2):
                return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return [low, low + span]


def _y_ticks(chart: Chart, points: Sequence[Point], height: int) -> list[float]:
    values = [y for _, y in points] + [reference.value for reference in chart.references]
    lowest, highest = chart.y_limits
    ticks = nice_ticks(max(min(values), lowest), min(max(values), highest), at_most=max(height // 2 + 1, 2))
    inside = [tick for tick in ticks if lowest <= tick <= highest]
    return inside if len(inside) > 1 else ticks


class _Plot:
    """The plotting area: the dots of each character cell, and the style of what was drawn there last."""

    def __init__(self, x: _Scale, y: _Scale, across: int, down: int, charset: str) -> None:
        self.x, self.y, self.across, self.down, self.charset = x, y, across, down, charset
        self.width, self.height = x.dots // across, y.dots // down
        self.bits = [[0] * self.width for _ in range(self.height)]
        self.text: list[list[str]] = [[""] * self.width for _ in range(self.height)]
        self.styles = [[""] * self.width for _ in range(self.height)]

    def cell(self, point: Point) -> tuple[int, int]:
        """Row and column of the character that contains a point."""
        return (self.y.dots - 1 - self.y.dot(point[1])) // self.down, self.x.dot(point[0]) // self.across

    def draw(self, series: Series) -> None:
        dots = [(self.x.dot(x), self.y.dots - 1 - self.y.dot(y)) for x, y in series.points]
        paths = [_line(a, b) for a, b in pairwise(dots)] or [iter(dots)]
        travelled = 0
        for path in paths:
            for dot in path:
                if series.pen == "solid" or self.charset == "ascii" or travelled % 4 < 2:
                    self._set(dot, series)
                travelled += 1
        for dot in (dots[0], dots[-1]):
            self._set(dot, series)

    def _set(self, dot: tuple[int, int], series: Series) -> None:
        row, column = dot[1] // self.down, dot[0] // self.across
        self.styles[row][column] = series.style
        if self.charset == "ascii":
            self.text[row][column] = _ASCII_MARKS[series.pen]
        else:
            self.bits[row][column] |= _BRAILLE_BITS[dot[1] % 4][dot[0] % 2]

    def draw_references(self, references: Sequence[Reference]) -> list[str]:
        """Draw the reference lines where nothing else is; returns the labels that have no room near their line."""
        by_row: dict[int, list[str]] = {}
        for reference in sorted(references, key=lambda reference: -reference.value):
            by_row.setdefault(self.cell((0.0, reference.value))[0], []).append(reference.label)
        left_over = []
        for row, labels in by_row.items():
            label = f" {', '.join(labels)} "
            neighbours = [r for r in (row - 1, row + 1) if 0 <= r < self.height and r not in by_row]
            places = ((r, self._room_for(r, cell_len(label))) for r in (row, *neighbours))
            place = next(((r, start) for r, start in places if start is not None), None)
            if place is None:
                left_over.append(label.strip())
            else:
                self._write(*place, label)
            for column in range(self.width):
                if not self.bits[row][column] and not self.text[row][column]:
                    self._write(row, column, "╌")
        return left_over

    def _write(self, row: int, column: int, text: str) -> None:
        self.text[row][column : column + len(text)] = list(text)
        self.styles[row][column : column + len(text)] = ["dim"] * len(text)

    def _room_for(self, row: int, width: int) -> int | None:
        """The rightmost start of `width` free cells, one short of the border if possible."""
        free = [not bits and not text for bits, text in zip(self.bits[row], self.text[row], strict=True)]
        starts = [s for s in range(self.width - width, -1, -1) if all(free[s : s + width])]
        return next((s for s in starts if s < self.width - width), starts[0] if starts else None)

    def mark(self, markers: Sequence[Marker]) -> None:
        for marker in markers:
            row, column = self.cell(marker.point)
            self.text[row][column], self.styles[row][column] = "●", "bold green"

    def row(self, index: int) -> Text:
        line = Text("")
        for bits, text, style in zip(self.bits[index], self.text[index], self.styles[index], strict=True):
            line.append(text or (chr(0x2800 + bits) if bits else " "), style=style)
        return line


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line, both ends included."""
    (x0, y0), (x1, y1) = start, end
    length = max(abs(x1 - x0), abs(y1 - y0), 1)
    for index in range(length + 1):
        yield x0 + round(index * (x1 - x0) / length), y0 + round(index * (y1 - y0) / length)


def _title_lines(chart: Chart, page: Page) -> Lines:
    marks = _ASCII_MARKS if page.charset == "ascii" else _LEGEND_MARKS
    legend = [(f"{marks[series.pen]} {series.name}", series.style) for series in chart.series]
    legend += [(f"● {marker.name}", "bold green") for marker in chart.markers]
    lines = [Text("").append(line, style="bold") for line in wrap(chart.title, page.width)]
    line = Text("")
    for entry, style in legend:
        line.append(entry, style=style).append("   ")
    return [*lines, line]


def _with_y_axis(plot: _Plot, chart: Chart, ticks: Sequence[float], margin: int) -> Lines:
    labels = {plot.cell((0.0, tick))[0]: chart.format_y(tick) for tick in ticks}
    lines = []
    for index in range(plot.height):
        label = labels.get(index)
        axis = pad(label, margin - 2, "right") + " ┤" if label is not None else " " * (margin - 1) + "│"
        lines.append(Text("").append(axis, style="dim").append_text(plot.row(index)))
    return lines


def _x_axis(x: _Scale, across: int, margin: int, label: str) -> Lines:
    width = x.dots // across
    ticks = [tick for tick in nice_ticks(x.low, x.high, at_most=max(width // 8, 2)) if x.low <= tick <= x.high]
    axis, numbers = ["─"] * width, [" "] * (width + margin)
    for tick in ticks:
        column = x.dot(tick) // across
        axis[column] = "┬"
        text = f"{tick:g}"
        start = min(margin + column - (len(text) - 1) // 2, len(numbers) - len(text))
        numbers[start : start + len(text)] = list(text)
    lines = [Text(" " * (margin - 1) + "└" + "".join(axis), style="dim"), Text("".join(numbers), style="dim")]
    lines.append(Text(pad(label, margin + width, "right"), style="dim"))
    return lines
