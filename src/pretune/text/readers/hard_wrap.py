"""Hard-wrapped text: whether lines were broken to fit a page, and where paragraphs end without blank lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

LONG_BLOCK_LINES = 40  # on average; blank lines at least this far apart separate chapters, not paragraphs
SHORT_LINE = 0.8  # of the usual length; a shorter line that ends a sentence ends its paragraph
_MIN_CONTINUED = 0.4  # of the lines
_MIN_WIDTH = 40  # characters, the median of continued lines; shorter ones are columns and lists
_MIN_INNER_ENDS = 0.1  # of the lines of prose have the end of a sentence inside
_SENTENCE_END = re.compile(r"[.!?:;…][\"'”“’»«)\]*_]*$")
_INNER_END = re.compile(r"[.!?][\"'”“’»«)]* [\"'“„”‘»«(]*[^\W\d_]")


def is_wrapped(lines: Sequence[str]) -> bool:
    """Whether the lines, stripped and with the blank ones among them, are broken sentences.

    Many are continued: they do not end a sentence, and the next line begins with a lowercase letter. In addition, the
    lines have about the same length, or sentences end inside them and others begin there with a capital, as in prose.
    """
    filled = [line for line in lines if line]
    if len(filled) < 4:
        return False
    continued = _continued_lines(lines)
    if len(continued) <= _MIN_CONTINUED * (len(filled) - 1):
        return False
    widest = max(map(len, filled))
    if 50 <= widest <= 120 and sum(len(line) > 0.7 * widest for line in filled) > 0.6 * len(filled):
        return True
    inner_ends = sum(any(found[0][-1].isupper() for found in _INNER_END.finditer(line)) for line in filled)
    return inner_ends > _MIN_INNER_ENDS * len(filled) and median(map(len, continued)) >= _MIN_WIDTH


def paragraph_width(head: str) -> int | None:
    """The usual line length, if paragraphs end with a short line; None if blank lines separate them."""
    lines = [line.strip() for line in head.split("\n")]
    num_filled = sum(map(bool, lines))
    num_blocks = sum(bool(line) and not before for before, line in zip(["", *lines], lines, strict=False))
    if num_filled < LONG_BLOCK_LINES * max(1, num_blocks) or not is_wrapped(lines):
        return None
    return int(median(map(len, _continued_lines(lines))))


def ends_paragraph(line: str, width: int) -> bool:
    """Whether a line is the last one of a paragraph whose lines are about as long as `width`."""
    line = line.strip()
    return len(line) < SHORT_LINE * width and _SENTENCE_END.search(line) is not None


def _continued_lines(lines: Sequence[str]) -> list[str]:
    return [line for line, after in pairwise(lines) if line and after[:1].islower() and not _SENTENCE_END.search(line)]
