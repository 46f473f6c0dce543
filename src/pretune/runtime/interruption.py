"""Ctrl-C and SIGTERM during training: finish the step, save, and exit. A second signal exits at once.

During a chat, Ctrl-C ends the reply and not the program.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pretune.errors import InterruptedByUserError, StoppedError

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
RUN_AGAIN = "Run the same command to resume."  # the advice of a stopped training; programs are given another


class StopFlag:
    """Set by a signal; checked by the training loop between steps."""

    def __init__(self) -> None:
        self.signal_number: int | None = None  # of the first signal that this process has received
        self.agreed: int | None = None  # the signal for which all processes of a launch stop, whoever received it

    @property
    def is_set(self) -> bool:
        return (self.agreed or self.signal_number) is not None

    def error(self, sentence: str) -> InterruptedByUserError | StoppedError:
        """The error to raise after saving; its exit code distinguishes Ctrl-C from SIGTERM."""
        if (self.agreed or self.signal_number) == signal.SIGINT:
            return InterruptedByUserError(sentence)
        return StoppedError(sentence)


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Within this block, the first SIGINT or SIGTERM only sets the flag; one that the process ignores stays ignored.

    Raises the flag's error if the block ends normally after a signal, so that a signal during the last step still
    prevents the next stage from starting.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag  # only the main thread may handle signals
        return

    def remember(number: int, _frame: FrameType | None) -> None:
        if flag.signal_number is not None:
            for each, handler in previous.items():
                signal.signal(each, handler)
            raise KeyboardInterrupt
        flag.signal_number = number

    previous = _handled(signal.SIGINT, signal.SIGTERM)
    for each in previous:
        signal.signal(each, remember)
    try:
        yield flag
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    if flag.is_set:
        raise flag.error(f"Stopped after finishing and saving the current work. {RUN_AGAIN}")


@contextmanager
def noted_ctrl_c() -> Iterator[StopFlag]:
    """Within this block, the first Ctrl-C only sets the flag, and nothing is raised for it; a second one is raised."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def remember(number: int, _frame: FrameType | None) -> None:
        if flag.is_set:
            raise KeyboardInterrupt
        flag.signal_number = number

    previous = _handled(signal.SIGINT)
    for each in previous:
        signal.signal(each, remember)
    try:
        yield flag
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _handled(*numbers: signal.Signals) -> dict[signal.Signals, Handler]:
    """The handlers of these signals, without those that the process ignores, as a shell tells the background jobs of a
    script to, and those that were not set from Python."""
    handlers = {each: signal.getsignal(each) for each in numbers}
    return {each: handler for each, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
