"""From the words of a command line to its result on stdout and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pretune.cli.failures import DEBUG_VARIABLE, report, what_is_saved
from pretune.cli.verbs import PROGRAM, RESUMING_VERBS, VERBS, build_parser, top_level_help
from pretune.errors import EXIT_DONE, StoppedError, UsageError
from pretune.runtime.home import expand_home
from pretune.runtime.launch import read_launch
from pretune.version import VERSION

USE_SEVERAL_PROCESSES = ("run", "pretrain", "finetune")


class Terminated(BaseException):
    """Raised on SIGTERM. Not an Exception, as for Ctrl-C, so that no reader mistakes it for a damaged file."""


def run_command_line(words: Sequence[str]) -> int:
    """Run a command line and return its exit code; a user's mistake is reported and never raised."""
    words = [_expand_home(word) for word in words]
    _open_closed_streams()
    out = _word_after("--out", words) or _word_after("--output", words)
    resumes = next((word for word in words if word != "--quiet"), None) in RESUMING_VERBS
    try:
        with _stopped_by_sigterm():
            code = _dispatch(list(words))
            sys.stdout.flush()  # now, while a full disk can still be reported: at exit Python only prints an error
            return code
    except Terminated:
        return report(StoppedError(f"Stopped by SIGTERM. {what_is_saved(resumes)}"), out)
    except BaseException as error:
        return report(error, out, resumes=resumes)


def _dispatch(words: list[str]) -> int:
    quiet = False
    while words and words[0] == "--quiet":
        quiet = True
        words = words[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(top_level_help())
        return EXIT_DONE
    if words[0] == "--version":
        sys.stdout.write(f"{PROGRAM} {VERSION}\n")
        return EXIT_DONE
    if words[0] not in VERBS:
        raise UsageError(_unknown_verb(words[0]))
    try:
        arguments = build_parser(VERBS[words[0]]).parse_intermixed_args(words[1:])
    except SystemExit:  # raised by argparse after --help
        return EXIT_DONE
    launch = read_launch()
    arguments.quiet = arguments.quiet or quiet or not launch.is_first
    if launch.size > 1 and words[0] not in USE_SEVERAL_PROCESSES:
        if not launch.is_first:
            return EXIT_DONE
        *others, last = USE_SEVERAL_PROCESSES
        several = f"{', '.join(others)} and {last}"
        sys.stderr.write(f"Only {several} use several processes: one process runs {words[0]}, the others exit.\n")
    _prepare_process()
    from pretune.cli.stage_commands import COMMANDS

    return COMMANDS[words[0]](arguments)


def _unknown_verb(word: str) -> str:
    import difflib

    close = difflib.get_close_matches(word, VERBS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(VERBS)}."
    return f"{PROGRAM} has no verb {word!r}; {hint}"


def _expand_home(word: str) -> str:
    """`--out=~/runs` with the tilde replaced; shells do that only at the beginning of a word."""
    option, equals, value = word.partition("=")
    if not option.startswith("--") or not value.startswith("~/"):
        return word
    return option + equals + str(expand_home(value))


def _word_after(flag: str, words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == flag:
            return following or None
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=") or None
    return None


def _open_closed_streams() -> None:
    """Read nothing from a stream that the caller closed (`<&-`), and discard output to it (`>&-`): Python leaves it as
    None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _prepare_process() -> None:
    """Silence library warnings that a user can do nothing about, write characters that the terminal cannot show as
    escapes, as in the event log, and read bytes that are not UTF-8 as in the words of the command line."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if not os.environ.get(DEBUG_VARIABLE):
        warnings.simplefilter("ignore")
        os.environ.setdefault("RUST_BACKTRACE", "0")


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command with its own exit code; training, which must save first, sets its own handler.

    Only the main thread may handle signals; in any other, such as an actor's, the program's own handler stays. So does
    one that ignores the signal, or that was not set from Python.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) in (signal.SIG_IGN, None):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
