"""Which updates are refused, and that a guard restored from a checkpoint decides the same."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.training.guard import PATIENCE, WINDOW_STEPS, Guard


def full_guard(losses: list[float] | None = None) -> Guard:
    """A guard that has seen a whole window: 3, 4, 3, 4, ... nats, and gradients of norm 1 and 2."""
    guard = Guard()
    for step in range(WINDOW_STEPS):
        assert guard.judge(step + 1, (losses or [3.0, 4.0])[step % 2], 1.0 + step % 2) is None
    return guard


@pytest.mark.parametrize(
    ("loss", "grad_norm"), [(math.nan, 1.0), (math.inf, 1.0), (3.0, math.nan), (3.0, math.inf), (-math.inf, 1.0)]
)
def test_values_that_are_not_finite_are_refused_from_the_first_step(loss: float, grad_norm: float) -> None:
    guard = Guard(watches_spikes=False)
    refusal = guard.judge(1234, loss, grad_norm)
    assert refusal is not None
    assert refusal.reason == "not finite"
    assert "step 1,234 was not finite. Skipped this update." in refusal.sentence
    assert guard.losses == guard.grad_norms == []


def test_a_spike_is_six_deviations_above_the_last_128_steps() -> None:
    assert full_guard().judge(129, 3.5 + 6 * 0.5 - 1e-9, 1.5) is None
    refusal = full_guard().judge(129, 3.5 + 6 * 0.5 + 1e-9, 1.5)
    assert refusal is not None
    assert refusal.reason == "spike"
    assert "The loss of step 129 was 6.5; the last 128 steps predicted at most 6.5" in refusal.sentence
    steep = full_guard().judge(129, 3.5, 1.5 + 6 * 0.5 + 1e-9)
    assert steep is not None
    assert steep.sentence.startswith("The gradient norm of step 129 was 4.5")


def test_nothing_is_a_spike_before_the_window_is_full_or_if_spikes_are_not_watched() -> None:
    young, indifferent = Guard(), Guard(watches_spikes=False)
    for step in range(WINDOW_STEPS - 1):
        young.judge(step, 3.0 + step % 2, 1.0)
    for step in range(WINDOW_STEPS):
        indifferent.judge(step, 3.0 + step % 2, 1.0)
    assert young.judge(128, 1e9, 1.0) is None
    assert indifferent.judge(129, 1e9, 1e9) is None


def test_a_fall_is_not_a_spike_nor_a_small_change_of_a_steady_value() -> None:
    assert full_guard().judge(129, 0.0, 0.0) is None
    assert full_guard([3.0, 3.0]).judge(129, 3.17, 1.0) is None
    assert full_guard([3.0, 3.0]).judge(129, 3.19, 1.0) is not None


def test_one_spike_does_not_blind_the_guard_and_a_lasting_change_is_accepted() -> None:
    guard = full_guard()
    assert guard.judge(129, 1e12, 1.5) is not None
    assert max(guard.losses) == pytest.approx(6.5)
    assert guard.judge(130, 8.0, 1.5) is not None
    refused = 0
    for step in range(131, 200):
        refused += guard.judge(step, 12.0, 1.5) is not None
    assert 0 < refused < 20


def test_refusals_in_a_row_are_counted_whatever_their_reason() -> None:
    guard = full_guard()
    for number in range(PATIENCE):
        assert not guard.is_hopeless
        assert guard.judge(129 + number, math.nan if number % 2 else 1e9, 1.5) is not None
    assert guard.is_hopeless
    assert guard.judge(200, 3.5, 1.5) is None
    assert guard.refused_in_a_row == 0


def test_a_new_window_starts_when_rows_become_long() -> None:
    guard = full_guard()
    guard.forget()
    assert guard.judge(129, 100.0, 50.0) is None


VALUES = st.floats(0.0, 20.0) | st.sampled_from([math.nan, math.inf, 1e6])


@given(values=st.lists(st.tuples(VALUES, VALUES), max_size=60), place=st.integers(0, 60))
def test_a_guard_from_a_checkpoint_decides_the_same(values: list[tuple[float, float]], place: int) -> None:
    """The window is written and read with all digits, at any step."""
    whole, resumed = full_guard(), full_guard()
    for step, (loss, norm) in enumerate(values):
        if step == place:
            resumed = Guard(**json.loads(json.dumps(asdict(resumed))))
        assert whole.judge(step, loss, norm) == resumed.judge(step, loss, norm)
    assert asdict(whole) == asdict(resumed)
    assert len(whole.losses) == len(whole.grad_norms) == WINDOW_STEPS
