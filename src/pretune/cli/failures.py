"""From an exception to one sentence on stderr and an exit code; only a bug in pretune gets a traceback."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from pretune.cli.output import to_stderr
from pretune.errors import (
    EXIT_BUG,
    EXIT_DATA,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_RESOURCES,
    EXIT_USAGE,
    InterruptedByUserError,
    PretuneError,
    RankLostError,
    StoppedError,
)
from pretune.runtime.atomic import FORBIDDEN, is_disk_full
from pretune.runtime.launch import read_launch
from pretune.runtime.memory import is_out_of_memory

DEBUG_VARIABLE = "PRETUNE_DEBUG"
# The words of native libraries for the same errors of the system.
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
_SMALLER = "Close other programs, or try a smaller model or less text."


def explain(error: BaseException, out: str | None = None, *, resumes: bool = True) -> tuple[str, int]:
    """The sentence and the exit code for an exception.

    `out` is the output folder of the command; `resumes` says whether the command saves its work as it goes, so that
    the same command resumes.
    """
    if isinstance(error, PretuneError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return f"Interrupted. {what_is_saved(resumes)}", EXIT_INTERRUPTED
    if _is_full(error):
        return _explain_full_disk(error, out, resumes), EXIT_RESOURCES
    if is_out_of_memory(error):
        return f"Out of memory. {'Finished work is saved. ' if resumes else ''}{_SMALLER}", EXIT_RESOURCES
    if isinstance(error, OSError) and error.filename is not None:
        return _explain_path(error, out)
    return _explain_bug(error, resumes), EXIT_BUG


def what_is_saved(resumes: bool) -> str:
    """What a command that was stopped leaves, and what the same command does then."""
    if resumes:
        return "Finished work is saved; run the same command to resume."
    return "The same command starts from the beginning."


def report(error: BaseException, out: str | None = None, *, resumes: bool = True) -> int:
    """Print the sentence for an exception to stderr and return its exit code."""
    if isinstance(error, BrokenPipeError):
        _silence_stdout()  # the reader of our output has exited (`| head`), which is not a failure
        return EXIT_DONE
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        to_stderr("".join(traceback.format_exception(error)).rstrip())
    sentence, code = explain(error, out, resumes=resumes)
    if not _is_reported_by_another(error):
        from pretune.terminal import clean  # here, since help is to be instant

        to_stderr(clean(sentence))
    try:
        sys.stdout.flush()
    except OSError:
        _silence_stdout()
    return code


def _silence_stdout() -> None:
    """Discard output that cannot be written: at exit, Python would report it with an exit code of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_reported_by_another(error: BaseException) -> bool:
    """Whether this is one of several processes that end for the same reason, which another of them reports."""
    try:
        launch = read_launch()
    except PretuneError:
        return False
    if launch.is_first or isinstance(error, RankLostError):
        return False
    if isinstance(error, KeyboardInterrupt | InterruptedByUserError | StoppedError):
        return True
    if not isinstance(error, PretuneError):
        return False
    if error.is_shared is None:  # the processes of one machine fail alike, but another machine may lack a file
        return launch.local_rank > 0
    return error.is_shared


def _is_full(error: BaseException) -> bool:
    return is_disk_full(error) or any(words in str(error) for words in _FULL_WORDS)


def _explain_full_disk(error: BaseException, out: str | None, resumes: bool) -> str:
    place = getattr(error, "filename", None) or out or "the output"
    advice = "free some space and run the same command again."
    saved = f"Finished work is saved; {advice}" if resumes else advice.capitalize()
    return f"The disk is full: {place} could not be written. {saved}"


def _explain_path(error: OSError, out: str | None) -> tuple[str, int]:
    path = Path(os.fsdecode(error.filename))
    if out is not None and (place := _place_to_write(path, Path(out))) is not None:
        advice = "or change its permissions" if error.errno in FORBIDDEN else "or check this one"
        return f"{place} cannot be written ({error.strerror}); choose another path, {advice}.", EXIT_USAGE
    if error.errno == errno.EROFS:
        return f"{path} cannot be written ({error.strerror}); choose another path.", EXIT_USAGE
    if error.errno in FORBIDDEN:
        return f"{path} cannot be read ({error.strerror}); change its permissions, or give another path.", EXIT_DATA
    return f"{path}: {error.strerror}; check the path.", EXIT_DATA


def _place_to_write(path: Path, out: Path) -> Path | None:
    """The output path that could not be written: `path` if it is in `out` or above it, `out` if it is the temporary
    folder of `out`, and None for anything else."""
    here, target = path.absolute(), out.absolute()
    # A temporary folder next to `out` is renamed to it once it is complete.
    if here.parent == target.parent and here.name.startswith(f".{target.name}."):
        return out
    return path if here.is_relative_to(target) or target.is_relative_to(here) else None


def _explain_bug(error: BaseException, resumes: bool) -> str:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="pretune-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
    ) as file:
        file.write(" ".join(sys.argv) + "\n\n")
        file.writelines(traceback.format_exception(error))
    first_line = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        f"This is a bug in pretune ({type(error).__name__}: {first_line}). Please report it with the traceback "
        f"in {file.name}{'; finished work is saved' if resumes else ''}."
    )
