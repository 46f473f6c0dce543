import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.collect.documents import Document, iter_documents
from pretune.text.reading_report import Findings
from pretune.text.sources.files import TextFile, find_files

PAGE = "<!doctype html><p>A page.</p>"


def make_zip(**members: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def make_tar(**members: bytes | str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(path: Path, data: bytes) -> tuple[list[Document], Findings]:
    path.write_bytes(data)
    findings = Findings()
    return list(iter_documents(find_files([path], findings), findings)), findings


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_members_are_read_as_files_are(make: object, pack: object, tmp_path: Path) -> None:
    members = {
        "b/a.txt": "One line.\nAnother line.\n",
        "a.html": PAGE,
        "../../escape.csv": "text,n\nIt climbs nowhere.,1\n",
        "c.jsonl.gz": gzip.compress(b'{"text": "packed twice"}\n'),
        ".git/x.txt": "hidden",
        "__MACOSX/x.txt": "hidden",
        "picture.png": "x",
        "empty.txt": "",
    }
    found, findings = read(tmp_path / "a", pack(make(**members)))  # type: ignore[operator]
    assert {(document.text, document.source) for document in found} == {
        ("One line.", f"{tmp_path}/a/b/a.txt"),
        ("Another line.", f"{tmp_path}/a/b/a.txt"),
        ("A page.", f"{tmp_path}/a/a.html"),
        ("It climbs nowhere.", f"{tmp_path}/a/../../escape.csv"),
        ("packed twice", f"{tmp_path}/a/c.jsonl.gz"),
    }
    assert findings.ignored_files.total == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "nothing is unpacked to disk"
    assert not (tmp_path.parent.parent / "escape.csv").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bad_member_is_passed_over_and_counted(make: object, tmp_path: Path) -> None:
    members = {"a.txt": "Fine.", "b.txt": bytes(range(256)) * 9, "c.jsonl": "no\njson\n", "d.txt": make_zip(x="y")}
    found, findings = read(tmp_path / "a", make(**members))  # type: ignore[operator]
    assert [document.text for document in found] == ["Fine."]
    assert findings.unreadable.total == 3
    first = next(iter(findings.unreadable.rules.values()))
    assert (first.count, first.examples) == (1, [f"{tmp_path}/a/b.txt"])
    assert "b.txt is not text" in first.reason


def test_without_known_endings_the_content_decides(tmp_path: Path) -> None:
    found, findings = read(
        tmp_path / "news.tar.gz", gzip.compress(make_tar(**{"sci/51060": "A post.", "x/y": bytes(99)}))
    )
    assert [document.text for document in found] == ["A post."]
    assert findings.ignored_files.total == 0
    assert findings.unreadable.total == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (make_zip(), r"is an archive without text \(it is empty\)"),
        (make_tar(**{"a.tar": make_tar(x="y")}), "an archive inside an archive is not opened, unpack it first"),
        (make_zip(**{"a.txt": make_zip(x="y")}), "a.txt is an archive inside an archive, which is not opened; unpack"),
        (make_zip(**{"a.txt": ""}), r"it contains a\.txt"),
        (make_zip(**{"a.jsonl": "broken\n"}), "a.jsonl, line 1"),
        (make_zip(**{"xl/workbook.xml": "x"}), "is a spreadsheet; save it as csv"),
        (make_zip(**{"ppt/presentation.xml": "x"}), "is a set of slides"),
        (make_zip(**{"mimetype": "x", "content.xml": "y"}), "is an OpenDocument file"),
    ],
)
def test_an_archive_without_anything_to_read(data: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=sentence):
        read(tmp_path / "a", data)


def test_only_members_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip(**{"d/train/1.txt": "in", "d/test/1.txt": "out", "d/README": "out"}))
    findings = Findings()
    file = TextFile(path=str(path), name="d", members=("d/train/*",))
    assert [document.text for document in iter_documents([file], findings)] == ["in"]
    assert findings.ignored_files.total == 2


def test_an_archive_in_a_folder_that_is_damaged_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Fine.\n", encoding="utf-8")
    (tmp_path / "b.zip").write_bytes(make_zip(x="y")[:-9])
    findings = Findings()
    found = list(iter_documents(find_files([tmp_path], findings), findings))
    assert [document.text for document in found] == ["Fine."]
    (rule,) = findings.unreadable.rules.values()
    assert "b.zip is a damaged zip archive" in rule.reason


def test_documents_before_a_damage_are_kept_and_said_to_be(tmp_path: Path) -> None:
    lines = "".join(f"Line {number} of it.\n" for number in range(30_000))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(lines.encode(), 0)[:-9])
    (tmp_path / "b.tar").write_bytes(make_tar(**{"x.txt": lines, "y.txt": lines})[:-100_000])
    findings = Findings()
    found = list(iter_documents(find_files([tmp_path], findings), findings))
    a, b = (sum(name in document.source for document in found) for name in ("a.txt.gz", "b.tar"))
    assert a > 20_000
    assert b > 30_000
    reasons = [rule.reason for rule in findings.unreadable.rules.values()]
    assert len(reasons) == findings.unreadable.total == 2
    assert [f"kept: {count:,}." in reason for count, reason in zip((a, b), reasons, strict=True)] == [
        True,
        True,
    ]
    assert "a.txt.gz is a damaged gz file" in reasons[0]
