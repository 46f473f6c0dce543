"""Reduce: which documents of all parts share too many words in a row with a protected text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pretune.text.dedup.contamination import find_contaminated
from pretune.text.steps.clean_shard import HITS_NAME
from pretune.text.steps.exact_duplicates import load_duplicates

CONTAMINATED_NAME = "contaminated.npy"

# A document (row `row` of part `part`), and the number of the protected text with which it shares words.
CONTAMINATED = np.dtype([("part", "<i4"), ("row", "<i4"), ("text", "<i4")])


def find_in_parts(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce, over the hits in the cleaned parts `task["parts"]`; documents that repeat others do not count.

    `task["duplicates"]` are the folders with lists of duplicates. Writes `contaminated.npy`, sorted by part and row.
    """
    folders = [Path(folder) for folder in task["duplicates"]]
    hits = []
    for number, part in enumerate(task["parts"]):
        of_part = np.load(Path(part) / HITS_NAME)
        for folder in folders:
            of_part = of_part[~np.isin(of_part[:, 0], load_duplicates([folder], number)["row"])]
        hits.append(of_part)
    found = find_contaminated(hits)
    listed = np.empty(sum(map(len, found)), dtype=CONTAMINATED)
    listed["part"] = np.repeat(np.arange(len(found)), list(map(len, found)))
    listed["row"], listed["text"] = np.concatenate([*found, np.zeros((0, 2), dtype=np.int64)]).T
    np.save(out / CONTAMINATED_NAME, listed)
    return {"contaminated": len(listed)}


def load_contaminated(folder: Path, part: int) -> np.ndarray[Any, Any]:
    """The contaminated documents of one part."""
    found = np.load(folder / CONTAMINATED_NAME, mmap_mode="r")
    start, end = np.searchsorted(found["part"], [part, part + 1])
    return np.array(found[start:end])
