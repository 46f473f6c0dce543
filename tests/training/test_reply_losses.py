"""Losses are summed by conversation, whatever row it is in, and intervals are over conversations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pretune.data.batch import Attention, Batch
from pretune.scoring.conversation_losses import describe_losses, loss_difference
from pretune.training.objective import LossSum
from pretune.training.reply_losses import ReplyLosses, measure_replies


def batch_of(documents: list[list[int]], positions: list[int]) -> Batch:
    ids = torch.zeros(len(documents), len(documents[0]), dtype=torch.long)
    return Batch(
        input_ids=ids,
        labels=torch.zeros(len(positions), dtype=torch.long),
        positions=torch.tensor(positions),
        attention=Attention(document_ids=torch.tensor(documents), is_causal=torch.ones(len(documents)).bool()),
        num_tokens=ids.numel(),
    )


def objective(batch: Batch) -> LossSum:
    """The loss of a label is its position, and it is correct at even ones."""
    assert batch.positions is not None
    losses, is_correct = batch.positions.float(), batch.positions % 2 == 0
    return LossSum(
        loss=losses.sum(),
        weight=float(len(losses)),
        correct=is_correct.sum(),
        count=len(losses),
        losses=losses,
        is_correct=is_correct,
    )


def test_losses_are_summed_by_conversation() -> None:
    """Two conversations in the first row, one in the second; then one in another batch. -1 is padding."""
    first = batch_of([[0, 0, 1, 1, 1], [2, 2, 2, -1, -1]], [0, 1, 3, 5, 6])
    second = batch_of([[0, 0, 0, 0, 0]], [4])
    found = measure_replies(objective, [first, second], "cpu")
    assert found.losses.tolist() == [0 + 1, 3, 5 + 6, 4]
    assert found.corrects.tolist() == [1, 0, 1, 1]
    assert found.counts.tolist() == [2, 1, 2, 1]
    assert found.loss == pytest.approx(19 / 6)


def test_the_same_document_id_in_two_rows_is_two_conversations() -> None:
    found = measure_replies(objective, [batch_of([[0, 0], [0, 0]], [1, 2])], "cpu")
    assert found.counts.tolist() == [1, 1]


def replies(losses: list[float], counts: list[int]) -> ReplyLosses:
    return ReplyLosses(losses=np.array(losses), corrects=np.array(counts) // 2, counts=np.array(counts))


def test_intervals_are_over_conversations() -> None:
    """Ten equal conversations say no more than their copies: tokens of one depend on each other."""
    narrow = replies([2.0, 4.0] * 50, [2, 2] * 50).describe()
    wide = replies([200.0, 400.0], [200, 200]).describe()
    assert narrow["loss"] == wide["loss"] == 1.5
    assert wide["loss_interval"][0] < 0.6 < 1.39 < narrow["loss_interval"][0] < 1.5
    assert narrow["perplexity_interval"][1] == pytest.approx(math.exp(narrow["loss_interval"][1]))


def test_the_interval_covers_the_mean_of_all_conversations() -> None:
    """In 95 % of draws, up to what 200 draws can tell."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        counts = rng.integers(5, 60, size=80)
        levels = rng.normal(2.0, 0.5, size=80)  # of each conversation
        low, high = replies((levels * counts).tolist(), counts.tolist()).describe()["loss_interval"]
        hits += low <= 2.0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_intervals_are_those_of_an_evaluation() -> None:
    """The same losses of a few conversations, which a normal distribution would make too sure of."""
    found = replies([20.0, 90.0, 35.0, 64.0], [10, 30, 15, 20])
    theirs = describe_losses(found.losses[None], found.counts)
    ours = found.describe()
    assert ours["loss_interval"] == theirs["loss_interval"]
    assert ours["perplexity_interval"] == theirs["perplexity_interval"]
    before = found.losses + np.array([1.0, 5.0, 0.0, 2.0])
    change = loss_difference(found.losses[None], before[None], found.counts)
    assert found.describe_change(before)["loss_change_interval"] == list(change.interval)


def test_the_interval_of_the_accuracy_stays_a_fraction() -> None:
    low, high = replies([1.0, 2.0, 3.0], [2, 40, 2]).describe()["accuracy_interval"]
    assert 0.0 <= low < 0.5 < high <= 1.0
    every = ReplyLosses(losses=np.ones(3), corrects=np.array([4, 4, 4]), counts=np.array([4, 4, 4]))
    assert every.describe()["accuracy_interval"][1] == 1.0


def test_one_conversation_has_no_interval() -> None:
    assert "loss_interval" not in replies([3.0], [2]).describe()


def test_a_change_is_paired() -> None:
    """Conversations differ much, but all of them gain the same."""
    counts = np.array([20, 40, 30] * 10)
    before = np.array([10.0, 200.0, 35.0] * 10)
    found = replies((before - 0.1 * counts).tolist(), counts.tolist()).describe_change(before)
    low, high = found["loss_change_interval"]
    assert found["loss_change"] == pytest.approx(-0.1)
    assert -0.12 < low < -0.1 <= high < -0.07  # no narrower: replicates that are all equal do not show how much varies
