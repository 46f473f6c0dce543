"""What a model says of the sentences of unlabelled documents in; soft targets out, from which another one learns.

The sentences of a document often share their class, so what the model says of the others tells something that it cannot
read in the sentence itself. Shapes: N sentences, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pretune.scoring.softmax import softmax

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
CLIP_NATS = 3.0  # how far a class may be below the most probable one: from few labels, a model is too sure of itself
LEAST_AGREEMENT = 0.1  # between a sentence and the others of its document, if these are to count
KEPT_FRACTION = 2 / 3  # of the sentences of each class, those of which the model is surest
_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class PseudoLabels:
    """The indices of the sentences that are kept (R,), in order, and their soft targets (R, C). `agreement` is the
    correlation between the model's scores of a sentence and of the rest of its document; None if no document has two
    sentences."""

    rows: IntArray
    targets: FloatArray
    agreement: float | None

    @property
    def is_smoothed(self) -> bool:
        """Whether the other sentences of a document count."""
        return self.agreement is not None and self.agreement >= LEAST_AGREEMENT

    def describe_agreement(self) -> str:
        """A sentence about the agreement and what follows from it; empty if no document has several sentences."""
        if self.agreement is None:
            return ""
        found = f"{self.agreement:.2f}, so both count"
        if not self.is_smoothed:
            found = f"{self.agreement:.3g}, less than {LEAST_AGREEMENT}, so only the sentence itself counts"
        return f"What it says of a sentence correlates with what it says of the others of its document by {found}."


def make_pseudo_labels(log_probabilities: FloatArray, documents: IntArray, prior: FloatArray) -> PseudoLabels:
    """Targets from log-probabilities (N, C) of sentences of these documents (N,).

    A sentence counts as much as the mean of the others of its document, if they agree at all. The targets are then
    shifted so that their mean is `prior` (C,), the frequencies of the classes in the labelled rows ("distribution
    alignment", arXiv:1911.09785). Finally, the third of the sentences of each class that is least certain is left out;
    the mean of the others may differ from the prior.
    """
    own = clip_scores(log_probabilities)
    others, is_alone = mean_of_others(own, documents)
    agreement = None if is_alone.all() else _correlation(own[~is_alone], others[~is_alone])
    is_smoothed = agreement is not None and agreement >= LEAST_AGREEMENT
    targets = align(own + others if is_smoothed else own, prior)
    rows = surest(targets)
    return PseudoLabels(rows=rows, targets=targets[rows], agreement=agreement)


def clip_scores(log_probabilities: FloatArray) -> FloatArray:
    """Scores (N, C) of mean zero for each sentence, in which no class is more than CLIP_NATS below the best."""
    best = log_probabilities.max(axis=1, keepdims=True)
    clipped = np.maximum(log_probabilities, best - CLIP_NATS)
    return np.asarray(clipped - clipped.mean(axis=1, keepdims=True))


def mean_of_others(scores: FloatArray, documents: IntArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The mean scores (N, C) of the other sentences of each one's document, zero if there are none; and whether so."""
    _, places, counts = np.unique(documents, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), scores.shape[1]))
    np.add.at(sums, places, scores)
    num_others = counts[places] - 1
    means = (sums[places] - scores) / np.maximum(num_others, 1)[:, None]
    is_alone = num_others == 0
    means[is_alone] = 0.0  # without what rounding leaves of a difference
    return means, is_alone


def align(scores: FloatArray, prior: FloatArray) -> FloatArray:
    """Probabilities (N, C) by these scores, with one bias for each class so that their mean is the prior (C,)."""
    wanted = np.maximum(prior, 1e-6) / np.maximum(prior, 1e-6).sum()
    biases = np.zeros(len(wanted))
    for _ in range(_ROUNDS):
        probabilities = softmax(scores + biases)
        step = np.log(wanted) - np.log(np.maximum(probabilities.mean(axis=0), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
        biases += step
    return softmax(scores + biases)


def surest(probabilities: FloatArray) -> IntArray:
    """The indices, in order, of the sentences of each most probable class that have the highest probabilities of it."""
    best, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    kept = []
    for label in range(probabilities.shape[1]):
        rows = np.flatnonzero(predicted == label)
        kept.append(rows[np.argsort(-best[rows], kind="stable")][: round(KEPT_FRACTION * len(rows))])
    return np.sort(np.concatenate(kept))


def _correlation(own: FloatArray, others: FloatArray) -> float:
    """The correlation of two arrays of scores over all sentences and classes; 0 if one of them does not vary."""
    pairs = [(each - each.mean(axis=0)).ravel() for each in (own, others)]
    scale = float(np.sqrt((pairs[0] ** 2).sum() * (pairs[1] ** 2).sum()))
    return float((pairs[0] * pairs[1]).sum()) / scale if scale > 0 else 0.0
