"""A run is folded when one of its files has changed, rarely enough not to slow it down, and in any state."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.live.follow import RunFollower, signature_of


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Folds:
    """Counts the folds; each takes `seconds` of the clock."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.count = 0
        self.error: Exception | None = None
        self._clock, self._seconds = clock, seconds

    def __call__(self, run: Path) -> dict[str, Any]:
        self.count += 1
        self._clock.now += self._seconds
        if self.error is not None:
            raise self.error
        return {"log": (run / "collect" / "events.jsonl").read_text()}


def log(run: Path, **event: Any) -> None:
    (run / "collect").mkdir(parents=True, exist_ok=True)
    with (run / "collect" / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


def refreshed(follower: RunFollower) -> dict[str, Any] | None:
    version = asyncio.run(follower.refresh())
    return None if version is None else json.loads(version.as_json())


def test_a_run_is_folded_once_until_it_grows(tmp_path: Path) -> None:
    clock = Clock()
    folds = Folds(clock)
    follower = RunFollower(tmp_path, folds, clock)
    log(tmp_path, event="a")
    assert refreshed(follower) == refreshed(follower) == {"log": '{"event": "a"}\n'}
    assert folds.count == 1
    log(tmp_path, event="b")
    assert refreshed(follower) == {"log": '{"event": "a"}\n{"event": "b"}\n'}
    assert folds.count == 2


def test_a_fold_rests_nine_times_as_long_as_it_took(tmp_path: Path) -> None:
    clock = Clock()
    folds = Folds(clock, seconds=2)
    follower = RunFollower(tmp_path, folds, clock)
    log(tmp_path, event="a")
    refreshed(follower)
    log(tmp_path, event="b")
    clock.now = 19.5
    assert refreshed(follower) == {"log": '{"event": "a"}\n'}
    clock.now = 20.5
    assert refreshed(follower) == {"log": '{"event": "a"}\n{"event": "b"}\n'}
    assert folds.count == 2


def test_the_rest_after_a_long_fold_is_shorter_than_the_silence_of_a_run(tmp_path: Path) -> None:
    """The page says after two minutes without a change that a running stage is not finished."""
    clock = Clock()
    folds = Folds(clock, seconds=14)
    follower = RunFollower(tmp_path, folds, clock)
    log(tmp_path, event="a")
    refreshed(follower)
    log(tmp_path, event="b")
    clock.now += 60
    refreshed(follower)
    assert folds.count == 2


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    clock = Clock()
    follower = RunFollower(tmp_path / "run", Folds(clock), clock)
    assert refreshed(follower) is None
    assert follower.problem == "The run run has logged nothing yet."
    log(tmp_path / "run", event="a")
    assert refreshed(follower) is not None
    assert follower.problem is None


def test_a_run_that_is_moved_away_and_back(tmp_path: Path) -> None:
    """It was said to have logged nothing yet."""
    clock = Clock()
    follower = RunFollower(tmp_path / "run", Folds(clock), clock)
    log(tmp_path / "run", event="a")
    before = refreshed(follower)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert refreshed(follower) == before
    assert follower.problem == "The run run is no longer there."
    (tmp_path / "elsewhere").rename(tmp_path / "run")
    assert refreshed(follower) == before
    assert follower.problem is None


def test_files_that_cannot_be_read_leave_the_last_version(tmp_path: Path) -> None:
    clock = Clock()
    folds = Folds(clock)
    follower = RunFollower(tmp_path, folds, clock)
    log(tmp_path, event="a")
    before = refreshed(follower)
    folds.error = InputDataError("The log is of another version.")
    log(tmp_path, event="b")
    assert refreshed(follower) == before
    assert follower.problem == "The log is of another version."
    folds.error = None
    log(tmp_path, event="c")
    assert refreshed(follower) != before
    assert follower.problem is None


def test_a_bug_is_raised_and_not_repeated_at_once(tmp_path: Path) -> None:
    clock = Clock()
    folds = Folds(clock)
    follower = RunFollower(tmp_path, folds, clock)
    log(tmp_path, event="a")
    folds.error = KeyError("x")
    with pytest.raises(KeyError):
        refreshed(follower)
    assert refreshed(follower) is None
    assert folds.count == 1


def test_a_fold_that_nobody_waits_for_any_more_is_kept(tmp_path: Path) -> None:
    """A page that is closed during the last fold of a run must not take its end away from the other pages."""
    has_begun, may_end = threading.Event(), threading.Event()
    folds = Folds(Clock())

    def build(run: Path) -> dict[str, Any]:
        has_begun.set()
        assert may_end.wait(10)
        return folds(run)

    async def close_during_fold() -> dict[str, Any] | None:
        follower = RunFollower(tmp_path, build, Clock())
        closed = asyncio.ensure_future(follower.refresh())
        while not has_begun.is_set():
            await asyncio.sleep(0.001)
        closed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closed
        may_end.set()
        version = await follower.refresh()
        return None if version is None else json.loads(version.as_json())

    log(tmp_path, event="a")
    assert asyncio.run(close_during_fold()) == {"log": '{"event": "a"}\n'}
    assert folds.count == 1


@pytest.mark.parametrize(
    "name", ["events.jsonl", "pretrain/events.jsonl", "compare/manifest.json", "trace.json", "recipe.toml"]
)
def test_what_a_run_writes_is_noticed(tmp_path: Path, name: str) -> None:
    before = signature_of(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a")
    assert signature_of(tmp_path) != before


def test_the_own_page_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("a")
    assert signature_of(tmp_path) == {}
