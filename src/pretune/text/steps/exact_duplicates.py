"""Exact duplicates after normalisation, over all parts of the corpus, of which the first is kept.

Reduce: every task takes one range of the hashes of all parts, so that equal hashes meet in one task. It writes
`duplicates.npy`: who is dropped, and beside whom, sorted by part and row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.runtime.map_reduce import amount_of_range
from pretune.text.steps.clean_shard import HASHES_NAME, ROWS_NAME, HashArray

DUPLICATES_NAME = "duplicates.npy"
TEXTS_PER_RANGE = 500_000  # about 30 MB while they are compared

# A text (row `row` of part `part`) and the one that it repeats.
DUPLICATE = np.dtype([("part", "<i4"), ("row", "<i4"), ("of_part", "<i4"), ("of_row", "<i4")])
DuplicateArray = npt.NDArray[np.void]


def num_ranges(num_texts: int, num_parts: int = 1) -> int:
    """How many tasks the hashes of a corpus are divided into: a matter of the corpus alone."""
    return max(1, -(-num_texts // amount_of_range(TEXTS_PER_RANGE, num_parts)))


def find_exact_duplicates(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce, over range `task["range"]` of `task["ranges"]` of the hashes in the folders `task["parts"]`."""
    hashes, parts, rows = _load_range([Path(part) for part in task["parts"]], task["range"], task["ranges"])
    order = np.lexsort((rows, parts, hashes[:, 1], hashes[:, 0]))
    hashes, parts, rows = hashes[order], parts[order], rows[order]
    is_first = np.ones(len(hashes), dtype=np.bool_)
    is_first[1:] = (hashes[1:] != hashes[:-1]).any(axis=1)
    first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]  # for every text the first of its group
    found = np.empty(np.count_nonzero(~is_first), dtype=DUPLICATE)
    found["part"], found["row"] = parts[~is_first], rows[~is_first]
    found["of_part"], found["of_row"] = parts[first[~is_first]], rows[first[~is_first]]
    save_duplicates(out, found)
    return {"texts": len(hashes), "duplicates": len(found)}


def _load_range(
    folders: Sequence[Path], number: int, count: int
) -> tuple[HashArray, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    low, high = ((1 << 64) * number // count, (1 << 64) * (number + 1) // count)
    hashes, parts, rows = [], [], []
    for part, folder in enumerate(folders):
        of_part = np.load(folder / HASHES_NAME, mmap_mode="r")
        start = int(np.searchsorted(of_part[:, 0], np.uint64(low)))
        end = len(of_part) if high >> 64 else int(np.searchsorted(of_part[:, 0], np.uint64(high)))
        hashes.append(np.array(of_part[start:end]))
        rows.append(np.array(np.load(folder / ROWS_NAME, mmap_mode="r")[start:end]))
        parts.append(np.full(end - start, part, dtype=np.int32))
    return np.concatenate(hashes), np.concatenate(parts), np.concatenate(rows)


def save_duplicates(folder: Path, found: DuplicateArray) -> None:
    """Write a list of duplicates, sorted by part and row."""
    np.save(folder / DUPLICATES_NAME, found[np.lexsort((found["row"], found["part"]))])


def load_duplicates(folders: Iterable[Path], part: int) -> DuplicateArray:
    """The duplicates of one part in the lists of all ranges, sorted by row."""
    lists = []
    for folder in folders:
        found = np.load(folder / DUPLICATES_NAME, mmap_mode="r")
        start, end = np.searchsorted(found["part"], [part, part + 1])
        lists.append(np.array(found[start:end]))
    of_part = np.concatenate(lists) if lists else np.empty(0, dtype=DUPLICATE)
    return of_part[np.argsort(of_part["row"], kind="stable")]
