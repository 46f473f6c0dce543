"""The step of stage 1: work units of the input in, read by workers; documents in the order of the input out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from pretune.runtime.manifest import hash_json
from pretune.runtime.map_reduce import part_folder, place_file, run_step
from pretune.runtime.workers import Engine
from pretune.text.collect.collect_shard import collect_piece, irregular_files, task_of
from pretune.text.collect.documents import Reading, stamp_of, warn_of_change
from pretune.text.collect.work_units import Piece
from pretune.text.document_store import corpus_file, corpus_files
from pretune.text.reading_report import Findings

OnProgress = Callable[[int, Findings], None]  # documents read so far, and the findings in the last ones
Read = tuple[Path, dict[str, Any]]  # the folder of a work unit, and the result of `collect_piece`


class PiecesReader:
    """Reads work units on an engine; `on_progress(documents, findings)` is called now and then."""

    def __init__(self, engine: Engine, work: Path, reading: Reading, on_progress: OnProgress) -> None:
        self.engine, self.work, self.reading, self._on_progress = engine, work, reading, on_progress
        self._num_read = 0

    def read(self, pieces: Sequence[Piece], findings: Findings, out: Path) -> tuple[int, int]:
        """Append the documents of all work units to those in `out`; returns the counts of documents and characters."""
        stamps = {piece.files[0].path: stamp_of(piece.files[0].path) for piece in pieces if piece.slice is not None}
        read = self._run(pieces)
        irregular = irregular_files(pieces, [result for _, result in read])
        again = {piece.files[0].path: piece for piece in pieces if piece.files[0].path in irregular and piece.slice}
        whole = dict(zip(again, self._run([Piece(files=piece.files) for piece in again.values()]), strict=True))
        numbers = count(len(corpus_files(out)))
        documents = characters = 0
        for folder, result in _in_order(pieces, read, whole):
            findings.add_all(result["findings"])
            documents += result["documents"]
            characters += result["characters"]
            for file in corpus_files(folder):
                place_file(file, corpus_file(out, next(numbers)))
        for piece in pieces:
            if piece.slice is not None and not piece.slice.start and piece.files[0].path not in irregular:
                warn_of_change(piece.files[0], stamps[piece.files[0].path], findings)
        return documents, characters

    def _run(self, pieces: Sequence[Piece]) -> list[Read]:
        tasks = [task_of(piece, self.reading) for piece in pieces]
        step = self.work / hash_json(tasks)[:16]  # not the results of an attempt with other input

        def on_part(_number: int, result: dict[str, Any]) -> None:
            self._num_read += result["documents"]
            self._on_progress(self._num_read, Findings())

        work = collect_piece
        if self.engine.name == "threads" and self.engine.workers == 1:  # then this process does the work
            work = partial(
                collect_piece, tell=lambda done, findings: self._on_progress(self._num_read + done, findings)
            )
        results = run_step(self.engine, step, work, tasks, on_part)
        return [(part_folder(step, number), result) for number, result in enumerate(results)]


def _in_order(pieces: Sequence[Piece], read: Sequence[Read], whole: dict[str, Read]) -> Iterator[Read]:
    """The results of all units in order; a file that was read again as a whole takes the place of its first slice."""
    for piece, result in zip(pieces, read, strict=True):
        if piece.slice is None or piece.files[0].path not in whole:
            yield result
        elif not piece.slice.start:
            yield whole[piece.files[0].path]
