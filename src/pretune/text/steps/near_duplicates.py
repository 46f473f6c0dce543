"""Find near duplicates among all documents: decide which of the similar pairs drop a document.

A document is dropped only if its true Jaccard similarity with an earlier, kept document reaches the threshold, so a
chain of similar texts does not collapse into one. Pairs come from all ranges of the keys of all bands
(`candidate_pairs`) and documents are decided in order, so the result depends on the documents and their order alone.
If every document that another one was found to repeat is dropped itself, that one is searched for again among those
that are left.

Everything that grows with the documents is in files: one byte each in `marks.npy`, and the pairs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pretune.runtime.atomic import is_disk_full
from pretune.runtime.map_reduce import part_folder, run_step
from pretune.runtime.workers import Engine
from pretune.text.arrays.array_file import load_array
from pretune.text.arrays.word_hashes import Int64s
from pretune.text.dedup.candidate_pairs import (
    PAIR,
    PAIRS_NAME,
    Marks,
    PairArray,
    Signed,
    find_pairs,
    key_ranges,
)
from pretune.text.steps.clean_shard import SIGNATURES_NAME
from pretune.text.steps.exact_duplicates import DUPLICATE, DUPLICATES_NAME, load_duplicates

MOST_ATTEMPTS = 12
OUT, REPEATS = 1, 2  # marks: the document is ignored; it repeats an earlier one
MARKS_NAME, LOOKED_FOR_NAME = "marks.npy", "looked-for.npy"
_DOCUMENTS_AT_ONCE = 1 << 20

NEAR_DUPLICATE = np.dtype([*DUPLICATE.descr, ("similarity", "<f4")])


Between = Callable[[int, int], PairArray]  # the pairs of the documents from `first` to before `last`


class Decision:
    """Decides which documents are kept, in their order. `marks` starts with the ignored documents; `before` has the
    marks of the previous decision."""

    def __init__(self, marks: Marks, before: Marks) -> None:
        self.marks, self.before = marks, before
        self._looked_for: list[Int64s] = []

    @property
    def looked_for(self) -> Int64s:
        """Documents to search for again, since the one that they seemed to repeat is dropped itself."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._looked_for])

    def decide(self, found: Sequence[Between], num_latest: int) -> Iterator[PairArray]:
        """The pairs that drop a document, some at a time, in the order of the documents; the last `num_latest` of
        `found` are new."""
        bounds = [*range(0, len(self.marks), _DOCUMENTS_AT_ONCE), len(self.marks)]
        for first, last in pairwise(bounds):
            some = [between(first, last) for between in found]
            pairs = np.concatenate([np.empty(0, dtype=PAIR), *some])
            pairs = pairs[np.lexsort((pairs["of"], pairs["number"]))]
            yield pairs[self._repeating(pairs)]
            latest = np.concatenate([np.empty(0, dtype=PAIR), *some[len(some) - num_latest :]])
            is_back = (self.before[first:last] == REPEATS) & (self.marks[first:last] == 0)
            is_alone = (self.marks[latest["of"]] == REPEATS) & (self.marks[latest["number"]] == 0)
            self._looked_for.append(np.union1d(np.flatnonzero(is_back) + first, latest["number"][is_alone]))

    def _repeating(self, pairs: PairArray) -> list[int]:
        """Mark documents in order; returns the row of the pair of each with the first kept document that it repeats."""
        marks = self.marks.data  # access to plain numbers takes a third of the time of numpy's
        rows = []
        for row, (number, of) in enumerate(zip(pairs["number"].tolist(), pairs["of"].tolist(), strict=True)):
            if not marks[of] and not marks[number]:
                marks[number] = REPEATS
                rows.append(row)
        return rows


def _between(pairs: PairArray, first: int, last: int) -> PairArray:
    return np.array(pairs[slice(*np.searchsorted(pairs["number"], [first, last]))])


def find_near_duplicates(
    engine: Engine, work: Path, cleaned: Mapping[str, Any], exact_duplicates: Sequence[str], threshold: float
) -> list[str]:
    """Search all shards for near duplicates; returns the folders with the lists of them.

    `cleaned` has `shards`, the folders of the cleaned shards, and `texts` and `entries`, the number of each in every
    shard. Documents in the lists of the folders `exact_duplicates` are ignored. The folders of every step are created
    in `work`.
    """
    num_shards, num_entries = len(cleaned["shards"]), sum(cleaned["entries"])
    run_step(engine, work / "marked", mark_exact, [{**cleaned, "exact_duplicates": list(exact_duplicates)}])
    at_first = marks = str(part_folder(work / "marked", 0) / MARKS_NAME)
    looked_for: str | None = None
    pairs: list[str] = []
    near = Path()
    for attempt in range(MOST_ATTEMPTS):
        shared = {**cleaned, "threshold": threshold, "marks": marks, "looked_for": looked_for}
        tasks = [{**shared, "range": list(keys)} for keys in key_ranges(num_entries, num_shards)]
        run_step(engine, work / f"pairs-{attempt}", find_pairs_of_range, tasks)
        pairs += [str(part_folder(work / f"pairs-{attempt}", number)) for number in range(len(tasks))]
        task = {**cleaned, "marks_at_first": at_first, "marks": marks, "pairs": pairs, "latest": len(tasks)}
        (result,) = run_step(engine, work / f"near-{attempt}", decide_among_pairs, [task])
        near = part_folder(work / f"near-{attempt}", 0)
        marks, looked_for = str(near / MARKS_NAME), str(near / LOOKED_FOR_NAME)
        num_entries = result["looked_for"]
        if not num_entries:
            break
    return [str(near)]


def mark_exact(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: write `marks.npy`, in which the exact duplicates in the folders `task["exact_duplicates"]` are marked.

    `task["texts"]` and `task["entries"]` are the numbers of each in the cleaned shards `task["shards"]`.
    """
    firsts = np.cumsum([0, *task["texts"]])
    folders = [Path(folder) for folder in task["exact_duplicates"]]
    with _new_marks(out, int(firsts[-1])) as marks:
        for shard, first in enumerate(firsts[:-1]):
            marks[first + load_duplicates(folders, shard)["row"]] = OUT
    return {}


def find_pairs_of_range(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Map, over ranges of the keys of all bands: write the pairs of `task["range"]`, one of `key_ranges`."""
    looked_for = None if task["looked_for"] is None else load_array(task["looked_for"])
    band, bits, number = task["range"]
    marks = load_array(task["marks"], mmap_mode="r")
    pairs = find_pairs(_signed(task), marks, (band, bits, number), task["threshold"], looked_for)
    np.save(out / PAIRS_NAME, pairs)
    return {"pairs": len(pairs)}


def decide_among_pairs(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Reduce: decide from the pairs in the folders `task["pairs"]`, the last `task["latest"]` of which are new.

    Writes a list of duplicates as `find_exact_duplicates` does, with the similarity of each; `marks.npy`; and the
    documents to search for again.
    """
    firsts = np.cumsum([0, *task["texts"]])
    at_first = load_array(task["marks_at_first"], mmap_mode="r")
    found = [partial(_between_in_file, Path(folder) / PAIRS_NAME) for folder in task["pairs"]]
    listed = [np.empty(0, dtype=NEAR_DUPLICATE)]
    with _new_marks(out, len(at_first)) as marks:
        marks[:] = at_first
        decision = Decision(marks, load_array(task["marks"], mmap_mode="r"))
        listed += [_places_of(pairs, firsts) for pairs in decision.decide(found, task["latest"])]
    np.save(out / DUPLICATES_NAME, np.concatenate(listed))
    np.save(out / LOOKED_FOR_NAME, decision.looked_for)
    return {"duplicates": sum(map(len, listed)), "looked_for": len(decision.looked_for)}


def _signed(task: dict[str, Any]) -> Signed:
    return Signed.of([Path(shard) / SIGNATURES_NAME for shard in task["shards"]], task["texts"], task["entries"])


def _between_in_file(path: Path, first: int, last: int) -> PairArray:
    return _between(load_array(path, mmap_mode="r"), first, last)


@contextmanager
def _new_marks(folder: Path, count: int) -> Iterator[Marks]:
    if not count:  # an empty file cannot be mapped
        marks = np.zeros(0, dtype=np.uint8)
        np.save(folder / MARKS_NAME, marks)
        yield marks
        return
    mapped = np.lib.format.open_memmap(folder / MARKS_NAME, mode="w+", dtype=np.uint8, shape=(count,))
    _allocate(folder / MARKS_NAME)
    yield mapped
    mapped.flush()


def _allocate(path: Path) -> None:
    """Reserve the space of a mapped file: on a full disk, writing to a page that has none kills the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if is_disk_full(error):
                raise  # any other error means that the file system cannot reserve space


def _places_of(pairs: PairArray, firsts: Int64s) -> PairArray:
    """The pairs as shards and rows instead of document numbers."""
    listed = np.empty(len(pairs), dtype=NEAR_DUPLICATE)
    for prefix, numbers in (("", pairs["number"]), ("of_", pairs["of"])):
        shards = np.searchsorted(firsts, numbers, side="right") - 1
        listed[f"{prefix}shard"], listed[f"{prefix}row"] = shards, numbers - firsts[shards]
    listed["similarity"] = pairs["similarity"]
    return listed
