import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pretune.errors import InputDataError
from pretune.text.raw import compression
from pretune.text.raw.compression import ByteStream, ExpansionMeter, open_bytes

DATA = b"".join(b"A line of text with the number %d.\n" % n for n in range(30_000))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_members_come_out_in_blocks(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACKERS[kind](DATA) + PACKERS[kind](b"") + PACKERS[kind](b"the end"))
    stream = open_bytes(path)
    blocks = list(stream.blocks())
    assert (stream.compression, b"".join(blocks)) == (kind, DATA + b"the end")
    assert max(map(len, blocks)) < 3 * compression.BLOCK_BYTES


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("cut", [1, 9, 500])
def test_a_cut_compression_is_an_error_and_not_a_shorter_text(kind: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(PACKERS[kind](DATA)[:-cut])
    with pytest.raises(InputDataError, match=f"is a damaged {kind} file .*; get it again"):
        list(open_bytes(path).blocks())


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_is_refused_early_and_in_small_portions(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 19)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 100)
    path = tmp_path / "a"
    path.write_bytes(PACKERS[kind](b"a" * 8_000_000))
    seen = 0
    with pytest.raises(InputDataError, match="unpacks to more than 100 times its size"):
        for block in open_bytes(path).blocks():
            seen += len(block)
    assert seen < 6_000_000


def test_text_that_shrinks_well_is_no_bomb() -> None:
    meter = ExpansionMeter("a", num_in=1000)
    meter.add(compression.EXPANSION_COUNTS_FROM)
    with pytest.raises(InputDataError):
        meter.add(1)


def test_what_is_held_whole_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MAX_IN_MEMORY_BYTES", 10)
    assert ByteStream(iter([b"ten bytes."]), "a").read_all("a PDF") == b"ten bytes."
    with pytest.raises(InputDataError, match=r"is a PDF of more than .* unpack it and give it as a separate file"):
        ByteStream(iter([b"ten bytes.", b"!"]), "a").read_all("a PDF")


def test_a_file_that_grows_is_read_to_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(DATA)
    blocks = open_bytes(path).blocks()
    first = next(blocks)
    with path.open("ab") as file:
        file.write(DATA)
    assert first + b"".join(blocks) == DATA


def test_a_text_that_begins_like_a_magic_number(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"BZh9 is how a bzip2 file begins")
    assert open_bytes(tmp_path / "a").compression is None
