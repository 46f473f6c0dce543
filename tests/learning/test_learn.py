"""From a run's folder to a score."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pretune.errors import InputDataError, InterruptedByUserError
from pretune.learning.learn import learn


class Interrupting(io.StringIO):
    def readline(self, size: int | None = -1, /) -> str:
        raise KeyboardInterrupt


def test_ctrl_c_shows_the_score_and_says_that_nothing_is_stored(small_run: Path) -> None:
    target = io.StringIO()
    with pytest.raises(InterruptedByUserError, match="Stopped after 0 of 3 questions"):
        learn(small_run, "quiz", Interrupting(), target)
    assert "No question was answered." in target.getvalue()


def test_a_run_that_has_not_come_far_enough_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    with pytest.raises(InputDataError, match="nothing to ask about yet"):
        learn(tmp_path, "quiz", io.StringIO(), io.StringIO())


def test_a_stream_without_these_characters_gets_others(small_run: Path) -> None:
    target = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    learn(small_run, "test", io.StringIO("1\n" * 10), target)
    target.seek(0)
    assert "of 10 right." in target.read()


@pytest.mark.parametrize("part", [[], ["--practice"], ["--test"]])
def test_a_terminal_shows_no_line_twice(small_run: Path, part: Sequence[str]) -> None:
    """Under a pseudo-terminal, which echoes what is typed, the session does not."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "pretune", "learn", str(small_run), *part],
            {**os.environ, "TERM": "dumb"},
        )
    os.write(terminal, b"zzz\nq\n")
    shown = b""
    while chunk := _read(terminal):
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shown.count(b"zzz") <= 2  # typed ahead, it is echoed at once, and again by a terminal that reads lines
    assert b"were not answered" in shown or b"No question was answered" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the child has closed its end
        return b""


def test_sigint_ends_with_130(small_run: Path, start_pretune: Callable[..., object]) -> None:
    process = start_pretune("learn", str(small_run))
    assert process.stdout.readline() == "\n"  # type: ignore[attr-defined]
    process.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
    _, told = process.communicate(timeout=60)  # type: ignore[attr-defined]
    assert process.returncode == 130  # type: ignore[attr-defined]
    assert "Stopped after 0 of 3 questions" in told
