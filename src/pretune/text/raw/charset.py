"""The encoding of text whose bytes are given: by its mark, by being valid UTF-8, by what it declares, or by a guess."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from pretune.errors import UsageError

SAMPLE_BYTES = 1 << 16  # of which an encoding is guessed
MAX_BROKEN_SHARE = 0.01  # of the bytes of a text that is taken for UTF-8 all the same
MAX_CONTROL_SHARE = 0.02  # of the first bytes; beyond that a file is no text
FEW_CONTROLS = 8  # which do not make a short text binary
FEW_BROKEN = 4  # bytes, from which no encoding can be guessed
_MIN_CONFIDENCE = 0.04  # chardet's figure for bytes drawn at random is below, for a repeated word above

_BOMS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = frozenset(("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"))
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+")
_SUPERSETS = {"euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030"}  # the same, and more characters
_WIDE_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff\ufffd]")
_SHIFTED = re.compile(rb"\x1b[$(]")  # ISO 2022, whose bytes are all ASCII
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
_FOREIGN = "\u0370-\u03ff\u0400-\u052f\u0590-\u05ff\u0600-\u06ff\u0e00-\u0e7f"  # Greek to Thai
_MIXED_WORD = re.compile(f"[A-Za-z][{_FOREIGN}]|[{_FOREIGN}][A-Za-z]")
_FOREIGN_WORD = re.compile(f"[{_FOREIGN}]+")
_DECLARED = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=[\"']([\w.:-]+)", re.I
)


@dataclass(frozen=True)
class Encoding:
    """A codec's name, the length of the byte order mark, and whether it is no more than a guess."""

    name: str
    bom_bytes: int = 0
    is_guess: bool = False


UTF8 = Encoding("utf-8")


def check_encoding(name: str) -> str:
    """The codec's own name for an encoding that a user named. Raises UsageError where there is none."""
    found = codec_of(name)
    if found is None:
        raise UsageError(f"There is no encoding {name!r}; expected a name such as utf-8, cp1252 or utf-16-le.")
    return found


def detect_encoding(head: bytes, given: str | None = None) -> Encoding:
    """The encoding of a text that begins with `head`. A byte order mark is believed before the one that is given.

    What is no valid UTF-8 is guessed by chardet; where that cannot tell either it is called UTF-8.
    """
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name, len(bom))
    if given is not None:
        return Encoding(given)
    if b"\0" in head and (has_too_many_controls(head) or not _is_mostly_utf8(head)):
        return _guess_wide(head) or UTF8
    if head.isascii():
        return (_guess(head) or UTF8) if _SHIFTED.search(head) else UTF8
    return UTF8 if _is_mostly_utf8(head) else _guess(head) or UTF8


def declared_encoding(head: bytes) -> str | None:
    """What an HTML or XML page says of itself; browsers read Latin-1 as its superset, and so do we."""
    found = _DECLARED.search(head)
    if not found:
        return None
    name = (found[1] or found[2]).decode("ascii").lower()
    if name in ("iso-8859-1", "latin-1", "latin1", "us-ascii", "ascii"):
        name = "cp1252"
    name = codec_of(name) or ""
    name = _SUPERSETS.get(name, name)
    if not name or name in _WIDE or name.startswith("utf-16"):  # it could not have been read so far
        return None
    text = head[:SAMPLE_BYTES].decode(name, "replace")
    return name if text.count("\ufffd") <= MAX_BROKEN_SHARE * len(text) else None


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether bytes beyond ASCII are UTF-8, a few broken ones and an incomplete character at the end apart."""
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        text, used = codecs.utf_8_decode(data, "surrogateescape", False)
        broken = count_broken(text)
        whole = sum(not character.isascii() for character in text) - broken
        return whole > broken or (broken < FEW_BROKEN and broken <= MAX_BROKEN_SHARE * used)
    return True


def count_broken(text: str) -> int:
    """The bytes that were escaped when a text was decoded with `surrogateescape`."""
    return sum(len(match[0]) for match in _ESCAPED_BYTES.finditer(text))


def mark_broken(text: str) -> str:
    """The text with each run of escaped bytes made one U+FFFD."""
    return _ESCAPED_BYTES.sub("\ufffd", text)


def has_too_many_controls(head: bytes) -> bool:
    """Whether bytes in an encoding without wide characters hold more control characters than text does."""
    return count_controls(head) > max(FEW_CONTROLS, MAX_CONTROL_SHARE * len(head))


def count_controls(head: bytes) -> int:
    """Control characters, tab, line and form feed, carriage return and escape apart."""
    return sum(len(match[0]) for match in _CONTROL.finditer(head))


def _guess(head: bytes) -> Encoding | None:
    """By chardet, of the part of the head in which the first bytes beyond ASCII stand."""
    import chardet

    start = next((i for i, byte in enumerate(head) if byte >= 0x80 or byte == 0x1B), 0)
    start = max(0, min(start - SAMPLE_BYTES // 8, len(head) - SAMPLE_BYTES))
    found = chardet.detect(head[start : start + SAMPLE_BYTES])
    name = codec_of(found["encoding"] or "")
    name = _SUPERSETS.get(name or "", name)
    if name is None or name in _WIDE or name == "ascii" or (found["confidence"] or 0.0) < _MIN_CONFIDENCE:
        return None
    return Encoding(name if _is_plausible(head, name) else "cp1252", is_guess=True)


def _is_plausible(head: bytes, name: str) -> bool:
    """Whether letters of other scripts stand in words of their own, and not inside English or French ones."""
    text = head.decode(name, "replace")
    return len(_MIXED_WORD.findall(text)) <= 0.5 * len(_FOREIGN_WORD.findall(text))


def _guess_wide(head: bytes) -> Encoding | None:
    """UTF-16 or UTF-32 without a mark: by chardet, and only where it decodes to text."""
    import chardet

    sample = head[: min(SAMPLE_BYTES, len(head)) // 4 * 4]
    name = codec_of(chardet.detect(sample)["encoding"] or "")
    if name not in _WIDE:
        return None
    text = sample.decode(name, "replace")
    if len(_WIDE_CONTROL.findall(text)) > MAX_CONTROL_SHARE * len(text):
        return None
    return Encoding(name, is_guess=True)


def codec_of(name: str) -> str | None:
    """Python's own name for a text encoding; None where there is none of that name."""
    try:
        found = codecs.lookup(name)
        "".encode(name)  # raises for codecs that are none of text, such as base64
    except (LookupError, ValueError, UnicodeError):
        return None
    return found.name if found.incrementaldecoder is not None else None
