import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.raw import compression, text_stream
from pretune.text.raw.text_stream import TextStream
from pretune.text.reading_report import Findings


def write(folder: Path, data: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read_lines(path: Path, findings: Findings | None = None) -> list[str]:
    return list(TextStream(path, findings).lines())


@settings(max_examples=100)
@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\r\n\x1b\0", exclude_categories=["Cs"]), max_size=20), max_size=9
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    block=st.integers(1, 40),
    packing=st.sampled_from(["", "gz", "bz2", "xz", "zst"]),
)
def test_lines_are_independent_of_blocks_line_ends_and_compression(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, block: int, packing: str
) -> None:
    data = "".join(line + end for line in lines).encode()
    half = len(data) // 2
    if packing:  # in two members or frames
        pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}[packing]
        data = pack(data[:half]) + pack(data[half:])
    path = write(tmp_path_factory.mktemp("s"), data)
    with pytest.MonkeyPatch.context() as patch:
        # Control characters that hypothesis likes are not what this is about.
        patch.setattr(TextStream, "_refuse_binary", lambda stream: None)
        patch.setattr(text_stream, "BLOCK_BYTES", max(4, block))
        patch.setattr(compression, "BLOCK_BYTES", max(4, block))
        assert read_lines(path) == (lines if data else [])
        kept = [line + "\r" if end == "\r\n" else line for line in lines]
        assert list(TextStream(path).lines(keep_crlf=True)) == (kept if data else [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_tell_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "Größe 東京\r\nzwei".encode(encoding))
    assert read_lines(path) == ["Größe 東京", "zwei"]


def test_other_separators_are_no_line_ends(tmp_path: Path) -> None:
    assert read_lines(write(tmp_path, "a\u2028b\x0bc\x85d".encode())) == ["a\u2028b\x0bc\x85d"]


def test_only_lone_carriage_returns_become_line_feeds_where_crlf_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path, b"a\rb\r\nc\r\r\nd\n\re\r")
    assert "".join(TextStream(path).blocks(keep_crlf=True)) == "a\nb\r\nc\n\r\nd\n\ne\n"
    assert read_lines(path) == ["a", "b", "c", "", "d", "", "e"]


def test_little_broken_utf8_is_repaired_counted_and_named(tmp_path: Path) -> None:
    findings = Findings()
    path = write(tmp_path, b"a good line\n" * 100 + b"caf\xe9 \xff\xfe\n")
    assert read_lines(path, findings)[-1] == "caf\ufffd \ufffd"
    assert findings.broken_bytes == 3
    assert findings.files_with_broken_bytes == [str(path)]


def test_broken_bytes_of_a_refused_file_are_not_counted(tmp_path: Path) -> None:
    """They were counted without the file's name, on which the report of the findings failed."""
    findings = Findings()
    path = write(tmp_path, "große ".encode() * 300 + b"\x81\xff " * 90)
    with pytest.raises(InputDataError, match="is not UTF-8"):
        read_lines(path, findings)
    assert (findings.broken_bytes, findings.files_with_broken_bytes) == (0, [])


def test_a_true_replacement_character_is_not_counted(tmp_path: Path) -> None:
    findings = Findings()
    for encoding in ("utf-8", "utf-16"):
        assert read_lines(write(tmp_path, ("\ufffd" * 50).encode(encoding)), findings) == ["\ufffd" * 50]
    assert findings.broken_bytes == 0


@pytest.mark.parametrize(
    ("encoding", "broken", "num_bytes"),
    [("cp1252", b"\x81", 1), ("shift_jis", b"\x81\x20", 1), ("utf-16-le", b"a\xd8", 2), ("utf-16-be", b"\xdc\x41", 2)],
)
def test_invalid_bytes_of_any_encoding_are_counted(
    tmp_path: Path, encoding: str, broken: bytes, num_bytes: int
) -> None:
    findings = Findings()
    data = "some words ".encode(encoding) * 50
    stream = TextStream(write(tmp_path, data + broken + "end".encode(encoding)), findings, encoding=encoding)
    (line,) = stream.lines()
    assert line.startswith("some words ") and line.count("\ufffd") == 1 and line.endswith("end")
    assert findings.broken_bytes == num_bytes


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("große Brücke ".encode() * 300 + b"\x81\xff " * 90, "is not UTF-8: .* broken; convert it to UTF-8, or rep"),
        (b"\x89PNG\r\n\x1a\n", "is an image, not text"),
        (b"PK\x03\x04abc", "is a zip archive"),
        (b"\x00\x01\x02\x03" * 500, "is not text: .* control characters"),
        (b"\0" * 257 + b"ustar\0", "is a tar archive, not text; unpack it"),
        (gzip.compress(b"text " * 1000)[:-9], "is a damaged gz file"),
        (zstandard.compress(b"text " * 1000)[:-3], "is a damaged zst file"),
        (zstandard.compress(b"text " * 1000)[:6] + b"\xff" * 30, "is a damaged zst file"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(InputDataError, match=rf"a\.txt.*{sentence}") as caught:
        read_lines(path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("option", "advice"),
    [(None, "convert it to UTF-8"), ("--encoding", "give its encoding with --encoding")],
)
def test_the_advice_about_the_encoding_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str | None, advice: str
) -> None:
    """Readers of labelled files were told to give an option that their command does not have."""
    monkeypatch.setattr(compression, "BLOCK_BYTES", 1000)
    path = write(tmp_path, b"Plain words here. " * 100 + "Das Café in der Straße. ".encode("latin-1") * 20)
    stream = TextStream(path, option=option)
    list(stream.lines())
    assert stream.findings.warnings[0].endswith(f"from there on; if that is wrong, {advice}.")
    for data in ("große Brücke ".encode() * 300 + b"\x81\xff " * 90, b"\x00\x01\x02\x03" * 500):
        with pytest.raises(InputDataError, match=advice):
            list(TextStream(write(tmp_path, data), option=option).lines())


def test_a_few_control_characters_do_not_make_a_text_binary(tmp_path: Path) -> None:
    assert read_lines(write(tmp_path, b"a\0b \x07\n")) == ["a\0b \x07"]


def test_missing_paths_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"nowhere\.txt does not exist"):
        TextStream(tmp_path / "nowhere.txt")
    with pytest.raises(InputDataError, match="is a folder; expected a file"):
        TextStream(tmp_path)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    stream = TextStream("-")
    assert (stream.name, list(stream.lines())) == ("stdin", ["one", "two"])


def test_a_page_may_declare_its_own_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, '<html><meta charset="iso-8859-1"><body>Größe „so“'.encode("cp1252"), "a.html")
    stream = TextStream(path)
    stream.use_declared_charset()
    assert "Größe „so“" in "".join(stream.blocks())


@pytest.mark.parametrize("declaration", ['<meta charset="iso-8859-1">', '<?xml version="1.0" encoding="latin1"?>'])
def test_a_declared_encoding_is_believed_for_a_single_byte(tmp_path: Path, declaration: str) -> None:
    """With up to three bytes beyond ASCII, the page was read as damaged UTF-8."""
    words = "An English page about a visit to the café.".encode("latin-1")
    stream = TextStream(write(tmp_path, declaration.encode() + b"Plain words here. " * 50 + words))
    stream.use_declared_charset()
    assert "a visit to the café." in "".join(stream.blocks())
    assert stream.findings.broken_bytes == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Das Café in der Straße. ".encode("latin-1") * 20, "Das Café in der Straße. " * 20),
        (b"Das Caf\xe9.", "Das Café."),
        ("Das Café in der Straße. ".encode(), "Das Café in der Straße. "),
    ],
)
def test_a_declared_encoding_is_believed_after_much_ascii(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bytes, expected: str
) -> None:
    """With a first block of ASCII only, the encoding was guessed from a later one."""
    monkeypatch.setattr(compression, "BLOCK_BYTES", 1000)
    head = b'<html><meta charset="iso-8859-1">' + b"Plain words here. " * 100
    stream = TextStream(write(tmp_path, head + words))
    stream.use_declared_charset()
    assert "".join(stream.blocks()).endswith(expected)
    assert (stream.findings.broken_bytes, stream.findings.warnings) == (0, [])


def test_a_wrong_declaration_does_not_make_damaged_utf8_another_encoding(tmp_path: Path) -> None:
    words = b'<html><meta charset="iso-8859-1">' + "Größe und Maß. ".encode() * 50
    stream = TextStream(write(tmp_path, words + b"\xff"))
    stream.use_declared_charset()
    assert "".join(stream.blocks()).endswith("Größe und Maß. \ufffd")


def test_an_endless_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_stream, "LONGEST_LINE", 100)
    monkeypatch.setattr(compression, "BLOCK_BYTES", 64)
    lines = read_lines(write(tmp_path, b"x" * 250))
    assert "".join(lines) == "x" * 250
    assert max(map(len, lines)) <= 100


def test_pieces_of_a_long_line_have_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_stream, "LONGEST_LINE", 4)
    monkeypatch.setattr(compression, "BLOCK_BYTES", 4)
    numbered = list(TextStream(write(tmp_path, b"a\n" + b"b" * 99 + b"\n\nc")).numbered_lines())
    assert "".join(text for number, text in numbered if number == 2) == "b" * 99
    assert [number for number, _ in numbered if number != 2] == [1, 3, 4]
    assert len(numbered) > 4
