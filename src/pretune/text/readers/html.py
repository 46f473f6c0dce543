"""The visible text of an HTML page, through the standard library's parser, or its main text, through resiliparse."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from functools import cache
from html.parser import HTMLParser

from pretune.errors import InputDataError, UsageError

LONGEST_TAG = 1 << 20  # characters; a tag left open for longer is text
LONGEST_PAGE = 1 << 24  # characters; no main text is sought in a longer page
_HIDDEN = frozenset(("script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object", "select"))
_LINE = frozenset((
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li",
    "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
))  # fmt: skip
_CELL = frozenset(("td", "th", "option", "button", "img"))
_BODY_ENDS_HEAD = frozenset(("body", "div", "p", "h1", "article", "main"))
_MOST_UNFINISHED = 10  # tags and comments at the end of a page; each is looked for in all that is left
_MOST_OPEN = 1000  # nested hidden elements; a page that opens more never closes them


def visible_text(blocks: Iterable[str]) -> str:
    """The text that a reader of the page sees, one line per block element, without scripts, styles and the head."""
    return "\n".join(visible_lines(blocks))


def visible_lines(blocks: Iterable[str]) -> Iterator[str]:
    """The same, line by line, while the page is read."""
    parser = _VisibleText()
    for block in blocks:
        parser.feed(block)
        parser.give_up_on_long_tag()
        yield from parser.take_lines()
    parser.finish()
    parser.handle_starttag("br", [])
    yield from parser.take_lines()


def main_lines(blocks: Iterable[str], name: str) -> Iterator[str]:
    """The lines of the main text: without menus, sidebars and footers, as far as resiliparse recognises them.

    Raises UsageError if resiliparse is not installed, and InputDataError for a page of more than 16 million characters.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
    except ImportError as error:
        raise UsageError(
            "--html-text main needs resiliparse, which is not installed: pip install 'pretune[html]', or omit the "
            "option to read the visible text."
        ) from error
    pieces, size = [], 0
    for block in blocks:
        pieces.append(block)
        size += len(block)
        if size > LONGEST_PAGE:
            raise InputDataError(
                f"{name} has more than {LONGEST_PAGE:,} characters, too many to find the main text; read it with "
                "--html-text visible."
            )
    text = extract_plain_text("".join(pieces), main_content=True, alt_texts=False, preserve_formatting=True)
    yield from (line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._hidden_by: list[str] = []

    def take_lines(self) -> Iterator[str]:
        """The lines that are complete, or too long to wait for; each run of white space becomes one space."""
        lines = "".join(self._pieces).split("\n")
        self._pieces = [lines.pop()] if len(lines[-1]) <= LONGEST_TAG else []
        yield from (line for line in (" ".join(line.split()) for line in lines) if line)

    def give_up_on_long_tag(self) -> None:
        """Treat an unfinished tag or comment as text once it is too long."""
        if len(self.rawdata) > LONGEST_TAG:
            self.handle_data(self.rawdata)
            self.rawdata = ""

    def finish(self) -> None:
        """Read what is left at the end of the page, which is from a tag or comment on that never ends."""
        if not _library_leaves_out_the_unfinished():
            self._read_unfinished()
        self.close()

    def _read_unfinished(self) -> None:
        """Read what older libraries take for text up to the next `>` and read on, as often as such a thing follows,
        looking each time through all that is left. Here, beyond some, the rest is text."""
        for _ in range(_MOST_UNFINISHED):
            if self.rawdata.count("<") <= _MOST_UNFINISHED:
                break
            end = self.rawdata.find(">", 1) + 1 or self.rawdata.find("<", 1)
            self.handle_data(html.unescape(self.rawdata[:end]))
            self.rawdata = self.rawdata[end:]
            self.feed("")
        else:
            self.handle_data(self.rawdata)
            self.rawdata = ""

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Read `<![` with an unknown word as a comment up to the next `>`, as browsers do, rather than as an error."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._hidden_by and self._hidden_by[-1] == "head" and tag in _BODY_ENDS_HEAD:
            self._hidden_by.pop()  # an unclosed head
        if tag in _HIDDEN:
            if len(self._hidden_by) < _MOST_OPEN:
                self._hidden_by.append(tag)
        elif tag in _LINE:
            self._pieces.append("\n")
        elif tag in _CELL:
            self._pieces.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden_by:
            while self._hidden_by.pop() != tag:
                pass
        elif tag in _LINE:
            self._pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden_by:
            self._pieces.append(data.replace("\n", " "))


@cache
def _library_leaves_out_the_unfinished() -> bool:
    """Whether the library takes a comment or tag that never ends for one up to the end of the page, as browsers do.

    It does from Python 3.14 on, and in later releases of the versions before it.
    """
    probe = _VisibleText()
    probe.feed("<!--x")
    probe.close()
    probe.handle_starttag("br", [])
    return not list(probe.take_lines())
