"""How well a model predicts held-out replies, conversation by conversation, and what that says about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Batch
from pretune.scoring.conversation_losses import loss_difference, mean_over_conversations
from pretune.scoring.perplexity import perplexity_of
from pretune.training.objective import Objective
from pretune.training.parallel import Parallel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ReplyLosses:
    """Sums over the reply tokens of each conversation, (C,): losses in nats, correct predictions, and their number."""

    losses: FloatArray
    corrects: IntArray
    counts: IntArray

    @property
    def loss(self) -> float:
        """The mean loss of a token, in nats."""
        return float(self.losses.sum() / self.counts.sum())

    @property
    def accuracy(self) -> float:
        """The fraction of the tokens that are predicted correctly."""
        return float(self.corrects.sum() / self.counts.sum())

    def describe(self) -> dict[str, Any]:
        """Loss, perplexity and accuracy, each with a 95 % interval if there are two conversations or more; `n` tokens.

        The intervals are over conversations, since the tokens of one depend on each other; they are those of
        `pretune evaluate --chat`.
        """
        fields: dict[str, Any] = {
            "loss": self.loss,
            "perplexity": perplexity_of(self.loss),
            "accuracy": self.accuracy,
            "n": int(self.counts.sum()),
            "conversations": len(self.counts),
        }
        if len(self.counts) > 1:
            _, loss = mean_over_conversations(self.losses[None], self.counts)
            _, accuracy = mean_over_conversations(self.corrects[None].astype(np.float64), self.counts, (0.0, 1.0))
            fields["loss_interval"] = list(loss)
            fields["perplexity_interval"] = [perplexity_of(bound) for bound in loss]
            fields["accuracy_interval"] = list(accuracy)
        return fields

    def describe_change(self, before: FloatArray) -> dict[str, Any]:
        """The change of the loss since the losses `before` (C,) of the same conversations, with a paired interval."""
        fields: dict[str, Any] = {"loss_change": float((self.losses - before).sum() / self.counts.sum())}
        if len(self.counts) > 1:
            found = loss_difference(self.losses[None], before[None], self.counts)
            fields["loss_change_interval"] = list(found.interval)
        return fields


@torch.no_grad()
def measure_replies(
    objective: Objective, batches: Sequence[Batch], device: str, parallel: Parallel | None = None
) -> ReplyLosses:
    """The losses of every conversation in some batches, in order; the processes of `parallel` divide the batches.

    A conversation is a document of a row, and the labels of a batch are reply tokens.
    """
    places = [_conversations(batch) for batch in batches]
    firsts = np.cumsum([0] + [count for _, count in places])
    sums = np.zeros((2, firsts[-1]))
    own = enumerate(batches) if parallel is None else parallel.own(batches)
    for number, batch in own:
        found, (of_label, count) = objective(batch.to(device)), places[number]
        assert found.losses is not None and found.is_correct is not None
        for total, values in zip(sums, (found.losses, found.is_correct), strict=True):
            added = np.bincount(of_label, weights=values.double().cpu().numpy(), minlength=count)
            total[firsts[number] : firsts[number + 1]] = added
    if parallel is not None:
        sums = np.array(parallel.sum(sums.ravel().tolist(), "the held-out replies")).reshape(sums.shape)
    counts = np.concatenate([np.bincount(of_label, minlength=count) for of_label, count in places])
    return ReplyLosses(losses=sums[0], corrects=sums[1].astype(np.int64), counts=counts.astype(np.int64))


def _conversations(batch: Batch) -> tuple[IntArray, int]:
    """For each label (M,), the number of its conversation in the batch; and how many conversations have labels."""
    assert batch.positions is not None
    documents = batch.attention.document_ids.cpu().numpy()
    positions = batch.positions.cpu().numpy()
    keys = (positions // documents.shape[1]) * (documents.max() + 1) + documents.reshape(-1)[positions]
    known, of_label = np.unique(keys, return_inverse=True)
    return of_label.astype(np.int64), len(known)
