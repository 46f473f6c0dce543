"""What a forecast says, and how many checkpoints it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pretune.compute.device import Compute
from pretune.training.budget import Pace
from pretune.training.forecast import Forecast, count_checkpoints
from pretune.training.schedule import plan_steps

CPU = Compute(
    device="cpu", threads=2, precision="fp32", is_compiled=False, torch_version="2.13.0", chip="Example", processes=1
)
PLAN = plan_steps(100, warmup_fraction=0.1, decay_fraction=0.6, long_fraction=0.0, tokens_per_step=640)
FORECAST = Forecast(
    size="tiny",
    parameters=1_000_000,
    compute=CPU,
    plan=PLAN,
    step_seconds=0.5,
    seconds=90.0,
    memory_bytes=1_230_000_000,
    disk_bytes=45_000_000,
)


def test_it_says_what_it_predicts_and_from_what() -> None:
    first, second, third = FORECAST.describe()
    assert first.startswith("tiny, 1,000,000 parameters, on ") and first.endswith(": 100 updates, 64,000 tokens.")
    assert second == "Expected: 1.50 minutes, 1.23 GB of memory, 45 MB of disk."
    assert "0.50 s each; other work" in third and third.endswith("Nothing was written.")


def test_it_says_what_is_trained_and_that_the_trial_was_not_compiled() -> None:
    forecast = replace(FORECAST, trained_parameters=50_000, compute=replace(CPU, is_compiled=True), seconds=6_000.0)
    first, second, third = forecast.describe()
    assert first.startswith("tiny, 1,000,000 parameters (50,000 trained), on ")
    assert second.startswith("Expected: 100 minutes,")
    assert "0.50 s each, uncompiled; other work" in third


@pytest.mark.parametrize(("every", "count"), [(120, 2), (50, 3), (40, 3), (1, 3)])
def test_the_last_two_checkpoints_and_the_one_before_the_decay_stay(every: int, count: int) -> None:
    """Of 100 updates, with a checkpoint after `every` of them; the decay begins at update 40."""
    pace = Pace(short_step_seconds=0.5, long_step_seconds=0.5, evaluation_seconds=1.0)
    assert PLAN.decay_start_step == 40
    assert count_checkpoints(PLAN, pace, every * 0.5 / 60) == count
