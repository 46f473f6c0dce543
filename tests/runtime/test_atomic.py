"""Files and folders are written completely or not at all, and every change to a folder is noticed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from pretune.errors import CorruptModelError, OutOfResourcesError, UsageError
from pretune.runtime.atomic import (
    commit_file,
    commit_folder,
    is_disk_full,
    read_committed,
    recover_folder,
    remove_leftovers,
    verify_folder,
    write_json,
    write_text,
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_two(folder: Path, text: str = "one") -> None:
    (folder / "a.txt").write_text(text)
    (folder / "inner").mkdir()
    (folder / "inner" / "b.bin").write_bytes(bytes(100))


def test_committed_folder_verifies_and_carries_facts(tmp_path: Path) -> None:
    commit_folder(tmp_path / "deep" / "x", write_two, step=7)
    manifest = verify_folder(tmp_path / "deep" / "x")
    assert manifest is not None
    assert manifest["step"] == 7
    assert set(manifest["files"]) == {"a.txt", "inner/b.bin"}
    assert names_in(tmp_path / "deep") == ["x"]


def test_no_byte_of_a_manifest_changes_unnoticed(tmp_path: Path) -> None:
    commit_folder(tmp_path / "x", write_two, step=7)
    file = tmp_path / "x" / "manifest.json"
    whole, expected = file.read_bytes(), read_committed(tmp_path / "x")
    assert expected is not None
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = read_committed(tmp_path / "x")
        except CorruptModelError:
            continue
        assert found is not None  # the name of the hash itself was changed, and nothing else
        assert {name: found[name] for name in expected} == expected
    for size in range(len(whole) - 1):  # the last byte ends the last line
        file.write_bytes(whole[:size])
        with pytest.raises(CorruptModelError):
            read_committed(tmp_path / "x")


def test_a_folder_without_a_manifest_is_not_verified(tmp_path: Path) -> None:
    assert verify_folder(tmp_path) is None


def test_replacement_leaves_the_new_folder_only(tmp_path: Path) -> None:
    commit_folder(tmp_path / "x", write_two)
    commit_folder(tmp_path / "x", lambda folder: write_two(folder, "two"))
    assert (tmp_path / "x" / "a.txt").read_text() == "two"
    assert names_in(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_keeps_the_old_folder(tmp_path: Path, number: int) -> None:
    commit_folder(tmp_path / "x", write_two)

    def fail(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise OSError(number, "no space")

    with pytest.raises(OutOfResourcesError, match="Free some space"):
        commit_folder(tmp_path / "x", fail)
    assert verify_folder(tmp_path / "x") is not None
    assert (tmp_path / "x" / "a.txt").read_text() == "one"
    assert names_in(tmp_path) == ["x"]


def test_the_full_disk_error_of_safetensors_is_recognized() -> None:
    wrapped = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert is_disk_full(wrapped)
    assert not is_disk_full(Exception("I/O error: Permission denied (os error 13)"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_full_disk_error_of_numpy_is_recognized() -> None:
    """It has neither a number nor the system's message, and was reported as a bug."""
    with Path("/dev/full").open("wb") as file, pytest.raises(OSError, match="written") as short:
        np.zeros(100_000).tofile(file)
    assert short.value.errno is None
    assert is_disk_full(short.value)
    assert is_disk_full(OSError("Not enough free space to write 800000 bytes after offset 128"))  # before it writes
    assert not is_disk_full(OSError("12 bytes requested"))


def test_file_is_whole_or_absent(tmp_path: Path) -> None:
    commit_file(tmp_path / "deep" / "file", lambda file: file.write(b"all"))
    assert (tmp_path / "deep" / "file").read_bytes() == b"all"

    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OutOfResourcesError, match="The disk is full"):
        commit_file(tmp_path / "deep" / "file", fail)
    assert (tmp_path / "deep" / "file").read_bytes() == b"all"
    assert names_in(tmp_path / "deep") == ["file"]


def test_two_writers_of_a_file_take_turns(tmp_path: Path) -> None:
    """Both wrote to one temporary file: the first put a mixture in place, and the second failed to rename it."""
    target, has_begun, may_go_on, order = tmp_path / "file", threading.Event(), threading.Event(), list[str]()

    def write_slowly(file: BinaryIO) -> None:
        file.write(b"first")
        has_begun.set()
        assert may_go_on.wait(10)
        order.append("first")

    def write_at_once(file: BinaryIO) -> None:
        order.append("second")
        file.write(b"2nd")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit_file, target, write_slowly)
        assert has_begun.wait(10)
        second = pool.submit(commit_file, target, write_at_once)
        time.sleep(0.1)
        may_go_on.set()
        first.result(10)
        second.result(10)
    assert order == ["first", "second"]
    assert target.read_bytes() == b"2nd"
    assert names_in(tmp_path) == ["file"]


def test_many_writers_of_a_json_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_json(tmp_path / "x.json", [number] * 1000), range(100)))
    assert len(set(json.loads((tmp_path / "x.json").read_text(encoding="utf-8")))) == 1
    assert names_in(tmp_path) == ["x.json"]


@pytest.mark.parametrize("has_locks", [True, False])
def test_what_a_killed_writer_left_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_locks: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if not has_locks:
        monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".x.json.tmp").write_text("longer than the new one", encoding="utf-8")
    write_text(tmp_path / "x.json", "new")
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == "new"
    assert names_in(tmp_path) == ["x.json"]


def test_files_whose_numbers_differ_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that numbers an open file in another way."""
    monkeypatch.setattr(os.path, "samestat", lambda _a, _b: False)
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("temporary", [".x.tmp", ".x.partial"])
def test_a_link_in_a_received_folder_is_not_followed(tmp_path: Path, temporary: str) -> None:
    """The page of a run folder with such a link replaced the file that it pointed to."""
    (tmp_path / "run").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run" / temporary).symlink_to(tmp_path / "precious")
    write_text(tmp_path / "run" / "x", "new")
    commit_file(tmp_path / "run" / "x", lambda file: file.write(b"newer"))
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "run" / "x").read_text() == "newer"
    assert not (tmp_path / "run" / "x").is_symlink()
    assert names_in(tmp_path / "run") == ["x"]


@pytest.mark.parametrize("temporary", [".x.partial", ".x.replaced"])
def test_a_link_is_no_folder_to_fill_or_restore(tmp_path: Path, temporary: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / temporary).symlink_to(tmp_path / "precious")
    commit_folder(tmp_path / "x", write_two)
    commit_folder(tmp_path / "x", write_two)
    assert names_in(tmp_path) == ["precious", "x"]
    assert not (tmp_path / "x").is_symlink()
    assert names_in(tmp_path / "precious") == []


def damage_altered(folder: Path) -> None:
    data = bytearray((folder / "inner" / "b.bin").read_bytes())
    data[50] ^= 1
    (folder / "inner" / "b.bin").write_bytes(data)


def damage_manifest_field(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **fields}))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_altered, r"b\.bin was altered"),
        (lambda folder: (folder / "a.txt").unlink(), r"a\.txt is missing"),
        (lambda folder: os.truncate(folder / "inner" / "b.bin", 40), r"b\.bin has 40 bytes, but .* lists 100"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), r"damaged .*nested too deeply"),
        (lambda folder: damage_manifest_field(folder, format_version=2), r"format version 2, but pretune .* reads"),
        (
            lambda folder: damage_manifest_field(folder, files={"../a": {"size_bytes": 1, "sha256": ""}}),
            r"is outside its folder",
        ),
    ],
)
def test_every_damage_is_named(tmp_path: Path, damage: object, sentence: str) -> None:
    commit_folder(tmp_path / "x", write_two)
    damage(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(CorruptModelError, match=sentence):
        verify_folder(tmp_path / "x")


def test_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    commit_folder(tmp_path / "x", write_two)
    (tmp_path / "x").rename(tmp_path / ".x.replaced")
    (tmp_path / ".y.partial").mkdir()
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == ["x"]
    assert verify_folder(tmp_path / "x") is not None
    recover_folder(tmp_path / "x")  # nothing to do


def test_killed_writer_leaves_old_or_new(tmp_path: Path) -> None:
    """A child process replaces a folder until it is killed; the folder that remains always verifies."""
    program = (
        "import sys; from pathlib import Path; from pretune.runtime.atomic import commit_folder\n"
        "i = 0\n"
        "while True:\n"
        "    i += 1; commit_folder(Path(sys.argv[1]), lambda f: (f / 'a').write_text(str(i) * 999))\n"
        "    print(i, flush=True)\n"
    )
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(5):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.communicate()
        remove_leftovers(tmp_path)
        assert names_in(tmp_path) == ["x"]
        assert verify_folder(tmp_path / "x") is not None


def test_a_json_file_is_replaced_or_left_unchanged(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": "ö"})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"a": "ö"}
    write_text(tmp_path / "x.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_disk_that_fills_leaves_no_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of a recipe was taken for a foreign file, for which every further call was refused."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_text(tmp_path / "x.toml", "new")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("place", [".", "..", "a/..", "/"])
def test_a_working_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """`model.save(".")` was reported as a bug in pretune."""
    (tmp_path / "work" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(UsageError, match="is the working folder or one above it; change to another folder"):
        commit_folder(Path(place), lambda partial: write_text(partial / "x", "new"))
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "a"]
