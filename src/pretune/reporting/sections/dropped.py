"""The documents that preprocess dropped in; out comes each, next to the text that it repeats or overlaps with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from rich.text import Text

from pretune.run_trace import formats
from pretune.terminal import Lines, Page, clean, heading, page_for, paragraph, place, quote, show

TEXT_LIMIT = 400  # columns shown of a text
SOURCE_LIMIT = 70  # columns shown of its source


def render_dropped(rule: str, documents: Sequence[dict[str, Any]], more: bool, page: Page) -> Lines:
    """The documents that one rule dropped; `more`: there are others."""
    is_kept = any(document.get("kept") for document in documents)
    title = f"{'FOUND AND KEPT' if is_kept else 'DROPPED'}: {clean(rule.replace('_', ' ').replace('-', ' '), 40)}"
    note = f"first {formats.count(len(documents))} shown; --limit N shows more" if more else ""
    lines = heading(title, note, page)
    for number, document in enumerate(documents, 1):
        first = f"{number}  "
        lines += paragraph(quote(document["text"], TEXT_LIMIT), page, indent=1, first=first)
        details = [place(document["source"], SOURCE_LIMIT), clean(document["reason"], 160)]
        if document.get("similarity") is not None:
            details.append(f"similarity {document['similarity']:.2f}")
        if document.get("shared"):
            details.append(f"shared: {quote(document['shared'], 120)}")
        lines += paragraph(" · ".join(details), page, indent=1 + len(first), style="dim")
        if document.get("original") is not None:
            lines += paragraph(quote(document["original"], TEXT_LIMIT), page, indent=1 + len(first), first="= ")
            if document.get("original_source"):
                lines += paragraph(
                    place(document["original_source"], SOURCE_LIMIT), page, indent=3 + len(first), style="dim"
                )
        lines.append(Text(""))
    return lines


def show_dropped(rule: str, documents: Sequence[dict[str, Any]], more: bool, stream: TextIO) -> None:
    """Write the documents of one rule to a stream."""
    page = page_for(stream)
    show(render_dropped(rule, documents, more, page), stream, page)
