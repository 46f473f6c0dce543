"""A micro-batch goes in, its loss summed over the labels comes out; the loop divides by the labels of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pretune.compute.device import compile_options
from pretune.data.batch import Batch
from pretune.model.transformer import (
    AttentionHalf,
    Block,
    FeedForwardHalf,
    LanguageModel,
    TaskModel,
    Transformer,
    mean_over_text,
)


@dataclass(frozen=True, kw_only=True)
class LossSum:
    """Sums over the labels of one micro-batch; `weight` is the number of labels, or the sum of their weights. Without
    gradients, a prediction of tokens also has the `losses` (N,) and `is_correct` (N,) of single labels.

    `second` is an additional loss that is trained on, but neither logged nor used to choose weights.
    """

    loss: Tensor
    weight: float
    correct: Tensor
    count: int
    losses: Tensor | None = None
    is_correct: Tensor | None = None
    second: Tensor | None = None

    @property
    def trained(self) -> Tensor:
        """The loss to differentiate."""
        return self.loss if self.second is None else self.loss + self.second


Objective = Callable[[Batch], LossSum]


def predict_tokens_sum(
    hidden: Float[Tensor, "N D"],
    embedding: Float[Tensor, "V D"],
    labels: Int[Tensor, "N"],
    weights: Float[Tensor, "N"] | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy in nats, weighted if there are weights, and number of correct predictions."""
    logits = (hidden.to(dtype) @ embedding.to(dtype).T).float()
    correct = (logits.argmax(-1) == labels).sum()
    if weights is None:
        return F.cross_entropy(logits, labels, reduction="sum"), correct
    return (F.cross_entropy(logits, labels, reduction="none") * weights).sum(), correct


def predict_each_token(
    hidden: Float[Tensor, "N D"], embedding: Float[Tensor, "V D"], labels: Int[Tensor, "N"], dtype: torch.dtype
) -> tuple[Float[Tensor, "N"], Bool[Tensor, "N"]]:
    """The cross-entropy of each label, and whether the prediction is correct."""
    logits = (hidden.to(dtype) @ embedding.to(dtype).T).float()
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == labels


def predict_neighbours_sum(
    hidden: Float[Tensor, "N D"],
    embedding: Float[Tensor, "V D"],
    row_of: Int[Tensor, "N"],
    weights: Float[Tensor, "N"] | None,
    neighbours: Int[Tensor, "B K"],
    dtype: torch.dtype,
) -> Tensor:
    """The mean cross-entropy of the words around a row, predicted from the mean of its vectors (in the rows `row_of`),
    summed over the labels of the rows that have such words.

    Both means are products with a matrix of ones, whose gradients add in a fixed order on every device.
    """
    num_rows, vocab_size = len(neighbours), len(embedding)
    is_of_row = (row_of == torch.arange(num_rows, device=row_of.device)[:, None]).float()  # (B, N)
    num_labels = is_of_row.sum(1) if weights is None else is_of_row @ weights
    means = is_of_row @ hidden.float() / is_of_row.sum(1, keepdim=True).clamp(min=1)
    is_word = (neighbours >= 0).float()
    targets = torch.zeros(num_rows, vocab_size, device=hidden.device)
    targets.scatter_add_(1, neighbours.clamp(min=0), is_word)  # whole numbers, so their order does not matter
    log_probs = (means.to(dtype) @ embedding.to(dtype).T).float().log_softmax(-1)
    losses = -(targets * log_probs).sum(1) / is_word.sum(1).clamp(min=1)
    return (losses * num_labels).sum()


class TokenObjective:
    """Prediction of tokens, masked or next ones, with logits at the positions of labels only; a label counts with its
    weight if the batch has weights.

    With a fifth of the positions masked, the head costs a fifth of what it would cost at all of them.

    Blocks and head are compiled separately: all layers share one compiled block, so compiling is several times faster.
    The embedding is not compiled, because its compiled gradient adds floats in no fixed order.

    The words around the rows of a batch, if it has them, are predicted besides, with `neighbour_weight`.
    """

    def __init__(
        self, model: LanguageModel, dtype: torch.dtype, *, compiled: bool, neighbour_weight: float = 0.0
    ) -> None:
        self.model, self.neighbour_weight = model, neighbour_weight
        self.dtype = dtype
        self.layers = layers_of(model.transformer, compiled=compiled)
        self.head, self.evaluation_head = predict_tokens_sum, predict_each_token
        if compiled:
            options = compile_options(model.lm_head.weight.device.type)
            dynamic = True if _has_varying_labels(model.transformer) else None
            self.head = torch.compile(predict_tokens_sum, dynamic=dynamic, options=options)
            self.evaluation_head = torch.compile(predict_each_token, dynamic=dynamic, options=options)

    def __call__(self, batch: Batch) -> LossSum:
        assert batch.positions is not None
        hidden = self.model.transformer(
            batch.input_ids,
            batch.attention.document_ids,
            batch.attention.is_causal,
            self.dtype,
            batch.positions,
            self.layers,
            batch.attention.spans,
        )
        losses = is_correct = second = None
        inputs = (hidden, self.model.lm_head.weight, batch.labels)
        if torch.is_grad_enabled():
            loss, correct = self.head(*inputs, batch.label_weights, self.dtype)
            if batch.neighbours is not None:
                row_of = batch.positions // batch.input_ids.shape[1]
                weights, words = batch.label_weights, batch.neighbours
                second = predict_neighbours_sum(hidden, self.model.lm_head.weight, row_of, weights, words, self.dtype)
                second = self.neighbour_weight * second
        else:
            losses, is_correct = self.evaluation_head(*inputs, self.dtype)
            counted = losses if batch.label_weights is None else losses * batch.label_weights
            loss, correct = counted.sum(), is_correct.sum()
        count = len(batch.labels)
        return LossSum(
            loss=loss,
            weight=batch.weight,
            correct=correct,
            count=count,
            losses=losses,
            is_correct=is_correct,
            second=second,
        )


LabelLosses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class TaskObjective:
    """The loss of a task on labelled texts, each label weighted by `label_weights` if given.

    `losses` turns the outputs (M, K) at M labels and the labels (M, ...) into the loss of each label (M,) and whether
    it is predicted correctly (M,).
    """

    def __init__(self, model: TaskModel, losses: LabelLosses, dtype: torch.dtype, *, compiled: bool) -> None:
        self.model, self.losses = model, losses
        self.dtype = dtype
        own = model.transformer if isinstance(model.transformer, Transformer) else None
        self.layers = None if own is None else layers_of(own, compiled=compiled)

    def logits(self, batch: Batch) -> Float[Tensor, "M K"]:
        """The outputs for each text, or at the labelled tokens."""
        document_ids, spans = batch.attention.document_ids, batch.attention.spans
        hidden = self.model.transformer(
            batch.input_ids,
            document_ids,
            dtype=self.dtype,
            positions=batch.positions,
            layers=self.layers,
            spans=spans,
        )
        if batch.positions is None:
            hidden = mean_over_text(hidden, document_ids, batch.windows)
        return self.model.classifier(hidden.float())  # some encoders of transformers give bf16

    def __call__(self, batch: Batch) -> LossSum:
        losses, is_correct = self.losses(self.logits(batch), batch.labels)
        if batch.label_weights is not None:
            losses = losses * batch.label_weights
        return LossSum(loss=losses.sum(), weight=batch.weight, correct=is_correct.sum(), count=len(batch.labels))


def layers_of(transformer: Transformer, *, compiled: bool) -> list[tuple[AttentionHalf, FeedForwardHalf]] | None:
    """The two halves of each block, compiled: the layers share the compiled code. None if not `compiled`.

    Positions are picked between the halves, uncompiled: the compiled gradient of that adds in no fixed order. Where
    their number varies, the half after them is compiled once for all numbers: torch compiles few shapes of a function,
    and which of them would depend on where a run was resumed.
    """
    if not compiled:
        return None
    options = compile_options(transformer.embed_tokens.weight.device.type)
    halves = [
        (
            _compiled(Block.attention_half, block, dynamic=False, options=options),
            _compiled(Block.feed_forward_half, block, dynamic=False, options=options),
        )
        for block in transformer.blocks
    ]
    if _has_varying_labels(transformer):
        last = _compiled(_feed_forward_half_of_labels, transformer.blocks[-1], dynamic=True, options=options)
        halves[-1] = (halves[-1][0], last)
    return halves


def _has_varying_labels(transformer: Transformer) -> bool:
    """Whether batches of one shape differ in their number of labels, as those of next tokens do; a fixed number of
    tokens is hidden."""
    return transformer.config.objective != "masked"


def _feed_forward_half_of_labels(block: Block, x: Tensor, heads: Tensor) -> Tensor:
    """A function of its own, since compiled code is found by function."""
    return block.feed_forward_half(x, heads)


def _compiled(
    half: Callable[..., Tensor], block: nn.Module, *, dynamic: bool, options: dict[str, Any] | None
) -> Callable[..., Tensor]:
    return torch.compile(MethodType(half, block), dynamic=dynamic, options=options)
