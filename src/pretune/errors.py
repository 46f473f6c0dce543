"""The errors a user can meet: each is one sentence (found, expected, what to do) and has an exit code."""

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
    """Base of everything pretune raises on purpose; `str(error)` is the sentence shown to the user."""

    exit_code = EXIT_BUG


class UsageError(PretuneError):
    """An option or a combination of options that cannot work."""

    exit_code = EXIT_USAGE


class FolderInTheWayError(UsageError):
    """An output folder that holds something else; nothing is ever overwritten."""


class StageDiffersError(FolderInTheWayError):
    """A folder of the same stage, made with other settings or from other inputs; --redo puts it aside."""


class InputDataError(PretuneError):
    """Input that is missing, unreadable, empty, or cannot lead to a working model."""

    exit_code = EXIT_DATA


class ModelError(PretuneError):
    """A model or checkpoint that cannot be used."""

    exit_code = EXIT_MODEL


class ModelNotFoundError(ModelError):
    """There is no model where one was expected; the message names the path and the missing stage."""


class CorruptModelError(ModelError):
    """A model folder that is truncated, altered, incomplete, or of another version."""


class DivergedError(ModelError):
    """A training whose updates were refused one after another, wherever it went back to."""


class OutOfResourcesError(PretuneError):
    """Out of disk or memory."""

    exit_code = EXIT_RESOURCES


class StoppedError(PretuneError):
    """Stopped by SIGTERM after a commit; the same command goes on."""

    exit_code = EXIT_STOPPED


class RankLostError(StoppedError):
    """Another of the processes that train together ended or hangs; the same command goes on."""


class ShortOfMemoryError(RankLostError):
    """The memory of one of several processes did not hold its part of a step; the same command cuts it smaller."""


class InterruptedByUserError(PretuneError):
    """Stopped by Ctrl-C after a commit; the same command goes on."""

    exit_code = EXIT_INTERRUPTED
