from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pretune.text.collect import work_units
from pretune.text.collect.documents import Document, Reading
from pretune.text.collect.work_units import divide_lines
from pretune.text.sources.files import TextFile


@pytest.mark.parametrize(
    ("name", "data", "reading"),
    [
        ("a.pdf", b"%PDF-1.7\n1 0 obj", Reading()),
        ("a.docx", b"PK\x03\x04 and so on", Reading()),
        ("a.jsonl.gz", b"\x1f\x8b\x08 and so on, until it ends early", Reading()),
        ("a.txt", b"<p>A page.</p>", Reading(format="html")),
    ],
)
def test_a_file_that_cannot_have_a_document_per_line_is_read_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, reading: Reading
) -> None:
    """The first document of a PDF is all its pages, which were read here and again by the worker."""

    def read(*_: Any) -> Iterator[Document]:
        raise AssertionError("the file was read")
        yield

    monkeypatch.setattr(work_units, "iter_file_documents", read)
    (tmp_path / name).write_bytes(data)
    assert divide_lines(TextFile(path=str(tmp_path / name), name=name), reading, 10) == []
