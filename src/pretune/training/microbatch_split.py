"""Splitting micro-batches that do not fit into memory: in two, then in four; slower, with the same gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from pretune.compute.ranks import Ranks
from pretune.data.batch import Batch
from pretune.errors import OutOfResourcesError, ShortOfMemoryError
from pretune.runtime.memory import is_out_of_memory


@dataclass(kw_only=True)
class MicrobatchSplit:
    """The number of pieces that each micro-batch is split into, kept in checkpoints. It only ever doubles."""

    count: int = 1

    def double(self, micro_batches: Sequence[Batch], error: Exception) -> None:
        """Halve the pieces after `error`, which is raised again unless it says that memory is full.

        Raises OutOfResourcesError if a piece is already a single row.
        """
        if not is_out_of_memory(error):
            raise error
        if self.count >= max(batch.num_texts for batch in micro_batches):
            length = max(batch.input_ids.shape[1] for batch in micro_batches)
            raise OutOfResourcesError(
                f"Not enough memory to train on a single row of {length} tokens. Finished work is saved; close other "
                "programs, or use a smaller model or shorter rows."
            ) from error
        self.count *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def leave(self, ranks: Ranks, error: Exception) -> NoReturn:
        """End this process, and so all of them, such that the next attempt starts with the present number of pieces.

        The others are in the middle of a pass in which they wait for this one, so they cannot be asked to repeat it.
        """
        ranks.leave_note({"pieces": self.count})
        raise ShortOfMemoryError(
            f"Process {ranks.rank} of {ranks.size} ran out of memory. Finished work is saved; run the same command to "
            "resume, or let torchrun do so with --max-restarts. Each micro-batch will then be split into "
            f"{self.count} pieces: slower, with the same result within rounding."
        ) from error

    def describe(self) -> dict[str, Any]:
        """The fields of a `pieces_doubled` event."""
        sentence = (
            f"A micro-batch did not fit into memory, so each is now split into {self.count} pieces: slower, with the "
            "same result within rounding."
        )
        return {"pieces": self.count, "sentence": sentence}
