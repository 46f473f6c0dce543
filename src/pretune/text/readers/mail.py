"""Messages of mbox files and single mails as text: subject and body, without headers and quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from typing import Literal

from pretune.text.raw.charset import ESCAPE, codec_of, count_broken, detect_encoding, mark_broken, superset_of
from pretune.text.raw.compression import ByteStream
from pretune.text.readers.html import visible_text
from pretune.text.reading_report import Findings

QuoteChoice = Literal["drop", "keep"]
LONGEST_MESSAGE = 1 << 24  # bytes; what follows is usually attachments
_LONGEST_SUBJECT = 10_000  # characters; the library looks for the end of each encoded word in all that follows
_LONGEST_LINE = 1 << 20  # bytes; a longer line is split

_PREFIX = re.compile(
    r"(?:\s{0,5}(?:re|fwd?|aw|wg|antw|sv|vs|tr|rv)(?:\[\d{1,3}\])?\s{0,3}:){1,20}\s{0,5}", re.IGNORECASE
)
_ATTRIBUTION = re.compile(
    r".{0,300}\b(?:wrote|writes|said|schrieb|schreibt|écrit|escribió|ha scritto|escreveu|schreef|skrev|napisał)"
    r"\b.{0,100}:\s*$",
    re.IGNORECASE,
)
_WHEN = re.compile(r"\s*(?:On|Am|Le|El|Il|Op|Den|Em|W dniu)\b.{0,200}\d")
_FORWARDED = re.compile(
    r"\s{0,5}-{2,20}\s{0,5}(?:original message|forwarded message|ursprüngliche nachricht|message d'origine|"
    r"mensaje original)\s{0,5}-{2,20}\s*$",
    re.IGNORECASE,
)
_ENVELOPE = re.compile(rb"From \S{1,200} .{0,100}\d\d:\d\d")
_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
_ESCAPED = re.compile(rb"\\udc([89a-f][0-9a-f])")  # as the library passes on a byte between encoded words
# What the standard library's parser and decoders raise for a badly broken message.
_MESSAGE_ERRORS = (MessageError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


def iter_mbox(stream: ByteStream, findings: Findings, quotes: QuoteChoice = "drop") -> Iterator[tuple[str, int]]:
    """The text of each message with the line it starts on; empty for a message without text.

    Messages that cannot be parsed are counted in `findings.dropped`.
    """
    message: list[bytes] = []
    start, size, num_cut, is_after_blank = 1, 0, 0, True
    for number, line in enumerate(_byte_lines(stream.blocks(), findings), 1):
        if line.startswith(b"From ") and (is_after_blank or _ENVELOPE.match(line)):
            if message:
                yield from _read(message, start, stream.name, findings, quotes)
            num_cut += size > LONGEST_MESSAGE
            message, start, size = [], number, 0
        else:
            if size <= LONGEST_MESSAGE:
                message.append(line[1:] if line.startswith(b">") and line.lstrip(b">").startswith(b"From ") else line)
            size += len(line)
        is_after_blank = not line.strip()
    if message:
        yield from _read(message, start, stream.name, findings, quotes)
    num_cut += size > LONGEST_MESSAGE
    if num_cut:
        findings.warnings.append(
            f"{stream.name}: {num_cut:,} messages are longer than {LONGEST_MESSAGE >> 20} MB; the rest, usually "
            "attachments, was left out."
        )


def read_eml(stream: ByteStream, findings: Findings, quotes: QuoteChoice = "drop") -> Iterator[tuple[str, int]]:
    """The text of a file that is one message."""
    message, size = [], 0
    for block in stream.blocks():
        findings.bytes_read += len(block)
        if size <= LONGEST_MESSAGE:
            message.append(block)
        size += len(block)
    yield from _read(message, 1, stream.name, findings, quotes)


def _byte_lines(blocks: Iterable[bytes], findings: Findings) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        findings.bytes_read += len(block)
        lines = (rest + block).splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        yield from lines
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _read(
    message: list[bytes], line: int, name: str, findings: Findings, quotes: QuoteChoice
) -> Iterator[tuple[str, int]]:
    try:
        subject, body, num_other_parts, num_broken = read_message(b"".join(message))
    except _MESSAGE_ERRORS as error:
        findings.dropped.add("broken_message", "a message that cannot be parsed", f"{name}, line {line}: {error}")
        return
    findings.num_attachments += num_other_parts
    findings.broken_bytes += num_broken
    if num_broken and findings.files_with_broken_bytes[-1:] != [name]:
        findings.files_with_broken_bytes.append(name)
    if quotes == "drop":
        body, num_dropped = without_quotes(body)
        findings.num_quoted_lines += num_dropped
    yield "\n\n".join(part for part in (subject, body.strip()) if part), line


def read_message(data: bytes) -> tuple[str, str, int, int]:
    """Subject, text, number of unread parts, and number of replaced bytes of a message.

    The text is that of the plain parts or, if they have none, the visible text of the HTML parts. Attachments and
    parts of other types are not read.
    """
    message = message_from_bytes(data)
    raw_subject = next((value for name, value in message.raw_items() if name.lower() == "subject"), "")
    subject = _decode_header(str(raw_subject)[:_LONGEST_SUBJECT])
    texts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    num_other_parts = 0
    for part in message.walk():
        kind = part.get_content_type()
        if part.is_multipart():
            continue
        if kind in texts and part.get_content_disposition() != "attachment":
            texts[kind].append(_decode_part(part))
        elif kind not in _SIGNATURES:
            num_other_parts += 1
    kind = "text/plain" if any(text.strip() for text in texts["text/plain"]) else "text/html"
    num_broken = count_broken(subject) + sum(map(count_broken, texts[kind]))
    parts = [mark_broken(text).replace("\r\n", "\n").replace("\r", "\n") for text in texts[kind]]
    body = "\n".join(parts if kind == "text/plain" else (visible_text([text]) for text in parts))
    subject = _PREFIX.sub("", " ".join(mark_broken(subject).split()), count=1)
    return subject, body, num_other_parts, num_broken


def _decode_header(text: str) -> str:
    """The text of a header with invalid bytes escaped (`ESCAPE`); as it is if a declared encoding is unknown."""
    try:
        chunks = decode_header(text)
    except _MESSAGE_ERRORS:
        return _decode_plainly(text)
    found = []
    for chunk, declared in chunks:
        if isinstance(chunk, str):  # there are no encoded words
            return _decode_plainly(chunk)
        if declared is None:
            chunk, name = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), chunk), "utf-8"
        else:
            name = superset_of(declared.partition("*")[0]) or ""
        if not name:
            return _decode_plainly(text)
        found.append(chunk.decode(name, ESCAPE))
    return "".join(found)


def _decode_plainly(text: str) -> str:
    """Text of a header that is not encoded: ASCII or, against the rules, UTF-8; the parser escapes its bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", ESCAPE)


def _decode_part(part: Message) -> str:
    """The text of a part in its declared encoding or, if that is unknown or wrong, in the detected one; invalid bytes
    are escaped (`ESCAPE`)."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    declared = part.get_content_charset() or ""
    name = superset_of(declared)
    if name is None or codec_of(declared) == "ascii":  # which any bytes beyond ASCII contradict
        return _decode_as_detected(data)
    text = data.decode(name, ESCAPE)
    if count_broken(text) > 0.01 * len(text):
        return min(_decode_as_detected(data), text, key=count_broken)
    return text


def _decode_as_detected(data: bytes) -> str:
    found = detect_encoding(data)
    return data[found.bom_bytes :].decode(found.name, ESCAPE)


def without_quotes(text: str) -> tuple[str, int]:
    """The text that the sender wrote, and the number of lines left out.

    Left out are lines that begin with `>` and the sentence that introduces them, everything after an "Original Message"
    mark or the two dashes of a signature, and the frame of a PGP signature.
    """
    lines = text.split("\n")
    kept: list[str] = []
    for line in lines:
        bare = line.lstrip()
        if bare.startswith(">"):
            _drop_attribution(kept)
        elif line in ("-- ", "--") or _FORWARDED.match(line) or bare.startswith(_SIGNATURE):
            break
        elif not bare.startswith(_SIGNED):
            kept.append(line)
    return "\n".join(kept), len(lines) - len(kept)


def _drop_attribution(kept: list[str]) -> None:
    """Remove "On Monday somebody wrote:", which may be broken over two lines, from the end of `kept`."""
    last = len(kept)
    while last and not kept[last - 1].strip():
        last -= 1
    for num_lines in (1, 2):
        if last >= num_lines and _ATTRIBUTION.match(" ".join(kept[last - num_lines : last])):
            del kept[last - num_lines :]
            if num_lines == 1 and kept and _WHEN.match(kept[-1]):
                kept.pop()
            return
