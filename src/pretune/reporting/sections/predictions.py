"""Predictions for many texts as a table: the text, or both texts of a pair, the label and its probability."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.terminal import Column, Lines, Page, clean, table

TEXT_COLUMNS = ("text", "text_pair")
MOST_CHARACTERS = 200  # of a text

Predicted = tuple[tuple[str, ...], str | None, float | None]  # the texts, the label and its probability


def render_predictions(rows: Sequence[Predicted], expected: Sequence[str | None] | None, page: Page) -> Lines:
    """The table, with the expected labels if they are known. All rows have as many texts as the first one."""
    titles = TEXT_COLUMNS[: len(rows[0][0])] if rows else TEXT_COLUMNS[:1]
    columns = [*(Column(title, wraps=True) for title in titles), Column("label"), Column("probability", "right")]
    columns += [Column("expected")] if expected is not None else []
    cells = []
    for texts, label, probability in rows:
        shown = "-" if probability is None else f"{probability:.3f}"
        cells.append([*(clean(text, MOST_CHARACTERS) for text in texts), clean(label or "-"), shown])
    for row, label in zip(cells, expected or (), strict=False):
        row.append(clean(label or "-"))
    return table(columns, cells, page, indent=0)
