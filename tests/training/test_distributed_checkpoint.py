"""Several processes agree on which signal stops them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from pretune.compute.ranks import Ranks
from pretune.errors import StoppedError
from pretune.runtime.interruption import StopFlag, stop_on_signals
from pretune.training.distributed_checkpoint import agree_to_stop


class TwoRanks(Ranks):
    """Two processes; the other one received a signal or none."""

    def __init__(self, other: int | None) -> None:
        self.size, self.other = 2, other

    def sum(self, values: Sequence[float], _place: str) -> list[float]:
        theirs = [self.other == each for each in (signal.SIGINT, signal.SIGTERM)]
        return [float(ours + their) for ours, their in zip(values, theirs, strict=True)]


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"),
    [
        (None, None, None),
        (signal.SIGINT, None, signal.SIGINT),
        (None, signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM, signal.SIGTERM),
    ],
)
def test_different_signals_do_not_add_up(ours: int | None, theirs: int | None, agreed: int | None) -> None:
    """SIGINT (2) in one process and SIGTERM (15) in the other were once taken for signal 8."""
    stop = StopFlag()
    stop.signal_number = ours
    assert agree_to_stop(TwoRanks(theirs), stop, "a step") == (agreed is not None)
    assert stop.agreed == agreed
    assert stop.is_set == (agreed is not None)


def test_the_first_signal_during_the_save_for_another_process_does_not_abort_it() -> None:
    """The signal of another process counted as this one's, whose own first signal then exited at once."""
    saved = False
    with pytest.raises(StoppedError, match="after finishing and saving"), stop_on_signals() as stop:
        assert agree_to_stop(TwoRanks(signal.SIGTERM), stop, "a step")
        os.kill(os.getpid(), signal.SIGTERM)
        saved = True
    assert saved
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        agree_to_stop(TwoRanks(signal.SIGTERM), stop, "a step")
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("continued after the second signal")
