"""Repair of one text: wrong decoding, markup, entities, control characters, Unicode form, white space."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable

import ftfy

REPAIRS = {
    "mojibake": "decoded with the wrong encoding, repaired by ftfy",
    "markup": "HTML tags, removed",
    "entities": "HTML entities, decoded",
    "control_characters": "control characters and invisible marks, removed",
    "unicode_form": "normalised to Unicode NFC",
}

# UTF-8 that was read as a one-byte encoding shows as pairs of a letter and a sign that no language writes together.
# Searching for them is cheap; only a text that has one is passed to ftfy, which takes far longer and decides.
_MOJIBAKE = re.compile(
    "[¡-ſ][\x80-\x9f]"
    "|[À-ſ][\u00a1-\u00bfƒˆ˜˛ˇ˘˝€‚„…†‡‰‹›•™�]|[ÂÃâðĂÄĹ][\xa0-\xbf€‘’“”–—œžšŸŽŠŒ]|[ÃÂ] "
    "|[√ƒ≈∆◊]|‚Ä|[\u2500-\u256c]|Γ[ÇÖ]"  # Mac Roman, code page 437
    "|[А-я][\u00a0-\u00aa\u00ac-\u00ba\u00bc-\u00bfЂѓ‚†‡€‰‹›•™љњћџ]|вЂ|[РС][ђѓєѕіїјЃЂЉЊЌЋЏ‘’“”„…]"  # Windows-1251
)
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)

# The names are spelled out so that "if a <b and c> d", "<3" and "<somebody>" are left alone.
_BLOCK_TAGS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|img|"
    "input|li|link|main|meta|nav|ol|option|p|pre|section|select|table|tbody|td|tfoot|th|thead|title|tr|ul|video"
)
_INLINE_TAGS = (
    "a|abbr|acronym|b|big|cite|code|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|strong|sub|sup|"
    "tt|u|var"
)
_ATTRIBUTES = r"(?:\s+[a-zA-Z:-]+\s*=\s*(?:\"[^\"<>]{0,1000}\"|'[^'<>]{0,1000}'|[^\s\"'<>]{1,1000})){0,20}\s*"
_BLOCK = re.compile(rf"</?(?:{_BLOCK_TAGS}){_ATTRIBUTES}/?>", re.IGNORECASE)
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS}){_ATTRIBUTES}/?>", re.IGNORECASE)
_HIDDEN = re.compile(r"<!--|<(?:(script)|(style))\b[^<>]{0,1000}>", re.IGNORECASE)  # where it begins
_HIDDEN_ENDS = (  # by the group that matched, with the most characters before it; none of them is a line break
    (re.compile("-->"), 10_000),
    (re.compile(r"</script\s*>", re.IGNORECASE), 100_000),
    (re.compile(r"</style\s*>", re.IGNORECASE), 100_000),
)
_LINE_BREAK = re.compile("\n")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_ASCII_CONTROL = re.compile("\x1b\\[[0-9;]{0,20}[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f]")
# The two joiners, U+200C and U+200D, have a meaning in many scripts and in emoji, so they stay.
_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_PASSES = 4  # decoding an entity may reveal a tag, removing a control character an entity, and so on
_C1 = re.compile("[\x80-\x9f]")


def clean_text(text: str, repairs: Counter[str] | None = None) -> str:
    """A text as the tokenizer should see it; `repairs` is increased by one for every kind of repair that was needed.

    White space of any kind and length becomes one blank: within a sample, line breaks are usually layout rather than
    meaning, and this makes a word the same token after a blank and after a line break.
    """
    collapsed = " ".join(text.split())
    if _is_plain(collapsed):
        return collapsed
    done: set[str] = set()
    for _ in range(_MOST_PASSES):  # start from the original text: no-break spaces in it may be part of mojibake
        done_now: set[str] = set()
        text = " ".join(_repair(text, done_now).split())
        done |= done_now
        if not done_now or _is_plain(text):
            break
    if repairs is not None:
        repairs.update(done)
    return text


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "<" not in text and "&" not in text


def _repair(text: str, done: set[str]) -> str:
    def apply(name: str, repair: Callable[[str], str]) -> None:
        nonlocal text
        before, text = text, repair(text)
        if text != before:
            done.add(name)

    if not text.isprintable():
        apply("control_characters", _remove_ascii_control)
    if not text.isascii():
        apply("control_characters", _replace_surrogates)
        if _MOJIBAKE.search(text):
            apply("mojibake", _fix_mojibake)
        apply("mojibake", _read_as_windows_1252)
    if "<" in text:
        apply("markup", _remove_markup)
    if "&" in text:
        apply("entities", _decode_entities)
    if not text.isascii():
        apply("control_characters", _remove_invisible)
        apply("unicode_form", _compose)
    return text


def _fix_mojibake(text: str) -> str:
    """`ftfy.fix_text`, in half the time if only its first step has something to do, which is nearly always the case.

    That step is `fix_encoding`, line by line and repeated until nothing changes; the other steps handle remaining
    control characters and surrogates.
    """
    if "\n" in text or len(text) > _FTFY.max_decode_length:
        return ftfy.fix_text(text, _FTFY)
    fixed = ftfy.fix_encoding(text)
    return ftfy.fix_text(fixed, _FTFY) if _C1.search(fixed) or _SURROGATE.search(fixed) else fixed


def _read_as_windows_1252(text: str) -> str:
    """Decode Latin-1 control characters, which no text has on purpose, as Windows-1252, as browsers do."""
    return _C1.sub(lambda match: match[0].encode("latin-1").decode("cp1252", "ignore"), text)


def _remove_markup(text: str) -> str:
    return _INLINE.sub("", _BLOCK.sub(" ", _remove_hidden(text)))


def _remove_hidden(text: str) -> str:
    """A blank for every comment, script and style.

    As one pattern, the end of each would be sought in as much text again; here, each place of an end is found once.
    """
    ends = [_Places(pattern, text) for pattern, _ in _HIDDEN_ENDS]
    line_breaks = _Places(_LINE_BREAK, text)
    pieces, done = [], 0
    for begin in _HIDDEN.finditer(text):
        if begin.start() < done:
            continue
        kind, start = begin.lastindex or 0, begin.end()
        end = ends[kind].first_from(start)
        most = min(start + _HIDDEN_ENDS[kind][1], line_breaks.first_from(start)[0])
        if end[0] <= min(most, len(text)):
            pieces.append(text[done : begin.start()])
            done = end[1]
    return " ".join([*pieces, text[done:]])


class _Places:
    """The places of a pattern in a text, asked for from left to right."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._found = pattern.finditer(text)
        self._none = (len(text) + 1, len(text) + 1)
        self._next = (-1, -1)

    def first_from(self, start: int) -> tuple[int, int]:
        """Where the first one from `start` on begins and ends; after the text if there is none."""
        while self._next[0] < start:
            match = next(self._found, None)
            self._next = self._none if match is None else match.span()
        return self._next


def _decode_entities(text: str) -> str:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text)


def _remove_ascii_control(text: str) -> str:
    return _ASCII_CONTROL.sub("", text)


def _remove_invisible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _replace_surrogates(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _compose(text: str) -> str:
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)
