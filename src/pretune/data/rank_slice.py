"""The micro-batches of a step go in, those of one process come out; all processes together do the whole step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pretune.data.batch import Batch


@dataclass(frozen=True, kw_only=True)
class RankSlice:
    """Process `rank` of `size`. Rows and masks are drawn for the whole step before it is divided."""

    rank: int = 0
    size: int = 1

    def micro_batches(self, count: int, make: Callable[[int], Batch]) -> list[Batch]:
        """This process's slice of a step of `count` micro-batches: whole ones if they can be divided evenly, and
        otherwise some rows of each."""
        if count % self.size == 0:
            return [make(index) for index in range(self.rank, count, self.size)]
        return [make(index).part(self.rank, self.size) for index in range(count)]

    def can_divide(self, count: int, rows: int) -> bool:
        """Whether every process has work in a step of `count` micro-batches with `rows` rows each."""
        return count % self.size == 0 or rows >= self.size


ALONE = RankSlice()
