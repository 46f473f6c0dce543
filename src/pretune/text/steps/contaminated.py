"""Reduce: find the documents of all shards that share too many words in a row with a protected text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.arrays.array_file import load_array
from pretune.text.dedup.contamination import find_contaminated
from pretune.text.steps.clean_shard import HITS_NAME
from pretune.text.steps.exact_duplicates import load_duplicates

CONTAMINATED_NAME = "contaminated.npy"

# A document (row `row` of shard `shard`) and the number of the protected text that it shares words with.
CONTAMINATED = np.dtype([("shard", "<i4"), ("row", "<i4"), ("text", "<i4")])


def find_in_shards(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: find contaminated documents from the hits in the cleaned shards `task["shards"]`.

    Documents in the lists of duplicates in the folders `task["duplicates"]` are ignored. Writes `contaminated.npy`,
    sorted by shard and row.
    """
    folders = [Path(folder) for folder in task["duplicates"]]
    hits = []
    for number, shard in enumerate(task["shards"]):
        of_shard = load_array(Path(shard) / HITS_NAME)
        for folder in folders:
            of_shard = of_shard[~np.isin(of_shard[:, 0], load_duplicates([folder], number)["row"])]
        hits.append(of_shard)
    found = find_contaminated(hits)
    listed = np.empty(sum(map(len, found)), dtype=CONTAMINATED)
    listed["shard"] = np.repeat(np.arange(len(found)), list(map(len, found)))
    listed["row"], listed["text"] = np.concatenate([*found, np.zeros((0, 2), dtype=np.int64)]).T
    np.save(out / CONTAMINATED_NAME, listed)
    return {"contaminated": len(listed)}


def load_contaminated(folder: Path, shard: int) -> np.ndarray[Any, Any]:
    """The contaminated documents of one shard."""
    found = load_array(folder / CONTAMINATED_NAME, mmap_mode="r")
    start, end = np.searchsorted(found["shard"], [shard, shard + 1])
    return np.array(found[start:end])
