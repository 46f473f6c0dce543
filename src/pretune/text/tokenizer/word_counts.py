"""Count the stretches between blanks, on which tokenizers are trained, by shard, and add the counts up.

Counts are stored in three files for each range of the stretches' hashes, so that equal stretches meet in one task. What
is kept depends on the text alone, not on its order or on how it was divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.counted_words import Stretches, sum_stretches

MOST_STRETCHES = 2_000_000  # distinct ones for training, to bound the memory; of more, some are chosen by hash
MOST_CHARACTERS = 1_000_000_000  # bytes of text that are counted; of more text, a fraction is chosen by hash
_CHARACTERS_PER_RANGE = 200_000_000
_LEAST_RANGES = 4  # so that several workers have something to do


def num_word_ranges(num_characters: int) -> int:
    """The number of tasks that the counting of a text is divided into."""
    return max(_LEAST_RANGES, -(-min(num_characters, MOST_CHARACTERS) // _CHARACTERS_PER_RANGE))


def save_counts(folder: Path, counts: Stretches, num_ranges: int) -> None:
    """Write the counts of a shard, range by range."""
    for number in range(num_ranges):
        counts.in_range(number, num_ranges).save(folder, number)


def sum_word_counts(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: add up the counts of range `task["range"]` in the folders `task["shards"]`.

    Returns the numbers of stretches that occur once, twice and so on, as {count: stretches}.
    """
    total = sum_stretches(Stretches.load(Path(shard), task["range"]) for shard in task["shards"])
    total.save(out, task["range"])
    counts, stretches = np.unique(total.counts, return_counts=True)
    return {"stretches_by_count": dict(zip(map(str, counts.tolist()), stretches.tolist(), strict=True))}


@dataclass(frozen=True)
class TextSize:
    """What was counted, before rare stretches were left out."""

    num_characters: int  # without blanks
    num_stretches: int  # distinct ones
    least_count: int = 1  # what `Stretches.thinned` was given


def load_word_counts(
    folders: Sequence[Path], stretches_by_count: Counter[int], most: int = MOST_STRETCHES
) -> tuple[Stretches, TextSize]:
    """The sums of all ranges (folder i has range i), of which about `most` stretches are left, and their size.

    In a script without blanks, a stretch is a whole sentence and hardly any occurs twice, so rare stretches are not
    left out altogether: each that is chosen stands for several.
    """
    least = least_count(stretches_by_count, most)
    parts: list[Stretches] = []
    num_characters = 0
    for number, folder in enumerate(folders):
        part = Stretches.load(folder, number)
        num_characters += part.num_characters
        parts.append(part.thinned(least))
    return sum_stretches(parts), TextSize(num_characters, stretches_by_count.total(), least)


def least_count(stretches_by_count: Counter[int], most: int) -> int:
    """The smallest count for `Stretches.thinned` with which about `most` stretches are left, or fewer."""
    least, enough = 1, max(1, -(-sum(count * number for count, number in stretches_by_count.items()) // most))
    while least < enough:
        middle = (least + enough) // 2
        expected = sum(number * min(1.0, count / middle) for count, number in stretches_by_count.items())
        least, enough = (least, middle) if expected <= most else (middle + 1, enough)
    return least
