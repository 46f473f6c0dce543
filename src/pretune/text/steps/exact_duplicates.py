"""Reduce: find exact duplicates after normalisation, over all shards of the corpus; the first of each group is kept.

Every task takes one range of the hashes of all shards, so that equal hashes meet in one task. It writes
`duplicates.npy`: the dropped texts, each with the one that is kept, sorted by shard and row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.runtime.map_reduce import amount_of_range
from pretune.text.arrays.array_file import load_array
from pretune.text.steps.clean_shard import HASHES_NAME, ROWS_NAME, HashArray

DUPLICATES_NAME = "duplicates.npy"
TEXTS_PER_RANGE = 500_000  # about 30 MB during the comparison

# A text (row `row` of shard `shard`) and the one that it repeats.
DUPLICATE = np.dtype([("shard", "<i4"), ("row", "<i4"), ("of_shard", "<i4"), ("of_row", "<i4")])
DuplicateArray = npt.NDArray[np.void]


def num_ranges(num_texts: int, num_shards: int = 1) -> int:
    """The number of tasks that the hashes of a corpus are divided into; it depends on the corpus alone."""
    return max(1, -(-num_texts // amount_of_range(TEXTS_PER_RANGE, num_shards)))


def find_exact_duplicates(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: find duplicates in the folders `task["shards"]`, range `task["range"]` of `task["ranges"]` of hashes."""
    hashes, shards, rows = _load_range([Path(shard) for shard in task["shards"]], task["range"], task["ranges"])
    order = np.lexsort((rows, shards, hashes[:, 1], hashes[:, 0]))
    hashes, shards, rows = hashes[order], shards[order], rows[order]
    is_first = np.ones(len(hashes), dtype=np.bool_)
    is_first[1:] = (hashes[1:] != hashes[:-1]).any(axis=1)
    first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]  # for every text, the first of its group
    found = np.empty(np.count_nonzero(~is_first), dtype=DUPLICATE)
    found["shard"], found["row"] = shards[~is_first], rows[~is_first]
    found["of_shard"], found["of_row"] = shards[first[~is_first]], rows[first[~is_first]]
    save_duplicates(out, found)
    return {"texts": len(hashes), "duplicates": len(found)}


def _load_range(
    folders: Sequence[Path], number: int, count: int
) -> tuple[HashArray, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    low, high = ((1 << 64) * number // count, (1 << 64) * (number + 1) // count)
    hashes, shards, rows = [], [], []
    for shard, folder in enumerate(folders):
        of_shard = load_array(folder / HASHES_NAME, mmap_mode="r")
        start = int(np.searchsorted(of_shard[:, 0], np.uint64(low)))
        end = len(of_shard) if high >> 64 else int(np.searchsorted(of_shard[:, 0], np.uint64(high)))
        hashes.append(np.array(of_shard[start:end]))
        rows.append(np.array(load_array(folder / ROWS_NAME, mmap_mode="r")[start:end]))
        shards.append(np.full(end - start, shard, dtype=np.int32))
    return np.concatenate(hashes), np.concatenate(shards), np.concatenate(rows)


def save_duplicates(folder: Path, found: DuplicateArray) -> None:
    """Write a list of duplicates, sorted by shard and row."""
    np.save(folder / DUPLICATES_NAME, found[np.lexsort((found["row"], found["shard"]))])


def load_duplicates(folders: Iterable[Path], shard: int) -> DuplicateArray:
    """The duplicates of one shard in the lists of all ranges, sorted by row."""
    lists = []
    for folder in folders:
        found = load_array(folder / DUPLICATES_NAME, mmap_mode="r")
        start, end = np.searchsorted(found["shard"], [shard, shard + 1])
        lists.append(np.array(found[start:end]))
    of_shard = np.concatenate(lists) if lists else np.empty(0, dtype=DUPLICATE)
    return of_shard[np.argsort(of_shard["row"], kind="stable")]
