"""The encoding of bytes: by byte order mark, by being valid UTF-8, by declaration, or by a guess."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from pretune.errors import UsageError

SAMPLE_BYTES = 1 << 16  # from which an encoding is guessed
MAX_BROKEN_FRACTION = 0.01  # of the bytes of a text that still counts as UTF-8
MAX_CONTROL_FRACTION = 0.02  # of the first bytes; a file with more is not text
FEW_CONTROLS = 8  # control characters; a short text with no more is not binary
FEW_BROKEN = 4  # bytes; with fewer, no other encoding can be guessed
_MIN_CONFIDENCE = 0.04  # chardet reports less for random bytes, and more for a repeated word

_BOMS = (  # UTF-32 before UTF-16, whose mark is its prefix
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = frozenset(("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"))
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+")
# By codec, the one with the same characters and more by which browsers read it, as far as Python has it.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_jp": "euc_jis_2004",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_LABELS = {  # that Python does not know
    "windows-31j": "cp932",
    "gb_2312-80": "gb2312",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
}
_WIDE_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff\ufffd]")
_SHIFTED = re.compile(rb"\x1b[$(]")  # ISO 2022, which uses ASCII bytes only
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
_FOREIGN = "\u0370-\u03ff\u0400-\u052f\u0590-\u05ff\u0600-\u06ff\u0e00-\u0e7f"  # Greek to Thai
_MIXED_WORD = re.compile(f"[A-Za-z][{_FOREIGN}]|[{_FOREIGN}][A-Za-z]")
_FOREIGN_WORD = re.compile(f"[{_FOREIGN}]+")
_DECLARED = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=[\"']([\w.:-]+)", re.I
)


@dataclass(frozen=True)
class Encoding:
    """A codec's name, the length of the byte order mark, and whether the encoding is a guess."""

    name: str
    bom_bytes: int = 0
    is_guess: bool = False


UTF8 = Encoding("utf-8")
ESCAPE = "pretune.escape"  # an error handler for decoding
ESCAPED_BYTE = "\udc80"  # what it puts in place of each


def check_encoding(name: str) -> str:
    """The codec's own name for an encoding given by the user. Raises UsageError if there is no such encoding."""
    found = codec_of(name)
    if found is None:
        raise UsageError(f"There is no encoding {name!r}; expected a name such as utf-8, cp1252 or utf-16-le.")
    return found


def detect_encoding(head: bytes, given: str | None = None) -> Encoding:
    """The encoding of a text that begins with `head`. A byte order mark overrides the given encoding.

    If the bytes are not valid UTF-8, chardet guesses; if chardet finds nothing, the answer is UTF-8.
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


def declared_encoding(head: bytes, sample: bytes | None = None) -> str | None:
    """The encoding that an HTML or XML page declares, as the superset that browsers use.

    None if it does not fit `sample`, a part of the page with bytes beyond ASCII (default: the head).
    """
    found = _DECLARED.search(head)
    if not found:
        return None
    name = superset_of((found[1] or found[2]).decode("ascii"))
    if (
        name is None or name in _WIDE or name.startswith("utf-16")
    ):  # then the declaration would not be readable as ASCII
        return None
    text = (head if sample is None else sample)[:SAMPLE_BYTES].decode(name, "replace")
    return name if text.count("\ufffd") <= MAX_BROKEN_FRACTION * len(text) else None


def superset_of(declared: str) -> str | None:
    """The codec that a declared encoding stands for: programs for Windows declare Shift_JIS, GB2312 or Latin-1, and
    write characters beyond it. None if there is no such encoding."""
    label = declared.lower().removeprefix("x-")  # x-sjis, x-euc-jp, x-gbk: from before the names were registered
    name = codec_of(_LABELS.get(label, label))
    return _SUPERSETS.get(name, name) if name else None


def is_certainly_utf8(data: bytes) -> bool:
    """Whether bytes are valid UTF-8, or at least have more characters beyond ASCII in it than broken bytes."""
    whole, broken = _count_beyond_ascii(data)
    return not broken or whole > broken


def _is_mostly_utf8(data: bytes) -> bool:
    """Whether bytes beyond ASCII are UTF-8, except for a few broken ones and an incomplete character at the end."""
    whole, broken = _count_beyond_ascii(data)
    return whole > broken or (broken < FEW_BROKEN and broken <= MAX_BROKEN_FRACTION * len(data))


def _count_beyond_ascii(data: bytes) -> tuple[int, int]:
    """The characters beyond ASCII and the broken bytes of UTF-8; the characters of valid UTF-8 are not counted."""
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        text, _ = codecs.utf_8_decode(data, "surrogateescape", False)
        broken = count_broken(text)
        return sum(not character.isascii() for character in text) - broken, broken
    return 0, 0


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Escape invalid bytes by surrogates, one for each, as `surrogateescape` does for those beyond ASCII only."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return ESCAPED_BYTE * (error.end - error.start), error.end


codecs.register_error(ESCAPE, _escape)


def count_broken(text: str) -> int:
    """The number of bytes that were escaped when a text was decoded with `surrogateescape` or `ESCAPE`."""
    return sum(len(match[0]) for match in _ESCAPED_BYTES.finditer(text))


def mark_broken(text: str) -> str:
    """The text with each run of escaped bytes replaced by one U+FFFD."""
    return _ESCAPED_BYTES.sub("\ufffd", text)


def has_too_many_controls(head: bytes) -> bool:
    """Whether bytes (not UTF-16 or UTF-32) contain more control characters than text does."""
    return count_controls(head) > max(FEW_CONTROLS, MAX_CONTROL_FRACTION * len(head))


def count_controls(head: bytes) -> int:
    """The number of control characters other than tab, line feed, form feed, carriage return and escape."""
    return sum(len(match[0]) for match in _CONTROL.finditer(head))


def _guess(head: bytes) -> Encoding | None:
    """chardet's guess, from the stretch of the head around the first byte beyond ASCII."""
    import chardet

    start = max(0, min(first_beyond_ascii(head) - SAMPLE_BYTES // 8, len(head) - SAMPLE_BYTES))
    found = chardet.detect(head[start : start + SAMPLE_BYTES])
    if codec_of(found["encoding"] or "") == "ascii":
        return None
    name = superset_of(found["encoding"] or "")
    if name is None or name in _WIDE or (found["confidence"] or 0.0) < _MIN_CONFIDENCE:
        return None
    return Encoding(name if _is_plausible(head, name) else "cp1252", is_guess=True)


def first_beyond_ascii(data: bytes) -> int:
    """The place of the first byte that is not plain ASCII: beyond it, or an escape; 0 if there is none."""
    return next((i for i, byte in enumerate(data) if byte >= 0x80 or byte == 0x1B), 0)


def _is_plausible(head: bytes, name: str) -> bool:
    """Whether letters of other scripts form whole words rather than occur inside Latin ones."""
    text = head.decode(name, "replace")
    return len(_MIXED_WORD.findall(text)) <= 0.5 * len(_FOREIGN_WORD.findall(text))


def _guess_wide(head: bytes) -> Encoding | None:
    """UTF-16 or UTF-32 without a byte order mark: chardet's guess, if it decodes to text."""
    import chardet

    sample = head[: min(SAMPLE_BYTES, len(head)) // 4 * 4]
    name = codec_of(chardet.detect(sample)["encoding"] or "")
    if name not in _WIDE:
        return None
    text = sample.decode(name, "replace")
    if len(_WIDE_CONTROL.findall(text)) > MAX_CONTROL_FRACTION * len(text):
        return None
    return Encoding(name, is_guess=True)


def codec_of(name: str) -> str | None:
    """Python's own name for a text encoding; None if there is no such encoding."""
    try:
        found = codecs.lookup(name)
        "".encode(name)  # raises for codecs that do not encode text, such as base64
        if found.incrementaldecoder is None:
            return None
        found.incrementaldecoder(ESCAPE).decode(b"")  # raises for those that refuse broken bytes, such as idna
    except (LookupError, ValueError, UnicodeError):
        return None
    return found.name
