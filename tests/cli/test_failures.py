"""An exception becomes one sentence and an exit code; only a bug writes a traceback, to a file."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pretune import errors
from pretune.cli.failures import explain, report
from pretune.cli.main import run_command_line
from pretune.cli.stage_commands import COMMANDS

PYTHON = shlex.quote(sys.executable)  # whose path may have blanks


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.UsageError("Two budgets."), 2, "Two budgets."),
        (errors.FolderInTheWayError("In the way."), 2, "In the way."),
        (errors.InputDataError("Empty."), 3, "Empty."),
        (errors.ModelNotFoundError("No model."), 4, "No model."),
        (errors.CorruptModelError("Torn."), 4, "Torn."),
        (errors.OutOfResourcesError("Full."), 5, "Full."),
        (errors.StoppedError("Stopped."), 75, "Stopped."),
        (errors.InterruptedByUserError("Interrupted."), 130, "Interrupted."),
        (KeyboardInterrupt(), 130, "run the same command to resume"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x/train.tokens"), 5, "runs/x/train.tokens"),
        (OSError(errno.EFBIG, "File too large"), 5, "The disk is full: runs/x could not be written"),
        (RuntimeError("Error while serializing: File too large (os error 27)"), 5, "The disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 5, "runs/x could not be written"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 5, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x/collect"), 2, "runs/x/collect cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "runs/x"), 2, "runs/x cannot be written"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 2, "runs cannot be written"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "runs/.x.partial"), 2, "runs/x cannot be written"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/a.txt"), 3, "runs/a.txt: No such file"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/secret.txt"), 3, "/data/secret.txt cannot be read"),
        (OSError(errno.EROFS, "Read-only file system", "/disk/run/.lock"), 2, "/disk/run/.lock cannot be written"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/a.txt"), 3, "/data/a.txt: No such file"),
        (MemoryError(), 5, "Out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
            5,
            "Out of memory",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_exception_becomes_a_sentence_and_an_exit_code(error: BaseException, code: int, words: str) -> None:
    sentence, found = explain(error, out="runs/x")
    assert found == code
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "Interrupted. The same command starts from the beginning."),
        (MemoryError(), "Out of memory. Close other programs, or try a smaller model or less text."),
        (OSError(errno.ENOSPC, "No space", "x.csv"), "x.csv could not be written. Free some space and run the same"),
        (KeyError("missing"), "This is a bug in pretune"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_command_that_saves_nothing_does_not_speak_of_saved_work(error: BaseException, words: str) -> None:
    sentence, code = explain(error, resumes=False)
    assert words in sentence and "is saved" not in sentence and "resume" not in sentence
    resumed, same_code = explain(error)
    assert "inished work is saved" in resumed and same_code == code
    for each in re.findall(r"traceback in (\S+\.txt)", sentence + resumed):
        Path(each).unlink()


def test_a_bug_leaves_its_traceback_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        {}["missing"]
    except KeyError as error:
        assert report(error) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("This is a bug in pretune (KeyError: 'missing').")
    file = Path(re.search(r"traceback in (\S+?);", printed)[1])  # type: ignore[index]
    assert "test_failures.py" in file.read_text(encoding="utf-8")
    assert "Traceback" not in printed
    file.unlink()


def test_a_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_DEBUG", "1")
    assert report(errors.UsageError("Two budgets.")) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1] == "Two budgets."
    assert printed[0].startswith("pretune.errors.UsageError")


@pytest.mark.parametrize(
    ("error", "local_rank", "is_shared", "is_said"),
    [
        (errors.InputDataError("Gone."), 1, False, True),  # which only this process has met
        (errors.InputDataError("Gone."), 1, True, False),
        (errors.InputDataError("Gone."), 1, None, False),  # the first process of the machine says so
        (errors.InputDataError("Gone."), 0, None, True),
        (errors.StoppedError("Stopped."), 0, None, False),
        (errors.RankLostError("Lost."), 1, True, True),
        (KeyboardInterrupt(), 0, None, False),
        (MemoryError(), 1, None, True),
    ],
)
def test_one_of_several_processes_says_what_no_other_does(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    local_rank: int,
    is_shared: bool | None,
    is_said: bool,
) -> None:
    for name, value in {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": local_rank}.items():
        monkeypatch.setenv(name, str(value))
    if isinstance(error, errors.PretuneError):
        error.is_shared = is_shared
    report(error)
    assert bool(capsys.readouterr().err) == is_said


@pytest.mark.parametrize("is_debugged", ["", "1"])
def test_what_a_sentence_quotes_cannot_control_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_debugged: str
) -> None:
    monkeypatch.setenv("PRETUNE_DEBUG", is_debugged)
    report(errors.InputDataError("The label 'a\x1b[2J\x1b]0;owned\x07b\nDone.' has a single row."))
    printed = capsys.readouterr().err
    assert printed.endswith("The label 'ab Done.' has a single row.\n")
    assert "\x1b" not in printed and "\x07" not in printed


@pytest.mark.parametrize("words", ["--help", "run --help"])
@pytest.mark.parametrize("is_buffered", [True, False])
def test_a_reader_that_exits_is_not_a_failure(words: str, is_buffered: bool) -> None:
    done = in_shell(f"{PYTHON} -m pretune {words} | true; exit ${{PIPESTATUS[0]}}", is_buffered=is_buffered)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("is_buffered", [True, False])
def test_results_that_cannot_be_written_are_a_full_disk(is_buffered: bool) -> None:
    done = in_shell(f"{PYTHON} -m pretune --help > /dev/full", is_buffered=is_buffered)
    assert done.returncode == 5
    assert done.stderr.startswith("The disk is full: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("verify nothing", 3)])
def test_a_closed_stream_is_not_a_failure(words: str, code: int) -> None:
    for closed in (">&-", "2>&-"):
        done = in_shell(f"{PYTHON} -m pretune {words} {closed}", is_buffered=True)
        assert done.returncode == code
        assert "Traceback" not in done.stdout + done.stderr
        assert "bug" not in done.stdout + done.stderr


def test_a_closed_stdin_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run_command_line(["--help"]) == 0
    with sys.stdin as opened:
        assert opened.read() == ""


def in_shell(command: str, *, is_buffered: bool) -> subprocess.CompletedProcess[str]:
    """Run a command whose output Python buffers, or writes at once."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"}
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=environment)


def test_sigterm_stops_a_command_anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_arguments: object) -> int:
        with contextlib.suppress(Exception):  # as a reader does that takes a failure for a damaged file
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        return 0

    monkeypatch.setitem(COMMANDS, "verify", work)
    monkeypatch.setitem(COMMANDS, "collect", work)
    assert run_command_line(["--quiet", "collect", "runs/x", "--out", "runs/y"]) == 75
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM. Finished work is saved; run the same command")
    assert run_command_line(["verify", "runs/x"]) == 75
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM. The same command starts from")


def test_a_sigterm_that_the_process_ignores_stops_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setitem(COMMANDS, "verify", work)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run_command_line(["verify", "runs/x"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_command_runs_in_another_thread(capsys: pytest.CaptureFixture[str]) -> None:
    """As in an actor of Ray, where only the main thread may handle signals."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_command_line(["--version"])))
    thread.start()
    thread.join()
    assert (codes, capsys.readouterr().err) == ([0], "")


@pytest.mark.parametrize("stage", ["collect", pytest.param("preprocess", marks=pytest.mark.slow)])
def test_a_file_size_limit_ends_a_stage_with_a_sentence_and_without_loss(tmp_path: Path, stage: str) -> None:
    draw = random.Random(0)
    lines = [" ".join(str(draw.getrandbits(20)) for _ in range(12)) for _ in range(600)]
    (tmp_path / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    words = ["collect", "corpus.txt", "--out", "collect", "--quiet"]
    if stage == "preprocess":
        assert limited(tmp_path, words, None).returncode == 0
        words = ["preprocess", "collect", "--out", "preprocess", "--quiet", "--vocab-size", "300"]
    done = limited(tmp_path, words, 4)
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("The disk is full: ")
    assert done.stderr.endswith("free some space and run the same command again.\n")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert limited(tmp_path, words, None).returncode == 0


def limited(folder: Path, words: list[str], kilobytes: int | None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process with a limit for the size of its files."""

    def limit() -> None:
        if kilobytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes, 1024 * kilobytes))

    command = [sys.executable, "-m", "pretune", *words]
    return subprocess.run(command, cwd=folder, preexec_fn=limit, capture_output=True, text=True, check=False)


class _Unread(io.StringIO):
    """A stream whose reader has exited."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_run_whose_progress_nobody_reads_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `pretune run ... 2>&1 >log | head`: it ended before its first stage, with the exit code of success."""
    text = tmp_path / "a.txt"
    text.write_text("A text that is too short to learn from.\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", _Unread())
    assert run_command_line(["run", "--corpus", str(text), "--out", str(tmp_path / "run")]) == errors.EXIT_DATA
    assert (tmp_path / "run" / "collect" / "manifest.json").is_file()
