"""The step of stage 1: work units of the input in, read by workers; documents in the order of the input out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pretune.runtime.manifest import hash_json
from pretune.runtime.map_reduce import finished_parts, part_folder, place_file, run_step
from pretune.runtime.workers import Engine
from pretune.text.collect.collect_shard import collect_work_unit, irregular_files, readable_size, task_of
from pretune.text.collect.documents import Reading, stamp_of, warn_of_change
from pretune.text.collect.work_units import WorkUnit
from pretune.text.document_store import corpus_file, corpus_files
from pretune.text.reading_report import Findings

OnProgress = Callable[[int, Findings], None]  # documents read so far, and the findings in the last ones
Read = tuple[Path, dict[str, Any]]  # the folder of a work unit, and the result of `collect_work_unit`


class WorkUnitReader:
    """Reads work units on an engine; `on_progress(documents, findings)` is called now and then. Of these documents,
    `num_before` are of units that an interrupted attempt had read."""

    def __init__(self, engine: Engine, work: Path, reading: Reading, on_progress: OnProgress) -> None:
        self.engine, self.work, self.reading, self._on_progress = engine, work, reading, on_progress
        self._num_read = self.num_before = 0

    def read(self, units: Sequence[WorkUnit], findings: Findings, out: Path) -> tuple[int, int]:
        """Append the documents of all units to those in `out`; returns the counts of documents and characters."""
        stamps = {unit.files[0].path: stamp_of(unit.files[0].path) for unit in units if unit.line_range is not None}
        read = self._run(units)
        irregular = irregular_files(units, [result for _, result in read])
        again = {unit.files[0].path: unit for unit in units if unit.files[0].path in irregular and unit.line_range}
        whole = dict(zip(again, self._run([WorkUnit(files=unit.files) for unit in again.values()]), strict=True))
        numbers = count(len(corpus_files(out)))
        documents = characters = 0
        for folder, result in _in_order(units, read, whole):
            findings.add_all(result["findings"])
            documents += result["documents"]
            characters += result["characters"]
            for file in corpus_files(folder):
                place_file(file, corpus_file(out, next(numbers)))
        for unit in units:
            if unit.line_range is not None and not unit.line_range.start and unit.files[0].path not in irregular:
                warn_of_change(unit.files[0], stamps[unit.files[0].path], findings)
        return documents, characters

    def _run(self, units: Sequence[WorkUnit]) -> list[Read]:
        tasks = [task_of(unit, self.reading) for unit in units]
        step = self.work / hash_json(tasks)[:16]  # not the results of an attempt with other input
        finished = finished_parts(step, len(tasks))
        for task in tasks:
            for file in task["files"]:
                file["path"] = str(self.engine.place_of(Path(file["path"])))
            if self.engine.address is not None:
                task["sizes"] = [_size_here(file["path"]) for file in task["files"]]

        def on_part(number: int, result: dict[str, Any]) -> None:
            self._num_read += result["documents"]
            self.num_before += result["documents"] if number in finished else 0
            self._on_progress(self._num_read, Findings())

        work = collect_work_unit
        if self.engine.name == "threads" and self.engine.workers == 1:  # then this process does the work
            work = partial(
                collect_work_unit, on_progress=lambda done, findings: self._on_progress(self._num_read + done, findings)
            )
        results = run_step(self.engine, step, work, tasks, on_part)
        return [(part_folder(step, number), result) for number, result in enumerate(results)]


def _size_here(path: str) -> int | None:
    """The bytes of a file, which every worker must find; None if this machine cannot read it either."""
    try:
        return readable_size(path)
    except OSError:
        return None


def _in_order(units: Sequence[WorkUnit], read: Sequence[Read], whole: dict[str, Read]) -> Iterator[Read]:
    """The results of all units in order; a file that was read again as a whole replaces its first line range."""
    for unit, result in zip(units, read, strict=True):
        if unit.line_range is None or unit.files[0].path not in whole:
            yield result
        elif not unit.line_range.start:
            yield whole[unit.files[0].path]
