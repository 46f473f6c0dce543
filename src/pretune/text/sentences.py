"""A text in; its sentences out, found by the marks at their ends."""

from __future__ import annotations

import re
from itertools import pairwise

# A mark, with the quotes and brackets that close after it; in scripts without blanks the next sentence follows at once.
_END = re.compile(
    "[.!?\u2026\u061f]+[\"')\\]\u201d\u2019\u00bb]*(?=\\s)|[\u3002\uff01\uff1f\u0964]+[\u300d\u300f\u201d]*|\n"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order and without blanks around them; a line feed ends one, too.

    Abbreviations are not known: "Mr. Smith" is cut after "Mr.".
    """
    ends = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    found = (text[start:end].strip() for start, end in pairwise(ends))
    return [sentence for sentence in found if sentence]
