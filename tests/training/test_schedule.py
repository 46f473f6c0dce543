"""The rate rises, stays, falls to zero, and never leaves [0, 1], whatever the plan and its correction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.training.schedule import Plan, plan_steps

Fraction = st.floats(0, 1)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    return plan_steps(
        draw(st.integers(20, 400)),
        warmup_fraction=draw(st.floats(0, 0.3)),
        decay_fraction=draw(Fraction),
        long_fraction=draw(Fraction),
        tokens_per_step=100,
    )


@given(plans())
def test_the_rate_stays_between_zero_and_one(plan: Plan) -> None:
    rates = [plan.rate(step) for step in range(1, plan.steps + 1)]
    assert all(0 < rate <= 1 for rate in rates)
    assert plan.rate(plan.steps + 1) == 0


@given(plans())
def test_it_rises_then_stays_then_falls(plan: Plan) -> None:
    rates = [plan.rate(step) for step in range(1, plan.steps + 1)]
    up, level, down = (
        rates[: plan.warmup_steps],
        rates[plan.warmup_steps : plan.decay_start_step],
        rates[max(plan.warmup_steps, plan.decay_start_step) :],
    )
    assert up == sorted(up)
    assert up[-1] == 1
    assert all(rate == 1 for rate in level)
    assert down == sorted(down, reverse=True)
    assert not down or down[-1] == pytest.approx(1 / (plan.steps - plan.decay_start_step + 1))


def test_warm_up_and_decay_are_straight_lines() -> None:
    plan = plan_steps(100, warmup_fraction=0.1, decay_fraction=0.4, long_fraction=0.1, tokens_per_step=1)
    assert (plan.warmup_steps, plan.decay_start_step, plan.long_start_step) == (10, 60, 90)
    assert [plan.rate(step) for step in (1, 5, 10, 60)] == [0.1, 0.5, 1.0, 1.0]
    assert [plan.rate(step) for step in (61, 80, 100)] == pytest.approx([40 / 41, 21 / 41, 1 / 41])


@given(plans())
def test_long_rows_are_within_the_decay(plan: Plan) -> None:
    assert plan.decay_start_step <= plan.long_start_step <= plan.steps


@given(plans(), st.integers(1, 500))
def test_a_correction_moves_the_end_and_nothing_before_the_decay(plan: Plan, decay: int) -> None:
    moved = plan.with_steps(plan.decay_start_step + decay)
    assert moved.is_corrected
    assert moved.steps == plan.decay_start_step + decay
    assert moved.decay_start_step == plan.decay_start_step
    assert moved.decay_start_step <= moved.long_start_step <= moved.steps
    for step in range(1, plan.decay_start_step + 1):
        assert moved.rate(step) == plan.rate(step)
    assert all(0 < moved.rate(step) <= 1 for step in range(1, moved.steps + 1))
    share = (plan.steps - plan.long_start_step) / (plan.steps - plan.decay_start_step)
    assert moved.steps - moved.long_start_step == pytest.approx(share * decay, abs=0.51)


@given(plans())
def test_a_plan_survives_json(plan: Plan) -> None:
    assert Plan(**plan.to_dict()) == plan


@given(plans())
def test_a_correction_to_the_same_length_changes_nothing_else(plan: Plan) -> None:
    assert {**plan.with_steps(plan.steps).to_dict(), "is_corrected": False} == plan.to_dict()
