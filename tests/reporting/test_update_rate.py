from __future__ import annotations

from typing import Any

from pretune.reporting.update_rate import UpdateRate


def rate_of(*events: tuple[str, float, int]) -> float | None:
    """The rate after events, each a kind, a time in seconds and the number of tokens so far."""
    rate = UpdateRate()
    for kind, time, tokens in events:
        event: dict[str, Any] = {
            "event": kind,
            "stage": "pretrain",
            "time": time,
            "step": tokens // 100,
            "tokens": tokens,
        }
        rate.follow(event)
    return rate.per_second()


def test_the_rate_is_without_evaluations() -> None:
    """With a validation of 11 s among them, updates of 1,000 tokens/s looked like some of 231."""
    events = ("train", 1.0, 1000), ("train", 2.0, 2000), ("evaluation", 13.0, 2000), ("train", 16.0, 3000)
    assert rate_of(*events[:3]) is None
    assert rate_of(*events) is None  # a checkpoint was saved before this update
    assert rate_of(*events, ("train", 17.0, 4000)) == 1000


def test_the_rate_is_without_the_first_update_which_may_be_compiled() -> None:
    start = ("evaluation", 0.0, 0), ("train", 60.0, 1000)
    assert rate_of(*start) is None
    assert rate_of(*start, ("train", 61.0, 2000)) == 1000
