"""A text in; its sentences out, found by the marks at their ends."""

from __future__ import annotations

import re
from itertools import pairwise

_CLOSING = ")\\]}\u201d\u2019\u00bb\u300d\u300f\u3011\uff09"  # quotes and brackets that close after a mark
# Marks that end nothing but a sentence, so the next one may follow at once: Chinese and Japanese (also half-width),
# Devanagari and its neighbours, Urdu, Armenian, Ethiopic, Tibetan, Burmese and Khmer; and a Chinese ellipsis.
_ALWAYS = "\u3002\uff01\uff1f\uff61\u0964\u0965\u06d4\u0589\u1362\u1367\u0f0d\u0f0e\u104b\u17d4"
_END = re.compile(
    f"[.!?\u2026\u061f]+[\"'{_CLOSING}]*(?=\\s)"
    f"|(?:[{_ALWAYS}]+|\u2026{{2,}})[{_CLOSING}]*(?:[\"']+(?=\\s))?"  # a straight quote may open the next one
    "|[\n\v\f\r\u0085\u2028\u2029]"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order and without blanks around them; a line break ends one, too.

    Abbreviations are not known: "Mr. Smith" is cut after "Mr.". Thai and Lao have no mark: only line breaks count.
    """
    ends = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    found = (text[start:end].strip() for start, end in pairwise(ends))
    return [sentence for sentence in found if sentence]
