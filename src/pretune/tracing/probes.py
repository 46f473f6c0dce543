"""Layer probes: what a linear classifier can read from the pooled state after each layer, beside two controls.

A probe is a logistic regression on the mean vector of a text after a layer, trained on training rows and measured on
validation rows. It shows what can be decoded there, not what the model uses (Belinkov, 2022, arXiv:2102.12452). The
controls are probes of shuffled labels (Hewitt and Liang, 2019, arXiv:1909.03368), in training and in measuring, and
probes of the same network with random weights, which still tells texts apart by their words.

N rows, L layers, D hidden, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.labelled_rows import LabeledShard
from pretune.inference.classify import Classifier
from pretune.model.transformer import Backbone, backbone_of
from pretune.runtime.randomness import derive_seed, generator
from pretune.trace_schema import LayerProbe
from pretune.tracing.forward import pooled_states

TRAINING_ROWS, TRAINING_TOKENS = 2000, 65_536  # whichever is reached first
VALIDATION_ROWS, VALIDATION_TOKENS = 2000, 32_768
_ITERATIONS, _TOLERANCE = 100, 1e-3  # of L-BFGS; 77 classes need 5 iterations, and are read no better after 23
_SEED = 0

IntArray = npt.NDArray[np.int64]
StateArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FittedProbe:
    """A probe of one layer; all classes are in the order of the model's labels."""

    mean: StateArray  # (D,)
    deviation: StateArray  # (D,)
    regression: Any  # of scikit-learn
    num_classes: int
    validation_accuracy: float
    shuffled_accuracy: float
    random_weights_accuracy: float
    n: int  # validation rows

    def describe(self, state: StateArray) -> LayerProbe:
        """The probabilities for one pooled state (D,), with the accuracies; 0 for a class without training rows."""
        probabilities = np.zeros(self.num_classes)
        given = self.regression.predict_proba(((state - self.mean) / self.deviation)[None])[0]
        probabilities[self.regression.classes_] = given
        return LayerProbe(
            probabilities=probabilities.tolist(),
            validation_accuracy=self.validation_accuracy,
            shuffled_accuracy=self.shuffled_accuracy,
            random_weights_accuracy=self.random_weights_accuracy,
            n=self.n,
        )


@dataclass(frozen=True, kw_only=True)
class ProbeRows:
    """Token ids and labels of the rows that probes are trained on, or measured on."""

    texts: list[list[int]]
    labels: IntArray


def choose_rows(data: LabeledShard, most_rows: int, most_tokens: int) -> ProbeRows:
    """Rows spread evenly over a split: at most `most_rows` of them, and at most about `most_tokens` tokens."""
    mean_length = float(data.lengths.mean()) if len(data) else 1.0
    count = min(len(data), most_rows, max(1, int(most_tokens / max(mean_length, 1.0))))
    rows = np.arange(count) * len(data) // max(count, 1)
    return ProbeRows(texts=[data.text(int(row)).tolist() for row in rows], labels=data.targets.values[rows])


def fit_probes(classifier: Classifier, training: ProbeRows, validation: ProbeRows) -> tuple[FittedProbe, ...] | None:
    """One probe for the embedding (0) and for each layer; None without validation rows or with one class only."""
    if len(set(training.labels.tolist())) < 2 or not len(validation.labels):
        return None
    transformer = classifier.model.transformer
    states, held_out = (pooled_states(transformer, rows.texts) for rows in (training, validation))
    untrained = with_random_weights(transformer)
    random_states, random_held_out = (pooled_states(untrained, rows.texts) for rows in (training, validation))
    shuffled, shuffled_held_out = (
        generator(_SEED, "shuffled labels").permutation(rows.labels) for rows in (training, validation)
    )
    probes = []
    for layer in range(len(states)):
        mean, deviation = _scale_of(states[layer])
        inputs, checked = ((x[layer] - mean) / deviation for x in (states, held_out))
        random_mean, random_deviation = _scale_of(random_states[layer])
        random_inputs, random_checked = (
            (x[layer] - random_mean) / random_deviation for x in (random_states, random_held_out)
        )
        regression = _fit(inputs, training.labels)
        of_random = _fit(random_inputs, training.labels)
        of_shuffled = _fit(inputs, shuffled)
        probes.append(
            FittedProbe(
                mean=mean,
                deviation=deviation,
                regression=regression,
                num_classes=len(classifier.label_names),
                validation_accuracy=_accuracy(regression, checked, validation.labels),
                shuffled_accuracy=_accuracy(of_shuffled, checked, shuffled_held_out),
                random_weights_accuracy=_accuracy(of_random, random_checked, validation.labels),
                n=len(validation.labels),
            )
        )
    return tuple(probes)


@torch.no_grad()
def with_random_weights(transformer: Backbone) -> Backbone:
    """The same network with normal weights, each matrix with the deviation of the trained one, and norms of 1.

    The initial weights of training would not do: they make every layer add nothing.
    """
    random = backbone_of(transformer.config)
    rng = torch.Generator().manual_seed(derive_seed(_SEED, "random weights"))
    trained = dict(transformer.named_parameters())
    for name, parameter in random.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            deviation = float(trained[name].std())
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, deviation, generator=rng))
    return random.to(transformer.embed_tokens.weight.device).eval()


def describe_states(probes: Sequence[FittedProbe] | None, states: Sequence[StateArray]) -> list[LayerProbe | None]:
    """What each layer's probe says about a text's pooled states (D,)."""
    if probes is None:
        return [None] * len(states)
    return [probe.describe(state) for probe, state in zip(probes, states, strict=True)]


def _scale_of(states: StateArray) -> tuple[StateArray, StateArray]:
    return states.mean(0), np.maximum(states.std(0), 1e-6)


def _fit(inputs: StateArray, labels: IntArray) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(max_iter=_ITERATIONS, tol=_TOLERANCE).fit(inputs.astype(np.float64), labels)


def _accuracy(regression: Any, inputs: StateArray, labels: IntArray) -> float:
    return float((regression.predict(inputs.astype(np.float64)) == labels).mean())
