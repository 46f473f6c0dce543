"""A budget and measured seconds go in, a plan in steps comes out; it is corrected at most once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pretune.errors import InputDataError
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.training.schedule import Plan, plan_steps

_RESERVE_SECONDS = 2.0  # for the work after the last step
_CHECKPOINT_SECONDS = 0.5
MIN_STEPS = 20
_CALIBRATION_STEPS = 6  # timed updates of each row length, after a first one that may compile
_FEW_CALIBRATION_STEPS = 2  # if each of them takes long
_WARM = 1.5  # once all code is compiled, earlier items take at most so many times as long as later ones
_LEAST_DECAY = 0.25  # of the planned decay: the gain of a decay is in its length, not in the last update
_MOST_ROUNDS = 4  # stop measuring after so many rounds of items, even if they still get faster


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the user is willing to spend, given as one of wall time, tokens, passes over the text, or updates."""

    minutes: float | None = None
    tokens: int | None = None
    epochs: float | None = None
    updates: int | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a run is divided: fractions of its steps, and its tokens per update.

    `smaller` is the option with which an update becomes smaller. With `has_whole_epochs`, the stage takes whole passes
    only.
    """

    warmup_fraction: float
    decay_fraction: float
    long_fraction: float
    tokens_per_step: float
    evaluations: int
    faster: str = "--size"  # the option with which an update takes less time
    smaller: str = "--tokens-per-step"
    has_whole_epochs: bool = False


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Measured seconds: of an update with short rows, of one with long rows, of an evaluation, and of what else is
    measured after the last update."""

    short_step_seconds: float
    long_step_seconds: float
    evaluation_seconds: float
    closing_seconds: float = 0.0

    def step_seconds(self, long_fraction: float) -> float:
        """Mean seconds of an update if this fraction of the updates has long rows."""
        return (1 - long_fraction) * self.short_step_seconds + long_fraction * self.long_step_seconds

    def steps_in(self, minutes: float) -> int:
        """The updates with short rows that take this time, at least one."""
        return max(1, round(60 * minutes / self.short_step_seconds))

    def seconds(self, plan: Plan, evaluations: int) -> float:
        """Expected seconds of a whole run."""
        long_steps = plan.steps - plan.long_start_step
        stepping = (plan.steps - long_steps) * self.short_step_seconds + long_steps * self.long_step_seconds
        return stepping + evaluations * self.evaluation_seconds + self.closing_seconds + _RESERVE_SECONDS

    def seconds_between(self, plan: Plan, first: int, last: int, evaluations: int) -> float:
        """Expected seconds of the updates after `first` up to `last`, with their fraction of all `evaluations`."""
        long_steps = max(0, last - max(first, plan.long_start_step))
        stepping = (last - first - long_steps) * self.short_step_seconds + long_steps * self.long_step_seconds
        return stepping + evaluations * self.evaluation_seconds * (last - first) / max(1, plan.steps)


def calibration_steps(model: ModelConfig, device: str) -> int:
    """Updates to time before the plan is made."""
    return _FEW_CALIBRATION_STEPS if cost.is_slow(model, device) else _CALIBRATION_STEPS


def median_seconds(
    steps: Iterator[object],
    count: int,
    clock: Callable[[], float] | None = None,
    *,
    agree: Callable[[bool], bool] = lambda is_steady: is_steady,
) -> float:
    """Median wall time of `count` consecutive items of an iterator, once they no longer get faster.

    The first items may be spent on compiling, more than one of them if shapes differ. Processes must take the same
    number of steps although their clocks differ, so `agree` returns one process's finding to all of them.
    """
    next(steps)
    clock, seconds = clock or time.monotonic, list[float]()
    while len(seconds) < _MOST_ROUNDS * count:
        start = clock()
        next(steps)
        seconds.append(clock() - start)
        latest = seconds[-count:]
        if len(latest) == count and agree(_median(latest[: count // 2]) <= _WARM * _median(latest[count // 2 :])):
            break
    return _median(latest)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def plan_run(budget: Budget, shape: Shape, pace: Pace, *, tokens_per_epoch: int, elapsed_seconds: float) -> Plan:
    """The plan that uses up the budget. A budget in minutes includes the time since the stage began.

    Raises InputDataError if the budget is too small for any training.
    """
    if budget.minutes is not None:
        left = budget.minutes * 60 - elapsed_seconds - _RESERVE_SECONDS - 2 * _CHECKPOINT_SECONDS
        left -= shape.evaluations * pace.evaluation_seconds + pace.closing_seconds
        steps = int(left / pace.step_seconds(_planned_long_fraction(shape)))
    elif budget.updates is not None:
        steps = budget.updates
    else:
        tokens = budget.tokens if budget.tokens is not None else (budget.epochs or 1.0) * tokens_per_epoch
        steps = round(tokens / shape.tokens_per_step)
    if steps < MIN_STEPS:
        enough = _describe_enough(budget, shape, pace, tokens_per_epoch, elapsed_seconds)
        raise InputDataError(_too_small(budget, shape, steps, enough))
    return plan_steps(
        steps,
        warmup_fraction=shape.warmup_fraction,
        decay_fraction=shape.decay_fraction,
        long_fraction=shape.long_fraction,
        tokens_per_step=round(shape.tokens_per_step),
    )


def _planned_long_fraction(shape: Shape) -> float:
    """The fraction of the updates that has long rows in a plan, where they are all within the decay."""
    return min(shape.long_fraction, shape.decay_fraction)


def refuse_too_few_updates(budget: Budget, shape: Shape, *, tokens_per_epoch: int) -> None:
    """Raise InputDataError, before anything is timed, if a budget that is not given in minutes is too small."""
    if budget.minutes is None:
        no_time = Pace(short_step_seconds=0.0, long_step_seconds=0.0, evaluation_seconds=0.0)
        plan_run(budget, shape, no_time, tokens_per_epoch=tokens_per_epoch, elapsed_seconds=0.0)


def describe_budget(budget: Budget, plan: Plan) -> dict[str, Any]:
    """The budget as given, and the tokens that the plan reaches with it."""
    given = {name: value for name, value in vars(budget).items() if value is not None}
    return {"budget": given, "tokens": plan.steps * plan.tokens_per_step}


def replan(plan: Plan, minutes: float, *, pace: Pace, elapsed_seconds: float, training_seconds: float) -> Plan:
    """Move the end of a plan to fit the time that is left when its decay begins.

    `training_seconds` is the time of the steps so far, evaluations included. Its ratio to the time expected by `pace`
    is applied to the rest as well; long rows, which come last, are expected at their own measured pace. A quarter of
    the planned decay is kept even if that takes longer than the time that is left; see `overrun_seconds`.
    """
    done = plan.decay_start_step
    if not done:  # no step has been timed if the rate falls from the first one
        return plan
    slowdown = _slowdown(plan, pace, training_seconds)
    left = minutes * 60 - elapsed_seconds - _RESERVE_SECONDS - 2 * _CHECKPOINT_SECONDS
    left -= slowdown * pace.closing_seconds
    rest = plan.steps - done
    long_fraction = (plan.steps - max(plan.long_start_step, done)) / max(1, rest)
    decay = int(left / (slowdown * pace.step_seconds(long_fraction)))
    return plan.with_steps(done + max(1, math.ceil(_LEAST_DECAY * rest), decay))


def overrun_seconds(
    plan: Plan, minutes: float, *, pace: Pace, elapsed_seconds: float, training_seconds: float
) -> float:
    """By how much a plan that was corrected when its decay began is expected to exceed its minutes; 0 if it fits."""
    seconds = pace.seconds_between(plan, plan.decay_start_step, plan.steps, 0) + pace.closing_seconds
    end = elapsed_seconds + _slowdown(plan, pace, training_seconds) * seconds
    return max(0.0, end - minutes * 60)


def _slowdown(plan: Plan, pace: Pace, training_seconds: float) -> float:
    """How many times as long as expected the steps before the decay took."""
    return training_seconds / pace.seconds_between(plan, 0, plan.decay_start_step, 0)


def seconds_left(
    plan: Plan,
    pace: Pace,
    *,
    step: int,
    elapsed_seconds: float,
    evaluations: int,
    slowdown: float,
    minutes: float | None,
) -> float:
    """Expected seconds from `step` to the end if everything takes `slowdown` times as long as `pace` says.

    A run with a budget in minutes is corrected when its decay begins; until then it is expected to end on time.
    """
    if minutes is not None and not plan.is_corrected and step < plan.decay_start_step:
        until_decay = slowdown * pace.seconds_between(plan, step, plan.decay_start_step, evaluations)
        return max(minutes * 60 - elapsed_seconds, until_decay)
    return slowdown * pace.seconds_between(plan, step, plan.steps, evaluations)


def _describe_enough(budget: Budget, shape: Shape, pace: Pace, tokens_per_epoch: int, elapsed_seconds: float) -> str:
    """The smallest sufficient budget of the same kind, as an option of the command line."""
    if budget.minutes is not None:
        seconds = elapsed_seconds + shape.evaluations * pace.evaluation_seconds + 2 * _RESERVE_SECONDS
        seconds += pace.closing_seconds
        seconds += MIN_STEPS * pace.step_seconds(_planned_long_fraction(shape)) + 2 * _CHECKPOINT_SECONDS
        return f"--minutes {math.ceil(seconds / 6) / 10:.1f}"
    if budget.updates is not None:
        return f"--updates {MIN_STEPS}"
    tokens = math.ceil(MIN_STEPS * shape.tokens_per_step)
    if budget.epochs is not None:
        parts = 1 if shape.has_whole_epochs else 10  # of a pass, to which the advice is rounded up
        return f"--epochs {math.ceil(parts * tokens / tokens_per_epoch) / parts:g}"
    return f"--tokens {tokens}"


def _too_small(budget: Budget, shape: Shape, steps: int, enough: str) -> str:
    if budget.minutes is not None:
        return (
            f"{budget.minutes:g} minutes are enough for {max(0, steps)} updates, but training needs {MIN_STEPS}; "
            f"give {enough} or more, or a smaller {shape.faster}."
        )
    return (
        f"The budget is enough for {steps} updates of {shape.tokens_per_step:,.0f} tokens, but training needs "
        f"{MIN_STEPS}; give {enough} or more, or a smaller {shape.smaller}."
    )
