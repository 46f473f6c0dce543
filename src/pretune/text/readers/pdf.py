"""The text of PDF files, page by page, through pypdf."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

from pretune.errors import InputDataError, PretuneError
from pretune.text.raw.compression import ByteStream
from pretune.text.reading_report import Findings, shorten


def pdf_lines(stream: ByteStream, findings: Findings) -> Iterator[str]:
    """The lines of each page; a page that cannot be read is counted in `findings.dropped`.

    Raises InputDataError if pypdf is missing, or if the file is damaged, needs a password, or has no text.
    """
    try:
        import pypdf
        from pypdf.errors import DependencyError, FileNotDecryptedError
    except ImportError as error:
        stream.close()
        raise InputDataError(
            f"{stream.name} is a PDF and needs pypdf, which is not installed: pip install 'pretune[pdf]', or convert "
            "the file to text."
        ) from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # the errors below report what is wrong
    locked = f"{stream.name} is protected by a password; save it without one, for example with: qpdf --decrypt."
    has_text = False
    try:
        with _open(stream) as file:
            reader = pypdf.PdfReader(file, strict=False)
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputDataError(locked)
            num_pages = len(reader.pages)
            for number in range(num_pages):
                for line in _page_lines(reader, number, stream.name, findings):
                    has_text = has_text or bool(line.strip())
                    yield line
    except (PretuneError, MemoryError):
        raise
    except (DependencyError, FileNotDecryptedError) as error:
        raise InputDataError(locked) from error
    except Exception as error:  # pypdf raises any kind of error for a damaged file
        raise InputDataError(
            f"{stream.name} is a damaged PDF ({shorten(str(error), 100) or type(error).__name__}); get it again."
        ) from error
    if not has_text:
        raise InputDataError(
            f"{stream.name} contains no text in its {num_pages:,} pages, which may be images; run text recognition "
            "first, for example with: ocrmypdf."
        )


def _open(stream: ByteStream) -> io.BufferedReader | io.BytesIO:
    if stream.path is None:
        return io.BytesIO(stream.read_all("a PDF"))
    stream.close()
    return open(stream.path, "rb")  # noqa: PTH123 - closed by the caller


def _page_lines(reader: object, number: int, name: str, findings: Findings) -> list[str]:
    try:
        text: str = reader.pages[number].extract_text()  # type: ignore[attr-defined]
    except (PretuneError, MemoryError):
        raise
    except Exception as error:
        example = f"{name}, page {number + 1}: {shorten(str(error), 100) or type(error).__name__}"
        findings.dropped.add("unreadable_page", "a page of a PDF that cannot be read", example)
        return []
    findings.bytes_read += len(text)
    return text.split("\n")
