"""The README of a tuned model says on what it was measured."""

from __future__ import annotations

import pytest

from pretune.stages.chat_tuning.model_card import write_card


@pytest.mark.parametrize(
    ("measured_on", "said"),
    [
        ("test", "(900 reply tokens; test):"),
        ("validation", "(900 reply tokens; validation, which also chose the weights):"),
    ],
)
def test_that_validation_chose_the_weights_is_said(measured_on: str, said: str) -> None:
    figures = {
        "measured_on": measured_on, "conversations": 40, "n": 900, "base_loss": 4.0, "loss": 3.0,
        "base_perplexity": 54.6, "perplexity": 20.1, "base_accuracy": 0.2, "accuracy": 0.4,
    }  # fmt: skip
    card = write_card("It began as the base.", figures, num_conversations=300, files=["talks.jsonl"], notice=None)
    assert f"On 40 held-out conversations {said}" in card
