"""Archives, documents and mails that are broken, locked or malicious get a sentence and exit code 3."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pretune.cli.main import run_command_line
from pretune.text.raw import compression
from pretune.text.sources import files

TEXT = b"".join(b"This is sentence number %d, and it is as good as any other.\n" % n for n in range(2000))
MAIL = b"From a@b.c Mon Nov 23 09:00:00 2026\nFrom: a@b.c\nTo: b@b.c\nSubject: x\n"


def make_zip(members: dict[str, bytes | str]) -> bytes:
    """A zip archive with these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_tar(members: dict[str, bytes]) -> bytes:
    """A tar archive with these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def encrypted_zip() -> bytes:
    """A zip archive whose only member is marked as encrypted."""
    data = bytearray(make_zip({"a.txt": TEXT}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def locked_pdf() -> bytes:
    """A PDF that needs a password."""
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def image_pdf() -> bytes:
    """A PDF with a page and no text."""
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@dataclass(frozen=True)
class Case:
    """A bad file: its name, its content, and words of the sentence."""

    name: str
    file: str
    make: Callable[[], bytes]
    words: Sequence[str]


CASES = [
    Case("cut zip", "a.zip", lambda: make_zip({"a.txt": TEXT})[:-40], ["a.zip is a damaged zip archive", "get it again"]),  # noqa: E501
    Case("encrypted zip", "a.zip", encrypted_zip, ["a.zip/a.txt is encrypted; unpack it with its password"]),
    Case("empty zip", "a.zip", lambda: make_zip({}), ["a.zip is an archive without text (it is empty)"]),
    Case("empty tar", "a.tar", lambda: make_tar({}), ["a.tar is not text"]),
    Case("zip in zip", "a.zip", lambda: make_zip({"b.zip": make_zip({"a.txt": TEXT})}), ["inside an archive is not opened"]),  # noqa: E501
    Case("zip of images", "a.zip", lambda: make_zip({"a.png": b"\x89PNG\r\n"}), ["a.png is an image"]),
    Case("cut gz", "a.gz", lambda: gzip.compress(TEXT)[:500], ["a.gz is a damaged gz file (it ends early)"]),
    Case("cut bz2", "a.bz2", lambda: bz2.compress(TEXT)[:500], ["a.bz2 is a damaged bz2 file"]),
    Case("cut xz", "a.xz", lambda: lzma.compress(TEXT)[:500], ["a.xz is a damaged xz file"]),
    Case("cut zst", "a.zst", lambda: zstandard.compress(TEXT)[:500], ["a.zst is a damaged zst file"]),
    Case("cut tar", "a.tar", lambda: make_tar({"a.txt": TEXT})[:9000], ["a.tar is a damaged tar archive (it ends early)"]),  # noqa: E501
    Case("cut tar.gz", "a.tgz", lambda: gzip.compress(make_tar({"a.txt": TEXT}))[:900], ["a.tgz is a damaged gz file"]),
    Case("gz of noise", "a.txt.gz", lambda: gzip.compress(bytes(range(256)) * 50), ["a.txt.gz is not text", "control"]),
    Case("cut pdf", "a.pdf", lambda: image_pdf()[:60], ["a.pdf", "PDF"]),
    Case("locked pdf", "a.pdf", locked_pdf, ["a.pdf is protected by a password; save it without one"]),
    Case("image pdf", "a.pdf", image_pdf, ["a.pdf contains no text in its 1 pages", "ocrmypdf"]),
    Case("no docx", "a.docx", lambda: b"PK\x03\x04 no zip", ["a.docx is a damaged Word document"]),
    Case(
        "docx with broken XML",
        "a.docx",
        lambda: make_zip({"word/document.xml": "<w:p>"}),
        ["a.docx is a damaged Word document", "save it again"],
    ),
    Case(
        "docx with entities",
        "a.docx",
        lambda: make_zip({"word/document.xml": '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'}),
        ["a.docx is not a valid docx"],
    ),
    Case("spreadsheet", "a.xlsx", lambda: make_zip({"xl/workbook.xml": "x"}), ["a.xlsx is a spreadsheet; save it as csv"]),  # noqa: E501
    Case("old Word", "a.doc", lambda: b"\xd0\xcf\x11\xe0" + bytes(600), ["a.doc is an Office document in the old binary format"]),  # noqa: E501
    Case("mbox without text", "a.mbox", lambda: MAIL.replace(b"Subject: x", b"X: y") + b"\n", ["a.mbox contains no text"]),  # noqa: E501
    Case("cut parquet", "a.parquet", lambda: b"PAR1" + bytes(100), ["a.parquet cannot be read as parquet"]),
    Case("page called csv", "a.csv", lambda: b"<!doctype html><head><title>404</title></head>", ["a.csv contains no text"]),  # noqa: E501
    Case("a line of one letter", "a.jsonl", lambda: b"x" * 20_000_000, ["a.jsonl, line 1", "all rows do not parse"]),
    Case("a million empty lines", "a.txt", lambda: b"\n" * 1_000_000, ["a.txt contains no text"]),
]  # fmt: skip


def answer(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and the last line on stderr."""
    code = run_command_line(words)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return code, told.strip().splitlines()[-1] if told.strip() else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_a_sentence(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.make())
    code, sentence = answer(["collect", str(path), "--out", str(tmp_path / "out")], capsys)
    assert code == 3, sentence
    assert all(word in sentence for word in case.words), sentence
    assert sentence.endswith((".", "?"))
    assert [entry.name for entry in tmp_path.iterdir()] == [case.file]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_a_bomb(
    pack: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    (tmp_path / "a.txt").write_bytes(pack(b"a bomb " * 250_000))
    code, sentence = answer(["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")], capsys)
    assert code == 3
    assert "unpacks to more than 500 times its size" in sentence


def test_the_rest_of_a_folder_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken files of every kind next to a good one: exit code 0, a warning with their number, and nothing is lost."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "good.txt").write_bytes(TEXT)
    (texts / "a.txt.gz").write_bytes(gzip.compress(TEXT)[:300])
    (texts / "b.zip").write_bytes(make_zip({"a.txt": TEXT})[:-40])
    (texts / "c.jsonl").write_bytes(b"not json\n" * 9)
    (texts / "d.txt").write_bytes(bytes(range(256)) * 9)
    (texts / "gone.txt").write_bytes(b"It will vanish.\n")
    hash_input = files.hash_input

    def hash_and_lose(path: Path) -> str:
        found = hash_input(path)
        if path.name == "gone.txt":
            path.unlink()
        return found

    monkeypatch.setattr(files, "hash_input", hash_and_lose)
    assert run_command_line(["collect", str(texts), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    for words in (
        "a.txt.gz is a damaged gz file",
        "b.zip is a damaged zip archive",
        "c.jsonl, line 1: expected one JSON object per line",
        "d.txt is not text",
        "gone.txt does not exist",
    ):
        assert f"could not be read and was skipped: {texts}/{words}" in told
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["summary"]["documents"] == 2000


def test_a_folder_without_readable_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt.gz").write_bytes(gzip.compress(TEXT)[:300])
    code, sentence = answer(["collect", str(texts), "--out", str(tmp_path / "out")], capsys)
    assert code == 3
    assert "a.txt.gz is a damaged gz file" in sentence
    assert not (tmp_path / "out").exists()


def test_no_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system call is made to fail."""
    (tmp_path / "a.txt").write_bytes(TEXT)
    open_path = Path.open

    def refuse(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "a.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_path(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", refuse)
    code, sentence = answer(["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")], capsys)
    assert code == 3
    assert "a.txt cannot be read (Permission denied)" in sentence


def test_an_unknown_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    words = ["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out"), "--encoding", "klingon"]
    code, sentence = answer(words, capsys)
    assert code == 2
    assert "There is no encoding 'klingon'" in sentence
