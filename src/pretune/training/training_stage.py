"""What every training stage does around its training: the processes choose how to compute, check the inputs, stop
together, and leave no folder if the run is refused before it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pretune.compute.device import Compute, choose_compute
from pretune.compute.ranks import Ranks
from pretune.errors import InputDataError, ModelError, OutOfResourcesError, UsageError
from pretune.runtime.atomic import remove_folder
from pretune.runtime.interruption import StopFlag, stop_on_signals
from pretune.runtime.stage_folder import StageFolder

CHECKPOINTS = "checkpoints"  # the folder inside that of the stage


@contextmanager
def at_training(folder: StageFolder, ranks: Ranks, check_inputs: Callable[[], object]) -> Iterator[StopFlag]:
    """The block in which the processes train; it gives the flag that a signal sets.

    The first process checks the inputs before it. If the run is refused and has no checkpoint yet, its files are
    removed, so that the corrected command needs no --redo.
    """
    try:
        ranks.answer(check_inputs, "comparing the files of the input")
        with ranks.sorting_errors(), stop_on_signals() as stop, ranks.naming_losses():
            yield stop
    except (InputDataError, ModelError, OutOfResourcesError, UsageError):
        if ranks.is_first and not (folder.path / CHECKPOINTS).is_dir():
            folder.remove()
        raise
    finally:
        folder.close()
        ranks.close_group()


def finish_together(
    ranks: Ranks,
    folder: StageFolder,
    write_last: Callable[[], object],
    *,
    leftovers: Path | None = None,
    **summary: Any,
) -> None:
    """Let the first process write the last files, finish the folder, and then remove `leftovers`.

    The others wait until that is done: hashing may take minutes, and one that had left would look as if it had hung.
    """

    def finish() -> None:
        write_last()
        folder.finish(**summary)
        if leftovers is not None:
            remove_folder(leftovers)

    ranks.answer(finish, "the end of the stage")
    if not ranks.is_first:
        folder.finish(**summary)


def choose_compute_together(
    ranks: Ranks,
    precision: Literal["auto", "bf16", "fp32"],
    compile: Literal["auto", "on", "off"] = "off",
    *,
    is_worth_compiling: bool = False,
) -> Compute:
    """The device of this process; precision and compiling as chosen by the first process."""
    own = choose_compute(
        precision=precision, compile=compile, is_worth_compiling=is_worth_compiling, processes=ranks.size
    )
    chosen = ("precision", "is_compiled")
    return replace(own, **ranks.answer(lambda: {name: getattr(own, name) for name in chosen}, "the start"))


def noted_split(folder: StageFolder) -> int:
    """The pieces of a micro-batch that an earlier attempt ended with because a process ran out of memory."""
    return int(folder.manifest.summary.get("pieces", 1))
