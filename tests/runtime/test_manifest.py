"""A manifest is read if it and its files are unchanged; anything else is refused, naming what differs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.runtime import manifest
from pretune.runtime.atomic import write_json
from pretune.runtime.manifest import (
    describe_differences,
    hash_file,
    hash_input,
    hash_json,
    is_text_seal_intact,
    read_manifest,
    sealed,
    sealed_text,
)
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.runtime.verification import verify


def open_it(path: Path, *, seed: int = 0, stage: str = "collect") -> StageFolder:
    return open_stage(path, stage, config={"seed": seed}, inputs={"paths": "abc"})


def finished(path: Path, *, seed: int = 0) -> StageFolder:
    folder = open_it(path, seed=seed)
    (path / "out.txt").write_text("result")
    folder.finish()
    return folder


def test_a_missing_or_truncated_file_is_named(tmp_path: Path) -> None:
    finished(tmp_path / "c")
    (tmp_path / "c" / "out.txt").write_text("res")
    with pytest.raises(InputDataError, match=r"out\.txt has 3 bytes; expected the 6 bytes that the collect stage"):
        read_manifest(tmp_path / "c")
    (tmp_path / "c" / "out.txt").unlink()
    with pytest.raises(InputDataError, match=r"out\.txt is missing"):
        read_manifest(tmp_path / "c")


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: None, "does not exist; expected the folder of the preprocess stage"),
        (lambda path: path.mkdir(), r"has no manifest\.json"),
        (lambda path: finished(path), "was written by the collect stage; expected a preprocess folder"),
        (lambda path: open_it(path, stage="preprocess").close(), "is not finished"),
        (lambda path: (path.mkdir(), (path / "manifest.json").write_text('{"stage": ')), "is damaged"),
        (lambda path: (path.mkdir(), (path / "manifest.json").write_text("{}")), "is damaged"),
        (lambda path: (path.mkdir(), (path / "manifest.json").write_text("[" * 100_000)), "is damaged .*too deeply"),
    ],
)
def test_a_folder_that_is_not_finished_is_refused(tmp_path: Path, prepare: Any, sentence: str) -> None:
    prepare(tmp_path / "p")
    with pytest.raises(InputDataError, match=sentence):
        read_manifest(tmp_path / "p", "preprocess")


def test_the_fingerprint_depends_only_on_the_outputs(tmp_path: Path) -> None:
    one, two, other = finished(tmp_path / "1"), finished(tmp_path / "2", seed=5), open_it(tmp_path / "3")
    (tmp_path / "3" / "out.txt").write_text("another")
    (tmp_path / "3" / "checkpoints").mkdir()
    (tmp_path / "3" / "checkpoints" / "state").write_text("x")
    other.finish()
    assert one.manifest.fingerprint == two.manifest.fingerprint != other.manifest.fingerprint
    assert "checkpoints/state" not in other.manifest.outputs


def test_a_manifest_that_was_altered_is_refused(tmp_path: Path) -> None:
    open_it(tmp_path / "c").finish(documents=12)
    manifest = tmp_path / "c" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("12", "13"))
    with pytest.raises(InputDataError, match="was altered after it was written"):
        read_manifest(tmp_path / "c", "collect")


@pytest.mark.parametrize("name", ["/etc/passwd", "../recipe.toml", "a/../../b"])
def test_a_file_outside_its_folder_is_not_read(tmp_path: Path, name: str) -> None:
    """`verify` read it, and then ended as a bug in pretune."""
    finished(tmp_path / "c")
    found = json.loads((tmp_path / "c" / "manifest.json").read_text())
    found["outputs"][name] = {"size_bytes": 1, "sha256": "0" * 64}
    write_json(tmp_path / "c" / "manifest.json", sealed(found))
    with pytest.raises(InputDataError, match=rf"lists '{name}', which is outside its folder; do not use"):
        read_manifest(tmp_path / "c", "collect")
    [result] = verify(tmp_path)
    assert "is outside its folder" in result.faults[0].found


def test_hashes_do_not_depend_on_the_order_of_keys() -> None:
    assert hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1}) != hash_json({"a": 1, "b": [3]})


def test_an_input_is_read_once_as_long_as_it_does_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, file, now = list[Path](), tmp_path / "a.txt", time.time()

    def counted(path: Path) -> str:
        read.append(path)
        return hash_file(path)

    monkeypatch.setattr(manifest, "hash_file", counted)
    file.write_text("a", encoding="utf-8")
    assert hash_input(file) == hash_input(file) == hash_file(file)
    assert len(read) == 2  # a change in the same tick of the clock would not show
    monkeypatch.setattr(manifest.time, "time", lambda: now + 60)
    assert hash_input(file) == hash_input(file) == hash_file(file)
    assert len(read) == 3
    times = file.stat()
    file.write_text("b", encoding="utf-8")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy with its times
    assert hash_input(file) == hash_file(file)
    assert len(read) == 4


def test_differences_name_new_and_lost_settings() -> None:
    assert describe_differences({"a": False}, {"a": None}) == []  # it was off before it could be decided by default
    decided = describe_differences({"a": None}, {"a": False})  # perhaps to switch it on
    assert decided == ["a (was None, now False)"]
    assert describe_differences({}, {"a": False, "b": None}) == describe_differences({"a": False}, {}) == []
    assert describe_differences({}, {"a": 0}) == ["a (was None, now 0)"]
    for off in (False, 0.0):
        assert describe_differences({"a": off}, {"a": None}) == []
        assert describe_differences({"a": off}, {"a": None}, exactly=True) == [f"a (was {off}, now None)"]
    assert describe_differences({"a": 0}, {"a": None}) == ["a (was 0, now None)"]  # a number, such as that of a seed
    found = describe_differences({"a": 1, "b": 2}, {"a": 1, "c": 3})
    assert found == ["b (was 2, now None)", "c (was None, now 3)"]


def test_a_setting_that_one_version_lacks_differs_where_parts_are_reused() -> None:
    """A training that began without a loss was resumed with it: both its absence and its default were None."""
    assert describe_differences({}, {"a": None}) == describe_differences({"a": None}, {}) == []
    assert describe_differences({}, {"a": None}, exactly=True) == ["a (was unknown, now None)"]
    assert describe_differences({"a": None}, {}, exactly=True) == ["a (was None, now unknown)"]
    assert describe_differences({}, {"a": 0.5}, exactly=True) == ["a (was None, now 0.5)"]


def test_every_change_to_a_sealed_text_is_noticed() -> None:
    text = sealed_text("# a\nb = 1\n")
    assert is_text_seal_intact(text) is True
    for place in range(len(text)):
        assert not is_text_seal_intact(text[:place] + "~" + text[place + 1 :])
    assert not is_text_seal_intact("b = 1\n")
