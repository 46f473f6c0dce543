"""Every reader on mutated files: documents or one of our own errors, in bounded time and memory, whatever the bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretune.errors import PretuneError
from pretune.text.collect.documents import Reading, iter_documents
from pretune.text.reading_report import Findings
from pretune.text.sources.files import TextFile, find_files

TEXT = "A first line, “quoted”.\nA second line; größer.\n\nAnother block of it.\n" * 4
PAGE = "<!doctype html><head><title>t</title></head><body><h1>A</h1><p>b &amp; <b>c</b><!-- d --><ul><li>e</ul>"
MAIL = (
    b"From a@b.c Mon Nov 23 09:00:00 2026\nFrom: A <a@b.c>\nTo: b@c.d\nSubject: =?utf-8?q?caf=C3=A9?=\n"
    b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: text/plain; charset=latin-1\n'  # noqa: E501
    b"Content-Transfer-Encoding: quoted-printable\n\ncaf=E9\n> quoted\n--x\nContent-Type: text/html\n\n<p>page</p>\n--x--\n"  # noqa: E501
)
MARKDOWN = "---\ntitle: x\n---\n# A *heading*\n\n- [link](http://a.b) `code`\n\n```\nfence\n```\n<!-- c --> | a | b |\n"


def in_zip() -> bytes:
    """A zip archive of several kinds of members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            ("a.txt", TEXT),
            ("b/c.html", PAGE),
            ("d.csv", "text,n\nsome words,1\n"),
            ("e.mbox", MAIL),
        ):
            archive.writestr(name, content)
    return out.getvalue()


def in_tar() -> bytes:
    """The same in a tar archive, with a long name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("a.txt", TEXT.encode()), ("n" * 200 + ".html", PAGE.encode()), ("e.mbox", MAIL)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def docx() -> bytes:
    """A Word document."""
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    xml = f'<w:document xmlns:w="{space}"><w:body><w:p><w:r><w:t>Words</w:t></w:r></w:p></w:body></w:document>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", xml)
    return out.getvalue()


def pdf() -> bytes:
    """A PDF of one page with a word on it; pypdf adds the table of its parts."""
    pypdf = pytest.importorskip("pypdf")
    text = b"BT /F1 12 Tf 9 9 Td (Words) Tj ET"
    parts = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Resources << /Font << /F1 3 0 R >> >> /Contents 5 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
    )
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, part) for number, part in enumerate(parts, 1))
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = b"%PDF-1.4\n" + body + b"trailer\n<< /Root 1 0 R /Size 6 >>\nstartxref\n0\n%%EOF\n"
        pypdf.PdfWriter(clone_from=io.BytesIO(whole)).write(out)
    return out.getvalue()


SEEDS: dict[str, Callable[[], bytes]] = {
    "a.txt": lambda: TEXT.encode(),
    "latin.txt": lambda: TEXT.replace("“", "").replace("”", "").encode("cp1252"),
    "wide.txt": lambda: TEXT.encode("utf-16"),
    "a.md": lambda: MARKDOWN.encode(),
    "a.html": lambda: PAGE.encode(),
    "a.xml": lambda: b"<?xml version='1.0'?><a><QAPair><Question>why?</Question><Answer>so.</Answer></QAPair></a>",
    "a.csv": lambda: b'text,n\n"a cell, quoted",1\nanother cell,2\n',
    "a.tsv": lambda: b"text\tn\na cell\t1\nanother cell\t2\n",
    "a.jsonl": lambda: b'{"text": "a row", "n": 1}\n{"text": ["no"], "n": {}}\n',
    "a.mbox": lambda: MAIL * 2,
    "a.eml": lambda: MAIL.split(b"\n", 1)[1],
    "a.docx": docx,
    "a.pdf": pdf,
    "a.zip": in_zip,
    "a.tar": in_tar,
    "a.tar.gz": lambda: gzip.compress(in_tar()),
    "a.tar.bz2": lambda: bz2.compress(in_tar()),
    "a.txt.xz": lambda: lzma.compress(TEXT.encode()),
    "a.txt.zst": lambda: zstandard.compress(TEXT.encode()),
}
PIECES = (
    b"\0",
    b"\xff" * 4,
    b"<!--",
    b"From a@b.c Mon Nov 23 09:00:00 2026\n",
    b'"',
    b"\n\n",
    b"PK\x03\x04",
    b"9" * 11,
    b"{",
)


def read(path: Path, reading: Reading | None = None) -> int:
    """How many documents a file has; 0 if it was refused with an error of pretune."""
    findings = Findings()
    found = 0
    try:
        for document in iter_documents(find_files([path], findings), findings, reading or Reading()):
            assert document.text
            assert not document.text.isspace()
            document.text.encode("utf-8")  # what is written to disk must be text
            found += 1
    except PretuneError as error:
        assert str(error).endswith((".", "?"))
    return found


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or put in."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(out) + 1)
        length = draw.choice((1, 1, 2, 8, 100))
        match draw.randrange(5):
            case 0 if out:
                out[at % len(out)] = draw.randrange(256)
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = out[at : at + length]
            case 3:
                out[at:at] = draw.choice(PIECES)
            case _:
                del out[at:]
    return bytes(out)


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_that_are_mutated_have_documents(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    assert read(tmp_path / name) > 0


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_give_documents_or_a_sentence(name: str, tmp_path: Path) -> None:
    draw = random.Random(name)
    data = SEEDS[name]()
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about what is broken
        for _ in range(60):
            path.write_bytes(mutate(data, draw))
            read(path)


def test_mutated_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["one", "two"], "n": [1, 2]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == 2
    data, draw = (tmp_path / "a.parquet").read_bytes(), random.Random("parquet")
    for _ in range(60):
        (tmp_path / "a.parquet").write_bytes(mutate(data, draw))
        read(tmp_path / "a.parquet")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.one_of(st.binary(max_size=600), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))),
    ending=st.sampled_from(
        ["", ".txt", ".md", ".html", ".csv", ".tsv", ".jsonl", ".mbox", ".eml", ".docx", ".tar", ".gz"]
    ),
)
def test_any_bytes_give_documents_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("f") / f"a{ending}"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read(path)


@pytest.mark.parametrize(
    "format", ["txt", "md", "html", "csv", "tsv", "jsonl", "parquet", "pdf", "docx", "mbox", "eml"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.zip", "a.pdf", "a.mbox"])
def test_any_format_may_be_asked_for(format: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SEEDS[name]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read(tmp_path / name, Reading(format=format))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("a.txt", b"Text without an end and without a line "),
        ("a.html", b"<p>A paragraph of a page without an end.\n"),
        ("a.html", b"<!-- a comment that nobody closes "),
        pytest.param("a.md", b"*emphasis* and `code` and [a link](http://a.b)\n", marks=pytest.mark.slow),
        pytest.param("a.mbox", MAIL.replace(b"--x--", b"--x--\n\n"), marks=pytest.mark.slow),
        ("a.jsonl", b'{"text": "a row of a long table", "n": 1}\n'),
    ],
)
def test_memory_does_not_grow_with_the_text(
    name: str, piece: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times the text in the same memory, with the limits made small enough for a test."""
    from pretune.text.collect import documents
    from pretune.text.raw import compression, text_stream
    from pretune.text.readers import html

    monkeypatch.setattr(documents, "LONGEST_DOCUMENT", 20_000)
    monkeypatch.setattr(text_stream, "LONGEST_LINE", 20_000)
    monkeypatch.setattr(html, "LONGEST_TAG", 20_000)
    monkeypatch.setattr(compression, "BLOCK_BYTES", 1 << 13)
    peaks = []
    for size in (200_000, 800_000):
        path = tmp_path / f"{size}" / name
        path.parent.mkdir()
        path.write_bytes(b"<html>" * name.endswith("html") + piece * (size // len(piece)))
        tracemalloc.start()
        findings = Findings()
        for _ in iter_documents([TextFile(path=str(path), name=name)], findings):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000
