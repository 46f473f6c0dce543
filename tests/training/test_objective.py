"""The loss at masked positions is the cross-entropy of the whole logits there, summed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pretune.training.objective import ClassificationObjective, MaskedObjective, predict_tokens_sum


def test_the_masked_head_is_cross_entropy_of_the_full_logits(make_language_model: Any, draw_masked: Any) -> None:
    model, batch = make_language_model(), draw_masked(5, 13)
    targets = torch.full((60,), -100)
    targets[batch.positions] = batch.labels
    logits = model(batch.input_ids, batch.attention.document_ids)
    expected = F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100, reduction="sum")
    sums = MaskedObjective(model, torch.float32, compiled=False)(batch)
    torch.testing.assert_close(sums.loss, expected, atol=1e-4, rtol=1e-6)
    right = (logits.flatten(0, 1).argmax(-1) == targets).sum()
    assert (sums.weight, sums.count, int(sums.correct)) == (13.0, 13, int(right))
    expected.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sums.loss.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], atol=1e-4, rtol=1e-5)


def test_the_head_computes_the_loss_in_fp32() -> None:
    hidden, embedding = torch.randn(6, 8), torch.randn(20, 8)
    labels = torch.arange(6)
    loss, _ = predict_tokens_sum(hidden, embedding, labels, torch.bfloat16)
    exact, _ = predict_tokens_sum(hidden, embedding, labels, torch.float32)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=0.02)


@pytest.mark.parametrize("is_weighed", [False, True])
def test_labelled_texts_are_weighed(make_classifier: Any, draw_labelled: Any, is_weighed: bool) -> None:
    model, batch = make_classifier(), draw_labelled(7, is_weighed=is_weighed)
    objective = ClassificationObjective(model, torch.float32, compiled=False)
    logits = model(batch.input_ids, batch.attention.document_ids)
    torch.testing.assert_close(objective.logits(batch), logits)
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    weights = batch.label_weights if is_weighed else torch.ones(7)
    sums = objective(batch)
    torch.testing.assert_close(sums.loss, (losses * weights).sum())
    assert sums.weight == pytest.approx(float(weights.sum()))
    assert (sums.count, int(sums.correct)) == (7, int((logits.argmax(-1) == batch.labels).sum()))
