"""The n-gram model that is stacked on an encoder: trained, judged on validation, and kept as two files beside it.

Shapes: N rows, V n-grams, C classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import CorruptModelError
from pretune.runtime.atomic import write_json
from pretune.scoring.baselines import TextRows, train_nbsvm
from pretune.scoring.ngram_model import NgramModel
from pretune.scoring.stack import Stack, crossfit, fit_stack

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

STACK_NAME, NGRAMS_NAME = "stack.json", "stack.safetensors"
STACK_PREDICTIONS = "stack.jsonl"  # of the test rows, in the predictions of a finetune folder
MOST_NGRAMS = 200_000  # of the largest weights: about 4 MB for two classes
_MODELS = ["encoder", "nbsvm"]


@dataclass(frozen=True, kw_only=True)
class StackedDecision:
    """The combination for one text: probabilities (C,), what the encoder, NB-SVM and the biases add to the logits,
    (3, C), and what each known n-gram of the text adds to NB-SVM's, (G, C)."""

    probabilities: FloatArray
    parts: FloatArray
    ngrams: tuple[str, ...]
    added: FloatArray


@dataclass(frozen=True, kw_only=True)
class StackedModel:
    """NB-SVM with the weights by which it and the encoder are combined; `validation` has the figures of both."""

    ngram_model: NgramModel
    stack: Stack
    validation: dict[str, Any] = field(default_factory=dict)

    @property
    def is_better(self) -> bool:
        """Whether the log-loss on validation is lower than that of the encoder, with a weight and biases of its own, by
        more than a standard error."""
        return bool(self.validation["loss_difference"] < -self.validation["loss_difference_standard_error"])

    def decide(self, log_probabilities: FloatArray, text: str) -> StackedDecision:
        """The combination for one cleaned text, for which the encoder has these log-probabilities (C,)."""
        scores = [log_probabilities[None], self.ngram_model.score([text])]
        parts = self.stack.parts(scores)[:, 0]
        found = self.ngram_model.find(text)
        added = self.stack.weights[1] * self.ngram_model.weights[found]
        return StackedDecision(
            probabilities=np.exp(self.stack.combine(scores)[0]),
            parts=parts,
            ngrams=tuple(self.ngram_model.ngrams[index] for index in found),
            added=np.asarray(added - added.mean(axis=1, keepdims=True), dtype=np.float64),
        )

    def describe(self) -> str:
        """A sentence on the figures on validation, and on what follows from them."""
        v = self.validation
        compared = (
            f"from {v['loss_encoder']:.3g} to {v['loss_stack']:.3g} nats (standard error of the difference "
            f"{v['loss_difference_standard_error']:.2g}), the accuracy from {100 * v['accuracy_encoder']:.1f} to "
            f"{100 * v['accuracy_stack']:.1f} %"
        )
        sentence = f"With NB-SVM, the loss over {v['rows']:,} validation rows goes {compared}, cross-fitted"
        if self.is_better:
            return f"{sentence}: predictions combine both; --no-stack leaves NB-SVM out."
        return f"{sentence}: not clearly better, so predictions use the fine-tuned model alone."

    def combine(self, log_probabilities: FloatArray, texts: Sequence[str]) -> FloatArray:
        """Log-probabilities (N, C) of the combination, from the encoder's and the cleaned texts."""
        return self.stack.combine([log_probabilities, self.ngram_model.score(texts)])


def train_stacked(
    train: TextRows, validation: TextRows, log_probabilities: FloatArray, *, is_imbalanced: bool = False
) -> StackedModel:
    """Train NB-SVM on `train`, and fit the weights on the validation rows, for which the encoder has these
    log-probabilities (N, C).

    The figures of the combination, and of the encoder with a weight and biases alone, are cross-fitted over the
    validation rows, since weights look better on the rows that they were fitted on.
    """
    num_classes = log_probabilities.shape[1]
    ngram_model, chosen = train_nbsvm(train, validation, num_classes, is_imbalanced=is_imbalanced)
    ngram_model = ngram_model.keep_largest(MOST_NGRAMS)
    scores, labels = ngram_model.score(validation.texts), validation.labels
    stack = fit_stack([log_probabilities, scores], labels)
    alone, both = crossfit([log_probabilities], labels), crossfit([log_probabilities, scores], labels)
    rows = np.arange(len(labels))
    differences = alone[rows, labels] - both[rows, labels]
    found = {
        "rows": len(labels),
        "loss_encoder": float(-alone[rows, labels].mean()),
        "loss_stack": float(-both[rows, labels].mean()),
        "loss_difference": float(differences.mean()),
        "loss_difference_standard_error": float(differences.std() / math.sqrt(len(labels))),
        "accuracy_encoder": float((alone.argmax(axis=1) == labels).mean()),
        "accuracy_stack": float((both.argmax(axis=1) == labels).mean()),
        "nbsvm": chosen,
    }
    return StackedModel(ngram_model=ngram_model, stack=stack, validation=found)


def save_stacked(folder: Path, stacked: StackedModel) -> None:
    """Write `stack.json` and `stack.safetensors` into a folder, of a model that is being committed."""
    from safetensors.numpy import save_file

    model, stack = stacked.ngram_model, stacked.stack
    text = "\n".join(model.ngrams).encode()  # an n-gram has no line break
    tensors: dict[str, npt.NDArray[Any]] = {
        "ngrams": np.frombuffer(text, dtype=np.uint8),
        "weights": np.ascontiguousarray(model.weights),
        "bias": np.ascontiguousarray(model.bias),
    }
    save_file(tensors, folder / NGRAMS_NAME)
    fields = {
        "models": _MODELS,
        "weights": stack.weights.tolist(),
        "bias": stack.bias.tolist(),
        "ngrams": len(model.ngrams),
        "validation": stacked.validation,
    }
    write_json(folder / STACK_NAME, fields)


def load_stacked(folder: Path, num_classes: int) -> StackedModel | None:
    """The stacked model in a model folder; None if it has none.

    Raises CorruptModelError if one of its files is missing or damaged, or belongs to a model with other classes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / STACK_NAME).is_file() and not (folder / NGRAMS_NAME).is_file():
        return None
    try:
        fields = json.loads((folder / STACK_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / NGRAMS_NAME)
        stack = Stack(np.array(fields["weights"], dtype=np.float64), np.array(fields["bias"], dtype=np.float64))
        ngrams = tuple(tensors["ngrams"].tobytes().decode().split("\n"))
        model = NgramModel(ngrams, tensors["weights"], tensors["bias"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CorruptModelError(
            f"{folder} has a damaged {STACK_NAME} or {NGRAMS_NAME} ({error}); restore both from a copy, or delete "
            "both to predict with the encoder alone."
        ) from error
    shapes = (stack.weights.shape, stack.bias.shape, model.weights.shape, model.bias.shape)
    if shapes != ((len(_MODELS),), (num_classes,), (len(ngrams), num_classes), (num_classes,)):
        raise CorruptModelError(
            f"{folder / STACK_NAME} belongs to another model: its shapes are {shapes}, but this one has {num_classes} "
            "classes; restore it from the same copy."
        )
    return StackedModel(ngram_model=model, stack=stack, validation=fields.get("validation", {}))
