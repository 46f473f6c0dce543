"""The first signal only sets a flag, the second exits at once, and afterwards the old handlers are back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pretune.errors import EXIT_INTERRUPTED, EXIT_STOPPED, InterruptedByUserError, StoppedError
from pretune.runtime.interruption import noted_ctrl_c, stop_on_signals


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [(signal.SIGINT, InterruptedByUserError, EXIT_INTERRUPTED), (signal.SIGTERM, StoppedError, EXIT_STOPPED)],
)
def test_the_first_signal_sets_the_flag(number: int, error: type[Exception], code: int) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(error, match=r"^Stopped\.$") as caught, stop_on_signals() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), number)
        assert stop.is_set
        raise stop.error("Stopped.")
    assert caught.value.exit_code == code
    assert {each: signal.getsignal(each) for each in before} == before


def test_a_signal_at_the_very_end_is_not_lost() -> None:
    """The block was about to end by itself; without the error, a run would start its next stage."""
    with pytest.raises(InterruptedByUserError, match="Run the same command to resume"), stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
    with stop_on_signals() as stop:
        pass
    assert not stop.is_set


def test_the_second_signal_exits_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("continued after the second signal")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_process_ignores_stays_ignored(number: signal.Signals) -> None:
    """A shell tells the background jobs of a script to ignore Ctrl-C, which then stopped their training."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop, noted_ctrl_c() as noted:
            os.kill(os.getpid(), number)
            assert not stop.is_set and not noted.is_set
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_another_thread_gets_a_flag_and_no_handlers() -> None:
    found: list[bool] = []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append(stop.is_set)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGINT) is before
