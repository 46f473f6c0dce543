"""Markdown as the text that a reader of the page sees, line by line: no front matter, no markup, no URLs.

It recognises what people write of CommonMark and its common extensions: headings, emphasis, code, links, images,
quotes, lists, tables, footnotes, comments and tags. Each pattern looks at a bounded stretch of a line, so that hostile
input costs no more time than other text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

_MAX_FRONT_MATTER = 500  # lines
_FRONT_MATTER = {"---": ("---", "..."), "+++": ("+++",)}
_KEY = re.compile(r"[\w\"'-][\w .\"'-]{0,80}\s*[:=]")

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BREAK = re.compile(r" {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,}|=+ *|-+ *)$")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+|$)")
_HEADING_END = re.compile(r"[ \t]+#+[ \t]*$")
_QUOTE = re.compile(r"(?: {0,3}> ?){1,20}")
_BULLET = re.compile(r"[ \t]*[-*+][ \t]+(?:\[[ xX]\][ \t]+)?")
_DEFINITION = re.compile(r" {0,3}\[(?!\^)[^\]\n]{1,300}\]:[ \t]+\S")
_FOOTNOTE = re.compile(r" {0,3}\[\^[^\]\n]{1,80}\]:[ \t]*")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*){0,200}\|?[ \t]*$")
_CELL_END = re.compile(r"[ \t]*(?<!\\)\|[ \t]*")

_CODE = re.compile(r"(?<!`)(`{1,9})(?!`)(.{1,500}?)(?<!`)\1(?!`)")
_CODE_OR_COMMENT = re.compile(f"{_CODE.pattern}|<!--")
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,2000})\](?:\([^()\n]{0,2000}(?:\([^()\n]{0,300}\)[^()\n]{0,300})?\)|\[[^\[\]\n]{0,300}\])"
)
_NOTE = re.compile(r"\[\^[^\]\s]{1,80}\]")
_URL = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]{1,2000}|[^<>\s@]{1,100}@[^<>\s@]{1,100})>")
_TAG = re.compile(r"</?[A-Za-z][\w-]{0,40}(?:\s[^<>\n]{0,1000})?/?>")
_EMPHASIS = (
    re.compile(r"(?<!\\)\*\*(?=[^\s*])([^*\n]{1,2000}?)(?<=[^\s\\])\*\*"),
    re.compile(r"(?<![\w_\\])__(?=[^\s_])([^_\n]{1,2000}?)(?<=[^\s\\])__(?![\w_])"),
    re.compile(r"(?<!\\)~~(?=[^\s~])([^~\n]{1,2000}?)(?<=[^\s\\])~~"),
    re.compile(r"(?<!\\)\*(?=[^\s*])([^*\n]{1,2000}?)(?<=[^\s*\\])\*"),
    re.compile(r"(?<![\w_\\])_(?=[^\s_])([^_\n]{1,2000}?)(?<=[^\s_\\])_(?![\w_])"),
)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def plain_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a Markdown text without markup; lines that are only markup come out empty."""
    fence = ""
    is_comment = False
    for line in _without_front_matter(lines):
        found = None if is_comment else _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
                yield ""
            else:
                yield line
            continue
        if found:
            fence = found[1]
            yield ""
            continue
        line, is_comment = _without_comments(line, is_comment=is_comment)
        yield _plain_line(line)


def _without_front_matter(lines: Iterable[str]) -> Iterator[str]:
    """The lines without settings between two lines of dashes (YAML) or plus signs (TOML) at the very beginning."""
    rest = iter(lines)
    first = next(rest, None)
    if first is None:
        return
    ends = _FRONT_MATTER.get(first.strip(), ())
    if not ends:
        yield first
        yield from rest
        return
    block = [first]
    for line in rest:
        block.append(line)
        if line.rstrip() in ends:
            if not any(_KEY.match(setting) for setting in block[1:-1]) and len(block) > 2:
                yield from block
            break
        if len(block) > _MAX_FRONT_MATTER:
            yield from block
            break
    else:
        yield from block
    yield from rest


def _without_comments(line: str, *, is_comment: bool) -> tuple[str, bool]:
    if is_comment:
        _, end, line = line.partition("-->")
        if not end:
            return "", True
    if "<!--" not in line:
        return line, False
    pieces = []
    start = place = 0
    while found := _CODE_OR_COMMENT.search(line, place):
        place = found.end()
        if found[0] != "<!--":  # a code span, in which no comment begins
            continue
        pieces.append(line[start : found.start()])
        end_of_comment = line.find("-->", place)
        if end_of_comment < 0:
            return "".join(pieces), True
        start = place = end_of_comment + len("-->")
    return "".join([*pieces, line[start:]]), False


def _plain_line(line: str) -> str:
    line = _QUOTE.sub("", line, count=1) if _QUOTE.match(line) else line
    if _BREAK.match(line) or _DEFINITION.match(line) or ("|" in line and _TABLE_RULE.match(line)):
        return ""
    if heading := _HEADING.match(line):
        line = _HEADING_END.sub("", line[heading.end() :])
    elif bullet := _BULLET.match(line):
        line = line[bullet.end() :]
    elif note := _FOOTNOTE.match(line):
        line = line[note.end() :]
    if line.lstrip().startswith("|") and line.rstrip().endswith("|"):
        line = " ".join(cell for cell in _CELL_END.split(line) if cell)
    return _plain_inline(line)


def _plain_inline(text: str) -> str:
    if not any(sign in text for sign in "`*_[<&\\~"):
        return text
    pieces = []
    start = 0
    for code in _CODE.finditer(text):  # a code span contains no markup
        pieces += [_plain_words(text[start : code.start()]), code[2].strip() or code[2]]
        start = code.end()
    return "".join([*pieces, _plain_words(text[start:])])


def _plain_words(text: str) -> str:
    text = _URL.sub(r"\1", text)
    text = _TAG.sub("", text)
    for _ in range(2):  # an image in a link
        text = _LINK.sub(r"\1", text)
    text = _NOTE.sub("", text)
    for emphasis in _EMPHASIS:
        text = emphasis.sub(r"\1", text)
    return html.unescape(_ESCAPE.sub(r"\1", text))
