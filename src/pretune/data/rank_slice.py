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

    def micro_batches(self, count: int, rows: int, make: Callable[[int], Batch]) -> list[Batch]:
        """This process's slice of a step of `count` micro-batches with at least `rows` rows each.

        Whole ones if all processes get as many, otherwise some rows of each. If there are too few rows for that, some
        processes get a micro-batch more than others, or, if there are fewer than processes, several divide one.
        """
        if count % self.size and rows >= self.size:
            return [make(index).part(self.rank, self.size) for index in range(count)]
        if count >= self.size:
            return [make(index) for index in range(self.rank, count, self.size)]
        number, index = divmod(self.rank, count)
        return [make(index).part(number, len(range(index, self.size, count)))]

    def rows_at_once(self, count: int, rows: int, most: int) -> int:
        """The most rows that a process computes at once, of micro-batches with `rows` to `most` rows."""
        if count % self.size and rows >= self.size:
            return -(-most // self.size)
        return -(-most // max(1, self.size // count))

    def can_divide(self, count: int, rows: int) -> bool:
        """Whether every process has work in a step of `count` micro-batches with at least `rows` rows each."""
        return count * rows >= self.size


ALONE = RankSlice()
