"""A refused run leaves no folder unless it has a checkpoint; a stopped one always leaves it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from pretune.compute.ranks import ALONE, Ranks
from pretune.errors import InputDataError, ModelError, OutOfResourcesError, PretuneError, StoppedError, UsageError
from pretune.runtime.launch import Launch
from pretune.runtime.manifest import Manifest
from pretune.runtime.stage_folder import FollowedFolder, StageFolder, open_stage
from pretune.training.training_stage import (
    CHECKPOINTS,
    at_training,
    choose_compute_together,
    finish_together,
    noted_split,
)

T = TypeVar("T")


def open_folder(tmp_path: Path) -> StageFolder:
    return open_stage(tmp_path / "out", "finetune", config={}, inputs={})


def nothing() -> None: ...


@pytest.mark.parametrize("kind", [InputDataError, ModelError, OutOfResourcesError, UsageError])
def test_a_run_that_is_refused_leaves_no_folder(tmp_path: Path, kind: type[PretuneError]) -> None:
    with pytest.raises(kind), at_training(open_folder(tmp_path), ALONE, nothing):
        raise kind("no")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_refused_leaves_the_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".gitignore").write_text("*\n")
    with pytest.raises(InputDataError), at_training(open_folder(tmp_path), ALONE, nothing):
        raise InputDataError("no")
    assert [file.name for file in (tmp_path / "out").iterdir()] == [".gitignore"]


def test_a_refusal_of_the_inputs_comes_before_the_block(tmp_path: Path) -> None:
    def refuse() -> None:
        raise InputDataError("changed")

    with pytest.raises(InputDataError, match="changed"), at_training(open_folder(tmp_path), ALONE, refuse):
        pytest.fail("the block was entered")
    assert not (tmp_path / "out").exists()


def test_a_run_with_a_checkpoint_or_a_stopped_one_is_kept_and_can_be_opened_again(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), at_training(open_folder(tmp_path), ALONE, nothing):
        raise StoppedError("later")
    folder = open_folder(tmp_path)  # which was released
    assert folder.is_resumed
    (folder.path / CHECKPOINTS).mkdir()
    with pytest.raises(UsageError), at_training(folder, ALONE, nothing):
        raise UsageError("other settings")
    assert (tmp_path / "out" / CHECKPOINTS).is_dir()


def test_a_signal_sets_the_flag_and_the_folder_stays(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), at_training(open_folder(tmp_path), ALONE, nothing) as stop:
        assert not stop.is_set
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set
    folder = open_folder(tmp_path)
    assert folder.is_resumed
    folder.close()


class Recorded(Ranks):
    """One of two processes, which records what the first one does while the others wait."""

    def __init__(self, rank: int) -> None:
        super().__init__(Launch(rank=rank, size=2))
        self.is_waiting = False

    def answer(self, do: Callable[[], T], place: str) -> T:  # noqa: ARG002
        self.is_waiting = True
        found = do() if self.is_first else None
        self.is_waiting = False
        return cast(T, found)


def test_the_others_wait_until_the_first_process_has_finished_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They left before it had hashed the files, so it took them for hung, and every restart did so again."""
    ranks, folder, seen = Recorded(0), open_folder(tmp_path), list[tuple[str, bool]]()
    leftovers = folder.path / CHECKPOINTS
    leftovers.mkdir()

    def write_last() -> None:
        seen.append(("last files", ranks.is_waiting))
        (folder.path / "last.txt").write_text("x", encoding="utf-8")

    finish = StageFolder.finish

    def finish_folder(stage_folder: StageFolder, **summary: Any) -> None:
        seen.append(("hashes", ranks.is_waiting and leftovers.is_dir()))
        finish(stage_folder, **summary)

    monkeypatch.setattr(StageFolder, "finish", finish_folder)
    finish_together(ranks, folder, write_last, leftovers=leftovers, steps=3)
    assert seen == [("last files", True), ("hashes", True)]
    assert "last.txt" in folder.manifest.outputs and folder.manifest.summary["steps"] == 3
    assert not leftovers.exists()


def test_another_process_writes_nothing_at_the_end(tmp_path: Path) -> None:
    manifest = Manifest(stage="finetune", status="running", version="", config={}, inputs={})
    folder = FollowedFolder(tmp_path, manifest, is_resumed=False)
    finish_together(Recorded(1), folder, lambda: pytest.fail("it wrote"), leftovers=tmp_path, steps=3)
    assert folder.manifest.summary == {"steps": 3}
    assert list(tmp_path.iterdir()) == []


def test_one_process_computes_as_it_chooses_itself() -> None:
    compute = choose_compute_together(ALONE, "fp32")
    assert (compute.precision, compute.is_compiled, compute.processes) == ("fp32", False, 1)


def test_the_split_of_an_earlier_attempt_is_remembered(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    assert noted_split(folder) == 1
    folder.note(pieces=4)
    assert noted_split(folder) == 4
    folder.close()


def test_an_error_of_another_process_is_noted_as_its_own(tmp_path: Path) -> None:
    manifest = Manifest(stage="finetune", status="running", version="", config={}, inputs={})
    folder = FollowedFolder(tmp_path, manifest, is_resumed=False)
    with pytest.raises(OutOfResourcesError) as caught, at_training(folder, Recorded(1), nothing):
        raise OutOfResourcesError("no")
    assert caught.value.is_shared is False
