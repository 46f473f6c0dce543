"""The cleaning of the text, from the funnel of a trace: documents left after each step, their lengths and languages."""

from __future__ import annotations

from pretune.run_trace import formats
from pretune.terminal import Cell, Column, Lines, Page, Row, bar, clean, heading, side_by_side, table
from pretune.trace_schema import Funnel, FunnelStep, RunTrace

BAR_WIDTH = 24
MOST_LANGUAGES = 8
LIST_NOTE = "pretune show DIR --dropped RULE lists the documents that a rule dropped"


def render_funnel(trace: RunTrace, page: Page) -> Lines:
    """Documents and characters after each step, and small histograms; no lines if no funnel was logged."""
    funnel = trace.funnel
    if funnel is None or not funnel.steps:
        return []
    lines = heading("DOCUMENTS KEPT", LIST_NOTE, page) + _steps(funnel.steps, page)
    histograms = [_histogram("words per document", _lengths(funnel), page)]
    if funnel.languages:
        sampled = f" (of {formats.count(funnel.languages_of)})" if funnel.languages_of else ""
        histograms.append(_histogram(f"language{sampled}", _languages(funnel.languages), page))
    if len(histograms) == 2:
        width = max(line.cell_len for line in histograms[0])
        return lines + side_by_side(histograms[0], histograms[1], width)
    return lines + histograms[0]


def _steps(steps: list[FunnelStep], page: Page) -> Lines:
    columns = [
        Column("after"),
        Column("documents", "right"),
        Column("characters", "right"),
        Column("dropped", "right"),
        Column("left"),
    ]
    first = max(1, steps[0].documents)
    rows: list[Row] = []
    for before, step in zip([steps[0], *steps], steps, strict=False):
        dropped = before.documents - step.documents
        fraction = step.documents / first
        rows.append(
            [
                Cell(clean(step.step.replace("_", " "), 32), "" if dropped else "bold"),
                formats.count(step.documents),
                "-" if step.characters is None else formats.count(step.characters),
                formats.count(dropped) if dropped else "-",
                Cell(f"{bar(fraction, BAR_WIDTH)} {formats.percent(fraction)}", "dim"),
            ]
        )
    return table(columns, rows, page)


def _lengths(funnel: Funnel) -> list[tuple[str, int]]:
    return [(group.words, group.documents) for group in funnel.lengths]


def _languages(languages: dict[str, int]) -> list[tuple[str, int]]:
    named = list(languages.items())
    rest = sum(count for _, count in named[MOST_LANGUAGES:])
    return named[:MOST_LANGUAGES] + ([("others", rest)] if rest else [])


def _histogram(title: str, groups: list[tuple[str, int]], page: Page) -> Lines:
    most = max((count for _, count in groups), default=0) or 1
    columns = [Column(title, "right"), Column("documents", "right"), Column("")]
    width = BAR_WIDTH // 2
    rows: list[Row] = [
        [clean(name, 16), formats.count(count), Cell(bar(count / most, width), "dim")] for name, count in groups
    ]
    return [*heading("", "", page)[:1], *table(columns, rows, Page(page.width // 2, page.charset))]
