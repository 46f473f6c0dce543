"""Text from outside as HTML that can only be text: nothing in it is markup, and nothing in it is invisible."""

from __future__ import annotations

import unicodedata
from html import escape

_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")
_JOINERS = "\u200c\u200d"  # letters of some scripts and emoji are joined by them


def escaped(text: object) -> str:
    """Text for the content of an element or for a quoted attribute.

    Control, bidirectional and other invisible characters become their code, as in `<U+202E>`: the order of what is
    read must not depend on the text.
    """
    return escape("".join(map(_visible, str(text))))


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    if unicodedata.category(character) in _INVISIBLE and character not in _JOINERS:
        return f"<U+{ord(character):04X}>"
    return character
