"""The visible text of an HTML page, by the standard library's parser."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser

_HIDDEN = frozenset(("script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object", "select"))
_LINE = frozenset((
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li",
    "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
))  # fmt: skip
_CELL = frozenset(("td", "th", "option", "button", "img"))
_BODY_ENDS_HEAD = frozenset(("body", "div", "p", "h1", "article", "main"))


def visible_text(blocks: Iterable[str]) -> str:
    """What a reader of the page sees, one line per block element; scripts, styles and the head are left out."""
    parser = _VisibleText()
    for block in blocks:
        parser.feed(block)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden_by: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._hidden_by and self._hidden_by[-1] == "head" and tag in _BODY_ENDS_HEAD:
            self._hidden_by.pop()  # a head that nobody closed
        if tag in _HIDDEN:
            self._hidden_by.append(tag)
        elif tag in _LINE:
            self.pieces.append("\n")
        elif tag in _CELL:
            self.pieces.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden_by:
            while self._hidden_by.pop() != tag:
                pass
        elif tag in _LINE:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden_by:
            self.pieces.append(data.replace("\n", " "))
