"""The section of the strategies, from the event in a log to lines for a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.reporting.sections.strategies import render_strategies
from pretune.run_trace.strategies import read_strategies
from pretune.terminal import Page, to_text
from pretune.trace_schema import Strategies

STYLE = {
    "n": 12, "mean_words": 41.2, "empty_fraction": 0.0, "distinct_1": 0.4, "distinct_2": 0.8, "distinct_3": 0.95,
    "repeated_fraction": 0.031, "copied_fraction": 0.25, "longest_shared_words": 17,
}  # fmt: skip


def loss(value: float) -> dict[str, Any]:
    return {"loss": value, "loss_interval": [value - 0.1, value + 0.1], "perplexity": 2.7**value, "seeds": [value]}


def strategy(kind: str, name: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "losses": [loss(value), loss(value + 1)],
        "minutes": 5.0,
        "style": STYLE,
        **more,
    }


EVENT: dict[str, Any] = {
    "event": "strategies",
    "stage": "strategies",
    "budget": "Each strategy had 5 minutes.",
    "base": "The base is runs/novels.",
    "held_out": [
        {"name": "medquad", "conversations": 80, "tokens": 9000},
        {"name": "covid", "conversations": 60, "tokens": 5000},
    ],
    "strategies": [
        strategy("as_is", "as it is", 4.0, style=None),
        strategy("finetuned", "fine-tuned", 3.0, training="Two passes over 900 conversations."),
    ],
    "reference_style": STYLE,
    "verdicts": [
        {
            "between": ["finetuned", "as_is"],
            "metric": "reply_loss",
            "slice": None,
            "difference": 1.0,
            "difference_interval": [0.9, 1.1],
            "p_value": 0.0001,
            "sentence": "Fine-tuning: the loss is lower.",
        }
    ],
    "conclusion": "Best here: fine-tuning.",
    "reason": "The base had not read such text.",
    "coverage": "The intervals cover conversations.",
    "answers": [
        {
            "question": "Is it \x1b[31mcontagious?",
            "replies": [
                {"kind": "reference", "text": "No."},
                {"kind": "finetuned", "text": "It is\nnot."},
                {"kind": "as_is", "text": ""},
            ],
        }
    ],
    "notice": "This is no medical advice.",
}


def read(**changes: Any) -> Strategies:
    found = read_strategies([{**EVENT, **changes}])
    assert found is not None
    return found


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_everything_is_shown_within_the_width(width: int) -> None:
    page = Page(width=width)
    shown = to_text(render_strategies(read(), page), page)
    assert max(map(len, shown.splitlines())) <= width
    for words in ("Best here: fine-tuning.", "4.00", "fine-tuned", "25.0 %", "This is no medical advice.", "(nothing)"):
        assert words in shown
    assert "\x1b" not in shown


def test_the_replies_are_in_the_order_of_the_strategies_and_the_true_one_is_last() -> None:
    page = Page(width=100)
    shown = to_text(render_strategies(read(), page), page)
    places = [shown.index(text) for text in ("contagious?", "(nothing)", "It is not.", "held-out replies  No.")]
    assert places == sorted(places)


def test_a_run_without_strategies_has_none() -> None:
    assert read_strategies([]) is None
    assert read_strategies([{**EVENT, "strategies": [{"kind": "as_is"}]}]) is None


def test_a_torn_style_is_left_out() -> None:
    assert read(reference_style={**STYLE, "mean_words": None}).reference_style is None
    assert read(reference_style=[1, 2]).reference_style is None
