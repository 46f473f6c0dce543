from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.step_series import MOST_POINTS, read_steps, thin

LOSSES = st.lists(st.none() | st.floats(-10, 10), max_size=300)


@given(LOSSES, st.integers(4, 40))
def test_thinning_keeps_the_ends_the_smallest_and_the_largest(values: list[float | None], most: int) -> None:
    kept = thin(values, most)
    known = [value for value in values if value is not None]
    shown = [value for index in kept if (value := values[index]) is not None]
    assert kept == sorted(set(kept))
    assert len(kept) <= max(most, 0)
    if known:
        assert (min(shown), max(shown)) == (min(known), max(known))
        assert (shown[0], shown[-1]) == (known[0], known[-1])


@given(LOSSES)
def test_short_series_are_kept_whole(values: list[float | None]) -> None:
    assert thin(values, len(values)) == list(range(len(values)))


def test_a_long_log_says_how_many_updates_it_had() -> None:
    events = [{"step": step, "loss": 9.0 - step / 1000, "grad_norm": float("nan")} for step in range(5000)]
    series = read_steps(events)
    assert (series.logged, series.kept) == (5000, len(series.step))
    assert MOST_POINTS / 2 < series.kept <= MOST_POINTS
    assert (series.step[0], series.step[-1]) == (0, 4999)
    assert set(series.grad_norm) == {None}
    assert all(len(column) == series.kept for column in (series.epoch, series.loss, series.learning_rate))


def test_the_speed_is_that_since_the_event_before_it() -> None:
    """Not the mean since the stage began; an evaluation takes time and reads no tokens."""
    logged = [
        ("train", 1000, 60.0),  # a minute passed before the first update
        ("train", 9000, 62.0),
        ("evaluation", 9000, 70.0),
        ("train", 13_000, 71.0),
        ("train", 5000, 75.0),  # after a roll-back
    ]
    events = [
        {"event": kind, "step": step, "loss": 2.0, "tokens": tokens, "elapsed_seconds": seconds}
        for step, (kind, tokens, seconds) in enumerate(logged)
    ]
    series = read_steps(events)
    assert series.step == [0, 1, 3, 4]
    assert series.tokens_per_second == [None, 4000.0, 4000.0, None]
