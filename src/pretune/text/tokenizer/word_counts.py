"""How often each stretch between two blanks occurs: what tokenizers are trained on, counted by shards and summed up.

The counts of a shard or of a sum are files, three for each range of a hash of the stretch, so that equal stretches meet
in one task. What is kept of them depends on the text alone, not on the order or the way in which it was divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.counted_words import Stretches, count_stretches, sum_stretches

MOST_STRETCHES = 2_000_000  # different ones for training, to bound the memory
MOST_CHARACTERS = 1_000_000_000  # bytes of text that are counted; of more, a share of the texts chosen by hash
_CHARACTERS_PER_RANGE = 200_000_000
_LEAST_RANGES = 4  # so that several workers have something to do


def num_word_ranges(num_characters: int) -> int:
    """How many tasks the counting of so much text is divided into."""
    return max(_LEAST_RANGES, -(-min(num_characters, MOST_CHARACTERS) // _CHARACTERS_PER_RANGE))


def count_words(texts: Iterable[str]) -> Stretches:
    """How often each stretch between white space of any kind occurs."""
    return count_stretches(" ".join(text.split()) for text in texts)


def save_counts(folder: Path, counts: Stretches, num_ranges: int) -> None:
    """Write the counts of a shard, range by range."""
    for number in range(num_ranges):
        counts.in_range(number, num_ranges).save(folder, number)


def sum_word_counts(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: the counts of range `task["range"]` in the folders `task["shards"]`, summed up.

    Returns how many stretches occur once, twice and so on, as {count: stretches}.
    """
    total = sum_stretches(Stretches.load(Path(shard), task["range"]) for shard in task["shards"])
    total.save(out, task["range"])
    counts, stretches = np.unique(total.counts, return_counts=True)
    return {"stretches_by_count": dict(zip(map(str, counts.tolist()), stretches.tolist(), strict=True))}


def load_word_counts(folders: Sequence[Path], stretches_by_count: Counter[int]) -> Stretches:
    """The sums of all ranges, of which folder i has range i, without the rarest where there are too many stretches."""
    least = least_count(stretches_by_count)
    return sum_stretches(Stretches.load(folder, number).at_least(least) for number, folder in enumerate(folders))


def keep_common(counts: Stretches) -> Stretches:
    """Counts without the rarest stretches, where there are too many."""
    return counts.at_least(least_count(Counter(counts.counts.tolist())))


def least_count(stretches_by_count: Counter[int], most: int = MOST_STRETCHES) -> int:
    """The smallest count such that at most `most` stretches occur so often or more often."""
    room = most
    for count in sorted(stretches_by_count, reverse=True):
        room -= stretches_by_count[count]
        if room < 0:
            return count + 1
    return 1
