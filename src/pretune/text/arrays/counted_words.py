"""Count the distinct stretches between blanks in many texts; nothing here loops over them in Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.arrays.word_hashes import Int64s, UInt64s, hash_stretches, ranges, scramble

_MOST_HELD = 1_000_000  # stretches in memory before equal ones are merged


@dataclass(frozen=True)
class Stretches:
    """S distinct stretches in the order of their hashes; two share a hash once in 10^19 pairs."""

    hashes: UInt64s  # S
    counts: Int64s  # S
    texts: FlatText  # S

    def __len__(self) -> int:
        return len(self.hashes)

    def in_range(self, number: int, count: int) -> Stretches:
        """The stretches whose hash is in range `number` of the `count` ranges that divide all hashes."""
        range_of = ((self.hashes >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
        return self._only(np.arange(*np.searchsorted(range_of, [number, number + 1])))

    def as_dict(self) -> dict[str, int]:
        """The count of each stretch."""
        return dict(zip(self.texts.texts(), self.counts.tolist(), strict=True))

    @property
    def num_characters(self) -> int:
        """The characters of all stretches, times their counts."""
        return int((self.texts.num_characters() * self.counts).sum())

    def scaled(self, scale: float) -> Stretches:
        """Divide the counts by `scale`; stretches left with a count of 0 are dropped.

        Remainders are rounded up or down by the hash, so that the sum over rare stretches comes out right.
        """
        if scale <= 1:
            return self
        counts = (self.counts / scale + _units(self.hashes)).astype(np.int64)
        return Stretches(self.hashes, counts, self.texts)._only(np.flatnonzero(counts))

    def thinned(self, least: int) -> Stretches:
        """All stretches that occur at least `least` times, and by hash some of the rarer ones, which get this count.

        One of count c is chosen in c of `least` cases, so that the sum over rare stretches comes out right.
        """
        # Scrambled, since `scaled` rounds by the same hashes: it would drop nearly all or nearly none of those chosen.
        is_chosen = _units(scramble(self.hashes.copy())) < self.counts / least
        return Stretches(self.hashes, np.maximum(self.counts, least), self.texts)._only(np.flatnonzero(is_chosen))

    def _only(self, rows: Int64s) -> Stretches:
        return Stretches(self.hashes[rows], self.counts[rows], self.texts.take(rows))

    def save(self, folder: Path, number: int) -> None:
        """Write three files whose names contain `number`."""
        np.save(folder / f"hashes-{number:03d}.npy", self.hashes)
        np.save(folder / f"counts-{number:03d}.npy", self.counts)
        self.texts.save(folder / f"stretches-{number:03d}.flat")

    @classmethod
    def load(cls, folder: Path, number: int) -> Stretches:
        """Read what `save` wrote."""
        hashes, counts = (load_array(folder / f"{name}-{number:03d}.npy") for name in ("hashes", "counts"))
        return cls(hashes, counts, FlatText.load(folder / f"stretches-{number:03d}.flat"))


def count_in_bytes(data: bytes) -> Stretches:
    """Count the stretches between blanks in one clean text in UTF-8, which has no other white space."""
    hashes, starts, lengths = hash_stretches(data)
    order, firsts = group_equal(hashes)
    rows = order[firsts]
    lengths = lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = FlatText(np.frombuffer(data, dtype=np.uint8)[ranges(starts[rows], lengths)], offsets)
    return Stretches(hashes[rows], np.diff(firsts, append=len(order)), found)


def group_equal(hashes: UInt64s) -> tuple[Int64s, Int64s]:
    """An order in which equal hashes are adjacent, and where each group begins in it.

    Sorting numbers whose upper bits are those of a hash and whose lower bits are its position takes a fifth of the time
    of `argsort`. If hashes share these upper bits by chance, a hash may have two groups.
    """
    bits = np.uint64(len(hashes).bit_length())
    mask = (np.uint64(1) << bits) - np.uint64(1)
    packed = (hashes & ~mask) | np.arange(len(hashes), dtype=np.uint64)
    packed.sort()
    order = (packed & mask).astype(np.int64)
    return order, _firsts(hashes[order])


def sum_stretches(parts: Iterable[Stretches]) -> Stretches:
    """Merge several counts; counts of equal stretches are added."""
    held: list[Stretches] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) > _MOST_HELD:
            held = [_sum(held)]
    return _sum(held)


def _sum(parts: list[Stretches]) -> Stretches:
    hashes = np.concatenate([np.zeros(0, dtype=np.uint64), *(part.hashes for part in parts)])
    counts = np.concatenate([np.zeros(0, dtype=np.int64), *(part.counts for part in parts)])
    order = np.argsort(hashes, kind="stable")
    firsts = _firsts(hashes[order])
    rows = order[firsts]
    sums = np.add.reduceat(counts[order], firsts) if len(firsts) else counts
    return Stretches(hashes[rows], sums, FlatText.joined([part.texts for part in parts]).take(rows))


def _units(hashes: UInt64s) -> npt.NDArray[np.float64]:
    """A number from 0 to below 1 for each hash."""
    units: npt.NDArray[np.float64] = (hashes >> np.uint64(11)).astype(np.float64) / 2**53
    return units


def _firsts(hashes: UInt64s) -> Int64s:
    """The positions at which the hash differs from the one before."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(hashes)), dtype=bool), hashes[1:] != hashes[:-1]]))
