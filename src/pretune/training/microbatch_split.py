"""Micro-batches that the memory does not hold are cut in two, and in two again: slower, with the same gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from pretune.compute.ranks import Ranks
from pretune.data.batch import Batch
from pretune.errors import OutOfResourcesError, ShortOfMemoryError

_ALLOCATOR_WORDS = ("can't allocate memory", "not enough memory", "out of memory")  # of torch, on CPU and elsewhere


@dataclass(kw_only=True)
class MicrobatchSplit:
    """Into how many pieces each micro-batch is cut; a checkpoint keeps the number, which only ever doubles."""

    count: int = 1

    def double(self, micro_batches: Sequence[Batch], error: Exception) -> None:
        """Halve the pieces after `error`. Raises it again where it says anything but that the memory is full.

        Raises OutOfResourcesError where a piece is a single row already.
        """
        if not is_out_of_memory(error):
            raise error
        rows, length = (max(batch.input_ids.shape[axis] for batch in micro_batches) for axis in (0, 1))
        if self.count >= rows:
            raise OutOfResourcesError(
                f"The memory does not hold the training on a single row of {length} tokens; what was committed is "
                "kept; close other programs, or give a smaller --size."
            ) from error
        self.count *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def leave(self, ranks: Ranks, error: Exception) -> NoReturn:
        """End this process, and with it all, so that the next attempt begins with the present number.

        The others are in the midst of a pass in which they wait for this one: they cannot be told to do it again.
        """
        ranks.leave_note({"pieces": self.count})
        raise ShortOfMemoryError(
            f"The memory of process {ranks.rank} of {ranks.size} did not hold its part of a step. What was committed "
            "is kept: give the same command again, or let torchrun do so with --max-restarts; each micro-batch will be "
            f"cut into {self.count} pieces: slower, and the same result within rounding."
        ) from error

    def describe(self) -> dict[str, Any]:
        """The fields of a `pieces_doubled` event."""
        sentence = (
            f"The memory did not hold a micro-batch, so each is now cut into {self.count} pieces: slower, and the same "
            "result within rounding."
        )
        return {"pieces": self.count, "sentence": sentence}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch has a class for the GPU's, and a RuntimeError with such words on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATOR_WORDS)
