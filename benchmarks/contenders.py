"""Contenders in processes of their own, which run by turns: each works while it is told to and waits in between.

A process for each keeps memory, threads, compiled code and libraries apart; turns make a busy minute hit all alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

_FOLDER = Path(__file__).parent


class Contender:
    """The parent's side: start a worker, give it turns, end it."""

    def __init__(self, name: str, script: str, spec: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self.name, self.spec = name, spec
        self.turns: list[dict[str, Any]] = []
        self.end: dict[str, Any] = {}
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(_FOLDER / script), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if os.environ.get("PRETUNE_BENCH_QUIET", "1") == "1" else None,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **(environment or {})},
        )
        self._errors: list[str] = []
        if self._process.stderr is not None:
            _drain(self._process.stderr, self._errors)
        self.ready = self._answer()
        self.ready["start_seconds"] = time.monotonic() - started

    def turn(self, seconds: float) -> dict[str, Any]:
        """Let it work for at least so long; what it did is appended to `turns`."""
        self._tell(f"go {seconds}")
        self.turns.append(self._answer())
        return self.turns[-1]

    def stop(self) -> None:
        """Ask for its last words (peak memory) and wait for its end."""
        if self._process.poll() is None:
            self._tell("quit")
            self.end = self._answer()
            self._process.wait(timeout=60)

    def __enter__(self) -> Contender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        elif self._process.poll() is None:
            self._process.kill()

    def _tell(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print, too
                found: dict[str, Any] = json.loads(line)
                return found
        time.sleep(0.2)
        raise RuntimeError(f"{self.name} ended with code {self._process.wait()}:\n{''.join(self._errors[-30:])}")


def _drain(stream: Any, lines: list[str]) -> None:
    import threading

    threading.Thread(target=lambda: lines.extend(stream), daemon=True).start()


class Turns:
    """The worker's side: `wait` for the word to go, `count` each step, and answer when the turn's time is over."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._start = 0.0
        self._done: dict[str, float] = {}

    def ready(self, **fields: Any) -> bool:
        """Say that the first turn may begin, and wait for it; False where there will be none."""
        self._say(fields)
        return self._wait()

    def count(self, **done: float) -> bool:
        """Add what a step did. At the end of a turn, answer and wait for the next; False when there is none."""
        for name, value in done.items():
            self._done[name] = self._done.get(name, 0.0) + value
        if time.perf_counter() - self._start < self._seconds:
            return True
        return self.end()

    def end(self, **found: float) -> bool:
        """Answer with what was counted and found, and wait for the next turn; False when there is none."""
        self._say({"seconds": time.perf_counter() - self._start, **self._done, **found})
        return self._wait()

    def _wait(self) -> bool:
        from machine import peak_memory_bytes

        words = sys.stdin.readline().split()
        if not words or words[0] != "go":
            self._say({"peak_memory_bytes": peak_memory_bytes()})
            return False
        self._seconds, self._done = float(words[1]), {}
        self._start = time.perf_counter()
        return True

    @staticmethod
    def _say(fields: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


def rounds(contenders: list[Contender], repeats: int, seconds: float) -> Iterator[tuple[int, Contender]]:
    """Turns for all, repeat after repeat, every second one in the opposite order."""
    for repeat in range(repeats):
        for contender in contenders if repeat % 2 == 0 else contenders[::-1]:
            contender.turn(seconds)
            yield repeat, contender
