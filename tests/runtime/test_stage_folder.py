"""A stage folder is recognized, resumed, refused or renamed; never overwritten."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import (
    EXIT_USAGE,
    CorruptModelError,
    FolderInTheWayError,
    InputDataError,
    OutOfResourcesError,
    StageDiffersError,
    StoppedError,
    UsageError,
    WorkersError,
)
from pretune.runtime import stage_folder
from pretune.runtime.atomic import write_json
from pretune.runtime.events import read_events
from pretune.runtime.manifest import describe_file, read_manifest, sealed
from pretune.runtime.stage_folder import WORK_NAME, StageFolder, open_stage, run_stage
from pretune.runtime.verification import verify


def open_it(
    path: Path, *, seed: int = 0, source: str = "abc", stage: str = "collect", redo: bool = False
) -> StageFolder:
    return open_stage(path, stage, config={"seed": seed, "names": ("a",)}, inputs={"paths": source}, redo=redo)


def finished(path: Path, **given: Any) -> StageFolder:
    folder = open_it(path, **given)
    (path / "out.txt").write_text("result")
    folder.finish(documents=3)
    return folder


def test_a_new_folder_is_neither_finished_nor_resumed(tmp_path: Path) -> None:
    folder = open_it(tmp_path / "deep" / "collect")
    assert not folder.is_finished
    assert not folder.is_resumed
    assert json.loads((folder.path / "manifest.json").read_text())["status"] == "running"
    folder.close()


def test_a_finished_folder_is_recognized(tmp_path: Path) -> None:
    finished(tmp_path / "c")
    folder = open_it(tmp_path / "c")
    assert folder.is_finished
    assert not folder.is_resumed
    assert folder.manifest.summary == {"documents": 3}
    assert set(folder.manifest.outputs) == {"out.txt"}
    assert read_manifest(tmp_path / "c", "collect") == folder.manifest


def test_what_went_in_and_came_out_is_logged_with_the_end(tmp_path: Path) -> None:
    folder = open_it(tmp_path / "c")
    folder.log_flow({"files": 2}, {"documents": 5, "fraction": 0.5}, seconds=1.5, repaired={"html": 1})
    folder.log_flow({}, {}, seconds=1.0, peak_memory_bytes=7)
    flow, finished, _, other = read_events(tmp_path / "c")
    assert flow["shape_in"] == [{"name": "files", "value": 2}]
    assert flow["shape_out"] == [{"name": "documents", "value": 5}, {"name": "fraction", "value": 0.5}]
    assert (flow["dropped"], flow["repaired"]) == ([], {"html": 1})
    assert (finished["event"], finished["seconds"]) == ("stage_finished", 1.5)
    assert flow["peak_memory_bytes"] == finished["peak_memory_bytes"] > 1_000_000
    assert other["peak_memory_bytes"] == 7
    folder.close()


def test_an_unfinished_folder_is_not_resumed_with_a_setting_decided_otherwise(tmp_path: Path) -> None:
    """Its parts were reused, although a tokenizer of another kind had made them."""
    open_stage(tmp_path / "c", "preprocess", config={"lowercase": False}, inputs={}).close()
    with pytest.raises(StageDiffersError, match=r"lowercase \(was False, now None\)"):
        open_stage(tmp_path / "c", "preprocess", config={"lowercase": None}, inputs={})
    open_stage(tmp_path / "c", "preprocess", config={"lowercase": False}, inputs={}).finish()
    assert open_stage(tmp_path / "c", "preprocess", config={"lowercase": None}, inputs={}).is_finished


def test_an_interrupted_folder_is_resumed_with_what_it_noted(tmp_path: Path) -> None:
    folder = open_it(tmp_path / "c")
    folder.note(plan=[1, 2])
    folder.note(more=True)
    folder.close()
    again = open_it(tmp_path / "c")
    assert again.is_resumed
    assert again.manifest.summary == {"plan": [1, 2], "more": True}
    again.close()


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_setting_is_refused_by_name(tmp_path: Path, is_finished: bool) -> None:
    finished(tmp_path / "c") if is_finished else open_it(tmp_path / "c").close()
    before = (tmp_path / "c" / "manifest.json").read_bytes()
    with pytest.raises(StageDiffersError, match=r"seed \(was 0, now 1\); input paths\..*--redo") as caught:
        open_it(tmp_path / "c", seed=1, source="xyz")
    assert caught.value.exit_code == EXIT_USAGE
    assert (tmp_path / "c" / "manifest.json").read_bytes() == before


def test_a_late_setting_may_change_until_the_folder_is_finished(tmp_path: Path) -> None:
    def open_with(seed: int, size: int) -> StageFolder:
        return open_stage(tmp_path / "c", "collect", config={"seed": seed, "size": size}, inputs={}, late=("seed",))

    open_with(0, 5).close()
    with pytest.raises(StageDiffersError, match=r"differs in: size \(was 5, now 6\)\."):
        open_with(1, 6)
    folder = open_with(1, 5)
    assert folder.is_resumed
    folder.finish()
    assert read_manifest(tmp_path / "c").config == {"seed": 1, "size": 5}
    with pytest.raises(StageDiffersError, match=r"a finished collect stage that differs in: seed \(was 1, now 0\)"):
        open_with(0, 5)


def test_a_folder_that_lacks_a_late_setting_is_resumed(tmp_path: Path) -> None:
    open_stage(tmp_path / "c", "collect", config={"size": 5}, inputs={}).close()
    config = {"seed": None, "size": 5}
    folder = open_stage(tmp_path / "c", "collect", config=config, inputs={}, late=("seed",))
    assert folder.is_resumed
    folder.finish()
    assert read_manifest(tmp_path / "c").config == config


def test_another_stage_and_foreign_files_are_refused(tmp_path: Path) -> None:
    finished(tmp_path / "c")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for redo in (False, True):
        with pytest.raises(FolderInTheWayError, match="belongs to the collect stage, not preprocess"):
            open_it(tmp_path / "c", stage="preprocess", redo=redo)
        with pytest.raises(FolderInTheWayError, match=r"did not write \(thesis\.tex\)"):
            open_it(tmp_path / "mine", redo=redo)
        with pytest.raises(FolderInTheWayError, match="is a file"):
            open_it(tmp_path / "mine" / "thesis.tex", redo=redo)


def test_redo_renames_the_old_folder_each_time(tmp_path: Path) -> None:
    finished(tmp_path / "c")
    open_it(tmp_path / "c", seed=1, redo=True).close()
    newest = open_it(tmp_path / "c", seed=2, redo=True)
    newest.close()
    assert not newest.is_resumed
    assert read_manifest(tmp_path / "c.old-1").config["seed"] == 0
    assert json.loads((tmp_path / "c.old-2" / "manifest.json").read_text())["config"]["seed"] == 1


def test_redo_keeps_what_was_made_with_the_same_settings(tmp_path: Path) -> None:
    """`pretrain --redo` that was stopped and given again set its own checkpoints aside."""
    open_it(tmp_path / "c").close()
    folder = open_it(tmp_path / "c", redo=True)
    assert folder.is_resumed
    folder.finish(documents=3)
    again = open_it(tmp_path / "c", redo=True)
    assert again.is_finished
    assert again.manifest.summary == {"documents": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_only_one_process_writes(tmp_path: Path) -> None:
    folder = open_it(tmp_path / "c")
    with pytest.raises(FolderInTheWayError, match="Another process is writing"):
        open_it(tmp_path / "c")
    folder.close()
    open_it(tmp_path / "c").close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As on Lustre or NFS; another process, which there is not, was blamed."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(
        FolderInTheWayError, match=r"cannot be locked .*file system has no locks.*another --out"
    ) as caught:
        open_it(tmp_path / "c")
    assert os.strerror(number) in str(caught.value)


def test_redo_does_not_rename_a_folder_that_is_being_written(tmp_path: Path) -> None:
    """Two processes would train: the old one in the renamed folder, although it locks it."""
    folder = open_it(tmp_path / "c")
    with pytest.raises(FolderInTheWayError, match=r"Another process is writing to .*/c;") as caught:
        open_it(tmp_path / "c", seed=1, redo=True)
    assert caught.value.exit_code == EXIT_USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    folder.close()
    again = open_it(tmp_path / "c", seed=1, redo=True)
    assert not again.is_resumed
    with pytest.raises(FolderInTheWayError, match="Another process is writing"):  # the new folder is locked, too
        open_it(tmp_path / "c", seed=1)
    again.close()


def test_a_folder_that_another_process_finished_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_lock = stage_folder.take_lock

    def take_it_late(path: Path, **given: Any) -> Any:
        monkeypatch.setattr(stage_folder, "take_lock", take_lock)
        finished(tmp_path / "c")
        return take_lock(path, **given)

    monkeypatch.setattr(stage_folder, "take_lock", take_it_late)
    folder = open_it(tmp_path / "c")
    assert folder.is_finished
    assert folder.manifest.summary == {"documents": 3}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("call", ["open_no_link", "mkdir"])
def test_a_folder_that_cannot_be_written_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    """A run on a read-only disk, or of a colleague, was an input that "cannot be read"."""

    def fail(path: Path, **_given: bool) -> None:
        raise OSError(code, os.strerror(code), str(path))

    owner = stage_folder if call == "open_no_link" else Path
    with monkeypatch.context() as patch, pytest.raises(FolderInTheWayError) as caught:
        patch.setattr(owner, call, fail)
        open_it(tmp_path / "c")
    advice = "choose another --out, or change its permissions."
    assert str(caught.value) == f"{tmp_path / 'c'} cannot be written ({os.strerror(code)}); {advice}"
    assert caught.value.exit_code == EXIT_USAGE


def set_version(manifest: Path, version: str) -> None:
    write_json(manifest, sealed({**json.loads(manifest.read_text()), "version": version}))


def test_an_interrupted_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    open_it(tmp_path / "c").close()
    manifest = tmp_path / "c" / "manifest.json"
    set_version(manifest, "0.0.1")
    with pytest.raises(FolderInTheWayError, match=r"interrupted collect stage of pretune 0\.0\.1.*--redo"):
        open_it(tmp_path / "c")
    open_it(tmp_path / "c", redo=True).close()
    finished(tmp_path / "d")
    manifest = tmp_path / "d" / "manifest.json"
    set_version(manifest, "0.0.1")
    assert open_it(tmp_path / "d").is_finished


@pytest.mark.parametrize("error", [InputDataError, UsageError, CorruptModelError])
def test_a_refusal_leaves_no_folder(tmp_path: Path, error: type[Exception]) -> None:
    folder = open_it(tmp_path / "c")
    with pytest.raises(error), folder.at_work():
        raise error
    assert not (tmp_path / "c").exists()


def test_a_refusal_keeps_the_files_that_the_user_had_put_into_the_folder(tmp_path: Path) -> None:
    """A file that was not in the way, as `.gitignore` is not, was removed together with what the stage had written."""
    path = tmp_path / "c"
    path.mkdir()
    (path / ".gitignore").write_text("*\n")
    folder = open_it(path)
    with pytest.raises(InputDataError), folder.at_work():
        (path / "deep").mkdir()
        (path / "deep" / "part").write_text("half")
        raise InputDataError("empty")
    assert [(file.name, file.read_text()) for file in path.iterdir()] == [(".gitignore", "*\n")]
    finished(path)  # without --redo
    again = open_it(path, redo=True, seed=2)
    assert (tmp_path / "c.old-1" / ".gitignore").read_text() == "*\n"
    again.close()


@pytest.mark.parametrize("error", [InputDataError, UsageError, CorruptModelError])
def test_a_refusal_keeps_the_finished_work_of_a_resumed_folder(tmp_path: Path, error: type[Exception]) -> None:
    """A cluster that was down when a stage was resumed cost all shards that were finished before."""
    open_it(tmp_path / "c").close()
    (tmp_path / "c" / "part").write_text("done")
    again = open_it(tmp_path / "c")
    with pytest.raises(error), again.at_work():
        raise error
    assert (tmp_path / "c" / "part").read_text() == "done"
    third = open_it(tmp_path / "c")
    assert third.is_resumed
    third.close()


@pytest.mark.parametrize(
    "error", [StoppedError, OutOfResourcesError, WorkersError, KeyboardInterrupt, ZeroDivisionError]
)
def test_a_stopped_stage_is_resumed(tmp_path: Path, error: type[BaseException]) -> None:
    folder = open_it(tmp_path / "c")
    with pytest.raises(error), folder.at_work():
        (tmp_path / "c" / "part").write_text("done")
        raise error
    again = open_it(tmp_path / "c")
    assert again.is_resumed
    assert (tmp_path / "c" / "part").read_text() == "done"
    with again.at_work():
        again.finish()
    assert open_it(tmp_path / "c").is_finished


def test_outputs_are_synced_before_the_manifest_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_it(tmp_path / "c")
    (tmp_path / "c" / "deep").mkdir()
    for name in ("out.txt", "deep/more.txt"):
        (tmp_path / "c" / name).write_text("result")
    synced, fsync = list[str](), os.fsync

    def remember(descriptor: int) -> None:
        opened = os.fstat(descriptor)
        [path] = [path for path in (tmp_path, *tmp_path.rglob("*")) if os.path.samestat(path.stat(), opened)]
        synced.append(str(path.relative_to(tmp_path)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)
    folder.finish()
    assert {"c", "c/deep", "c/out.txt", "c/deep/more.txt"} <= set(synced[:-1])
    assert synced[-1] == "c/.manifest.json.tmp"


@pytest.mark.parametrize("killed_at", ["sync_files", "describe_file", "remove_folder"])
def test_finished_parts_are_kept_until_the_stage_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """They were removed first, and syncing and hashing large outputs takes minutes."""
    folder, part = open_it(tmp_path / "c"), tmp_path / "c" / WORK_NAME / "clean" / "result.json"
    part.parent.mkdir(parents=True)
    part.write_text("{}")
    (tmp_path / "c" / "out.txt").write_text("result")
    with monkeypatch.context() as patch:
        patch.setattr(stage_folder, killed_at, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), folder.at_work():
            folder.finish()
    assert part.is_file()
    if killed_at == "remove_folder":
        [result] = verify(tmp_path / "c")
        assert not result.faults
        assert result.notes == [".work: left by a killed writer; the next attempt removes it."]
    again = open_it(tmp_path / "c")
    assert again.is_finished == (killed_at == "remove_folder")
    if not again.is_finished:
        again.finish()
    assert not part.parent.parent.exists()
    assert set(again.manifest.outputs) == {"out.txt"}


def test_files_of_a_killed_writer_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".lock").write_text("")
    (tmp_path / "c" / ".manifest.json.tmp").write_text('{"stage": "col')
    folder = open_it(tmp_path / "c")
    (tmp_path / "c" / ".manifest.json.tmp").write_text('{"stage": "col')
    (tmp_path / "c" / ".model.partial").mkdir()
    (tmp_path / "c" / ".model.partial" / "half").write_text("x")
    (tmp_path / "c" / "out.txt").write_text("result")
    folder.finish()
    assert set(folder.manifest.outputs) == {"out.txt"}


def test_files_of_the_system_are_neither_in_the_way_nor_outputs(tmp_path: Path) -> None:
    """A folder that a file manager had opened was refused as somebody else's."""
    names = (".DS_Store", "Thumbs.db", ".gitkeep", "._lock")
    (tmp_path / "c").mkdir()
    for name in names:
        (tmp_path / "c" / name).write_text("x")
    finished(tmp_path / "c")
    assert set(read_manifest(tmp_path / "c").outputs) == {"out.txt"}
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".notes").write_text("x")
    with pytest.raises(FolderInTheWayError, match=r"did not write \(\.notes\)"):
        open_it(tmp_path / "d")


def test_the_manifest_of_a_finished_stage_describes_its_log(tmp_path: Path) -> None:
    folder = open_it(tmp_path / "c")
    folder.log.write("stage_finished")
    folder.finish()
    found = read_manifest(tmp_path / "c", "collect")
    assert found.log == describe_file(tmp_path / "c" / "events.jsonl")


def test_the_working_folder_is_written_to_but_not_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--redo with --out . was reported as a bug in pretune."""
    monkeypatch.chdir(tmp_path)
    finished(Path())
    with pytest.raises(UsageError, match="is the working folder or one above it; change to another folder"):
        open_it(Path(), seed=1, redo=True)
    assert read_manifest(tmp_path).config["seed"] == 0


def test_a_stage_is_done_again_only_if_it_differs_and_only_with_redo(tmp_path: Path) -> None:
    calls: list[bool] = []

    def stage(again: bool, seed: int = 0) -> None:
        calls.append(again)
        open_it(tmp_path / "stage", seed=seed, redo=again).finish()

    run_stage(stage, redo=True)
    assert calls == [False]
    with pytest.raises(StageDiffersError):
        run_stage(lambda again: stage(again, seed=1), redo=False)
    assert calls == [False, False]
    run_stage(lambda again: stage(again, seed=1), redo=True)
    assert calls == [False, False, False, True]


@pytest.mark.parametrize("name", [".lock", "events.jsonl", ".manifest.json.tmp", "parts/one.npy"])
def test_a_link_in_a_received_folder_is_not_written_through(tmp_path: Path, name: str) -> None:
    """Opening a folder with a link in place of its lock emptied the file that it pointed to."""
    open_it(tmp_path / "c").close()
    (tmp_path / "precious").write_text("precious")
    link = tmp_path / "c" / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "precious")
    if name == ".lock":
        open_it(tmp_path / "c").close()
    else:
        with pytest.raises(FolderInTheWayError, match=r"is a link to .*precious, .*Remove the link, or choose"):
            open_it(tmp_path / "c")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_link_to_a_folder_in_a_received_folder_is_not_entered(tmp_path: Path) -> None:
    """A training was resumed in the folder that it led to, where it removed older checkpoints."""
    open_it(tmp_path / "c").close()
    (tmp_path / "precious").mkdir()
    (tmp_path / "c" / "checkpoints").symlink_to(tmp_path / "precious", target_is_directory=True)
    with pytest.raises(FolderInTheWayError, match=r"checkpoints is a link to .*precious, .*Remove the link"):
        open_it(tmp_path / "c")


def test_a_folder_that_the_user_names_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "c").symlink_to(tmp_path / "disk", target_is_directory=True)
    open_it(tmp_path / "c").close()
    (tmp_path / "recipe.toml").touch()  # in a run, it may be the work of somebody else
    with pytest.raises(FolderInTheWayError, match=r"c is a link to .*disk, .*Remove the link"):
        open_it(tmp_path / "c")
    finished(tmp_path / "disk")
    assert open_it(tmp_path / "c").is_finished
