"""From a run's folder to a score."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.errors import InputDataError, InterruptedByUserError
from pretune.learning.learn import learn


class Interrupting(io.StringIO):
    def readline(self, _size: int | None = -1, /) -> str:
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


@pytest.fixture
def start_learning(small_run: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start `pretune learn` in a process of its own, with its input and output as given."""

    def start(source: int, target: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "pretune", "learn", str(small_run)]
        return subprocess.Popen(words, stdin=source, stdout=target, stderr=subprocess.PIPE)

    return start


def test_a_terminal_shows_what_is_typed_once(start_learning: Callable[..., subprocess.Popen[bytes]]) -> None:
    """A terminal echoes what is typed, so the session does not."""
    ours, theirs = pty.openpty()
    process = start_learning(theirs, theirs)
    os.close(theirs)
    os.write(ours, b"zzz\nq\n")
    shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.communicate()[1] == b"" and process.returncode == 0
    assert shown.count(b"zzz") == 1
    assert b"No question was answered." in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_sigint_ends_with_130(start_learning: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start_learning(subprocess.PIPE, subprocess.PIPE)  # nothing is typed, so it waits
    assert process.stdout is not None and process.stdout.readline() == b"\n"
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate()
    assert process.returncode == 130
    assert told.startswith(b"Stopped after 0 of 3 questions") and told.count(b"\n") == 1
    assert b"RESULT" in shown
