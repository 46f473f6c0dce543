"""The README of a tuned model says what it has read, which weights were kept, and on what it was measured."""

from __future__ import annotations

import pytest

from pretune.stages.chat_tuning.model_card import TuningSummary, write_card

WHOLE = TuningSummary(steps=60, best_step=60, tokens=90_000, epochs=3.0)


def card_of(summary: TuningSummary = WHOLE, measured_on: str = "test") -> str:
    figures = {
        "measured_on": measured_on, "conversations": 40, "n": 900, "base_loss": 4.0, "loss": 3.0,
        "base_perplexity": 54.6, "perplexity": 20.1, "base_accuracy": 0.2, "accuracy": 0.4,
    }  # fmt: skip
    return write_card("It began.", summary, figures, num_conversations=300, files=["talks.jsonl"], notice=None)


@pytest.mark.parametrize(
    ("measured_on", "said"),
    [
        ("test", "(900 reply tokens; test):"),
        ("validation", "(900 reply tokens; validation, which also chose the weights):"),
    ],
)
def test_that_validation_chose_the_weights_is_said(measured_on: str, said: str) -> None:
    assert f"On 40 held-out conversations {said}" in card_of(measured_on=measured_on)


@pytest.mark.parametrize(
    ("summary", "read", "kept"),
    [
        (
            WHOLE,
            "60 updates read 90,000 tokens of 300 conversations (talks.jsonl), which is 3 passes over",
            "the last one",
        ),
        (
            TuningSummary(steps=2, best_step=1, tokens=3_000, epochs=0.1),
            "2 updates read 3,000 tokens of 300 conversations (talks.jsonl), which is 0.1 passes over",
            "number 1",
        ),
        (
            TuningSummary(steps=20, best_step=20, tokens=30_000, epochs=1.0),
            "which is one pass over them;",
            "the last one",
        ),
    ],
)
def test_what_was_read_and_which_weights_were_kept_is_said(summary: TuningSummary, read: str, kept: str) -> None:
    card = card_of(summary)
    assert read in card
    assert f"The weights are those after {kept}, which had the lowest loss on the validation replies." in card


def test_weights_from_before_training_are_not_called_trained() -> None:
    card = card_of(TuningSummary(steps=20, best_step=0, tokens=30_000, epochs=1.0))
    assert "this model learned nothing from these conversations" in card
    assert "The weights are those after" not in card
