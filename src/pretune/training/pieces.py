"""Micro-batches that the memory does not hold are cut in two, and in two again: slower, with the same gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pretune.data.batch import Batch
from pretune.errors import OutOfResourcesError

_ALLOCATOR_WORDS = ("can't allocate memory", "not enough memory", "out of memory")  # of torch, on CPU and elsewhere


@dataclass(kw_only=True)
class Pieces:
    """Into how many pieces each micro-batch is cut; a checkpoint keeps the number, which only ever doubles."""

    count: int = 1

    def double(self, micro_batches: Sequence[Batch], error: Exception, *, is_alone: bool = True) -> None:
        """Halve the pieces after `error`. Raises it again where it says anything but that the memory is full.

        Raises OutOfResourcesError where a piece is a single row already, or other processes wait in the same pass.
        """
        if not is_out_of_memory(error):
            raise error
        if not is_alone:
            raise OutOfResourcesError(
                "The memory of one of the processes does not hold its part of a step; what was committed is kept: "
                "give the same command again with --parallel fsdp, or start more processes, or give a smaller --size."
            ) from error
        rows, length = (max(batch.input_ids.shape[axis] for batch in micro_batches) for axis in (0, 1))
        if self.count >= rows:
            raise OutOfResourcesError(
                f"The memory does not hold the training on a single row of {length} tokens; what was committed is "
                "kept; close other programs, or give a smaller --size."
            ) from error
        self.count *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

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
