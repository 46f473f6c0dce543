import io
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.raw import archives, compression
from pretune.text.raw.archives import Member, iter_tar, iter_zip, open_zip, sniff_archive
from pretune.text.raw.compression import ByteStream
from pretune.text.reading_report import Findings

ZSTD = 93  # zipfile has a name for it from Python 3.14 on
names = st.lists(st.text("abcäß/.- ", min_size=1, max_size=120).map(lambda s: f"x{s}x"), max_size=5, unique=True)


def tar_of(members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def zip_of_packed(packed: bytes, content: bytes, method: int) -> bytes:
    """A zip archive of one member that zipfile may be unable to write; only its headers know the method."""
    data = bytearray(zip_of({"a.txt": packed}, zipfile.ZIP_STORED))
    for fields in (8, data.index(b"PK\x01\x02") + 10):
        data[fields : fields + 2] = method.to_bytes(2, "little")
        data[fields + 6 : fields + 10] = zlib.crc32(content).to_bytes(4, "little")
        data[fields + 14 : fields + 18] = len(content).to_bytes(4, "little")
    return bytes(data)


def stream_of(data: bytes, block: int = 1000) -> ByteStream:
    return ByteStream(iter([data[i : i + block] for i in range(0, len(data), block)]), "a.tar")


def read_tar(data: bytes, block: int = 1000) -> dict[str, bytes]:
    return {m.name: b"".join(m.open()) for m in iter_tar(stream_of(data, block), Findings())}


def counts_of(members: dict[str, bytes]) -> dict[str, int]:
    return {m.name: m.files_in_folder for m in iter_tar(stream_of(tar_of(members)), Findings())}


@settings(max_examples=80)
@given(
    names=names,
    sizes=st.lists(st.sampled_from([0, 1, 511, 512, 513, 5000]), min_size=5, max_size=5),
    format=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    block=st.integers(16, 2000),
)
def test_a_tar_is_read_as_the_standard_library_reads_it(
    names: list[str], sizes: list[int], format: int, block: int
) -> None:
    if format == tarfile.USTAR_FORMAT:
        names = [name for name in names if len(name.encode()) <= 100]
    data = tar_of({name: bytes([65 + i]) * sizes[i] for i, name in enumerate(names)}, format)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}  # type: ignore[union-attr]
    assert read_tar(data, block) == expected


def test_members_that_nobody_reads_are_skipped() -> None:
    data = tar_of({f"{n}.txt": b"x" * 100_000 for n in range(3)})
    assert [m.name for m in iter_tar(stream_of(data), Findings())] == ["0.txt", "1.txt", "2.txt"]


def test_links_and_folders_are_passed_over() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"of type {kind!r}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"text"))
    assert read_tar(out.getvalue()) == {"a.txt": b"text"}


def test_many_short_files_are_counted_before_the_first_is_read() -> None:
    many = {f"reviews/{n}.txt": b"short" for n in range(30)}
    assert {m.files_in_folder for m in iter_tar(stream_of(tar_of(many)), Findings())} == {30}
    few = {"reviews/1.txt": b"short", "reviews/2.txt": b"short"}
    assert {m.files_in_folder for m in iter_tar(stream_of(tar_of(few)), Findings())} == {2}
    archive = open_zip(stream_of(zip_of(many)))
    assert {m.files_in_folder for m in iter_zip(archive, "a.zip")} == {30}


def test_the_folders_of_a_tar_beyond_those_read_in_advance_have_many_files_too() -> None:
    """Only the folders of its first 20 files had; the texts of the others were cut into lines."""
    files = {f"{folder}/{n}.txt": b"short" for folder in ("pos", "neg") for n in range(50)}
    about = {"README.md": b"About them.", "words.txt": b"word " * 20_000}
    counts = counts_of({**about, **files})
    assert all(counts[name] >= 20 for name in files)
    few = {**{f"few/{n}.txt": b"short" for n in range(5)}, **files}
    counts = counts_of(few)
    assert counts["few/0.txt"] == 5
    assert all(counts[name] >= 20 for name in files)


def test_a_tar_whose_folders_have_few_files_each_is_read_in_one_way() -> None:
    """The folders beyond the members read in advance were expected to have as many files as all others together."""
    counts = counts_of({f"{folder}/{n}.txt": b"short" for folder in range(20) for n in range(5)})
    assert set(counts.values()) == {5}


@pytest.mark.parametrize("num_last", [12, 50])
def test_the_folder_that_the_members_read_in_advance_end_in_is_counted_on(num_last: int) -> None:
    first = {f"first/{n}.txt": b"short" for n in range(19)}
    last = {f"last/{n}.txt": b"short" for n in range(num_last)} | {"last/README.md": b"short"}
    counts = counts_of(first | last | {"later/0.txt": b"short"})
    assert counts["first/0.txt"] == 19
    assert all((counts[name] >= 20) == (num_last >= 20) for name in last if name.endswith(".txt"))
    assert counts["later/0.txt"] >= 20 if num_last >= 20 else counts["later/0.txt"] == 19


def test_long_members_among_short_files_do_not_end_their_count() -> None:
    """Each long one did, so that the first texts of a folder with pictures among them were cut into lines."""
    posts = {f"post{n:02}.{kind}": b"x" * size for n in range(25) for kind, size in (("txt", 10), ("jpg", 200_000))}
    members = [(m.name, m.files_in_folder, b"".join(m.open())) for m in iter_tar(stream_of(tar_of(posts)), Findings())]
    assert {name: content for name, _, content in members} == posts
    assert {count for name, count, _ in members if name.endswith(".txt")} == {25}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (tar_of({"a.txt": b"x" * 5000})[:3000], "it ends early"),
        (tar_of({"a.txt": b"x" * 512})[:1300], "it ends early"),
        (tar_of({"a.txt": b"x" * 512, "b.txt": b"y"})[:1224], "it ends early"),
        (tar_of({"a.txt": b"x"})[:512] + b"no header" * 199, "no header at byte"),
        (tar_of({"n" * 70_000: b"x"}, tarfile.GNU_FORMAT), "a name of 70,001 bytes"),
        (tar_of({"n" * 1_100_000: b"x"}, tarfile.PAX_FORMAT), "a name of"),
    ],
)
def test_a_damaged_tar(data: bytes, problem: str) -> None:
    with pytest.raises(InputDataError, match=rf"a\.tar is a damaged tar archive \(.*{problem}"):
        read_tar(data)


@pytest.mark.parametrize("record", [b"0 path=x\n", b"1 path=x\n", b"path=x\n", b"99 path=x\n", b"", b"=" * 30])
def test_a_pax_record_with_a_wrong_length_ends_the_list(record: bytes) -> None:
    assert archives._parse_pax(b"9 size=1\n" + record) == {"size": "1"}


def test_a_tar_without_an_end_mark_is_warned_of() -> None:
    findings = Findings()
    data = tar_of({"a.txt": b"x"})[:1024]
    assert [m.name for m in iter_tar(stream_of(data), findings)] == ["a.txt"]
    assert "may have been cut off" in findings.warnings[0]


def zip_members(data: bytes) -> list[Member]:
    return list(iter_zip(open_zip(ByteStream(iter([data]), "a.zip")), "a.zip"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip(method: int) -> None:
    members = zip_members(zip_of({"a.txt": b"one" * 999, "b/../../c.txt": b"two", "folder/": b""}, method))
    assert {m.name: b"".join(m.open()) for m in members} == {"a.txt": b"one" * 999, "b/../../c.txt": b"two"}


def test_a_member_without_a_name_is_passed_over() -> None:
    data = zip_of({"a": b"one", "b.txt": b"two"})
    start = data.index(b"PK\x01\x02")
    nameless = data[: start + 28] + b"\0\0" + data[start + 30 : start + 46] + data[start + 47 :]
    end = nameless.rindex(b"PK\x05\x06")
    size = int.from_bytes(nameless[end + 12 : end + 16], "little") - 1
    nameless = nameless[: end + 12] + size.to_bytes(4, "little") + nameless[end + 16 :]
    assert [member.name for member in zip_members(nameless)] == ["b.txt"]


def test_a_zip_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of({"a.txt": b"text"}))
    archive = open_zip(compression.open_bytes(tmp_path / "a.zip"))
    assert archive.filename == str(tmp_path / "a.zip")


@pytest.mark.parametrize("data", [zip_of({"a.txt": b"x" * 999})[:-30], b"PK\x03\x04" + b"x" * 99, b"PK\x05\x06"])
def test_a_damaged_zip(data: bytes) -> None:
    with pytest.raises(InputDataError, match=r"a\.zip is a damaged zip archive"):
        zip_members(data)


def test_a_damaged_or_encrypted_member() -> None:
    data = bytearray(zip_of({"a.txt": bytes(range(256)) * 9}, zipfile.ZIP_STORED))
    data[100] ^= 1
    with pytest.raises(InputDataError, match=r"a\.zip/a\.txt is damaged \(Bad CRC"):
        list(zip_members(bytes(data))[0].open())
    data = bytearray(zip_of({"a.txt": b"secret"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputDataError, match=r"a\.zip/a\.txt is encrypted; unpack it with its password"):
        list(zip_members(bytes(data))[0].open())


def test_a_zip_whose_members_share_their_bytes_is_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 100)
    members = zip_members(zip_of({"a.txt": b"a" * 5_000_000}))
    with pytest.raises(InputDataError, match=r"a\.zip unpacks to more than 100 times its size"):
        list(members[0].open())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_is_unpacked_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    """A member in bzip2 or LZMA was unpacked whole, before the limit of its size was looked at."""
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 100)
    [member] = zip_members(zip_of({"a.txt": b"a" * 30_000_000}, method))
    tracemalloc.start()
    with pytest.raises(InputDataError, match=r"a\.zip unpacks to more than 100 times its size"):
        list(member.open())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000  # of which LZMA needs 8 MB whatever it unpacks


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_unpacked_here_is_checked(method: int) -> None:
    data = zip_of({"a.txt": bytes(range(256)) * 9}, method)
    start = data.index(b"PK\x01\x02")
    wrong = data[: start + 16] + b"\1\2\3\4" + data[start + 20 :]
    with pytest.raises(InputDataError, match=r"a\.zip/a\.txt is damaged \(Bad CRC"):
        list(zip_members(wrong)[0].open())
    for place in (37, 50, 90):
        wrong = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        with pytest.raises(InputDataError, match=r"a\.zip/a\.txt is damaged"):
            list(zip_members(wrong)[0].open())


def test_a_member_in_lzma_without_an_end_mark() -> None:
    """Its end is where its size says, whether a mark is there or not."""
    content = b"one two three " * 999
    data = bytearray(zip_of({"a.txt": content}, zipfile.ZIP_LZMA))
    for flags in (6, data.index(b"PK\x01\x02") + 8):
        assert data[flags] & 2
        data[flags] &= ~2
    assert b"".join(zip_members(bytes(data))[0].open()) == content


def test_a_member_in_zstd_is_unpacked_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.14 on, zipfile unpacks it, without a limit."""
    content = b"one two three " * 9_999
    packed = zstandard.ZstdCompressor().compress(content)
    assert b"".join(zip_members(zip_of_packed(packed, content, ZSTD))[0].open()) == content
    for wrong in (zip_of_packed(packed, b"other", ZSTD), zip_of_packed(packed[:-3], content, ZSTD)):
        with pytest.raises(InputDataError, match=r"a\.zip/a\.txt is damaged"):
            list(zip_members(wrong)[0].open())
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    content = b"a" * 200_000_000
    [member] = zip_members(zip_of_packed(zstandard.ZstdCompressor().compress(content), content, ZSTD))
    tracemalloc.start()
    with pytest.raises(InputDataError, match=r"a\.zip unpacks to more than 500 times its size"):
        list(member.open())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_member_in_an_unknown_compression() -> None:
    with pytest.raises(InputDataError, match=r"compressed with method 98; expected stored, .*: unpack the archive"):
        list(zip_members(zip_of_packed(b"xx", b"x", 98))[0].open())


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (zip_of({}), "zip"),
        (tar_of({"a": b""}), "tar"),
        (tar_of({"a": b""}, tarfile.GNU_FORMAT)[:512], "tar"),
        (b"text " * 200, None),
        (bytes(1024), None),
        (b"", None),
    ],
)
def test_what_an_archive_begins_with(head: bytes, kind: str | None) -> None:
    assert sniff_archive(head) == kind


def test_document_kinds_in_zip() -> None:
    for member, kind in (("word/document.xml", "docx"), ("xl/workbook.xml", "xlsx"), ("a.txt", None)):
        assert archives.document_in_zip(open_zip(stream_of(zip_of({member: b""})))) == kind
