"""The comparison event in; out come all models on one test set, with intervals, slices and verdicts."""

from __future__ import annotations

import math
from typing import Any

from rich.text import Text

from pretune.run_trace import formats
from pretune.reporting.sections.phases import last_of, synthetic_note
from pretune.reporting.terminal import NARROW, Cell, Column, Lines, Page, Row, clean, heading, paragraph, table
from pretune.runtime.events import Event

TITLE = "DID PRE-TRAINING HELP?"
NAMES = {
    "majority": "majority class",
    "tfidf": "TF-IDF + logistic regression",
    "nbsvm": "NB-SVM",
    "scratch": "from scratch",
    "pretrained": "pre-trained",
}
NO_CONTROL = "Whether pre-training helped is unknown: the same network was not trained from scratch."
RULER = (16, 30)  # columns of the drawn interval, fewest and most
REST_OF_TABLE = 82  # columns of the table without that


def render_comparison(events: list[Event], page: Page) -> Lines:
    """The tables and the verdicts; a note if the comparison has not been run."""
    comparison = last_of(events, "compare", "comparison")
    rows = comparison.get("rows", [])
    if not rows:
        note = "Not measured in this run: the model has not been compared with the baselines and the control."
        return [*heading(TITLE, synthetic_note(events), page), *paragraph(note, page, indent=1, style="dim")]
    n = max(row.get("n", 0) for row in rows)
    notes = [f"all models on the same {formats.count(n)} test texts", synthetic_note(events)]
    lines = heading(TITLE, " · ".join(filter(None, notes)), page)
    lines += _table(rows, page)
    lines += _slices(rows, page)
    lines += _verdicts(comparison.get("verdicts", []), rows, page)
    for sentence in (clean(comparison.get("coverage", ""), 400), _calibration(rows)):
        if sentence:
            lines += paragraph(sentence, page, indent=1, style="dim")
    return lines


def _name(row: Event) -> str:
    return NAMES.get(row.get("kind", ""), clean(row["name"], 32))


def _table(rows: list[Event], page: Page) -> Lines:
    low, high = _ruler_range(rows)
    ruler = min(page.width - REST_OF_TABLE, RULER[1])
    has_ruler = ruler >= RULER[0]
    columns = [
        Column("model", wraps=page.width < NARROW),
        Column("accuracy", "right"),
        Column("95 % interval", "right"),
        Column("macro-F1", "right"),
        Column("per seed", wraps=True),
    ]
    if has_ruler:
        left, right = f"{100 * low:g} %", f"{100 * high:g} %"
        columns.insert(3, Column(left + right.rjust(ruler - len(left))))
    cells: list[Row] = []
    for row in rows:
        style = "bold green" if row.get("kind") == "pretrained" else ""
        seeds = row.get("seeds") or []
        line: list[str | Cell] = [
            Cell(_name(row), style),
            Cell(formats.percent(row["accuracy"]), style),
            formats.interval(row["accuracy_interval"]),
            "-" if row.get("macro_f1") is None else f"{row['macro_f1']:.3f}",
            Cell(" ".join(f"{100 * seed:.1f}" for seed in seeds) if len(seeds) > 1 else "", "dim"),
        ]
        if has_ruler:
            line.insert(3, Cell(_ruler(row, low, high, ruler), style))
        cells.append(line)
    if page.width < NARROW:  # without the seeds
        columns, cells = columns[:-1], [line[:-1] for line in cells]
    return table(columns, cells, page)


def _ruler_range(rows: list[Event]) -> tuple[float, float]:
    """The tenths that enclose all intervals."""
    low = min(row["accuracy_interval"][0] for row in rows)
    high = max(row["accuracy_interval"][1] for row in rows)
    first = math.floor(low * 10 + 1e-9)
    return first / 10, max(math.ceil(high * 10 - 1e-9), first + 1) / 10


def _ruler(row: Event, low: float, high: float, width: int) -> str:
    """The interval as a line, with the accuracy as a mark on it."""

    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    first, last = (min(max(column(value), 0), width - 1) for value in row["accuracy_interval"])
    marks = [" "] * width
    marks[first : last + 1] = "─" * (last - first + 1)
    marks[first], marks[last] = "├", "┤"
    marks[min(max(column(row["accuracy"]), 0), width - 1)] = "●"
    return "".join(marks)


def _slices(rows: list[Event], page: Page) -> Lines:
    names = list(dict.fromkeys(name for row in rows for name in row.get("slices") or {}))
    if not names:
        return []
    has_intervals = page.width >= NARROW and 32 + 26 * len(names) <= max(page.width, 84)
    columns = [
        Column("accuracy by slice", wraps=page.width < NARROW),
        *(Column(_slice_title(n, rows, page), "right", wraps=True) for n in names),
    ]
    cells: list[Row] = []
    for row in rows:
        style = "bold green" if row.get("kind") == "pretrained" else ""
        slices = [(row.get("slices") or {}).get(name) for name in names]
        cells.append([Cell(_name(row), style), *(Cell(_slice(found, has_intervals), style) for found in slices)])
    return [Text(""), *table(columns, cells, page)]


def _slice_title(name: str, rows: list[Event], page: Page) -> str:
    sizes = [row["slices"][name].get("n", 0) for row in rows if name in (row.get("slices") or {})]
    gap = "\n" if page.width < NARROW else " "
    return f"{clean(name.replace('_', ' '), 24)}{gap}(n = {formats.count(max(sizes))})"


def _slice(found: dict[str, Any] | None, has_intervals: bool) -> str:
    if found is None:
        return "-"
    text = formats.percent(found["accuracy"])
    if has_intervals and found.get("accuracy_interval"):
        text += f"  {formats.interval(found['accuracy_interval'])}"
    return text


def _verdicts(verdicts: list[Event], rows: list[Event], page: Page) -> Lines:
    has_control = any(row.get("kind") == "scratch" for row in rows)
    lines: Lines = [Text("")] if verdicts or not has_control else []
    if not has_control:
        lines += paragraph(NO_CONTROL, page, indent=1, first="● ", style="bold")
    for verdict in verdicts:
        lines += paragraph(clean(verdict.get("sentence", ""), 400), page, indent=1, first="● ", style="bold")
        evidence = _evidence(verdict, rows)
        if evidence:
            lines += paragraph(evidence, page, indent=3, style="dim")
    return lines


def _calibration(rows: list[Event]) -> str:
    """A sentence on the probabilities of each model but the majority class, which gives every row the same."""
    parts = [
        f"{_name(row)} {formats.percent(row['calibration_error'])}, {row['brier_score']:.3f}"
        for row in rows
        if row.get("kind") != "majority" and "calibration_error" in row
    ]
    what = "Expected calibration error (mean gap between confidence and accuracy) and Brier score"
    return f"{what}, lower is better: {'; '.join(parts)}." if parts else ""


def _evidence(verdict: Event, rows: list[Event]) -> str:
    """What the verdict's sentence leaves out: the p-value, and the number of seeds on each side."""
    parts = []
    if verdict.get("p_value") is not None:
        parts.append(f"p {'< 0.001' if verdict['p_value'] < 0.001 else '= ' + format(verdict['p_value'], '.3f')}")
    num_seeds = {row.get("kind"): len(row.get("seeds") or []) for row in rows}
    seeds = [formats.count(num_seeds[kind]) for kind in verdict.get("between", []) if num_seeds.get(kind)]
    if len(seeds) == 2:
        parts.append(f"seeds: {seeds[0]} vs. {seeds[1]}")
    return ", ".join(parts)
