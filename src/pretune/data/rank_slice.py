"""The part of every step that one of several processes does; all parts together are the step, whatever their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pretune.data.batch import Batch


@dataclass(frozen=True, kw_only=True)
class RankSlice:
    """Process `rank` of `size`. Rows and masks are drawn for the whole step before they are dealt out."""

    rank: int = 0
    size: int = 1

    def micro_batches(self, count: int, make: Callable[[int], Batch]) -> list[Batch]:
        """This process's part of a step of `count` micro-batches: whole ones where they can be dealt out evenly, and
        otherwise some rows of each."""
        if count % self.size == 0:
            return [make(index) for index in range(self.rank, count, self.size)]
        return [make(index).part(self.rank, self.size) for index in range(count)]

    def can_divide(self, count: int, rows: int) -> bool:
        """Whether every process has something to do in a step of `count` micro-batches with so many rows each."""
        return count % self.size == 0 or rows >= self.size


ALONE = RankSlice()
