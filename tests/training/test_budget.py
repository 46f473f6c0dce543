"""A budget becomes a plan that uses it up, or an error that names a sufficient budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import EXIT_DATA, InputDataError
from pretune.model.config import large, mini
from pretune.training.budget import (
    Budget,
    Pace,
    Shape,
    calibration_steps,
    median_seconds,
    overrun_seconds,
    plan_run,
    refuse_too_few_updates,
    replan,
    seconds_left,
)
from pretune.training.schedule import Plan

SHAPE = Shape(warmup_fraction=0.02, decay_fraction=0.4, long_fraction=0.1, tokens_per_step=1000.0, evaluations=10)
PACE = Pace(short_step_seconds=0.1, long_step_seconds=0.3, evaluation_seconds=0.5)


def plan_for(budget: Budget, *, elapsed: float = 0.0, epoch: int = 500_000, pace: Pace = PACE) -> Plan:
    return plan_run(budget, SHAPE, pace, tokens_per_epoch=epoch, elapsed_seconds=elapsed)


def test_tokens_and_epochs_become_steps() -> None:
    assert plan_for(Budget(tokens=250_000)).steps == 250
    assert plan_for(Budget(epochs=2.0)).steps == 1000
    assert plan_for(Budget(epochs=0.5), elapsed=1e6).steps == 250  # whatever the time
    assert plan_for(Budget(tokens=250_000)).tokens_per_step == 1000


@given(st.floats(1, 200), st.floats(0, 30), st.floats(0.01, 1), st.floats(1, 4))
def test_minutes_are_used_up(minutes: float, elapsed: float, step: float, longer: float) -> None:
    pace = Pace(short_step_seconds=step, long_step_seconds=longer * step, evaluation_seconds=0.2)
    try:
        plan = plan_for(Budget(minutes=minutes), elapsed=elapsed, pace=pace)
    except InputDataError:
        assert (minutes * 60 - elapsed - 5) / step < 25 * longer
        return
    expected = elapsed + pace.seconds(plan, SHAPE.evaluations)
    assert expected <= minutes * 60 + longer * step
    assert expected > minutes * 60 - 3 - 3 * longer * step


@given(st.floats(0, 1), st.floats(0.05, 1), st.floats(1, 8))
def test_minutes_are_used_up_whatever_part_has_long_rows(long: float, decay: float, longer: float) -> None:
    """The plan had long rows only within the decay, but was as short as if there were more of them."""
    shape = replace(SHAPE, long_fraction=long, decay_fraction=decay)
    pace = Pace(short_step_seconds=0.05, long_step_seconds=0.05 * longer, evaluation_seconds=0.2)
    plan = plan_run(Budget(minutes=5.0), shape, pace, tokens_per_epoch=500_000, elapsed_seconds=0.0)
    assert pace.seconds(plan, shape.evaluations) == pytest.approx(300, abs=3)


def test_the_pace_of_mixed_rows_is_their_mean() -> None:
    assert PACE.step_seconds(0.0) == 0.1
    assert PACE.step_seconds(0.25) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (Budget(tokens=5000), r"enough for 5 updates of 1,000 tokens.*give --tokens 20000 or more, or a smaller --tok"),
        (Budget(epochs=0.01), r"enough for 5 updates of 1,000 tokens.*give --epochs 0\.1 or more"),
        (
            Budget(minutes=0.15),
            r"0\.15 minutes are enough for 8 updates, but .* 20; give --minutes 0\.3 or more, or a smaller --size\.",
        ),
        (Budget(minutes=0.01), r"enough for 0 updates"),
    ],
)
def test_too_small_a_budget_is_refused(budget: Budget, sentence: str) -> None:
    with pytest.raises(InputDataError, match=sentence) as caught:
        plan_for(budget)
    assert caught.value.exit_code == EXIT_DATA


@given(st.floats(0, 100), st.floats(0.001, 5), st.floats(1, 8), st.integers(1, 10**7))
def test_the_suggested_budget_is_enough(elapsed: float, step: float, longer: float, epoch: int) -> None:
    """As typed on the command line, even if an update with long rows takes many times longer."""
    pace = Pace(short_step_seconds=step, long_step_seconds=longer * step, evaluation_seconds=0.2)
    for budget in (Budget(minutes=0.001), Budget(tokens=100), Budget(epochs=1e-6)):
        with pytest.raises(InputDataError) as caught:
            plan_for(budget, elapsed=elapsed, pace=pace, epoch=epoch)
        [(name, value)] = re.findall(r"give --(\w+) ([\d.]+) or more", str(caught.value))
        kind = int if name == "tokens" else float
        assert plan_for(Budget(**{name: kind(value)}), elapsed=elapsed, pace=pace, epoch=epoch).steps >= 20


def test_the_decay_uses_the_time_that_is_left() -> None:
    plan = plan_for(Budget(minutes=2.0))
    pace = Pace(short_step_seconds=0.1, long_step_seconds=0.1, evaluation_seconds=0.0)
    on_time = replan(plan, 2.0, pace=pace, elapsed_seconds=60.0, training_seconds=0.1 * plan.decay_start_step)
    assert on_time.steps == plan.decay_start_step + int((120 - 60 - 3) / 0.1)
    assert on_time.is_corrected


def test_a_slow_machine_leaves_a_quarter_of_the_decay_and_the_overrun_is_known() -> None:
    """The decay shrank to one update, without which the rate does not fall at all."""
    plan = plan_for(Budget(minutes=2.0))
    pace = Pace(short_step_seconds=0.1, long_step_seconds=0.1, evaluation_seconds=0.0, closing_seconds=7.0)
    done, decay = plan.decay_start_step, plan.steps - plan.decay_start_step
    timed = {"pace": pace, "elapsed_seconds": 300.0, "training_seconds": 0.4 * done}
    slow = replan(plan, 2.0, **timed)  # type: ignore[arg-type]
    assert slow.is_corrected
    assert 0.25 * decay <= slow.steps - done < 0.25 * decay + 1
    expected = 300 - 120 + 0.4 * (slow.steps - done) + 4 * 7.0
    assert overrun_seconds(slow, 2.0, **timed) == pytest.approx(expected)  # type: ignore[arg-type]
    in_time = {"pace": pace, "elapsed_seconds": 60.0, "training_seconds": 0.1 * done}
    assert overrun_seconds(replan(plan, 2.0, **in_time), 2.0, **in_time) == 0.0  # type: ignore[arg-type]


def test_what_is_measured_after_the_last_update_is_within_the_minutes() -> None:
    """The test conversations were read when the time was up."""
    pace = replace(PACE, closing_seconds=30.0)
    plan = plan_for(Budget(minutes=5.0), pace=pace)
    assert pace.seconds(plan, SHAPE.evaluations) == pytest.approx(300, abs=3)
    done = plan.decay_start_step
    pace = Pace(short_step_seconds=0.1, long_step_seconds=0.1, evaluation_seconds=0.0, closing_seconds=30.0)
    slow = replan(plan, 5.0, pace=pace, elapsed_seconds=150.0, training_seconds=0.2 * done)
    assert slow.steps == done + int((300 - 150 - 3 - 60) / 0.2)  # the test is as slow as the updates
    with pytest.raises(InputDataError, match=r"give --minutes 0\.8 or more"):
        plan_for(Budget(minutes=0.1), pace=replace(PACE, closing_seconds=30.0))


def test_a_correction_includes_the_long_rows_at_the_end() -> None:
    """With the mean of the steps so far, all of them short, the plan would be far too long."""
    plan = plan_for(Budget(minutes=2.0))
    assert plan.long_start_step < plan.steps
    pace = Pace(short_step_seconds=0.1, long_step_seconds=0.4, evaluation_seconds=0.0)
    found = replan(plan, 2.0, pace=pace, elapsed_seconds=60.0, training_seconds=0.1 * plan.decay_start_step)
    long_steps = found.steps - found.long_start_step
    seconds = 0.1 * (found.steps - plan.decay_start_step - long_steps) + 0.4 * long_steps
    assert seconds == pytest.approx(120 - 60 - 3, rel=0.02)


def test_a_decay_from_the_first_step_is_not_corrected() -> None:
    plan = replace(plan_for(Budget(minutes=2.0)), decay_start_step=0)
    pace = Pace(short_step_seconds=0.1, long_step_seconds=0.1, evaluation_seconds=0.0)
    assert replan(plan, 2.0, pace=pace, elapsed_seconds=1.0, training_seconds=0.0) == plan


class Clock:
    """A clock that only advances on request."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def items(self, *seconds: float) -> Iterator[None]:
        for each in seconds:
            self.now += each
            yield


def test_the_median_ignores_the_first_item_and_outliers() -> None:
    clock = Clock()
    assert median_seconds(clock.items(50.0, 2.0, 3.0, 100.0, 2.0, 3.0, 2.0), 6, clock) == 3.0


@pytest.mark.parametrize("compiled", [1, 3, 4])
def test_the_median_ignores_items_that_compile(compiled: int) -> None:
    """Several items compile if their shapes differ."""
    clock = Clock()
    assert median_seconds(clock.items(*[30.0] * compiled, *[0.1] * 30), 6, clock) == pytest.approx(0.1)


def test_the_median_ends_even_if_items_keep_getting_faster() -> None:
    clock = Clock()
    assert median_seconds(clock.items(*(2.0**-i for i in range(100))), 6, clock) < 0.1


@pytest.mark.parametrize("budget", [Budget(tokens=19_000), Budget(epochs=0.02), Budget(updates=19)], ids=str)
def test_a_budget_in_updates_is_refused_before_anything_is_timed(budget: Budget) -> None:
    with pytest.raises(InputDataError, match="training needs 20"):
        refuse_too_few_updates(budget, SHAPE, tokens_per_epoch=500_000)


def test_a_budget_in_minutes_can_only_be_judged_later() -> None:
    refuse_too_few_updates(Budget(minutes=0.001), SHAPE, tokens_per_epoch=500_000)
    refuse_too_few_updates(Budget(tokens=20_000), SHAPE, tokens_per_epoch=500_000)


def test_a_large_model_on_a_cpu_is_timed_less_often() -> None:
    assert calibration_steps(large(32_000), "cpu") < calibration_steps(mini(8_192), "cpu")
    assert calibration_steps(large(32_000), "cuda") == calibration_steps(mini(8_192), "cpu")


def test_processes_agree_when_calibration_ends() -> None:
    """A process with steady updates once started to evaluate while another waited for its next update."""
    clock, asked = Clock(), []

    def agree(is_steady: bool) -> bool:
        asked.append(is_steady)
        return len(asked) == 3

    median_seconds(clock.items(*[1.0] * 50), 6, clock, agree=agree)
    assert asked == [True, True, True]


@pytest.mark.parametrize("budget", [Budget(minutes=20.0), Budget(tokens=4_000_000)], ids=str)
@pytest.mark.parametrize("slowdown", [0.7, 1.0, 1.3])
def test_the_time_left_is_accurate_after_a_tenth(budget: Budget, slowdown: float) -> None:
    """Although long rows come last, and the machine is slower than during calibration."""
    plan, minutes = plan_for(budget), budget.minutes
    reported, now, step = [], 0.0, 0
    while step < plan.steps:
        step += 1
        if step > plan.long_start_step:
            now += slowdown * PACE.long_step_seconds
        else:
            now += slowdown * PACE.short_step_seconds
        now += slowdown * PACE.evaluation_seconds * (step % (plan.steps // SHAPE.evaluations) == 0)
        if minutes is not None and step == plan.decay_start_step:
            plan = replan(plan, minutes, pace=PACE, elapsed_seconds=now, training_seconds=now)
        measured = now / PACE.seconds_between(plan, 0, step, SHAPE.evaluations)
        common = {"elapsed_seconds": now, "evaluations": SHAPE.evaluations, "slowdown": measured}
        reported.append((step, now, seconds_left(plan, PACE, step=step, minutes=minutes, **common)))
    for step, at, left in reported:
        if step > plan.steps / 10:
            assert left == pytest.approx(now - at, rel=0.05, abs=2.0)


def test_a_plan_without_long_rows_has_none() -> None:
    plan = plan_run(
        Budget(tokens=10**6), replace(SHAPE, long_fraction=0.0), PACE, tokens_per_epoch=1, elapsed_seconds=0.0
    )
    assert plan.long_start_step == plan.steps
