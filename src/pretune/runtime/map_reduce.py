"""The steps of a stage over the parts of its text: each part is worked on alone and committed as a folder.

A step is a function `work(out, task)`: it reads what `task` (JSON values) names, writes files into the empty folder
`out`, and returns JSON values. Given the same task it makes the same files, wherever and however often it is called.
The folder gets its name when it is complete, so a part is there whole or not at all, and one that is there is not
done again.
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

from pretune.runtime.workers import Engine

RESULT_NAME = "result.json"
MANY_PARTS = 1000

Work = Callable[[Path, dict[str, Any]], dict[str, Any]]
OnPart = Callable[[int, dict[str, Any]], None]


def part_folder(step: Path, number: int) -> Path:
    """Where the files of one part of a step are."""
    return step / f"{number:06d}"


def amount_of_range(amount: int, num_parts: int) -> int:
    """How much each task of a reduce takes: `amount`, and of many parts more.

    Every task opens a file of every part. Were tasks always as large, that would grow with the square of the text; so
    from MANY_PARTS on they grow with the parts, and their memory does.
    """
    return max(amount, amount * num_parts // MANY_PARTS)


@dataclass(frozen=True)
class Step:
    """A step with its tasks; `folder` is where its parts are. `on_part(number, result)` hears of each part."""

    folder: Path
    work: Work
    tasks: Sequence[dict[str, Any]]
    on_part: OnPart | None = None


def run_step(
    engine: Engine, step: Path, work: Work, tasks: Sequence[dict[str, Any]], on_part: OnPart | None = None
) -> list[dict[str, Any]]:
    """Do a step for every task, on the engine; the results in the order of the tasks.

    `step` is the folder of the step; parts that an earlier, interrupted attempt committed are taken from there.
    `on_part(number, result)` is called for each as it gets ready.
    """
    return run_steps(engine, [Step(step, work, tasks, on_part)])[0]


def run_steps(engine: Engine, steps: Sequence[Step]) -> list[list[dict[str, Any]]]:
    """Do several steps, none of which needs another one, at the same time; the results of each."""
    for step in steps:
        step.folder.mkdir(parents=True, exist_ok=True)
    places = [(step, number) for step in steps for number in range(len(step.tasks))]

    def on_done(place: int, result: dict[str, Any]) -> None:
        step, number = places[place]
        if step.on_part is not None:
            step.on_part(number, result)

    tasks = [(step.work, str(step.folder), number, step.tasks[number]) for step, number in places]
    results = iter(engine.map(_do_part, tasks, on_done))
    return [list(islice(results, len(step.tasks))) for step in steps]


def _do_part(work: Work, step: str, number: int, task: dict[str, Any]) -> dict[str, Any]:
    final = part_folder(Path(step), number)
    done = _read_result(final)
    if done is not None:
        return done
    # Another worker may be at the same part: one that was given up for dead. Each has its own folder.
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
            return  # somebody else was faster, with the same files
        shutil.rmtree(final)
        draft.rename(final)


def _read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a committed part; None where there is none, or where a crash of the machine took some of it."""
    try:
        found = json.loads((folder / RESULT_NAME).read_text(encoding="utf-8"))
        is_whole = all((folder / name).stat().st_size == size for name, size in found["sizes"].items())
    except (OSError, ValueError):
        return None
    result: dict[str, Any] = found["result"]
    return result if is_whole else None


def place_file(file: Path, target: Path) -> None:
    """Give a file of a part a second name, or where the file system has none, copy it."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)
