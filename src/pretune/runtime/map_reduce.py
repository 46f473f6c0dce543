"""The steps of a stage: each part of the text is processed on its own and committed as a folder with its result.

A step is a function `work(out, task)`: it reads what `task` (JSON values) names, writes files into the empty folder
`out`, and returns JSON values. For the same task it always writes the same files, wherever and however often it runs.
The folder gets its final name once it is complete, so a part is either complete or absent, and a complete one is not
processed again.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pretune.runtime.json_text import parse_json
from pretune.runtime.workers import Engine

RESULT_NAME = "result.json"
MANY_PARTS = 1000

Work = Callable[[Path, dict[str, Any]], dict[str, Any]]
OnPart = Callable[[int, dict[str, Any]], None]


def part_folder(step: Path, number: int) -> Path:
    """The folder with the files of one part of a step."""
    return step / f"{number:06d}"


def finished_parts(step: Path, num_parts: int) -> set[int]:
    """The numbers of the parts that an interrupted attempt committed, which are read again at once."""
    return {number for number in range(num_parts) if (part_folder(step, number) / RESULT_NAME).is_file()}


def amount_of_range(amount: int, num_parts: int) -> int:
    """The amount for each task of a reduce: `amount`, or more if there are many parts.

    Every task opens a file of every part. With tasks of constant size, the number of files opened would grow with the
    square of the text; so from MANY_PARTS on, the tasks and their memory grow with the number of parts.
    """
    return max(amount, amount * num_parts // MANY_PARTS)


@dataclass(frozen=True)
class Step:
    """A step with its tasks; `folder` contains its parts. `on_part(number, result)` is called after each."""

    folder: Path
    work: Work
    tasks: Sequence[dict[str, Any]]
    on_part: OnPart | None = None


def run_step(
    engine: Engine, step: Path, work: Work, tasks: Sequence[dict[str, Any]], on_part: OnPart | None = None
) -> list[dict[str, Any]]:
    """Run a step for every task on the engine; returns the results in the order of the tasks.

    `step` is the folder of the step; parts that an interrupted attempt committed there are reused.
    `on_part(number, result)` is called for each part when it is finished.
    """
    return run_steps(engine, [Step(step, work, tasks, on_part)])[0]


def run_steps(engine: Engine, steps: Sequence[Step]) -> list[list[dict[str, Any]]]:
    """Run several independent steps at the same time; returns the results of each."""
    for step in steps:
        step.folder.mkdir(parents=True, exist_ok=True)
    places = [(step, number) for step in steps for number in range(len(step.tasks))]

    def on_done(place: int, result: dict[str, Any]) -> None:
        step, number = places[place]
        if step.on_part is not None:
            step.on_part(number, result)

    tasks = [(step.work, str(engine.place_of(step.folder)), number, step.tasks[number]) for step, number in places]
    results = iter(engine.map(_do_part, tasks, on_done))
    return [list(islice(results, len(step.tasks))) for step in steps]


def _do_part(work: Work, step: str, number: int, task: dict[str, Any]) -> dict[str, Any]:
    final = part_folder(Path(step), number)
    done = _read_result(final)
    if done is not None:
        return done
    # Another worker, presumed dead, may still be at the same part, so each has its own folder.
    draft = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
    draft.mkdir()
    try:
        result = work(draft, task)
        sizes = {file.name: file.stat().st_size for file in draft.iterdir()}
        (draft / RESULT_NAME).write_text(json.dumps({"result": result, "sizes": sizes}), encoding="utf-8")
        _rename(draft, final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    done = _read_result(final)
    assert done is not None
    return done


def _rename(draft: Path, final: Path) -> None:
    try:
        draft.rename(final)
    except OSError:
        if _read_result(final) is not None:
            return  # another worker was faster, with the same files
        shutil.rmtree(final)
        draft.rename(final)


def _read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a committed part; None if there is none, or if it lost data in a crash of the machine."""
    try:
        found = parse_json((folder / RESULT_NAME).read_text(encoding="utf-8"))
        is_whole = all((folder / name).stat().st_size == size for name, size in found["sizes"].items())
    except (OSError, ValueError):
        return None
    result: dict[str, Any] = found["result"]
    return result if is_whole else None


def place_file(file: Path, target: Path) -> None:
    """Hard-link a file of a part to `target`, or copy it if the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)
