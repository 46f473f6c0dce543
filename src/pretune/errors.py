"""The errors that users can see, with their exit codes; a message says what was found, expected, and what to do."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_MODEL = 4
EXIT_RESOURCES = 5
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


class PretuneError(Exception):
    """The base class of all errors that pretune raises on purpose; `str(error)` is the message shown to the user."""

    exit_code = EXIT_BUG
    stage: str | None = None  # of a run, in which it was raised
    is_shared: bool | None = None  # whether another process of a launch reports it; None: from before they connected


class UsageError(PretuneError):
    """An invalid option or combination of options."""

    exit_code = EXIT_USAGE


class FolderInTheWayError(UsageError):
    """The output folder contains something else; nothing is ever overwritten."""


class StageDiffersError(FolderInTheWayError):
    """The folder is of the same stage but has other settings, inputs or, if unfinished, version; --redo renames it."""


class WorkersError(UsageError):
    """A worker of a cluster lacks a file or has another version of pretune; finished work stays, unlike after other
    errors in the use of a stage, and the same command resumes."""


class InputDataError(PretuneError):
    """The input is missing, unreadable, empty, or not enough for a working model."""

    exit_code = EXIT_DATA


class EstimatorDataError(InputDataError, ValueError):
    """Data that an estimator cannot learn from or predict for; a ValueError, as scikit-learn's contract has it."""


class ModelError(PretuneError):
    """A model or checkpoint cannot be used."""

    exit_code = EXIT_MODEL


class ModelNotFoundError(ModelError):
    """No model was found; the message names the path and the missing stage."""


class CorruptModelError(ModelError):
    """A model folder is truncated, altered, incomplete, or from another version."""


class ModelTooLargeError(ModelError):
    """The models of a run are too large to be part of its report."""


class DivergedError(ModelError):
    """Training diverged: updates kept being rejected, even after going back to earlier checkpoints."""


class OutOfResourcesError(PretuneError):
    """Out of disk space or memory."""

    exit_code = EXIT_RESOURCES


class StoppedError(PretuneError):
    """Stopped by SIGTERM after saving, or by a lost connection or a failing disk; the same command resumes."""

    exit_code = EXIT_STOPPED


class RankLostError(StoppedError):
    """Another process of a distributed training ended or hangs; the same command resumes."""


class ShortOfMemoryError(RankLostError):
    """One of several processes ran out of memory during a step; the same command resumes with smaller micro-batches."""


class InterruptedByUserError(PretuneError):
    """Stopped by Ctrl-C after saving; the same command resumes."""

    exit_code = EXIT_INTERRUPTED


def shorten_error(error: Exception) -> str:
    """The message of another library's error, in one line of at most 160 characters; its class if it has none."""
    return " ".join(str(error).split())[:160] or type(error).__name__
