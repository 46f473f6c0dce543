"""From probabilities of labels, of which a row may have several or none, to thresholds and figures.

Shapes: N rows, C labels, G candidate thresholds. Targets are 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.metrics import Counts, macro_f1_of, micro_f1_of, precision_recall_f1
from pretune.scoring.row_statistics import micro_f1_rows, over_seeds

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_CANDIDATES = 1 / (1 + np.exp(-np.linspace(-6.0, 6.0, 241)))  # 0.0025 to 0.9975, evenly spaced as log-odds
_PRIOR_POSITIVES = 20  # as many positive rows of a label count as much as all other labels do
_MOST_ROUNDS = 50  # Dinkelbach's algorithm needs about three


def predict_labels(probabilities: FloatArray, thresholds: FloatArray) -> BoolArray:
    """Whether each label is predicted, (N, C): its probability (N, C) reaches its threshold (C,)."""
    return np.asarray(probabilities >= thresholds)


def count_labels(targets: IntArray, predicted: BoolArray) -> Counts:
    """Hits, support and predictions of each row and label (N, C), for figures of weighted rows."""
    true = np.asarray(targets) > 0
    return Counts(true & predicted, true, predicted)


def choose_thresholds(probabilities: FloatArray, targets: IntArray) -> FloatArray:
    """Thresholds (C,) that give a high micro-F1 on validation rows, with rare labels close to the common threshold.

    For calibrated probabilities, one threshold for all labels has the best expected micro-F1: half of that F1 (Lipton
    et al. 2014, arXiv:1402.1892). Labels of a trained model are calibrated unevenly, so each gets its own. The
    thresholds with the best micro-F1 are found exactly among the candidates by Dinkelbach's algorithm (1967): for a
    given F, each label takes the threshold with the most 2 hits - F predictions, which gives the next F. A label with
    few positive rows would fit their noise (Yang 2001, "A study of thresholding strategies for text categorization"),
    so the counts of all labels together, scaled to 20 positive rows, are added to its own.

    Measured on GoEmotions with one-vs-rest TF-IDF (28 labels): micro-F1 on the test, as the mean over 30 samples of
    the validation rows, and for all of them.

        validation rows                    100     300   1,000   5,426
        one half for every label         0.478   0.478   0.478   0.478
        one common threshold             0.553   0.557   0.559   0.561
        best F1 of each label            0.309   0.445   0.512   0.539
        this rule                        0.548   0.555   0.558   0.560
        the same with log-odds of labels shifted by normal noise of deviation 1:
        one common threshold             0.523   0.529   0.530   0.532
        this rule                        0.534   0.547   0.553   0.557

    Without a positive row, every threshold is 0.5.
    """
    hits, predicted, support = _count_by_threshold(np.asarray(probabilities, dtype=np.float64), np.asarray(targets))
    total = support.sum()
    if total == 0:
        return np.full(probabilities.shape[1], 0.5)
    weight = _PRIOR_POSITIVES / total
    pooled = weight * hits.sum(axis=1, keepdims=True), weight * predicted.sum(axis=1, keepdims=True)
    common = micro_f1_of(hits, support, predicted)
    labels, best = np.arange(len(support)), float(common.max())
    chosen = np.full(len(support), int(common.argmax()))
    for _ in range(_MOST_ROUNDS):
        chosen = (2 * (hits + pooled[0]) - best * (predicted + pooled[1])).argmax(axis=0)
        reached = float(micro_f1_of(hits[chosen, labels], support, predicted[chosen, labels]))
        if abs(reached - best) < 1e-12:
            break
        best = reached
    return _CANDIDATES[chosen]


def log_loss(targets: IntArray, probabilities: FloatArray) -> float:
    """The binary cross-entropy of probabilities (N, C), summed over the labels, in nats per row: as training does."""
    epsilon = np.finfo(np.float64).eps
    given = np.clip(np.asarray(probabilities, dtype=np.float64), epsilon, 1 - epsilon)
    return float(-np.log(np.where(np.asarray(targets) > 0, given, 1 - given)).sum(axis=1).mean())


def average_precision(targets: IntArray, scores: FloatArray) -> float:
    """The average precision of one label's scores (N,): precision at each score, weighted by the recall it adds.

    It needs no threshold. It is 0 if no row has the label.
    """
    scores, true = np.asarray(scores), np.asarray(targets) > 0
    order = np.argsort(-scores, kind="stable")
    last_of_value = np.append(np.diff(scores[order]) != 0, True)  # rows with equal scores enter together
    hits = np.cumsum(true[order])[last_of_value]
    if not true.any():
        return 0.0
    precision = hits / (np.flatnonzero(last_of_value) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def summarize_labels(
    targets: IntArray,
    probabilities: FloatArray,
    thresholds: FloatArray,
    names: Sequence[str],
    groups: IntArray | None = None,
) -> dict[str, Any]:
    """All figures of one set of predictions as JSON values, with an interval at 95 % for micro-F1.

    Macro-F1 and mean average precision are means over labels: macro-F1 over those that are true or predicted for some
    row, mean average precision over those that are true for some row. If `groups` (N,) numbers the groups of rows that
    are not independent, the interval is over groups. Raises ValueError if there are no rows.
    """
    if len(targets) == 0:
        raise ValueError("no rows to evaluate")
    predicted = predict_labels(probabilities, thresholds)
    by_row = count_labels(targets, predicted)
    counts = Counts(*(part.sum(axis=0) for part in by_row))
    by_label = precision_recall_f1(counts)
    micro = precision_recall_f1(Counts(*(np.asarray(part.sum()) for part in counts)))
    ranked = [average_precision(targets[:, c], probabilities[:, c]) for c in range(len(names))]
    occurring = [value for value, support in zip(ranked, counts.support, strict=True) if support > 0]
    wrong = by_row.support != predicted
    return {
        "n": len(targets),
        "micro_f1": float(micro[2]),
        "micro_f1_interval": list(over_seeds([micro_f1_rows(by_row).over(groups)])[1]),
        "micro_precision": float(micro[0]),
        "micro_recall": float(micro[1]),
        "macro_f1": float(macro_f1_of(*counts)),
        "subset_accuracy": float(np.mean(~wrong.any(axis=1))),
        "hamming_loss": float(wrong.mean()),
        "loss": log_loss(targets, probabilities),
        "mean_average_precision": float(np.mean(occurring)) if occurring else 0.0,
        "labels_per_row": float(by_row.support.sum(axis=1).mean()),
        "predicted_per_row": float(predicted.sum(axis=1).mean()),
        "labels": [
            {
                "label": name,
                "precision": float(by_label[0][c]),
                "recall": float(by_label[1][c]),
                "f1": float(by_label[2][c]),
                "support": int(counts.support[c]),
                "predicted": int(counts.predicted[c]),
                "threshold": float(thresholds[c]),
                "average_precision": ranked[c],
            }
            for c, name in enumerate(names)
        ],
    }


def _count_by_threshold(probabilities: FloatArray, targets: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Hits and predictions of each label at each candidate threshold (G, C), and its positive rows (C,)."""
    num_labels, num_places = probabilities.shape[1], len(_CANDIDATES) + 1
    reached = np.searchsorted(_CANDIDATES, probabilities, side="right")  # how many thresholds a probability reaches
    cells = (reached + np.arange(num_labels) * num_places).ravel()
    tables = [
        np.bincount(cells, weights=weights, minlength=num_labels * num_places).reshape(num_labels, num_places)
        for weights in (targets.ravel() > 0, None)
    ]
    hits, predicted = (np.cumsum(table[:, ::-1], axis=1)[:, ::-1][:, 1:].T.astype(np.float64) for table in tables)
    return hits, predicted, (targets > 0).sum(axis=0).astype(np.float64)
