"""From a budget in the user's terms to a plan in steps: made once, from measured seconds, corrected once at most."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pretune.errors import InputDataError
from pretune.training.schedule import Plan, plan_steps

_RESERVE_SECONDS = 2.0  # for what comes after the last step
_CHECKPOINT_SECONDS = 0.5
_MIN_STEPS = 20
CALIBRATION_STEPS = 6  # timed updates of each row length, after a first one that may compile
_WARM = 1.5  # times as long as later items that earlier ones may take once all code is compiled
_MOST_ROUNDS = 4  # of items, after which what still gets faster is taken as it is


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the user is willing to spend: one of wall time, tokens seen, or passes over the text."""

    minutes: float | None = None
    tokens: int | None = None
    epochs: float | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a run is divided: shares of its steps, and its tokens per update."""

    warmup_fraction: float
    decay_fraction: float
    long_fraction: float
    tokens_per_step: float
    evaluations: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Measured seconds: of an update with short rows, of one with long rows, and of an evaluation."""

    short_step_seconds: float
    long_step_seconds: float
    evaluation_seconds: float

    def step_seconds(self, long_fraction: float) -> float:
        """Mean seconds of an update where this share of them has long rows."""
        return (1 - long_fraction) * self.short_step_seconds + long_fraction * self.long_step_seconds

    def seconds(self, plan: Plan, evaluations: int) -> float:
        """Expected seconds of a whole run."""
        long_steps = plan.steps - plan.long_start_step
        stepping = (plan.steps - long_steps) * self.short_step_seconds + long_steps * self.long_step_seconds
        return stepping + evaluations * self.evaluation_seconds + _RESERVE_SECONDS

    def seconds_between(self, plan: Plan, first: int, last: int, evaluations: int) -> float:
        """Expected seconds of the updates after `first` up to `last`, with their share of all `evaluations`."""
        long_steps = max(0, last - max(first, plan.long_start_step))
        stepping = (last - first - long_steps) * self.short_step_seconds + long_steps * self.long_step_seconds
        return stepping + evaluations * self.evaluation_seconds * (last - first) / max(1, plan.steps)


def median_seconds(
    steps: Iterator[object],
    count: int,
    clock: Callable[[], float] | None = None,
    *,
    agree: Callable[[bool], bool] = lambda is_steady: is_steady,
) -> float:
    """Median wall time of `count` items of an iterator in a row that no longer get faster.

    The first items may be spent on compiling, which is not over after one of them if shapes differ. Clocks differ
    between processes that must take equally many steps, so `agree` returns to all of them what one has found.
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
    """The plan that uses up the budget; with minutes, what has passed since the stage began counts.

    Raises InputDataError where the budget is too small for any training.
    """
    if budget.minutes is not None:
        left = budget.minutes * 60 - elapsed_seconds - _RESERVE_SECONDS - 2 * _CHECKPOINT_SECONDS
        left -= shape.evaluations * pace.evaluation_seconds
        steps = int(left / pace.step_seconds(shape.long_fraction))
    else:
        tokens = budget.tokens if budget.tokens is not None else (budget.epochs or 1.0) * tokens_per_epoch
        steps = round(tokens / shape.tokens_per_step)
    if steps < _MIN_STEPS:
        enough = _describe_enough(budget, shape, pace, tokens_per_epoch, elapsed_seconds)
        raise InputDataError(_too_small(budget, shape, steps, enough))
    return plan_steps(
        steps,
        warmup_fraction=shape.warmup_fraction,
        decay_fraction=shape.decay_fraction,
        long_fraction=shape.long_fraction,
        tokens_per_step=round(shape.tokens_per_step),
    )


def replan(plan: Plan, minutes: float, *, pace: Pace, elapsed_seconds: float, training_seconds: float) -> Plan:
    """Move the end of a plan to where the clock allows, at the step where its decay begins.

    `training_seconds` is what the steps so far took, evaluations included. How much longer they took than `pace` said
    is expected of the rest too; the long rows, which come last, cost as much more than short ones as was measured.
    """
    done = plan.decay_start_step
    if not done:  # a rate that falls from the first step on leaves nothing to go by
        return plan
    num_long = max(0, done - plan.long_start_step)
    expected = (done - num_long) * pace.short_step_seconds + num_long * pace.long_step_seconds
    slowdown = training_seconds / expected
    left = minutes * 60 - elapsed_seconds - _RESERVE_SECONDS - 2 * _CHECKPOINT_SECONDS
    rest = plan.steps - done
    long_share = (plan.steps - max(plan.long_start_step, done)) / max(1, rest)
    decay = max(1, int(left / (slowdown * pace.step_seconds(long_share))))
    return plan.with_steps(done + decay)


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
    """Expected seconds from `step` to the end, where everything takes `slowdown` times as long as `pace` says.

    The end of a run that was given in minutes is moved to where the clock says when its decay begins, so until then its
    end is that of the minutes.
    """
    if minutes is not None and not plan.is_corrected and step < plan.decay_start_step:
        until_decay = slowdown * pace.seconds_between(plan, step, plan.decay_start_step, evaluations)
        return max(minutes * 60 - elapsed_seconds, until_decay)
    return slowdown * pace.seconds_between(plan, step, plan.steps, evaluations)


def _describe_enough(budget: Budget, shape: Shape, pace: Pace, tokens_per_epoch: int, elapsed_seconds: float) -> str:
    """The smallest budget of the same kind that is enough, as it is typed."""
    if budget.minutes is not None:
        seconds = elapsed_seconds + shape.evaluations * pace.evaluation_seconds + 2 * _RESERVE_SECONDS
        seconds += _MIN_STEPS * pace.step_seconds(shape.long_fraction) + 2 * _CHECKPOINT_SECONDS
        return f"--minutes {math.ceil(seconds / 6) / 10:.1f}"
    tokens = math.ceil(_MIN_STEPS * shape.tokens_per_step)
    if budget.epochs is not None:
        return f"--epochs {math.ceil(10 * tokens / tokens_per_epoch) / 10:g}"
    return f"--tokens {tokens}"


def _too_small(budget: Budget, shape: Shape, steps: int, enough: str) -> str:
    if budget.minutes is not None:
        return (
            f"{budget.minutes:g} minutes leave room for {max(0, steps)} updates, and training needs {_MIN_STEPS}; "
            f"give {enough} or more, or a smaller --size."
        )
    return (
        f"The budget gives {steps} updates of {shape.tokens_per_step:,.0f} tokens, and training needs at least "
        f"{_MIN_STEPS}; give {enough} or more, or a smaller --tokens-per-step."
    )
