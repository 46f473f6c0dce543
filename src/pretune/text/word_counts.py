"""How often each stretch between two blanks occurs: what tokenizers are trained on, counted by parts and summed up.

The counts of a part or of a sum are files, one pair for each range of a hash of the stretch, so that equal stretches
meet in one task. What is kept of them depends on the text alone, not on the order or the way in which it was divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from pretune.text.flat import FlatText

MOST_STRETCHES = 2_000_000  # different ones for training, to bound the memory
MOST_CHARACTERS = 1_000_000_000  # bytes of text that are counted; of more, a share of the texts chosen by hash
_CHARACTERS_PER_RANGE = 200_000_000
_TEXTS_AT_ONCE = 2000  # so that counting is one call, not one for each text
_LEAST_RANGES = 4  # so that several workers have something to do


def num_word_ranges(num_characters: int) -> int:
    """How many tasks the counting of so much text is divided into."""
    return max(_LEAST_RANGES, -(-min(num_characters, MOST_CHARACTERS) // _CHARACTERS_PER_RANGE))


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each stretch between blanks occurs."""
    counts: Counter[str] = Counter()
    remaining = iter(texts)
    while some := list(islice(remaining, _TEXTS_AT_ONCE)):
        counts.update(" ".join(some).split())
    return counts


def save_counts(folder: Path, counts: Counter[str], num_ranges: int) -> None:
    """Write counts, stretches in order, one pair of files a range."""
    by_range: list[list[str]] = [[] for _ in range(num_ranges)]
    for stretch in sorted(counts):
        by_range[crc32(stretch.encode("utf-8", "surrogatepass")) % num_ranges].append(stretch)
    for number, stretches in enumerate(by_range):
        _save(folder, number, stretches, [counts[stretch] for stretch in stretches])


def sum_word_counts(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: the counts of range `task["range"]` in the folders `task["parts"]`, summed up.

    Returns how many stretches occur once, twice and so on, as {count: stretches}.
    """
    total: Counter[str] = Counter()
    for part in task["parts"]:
        stretches, counts = _load(Path(part), task["range"])
        for stretch, count in zip(stretches, counts, strict=True):
            total[stretch] += count
    ordered = sorted(total)
    _save(out, task["range"], ordered, [total[stretch] for stretch in ordered])
    return {"stretches_by_count": {str(count): n for count, n in sorted(Counter(total.values()).items())}}


def load_word_counts(folders: Sequence[Path], stretches_by_count: Counter[int]) -> Counter[str]:
    """The sums of all ranges, of which folder i has range i, without the rarest where there are too many stretches."""
    least = least_count(stretches_by_count)
    total: Counter[str] = Counter()
    for number, folder in enumerate(folders):
        stretches, counts = _load(folder, number)
        total.update({stretch: count for stretch, count in zip(stretches, counts, strict=True) if count >= least})
    return total


def keep_common(counts: Counter[str]) -> Counter[str]:
    """Counts without the rarest stretches, where there are too many."""
    least = least_count(Counter(counts.values()))
    return counts if least <= 1 else Counter({stretch: count for stretch, count in counts.items() if count >= least})


def least_count(stretches_by_count: Counter[int], most: int = MOST_STRETCHES) -> int:
    """The smallest count such that at most `most` stretches occur so often or more often."""
    room = most
    for count in sorted(stretches_by_count, reverse=True):
        room -= stretches_by_count[count]
        if room < 0:
            return count + 1
    return 1


def _save(folder: Path, number: int, stretches: list[str], counts: list[int]) -> None:
    FlatText.from_texts(stretches).save(folder / f"stretches-{number:03d}.flat")
    np.save(folder / f"counts-{number:03d}.npy", np.array(counts, dtype=np.int64))


def _load(folder: Path, number: int) -> tuple[list[str], list[int]]:
    stretches = FlatText.load(folder / f"stretches-{number:03d}.flat").texts()
    return stretches, np.load(folder / f"counts-{number:03d}.npy").tolist()
