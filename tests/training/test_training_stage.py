"""A refused run leaves no folder unless it has a checkpoint; a stopped one always leaves it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pretune.compute.ranks import ALONE
from pretune.errors import InputDataError, ModelError, OutOfResourcesError, PretuneError, StoppedError, UsageError
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.training.training_stage import CHECKPOINTS, at_training, choose_compute_together, noted_split


def open_folder(tmp_path: Path) -> StageFolder:
    return open_stage(tmp_path / "out", "finetune", config={}, inputs={})


def nothing() -> None: ...


@pytest.mark.parametrize("kind", [InputDataError, ModelError, OutOfResourcesError, UsageError])
def test_a_run_that_is_refused_leaves_no_folder(tmp_path: Path, kind: type[PretuneError]) -> None:
    with pytest.raises(kind), at_training(open_folder(tmp_path), ALONE, nothing):
        raise kind("no")
    assert not (tmp_path / "out").exists()


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


def test_one_process_computes_as_it_chooses_itself() -> None:
    compute = choose_compute_together(ALONE, "fp32")
    assert (compute.precision, compute.is_compiled, compute.processes) == ("fp32", False, 1)


def test_the_split_of_an_earlier_attempt_is_remembered(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    assert noted_split(folder) == 1
    folder.note(pieces=4)
    assert noted_split(folder) == 4
    folder.close()
