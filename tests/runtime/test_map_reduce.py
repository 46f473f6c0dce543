from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.runtime.map_reduce import Step, amount_of_range, part_folder, run_step, run_steps
from pretune.runtime.workers import open_engine


def write_square(out: Path, task: dict[str, Any]) -> dict[str, Any]:
    with (Path(task["log"])).open("a") as log:
        log.write(f"{task['number']}\n")
    if task["number"] == task.get("refused"):
        (out / "half").write_text("half")
        raise InputDataError("refused")
    (out / "square.txt").write_text(str(task["number"] ** 2))
    return {"square": task["number"] ** 2}


def tasks_for(tmp_path: Path, **more: Any) -> list[dict[str, Any]]:
    return [{"number": number, "log": str(tmp_path / "log"), **more} for number in range(5)]


def test_tasks_grow_with_many_parts() -> None:
    """So that the number of files opened, one per task and part, grows with the text and not with its square."""
    assert [amount_of_range(500, parts) for parts in (0, 1, 1000, 1500, 100_000)] == [500, 500, 500, 750, 50_000]
    opened = [parts * (parts * 70 // amount_of_range(500, parts)) for parts in (10_000, 100_000)]
    assert opened[1] == 10 * opened[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_parts_are_committed_in_order_and_not_processed_again(tmp_path: Path, workers: int) -> None:
    step = tmp_path / "step"
    with open_engine("threads", workers) as engine:
        results = run_step(engine, step, write_square, tasks_for(tmp_path))
        assert results == [{"square": n * n} for n in range(5)]
        assert [(part_folder(step, n) / "square.txt").read_text() for n in range(5)] == ["0", "1", "4", "9", "16"]
        assert run_step(engine, step, write_square, tasks_for(tmp_path)) == results
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3", "4"]


def test_an_interrupted_step_is_resumed_and_leaves_no_drafts(tmp_path: Path) -> None:
    step = tmp_path / "step"
    with open_engine("threads", 1) as engine:
        with pytest.raises(InputDataError):
            run_step(engine, step, write_square, tasks_for(tmp_path, refused=3))
        assert sorted(path.name for path in step.iterdir()) == ["000000", "000001", "000002"]
        run_step(engine, step, write_square, tasks_for(tmp_path))
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "3", "4"]


@pytest.mark.parametrize("damage", ["cut", "missing", "no result", "half a result"])
def test_a_part_damaged_in_a_crash_is_processed_again(tmp_path: Path, damage: str) -> None:
    step = tmp_path / "step"
    with open_engine("threads", 1) as engine:
        before = run_step(engine, step, write_square, tasks_for(tmp_path))
        part = part_folder(step, 2)
        if damage == "cut":
            (part / "square.txt").write_text("")
        elif damage == "missing":
            (part / "square.txt").unlink()
        elif damage == "no result":
            (part / "result.json").unlink()
        else:
            (part / "result.json").write_text('{"result": {')
        assert run_step(engine, step, write_square, tasks_for(tmp_path)) == before
        assert (part / "square.txt").read_text() == "4"


@pytest.mark.parametrize("workers", [1, 2])
def test_parallel_steps_keep_their_results_apart(tmp_path: Path, workers: int) -> None:
    heard: list[tuple[int, int]] = []
    tasks = tasks_for(tmp_path)
    first = Step(tmp_path / "first", write_square, tasks[3:], lambda number, result: heard.append((number, 0)))
    second = Step(tmp_path / "second", write_square, tasks, lambda number, result: heard.append((number, 1)))
    with open_engine("threads", workers) as engine:
        results = run_steps(engine, [first, Step(tmp_path / "none", write_square, []), second])
    assert results == [[{"square": n * n} for n in numbers] for numbers in ((3, 4), (), range(5))]
    assert sorted(heard) == sorted([(0, 0), (1, 0), *((n, 1) for n in range(5))])
    assert (part_folder(tmp_path / "first", 1) / "square.txt").read_text() == "16"
