"""Bad input that does not stop `collect`: exit code 0, the rest is read, and the loss is counted and reported."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.text.collect import documents
from pretune.text.document_store import iter_corpus
from pretune.text.raw import compression

LINES = [f"This is sentence number {n}, and it is as good as any other." for n in range(300)]
TEXT = "\n".join(LINES)
ROWS = [json.dumps({"text": line}) for line in LINES]


def in_zip(**members: str | bytes) -> bytes:
    """A zip archive with these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def link_to_itself(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "again.txt").symlink_to(folder / "good.txt")
    (folder / "nowhere.txt").symlink_to(folder / "gone.txt")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Files next to `good.txt` with its 300 lines, or instead of it, and what is read and reported."""

    name: str
    files: dict[str, str | bytes] = field(default_factory=dict)
    also: Callable[[Path], None] = lambda _folder: None
    has_good: bool = True
    documents: int = 300
    dropped: dict[str, int] = field(default_factory=dict)
    words: Sequence[str] = ()


CASES = [
    Case(name="UTF-16 with a mark", files={"a.txt": TEXT.encode("utf-16")}, has_good=False, words=["a.txt: txt, UTF-16"]),  # noqa: E501
    Case(
        name="UTF-16 without a mark",
        files={"a.txt": TEXT.encode("utf-16-be")},
        has_good=False,
        words=["a.txt: txt, UTF-16-BE (a guess)"],
    ),
    Case(name="NUL bytes", files={"a.txt": TEXT.replace("7,", "7\0,")}, has_good=False),
    Case(
        name="a cut gz",
        files={"a.txt.gz": gzip.compress(TEXT.encode())[:-9]},
        words=["could not be read and was skipped: ", "a.txt.gz is a damaged gz file (it ends early); get it again."],
    ),
    Case(
        name="a zip bomb behind a good member",
        files={"a.zip": in_zip(**{"a.txt": "A good member.", "bomb.txt": b"bomb" * 600_000, "c.txt": "Not reached."})},
        documents=301,
        words=["read only in part: ", "a.zip unpacks to more than 500 times its size", "read before that are kept: 1."],
    ),
    Case(
        name="members that climb out of the folder",
        files={"a.zip": in_zip(**{"../../out.txt": "It climbs.", "/etc/x.txt": "It is absolute."})},
        documents=302,
    ),
    Case(
        name="an encrypted or unknown archive beside it",
        files={"a.rar": b"Rar!\x1a\x07", "b.xlsx": b"PK\x03\x04", ".hidden.txt": "no"},
        words=["Skipped files and folders: 1 hidden file (", "2 file without a known ending (", " To read files with"],
    ),
    Case(
        name="lines that do not parse",
        files={"a.jsonl": "\n".join([*ROWS, '{"text": ', "[1, 2]"])},
        has_good=False,
        dropped={"unparsable_row": 2},
        words=["Left out, a row that does not parse: 2; the first is ", 'a.jsonl, line 301: {"text":.'],
    ),
    Case(
        name="another type under the text key",
        files={"a.jsonl": "\n".join([*ROWS, *(json.dumps({"text": v}) for v in (7, ["a"], None, "")), '{"b": 1}'])},
        has_good=False,
        dropped={"no_string": 2, "no_text": 3},
        words=["Left out, a number, a list or another value in the text column: 2; the first is "],
    ),
    Case(
        name="ragged rows",
        files={"a.csv": "id,text\n" + "".join(f"{n},{line!r}\n" for n, line in enumerate(LINES)).replace(", and", "") + "1,2,3\n"},  # noqa: E501
        has_good=False,
        dropped={"ragged_row": 1},
        words=["Left out, a row with too few or too many cells: 1; the first is ", "a.csv, line 302: 1 | 2 | 3."],
    ),
    Case(
        name="column names that occur twice",
        files={"a.csv": "text,text\na b,c d\n"},
        words=["a.csv: the column 'text' occurs twice in the header; rename one of them."],
    ),
    Case(
        name="an unclosed quote",
        files={"a.csv": 'id,text\n1,"A good row."\n2,"never closed\nand more\n'},
        words=["could not be read and was skipped: ", "a.csv, line 3: a quote is opened and never closed; close it"],
    ),
    Case(
        name="links in a circle",
        also=link_to_itself,
        words=["1 link to a folder (", "1 not a regular file (", "1 file already read under another name ("],
    ),
    Case(name="a million empty lines", files={"a.txt": "\n" * 1_000_000 + "Text.\n"}, documents=301),
    Case(name="files of nothing", files={"a.txt": "", "b.txt": " \n \n"}, words=["1 empty file (", "1 a file without text"]),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rest_is_read_and_the_loss_is_reported(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, content in (({"good.txt": TEXT} if case.has_good else {}) | case.files).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    case.also(folder)
    code = run_command_line(["collect", str(folder), "--text-unit", "line", "--out", str(tmp_path / "out")])
    told = " ".join(capsys.readouterr().err.split())
    assert (code, "Traceback" in told) == (0, False), told
    assert not [words for words in case.words if words not in told], told
    assert len(list(iter_corpus(tmp_path / "out"))) == case.documents
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    (flow,) = (event for event in events if event["event"] == "flow")
    assert {drop["rule"]: drop["count"] for drop in flow["dropped"]} == case.dropped
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "texts"]


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is read up to its size when it was opened."""
    path = tmp_path / "a.log"
    path.write_text(TEXT + "\n", encoding="utf-8")
    stamp_of = documents.stamp_of

    def stamp_and_grow(of: str) -> tuple[int, int] | None:
        found = stamp_of(of)
        with path.open("a", encoding="utf-8") as file:
            file.write("One more line of it.\n")
        return found

    monkeypatch.setattr(documents, "stamp_of", stamp_and_grow)
    assert run_command_line(["collect", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "a.log changed while it was being read; at most its original size was read." in capsys.readouterr().err
    assert len(list(iter_corpus(tmp_path / "out"))) == 301


def test_a_pattern_is_read_as_a_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A matching file that is not text does not stop the rest."""
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (tmp_path / "c.txt").write_bytes(b"")
    assert run_command_line(["collect", str(tmp_path / "*"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    assert "A file could not be read and was skipped: " in told
    assert "b.png is an image, not text; give a text file." in told
    assert "1 a file without text (" in told
    assert len(list(iter_corpus(tmp_path / "out"))) == 300
    code = run_command_line(["collect", str(tmp_path / "*.png"), "--out", str(tmp_path / "none")])
    assert code == 3
    assert "b.png is an image, not text; give a text file." in capsys.readouterr().err
