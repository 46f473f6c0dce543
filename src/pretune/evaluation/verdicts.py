"""From the predictions of several models for the same test rows to their figures and the verdict on pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.metrics import accuracy, brier_score, calibration_error, macro_f1, macro_f1_of
from pretune.scoring.uncertainty import (
    Difference,
    accuracy_difference,
    accuracy_over_seeds,
    bootstrap_difference,
    holm,
)

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

LINEAR = ("tfidf", "nbsvm")
MIN_SLICE_ROWS = 20  # a verdict on a smaller slice would be noise


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model of the comparison: the classes (S, N) and probabilities (S, N, C) that its seeds predicted for the same
    N test rows."""

    name: str
    kind: str
    predicted: IntArray
    probabilities: FloatArray


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """The test split: row numbers, true classes (N,), and the slice of each row if the label file names slices."""

    rows: list[int]
    labels: IntArray
    slices: list[str | None]
    num_classes: int

    def mask(self, name: str | None) -> npt.NDArray[np.bool_]:
        """(N,): whether each row is in the slice; every row is for None."""
        return np.array([name is None or s == name for s in self.slices], dtype=np.bool_)

    @property
    def slice_names(self) -> list[str]:
        return sorted({s for s in self.slices if s is not None})


def describe_contender(contender: Contender, test: HeldOutRows) -> dict[str, Any]:
    """The figures of one model as JSON values, averaged over its seeds, and its accuracy on each slice."""
    correct = contender.predicted == test.labels
    mean, interval = accuracy_over_seeds(correct)
    row: dict[str, Any] = {
        "name": contender.name,
        "kind": contender.kind,
        "accuracy": mean,
        "accuracy_interval": list(interval),
        "macro_f1": float(np.mean([macro_f1(test.labels, p, test.num_classes) for p in contender.predicted])),
        "brier_score": float(np.mean([brier_score(test.labels, p) for p in contender.probabilities])),
        "calibration_error": float(np.mean([calibration_error(test.labels, p) for p in contender.probabilities])),
        "seeds": [accuracy(test.labels, predicted) for predicted in contender.predicted],
        "n": len(test.rows),
    }
    if test.slice_names:
        row["slices"] = {name: _describe_slice(correct[:, test.mask(name)]) for name in test.slice_names}
    return row


def _describe_slice(correct: npt.NDArray[np.bool_]) -> dict[str, Any]:
    mean, interval = accuracy_over_seeds(correct)
    return {"n": correct.shape[1], "accuracy": mean, "accuracy_interval": list(interval)}


def judge(contenders: Sequence[Contender], test: HeldOutRows, metric: str = "accuracy") -> list[dict[str, Any]]:
    """Verdicts on the pre-trained model against the from-scratch control and the linear baseline with the best test
    figure, as JSON values.

    The verdicts on all rows come first, then those on each slice with enough rows. If the classes are strongly
    imbalanced, `metric` is "macro_f1" and the verdicts compare that. A difference counts as clear only if neither the
    choice of test rows nor that of seeds is a likely explanation; see
    `pretune.scoring.uncertainty.accuracy_difference`. On slices, a difference must also stay clear after Holm's
    correction for the number of comparisons. Choosing the best baseline by its test figure favours the baseline, which
    errs on the side of caution.
    """
    by_kind = {contender.kind: contender for contender in contenders}
    pretrained = by_kind.get("pretrained")
    if pretrained is None:
        return []
    linear = [by_kind[kind] for kind in LINEAR if kind in by_kind]
    best = max(linear, key=lambda c: _score(c, test, metric).mean(), default=None)
    others = [other for other in (by_kind.get("scratch"), best) if other is not None]
    verdicts = [
        _verdict(pretrained, other, _compare(pretrained, other, test, metric, None), metric) for other in others
    ]
    on_slices = [
        (name, other, _compare(pretrained, other, test, metric, name))
        for name in test.slice_names
        if test.mask(name).sum() >= MIN_SLICE_ROWS
        for other in others
    ]
    corrected = holm([found.p_value for _, _, found in on_slices])
    for (name, other, found), p_value in zip(on_slices, corrected, strict=True):
        verdict = _verdict(pretrained, other, replace(found, p_value=p_value), metric, name, len(on_slices))
        verdicts.append({**verdict, "slice": name, "uncorrected_p_value": found.p_value})
    return verdicts


def describe_coverage(contenders: Sequence[Contender], verdicts: Sequence[dict[str, Any]]) -> str:
    """A sentence on what the intervals cover and what they do not; on slices, also on the correction."""
    num_seeds = [len(contender.predicted) for contender in contenders if contender.kind in ("scratch", "pretrained")]
    if min(num_seeds, default=1) > 1:
        sentence = (
            "The intervals cover the choice of test rows and of fine-tuning seeds; another pre-training run may differ."
        )
    else:
        sentence = (
            "The intervals cover the choice of test rows only; there is one seed, and other fine-tuning or "
            "pre-training runs differ."
        )
    num_corrected = sum("slice" in verdict for verdict in verdicts)
    if num_corrected < 2:
        return sentence
    return (
        f"{sentence} The verdicts on slices are corrected for {num_corrected} comparisons (Holm), "
        "their intervals are not."
    )


def _compare(a: Contender, b: Contender, test: HeldOutRows, metric: str, slice_name: str | None) -> Difference:
    mask = test.mask(slice_name)
    labels, ours, theirs = test.labels[mask], a.predicted[:, mask], b.predicted[:, mask]
    if metric == "macro_f1":
        return _macro_f1_difference(labels, ours, theirs, test.num_classes)
    return accuracy_difference(ours == labels, theirs == labels)


def _verdict(
    a: Contender, b: Contender, found: Difference, metric: str, slice_name: str | None = None, num_corrected: int = 1
) -> dict[str, Any]:
    return {
        "between": [a.kind, b.kind],
        "metric": metric,
        "difference": found.difference,
        "difference_interval": list(found.interval),
        "p_value": found.p_value,
        "sentence": _sentence(found, b, metric, slice_name, num_corrected),
    }


def _sentence(found: Difference, other: Contender, metric: str, slice_name: str | None, num_corrected: int) -> str:
    point, low, high = (write_points(value) for value in (found.difference, *found.interval))
    sign = "+" if found.difference > 0 else ""
    unit = "points" if metric == "accuracy" else "points of macro-F1"
    figures = f"{sign}{point} {unit} (95 % interval {low} to {high})"
    is_control = other.kind == "scratch"
    name = "the same network from scratch" if is_control else other.name
    place = "" if slice_name is None else f" on slice {slice_name!r}"
    if not found.is_clear:
        is_lost = not found.interval[0] <= 0.0 <= found.interval[1]
        correction = f", corrected for {num_corrected} comparisons of slices" if is_lost and num_corrected > 1 else ""
        return f"No clear difference{place}{correction}: {figures} against {name}."
    if found.difference > 0:
        lead = "Pre-training helped" if is_control else f"The pre-trained model beats {name}"
    else:
        lead = "Pre-training hurt" if is_control else f"The pre-trained model is worse than {name}"
    against = "" if not is_control else f" over {name}" if found.difference > 0 else f" against {name}"
    return f"{lead}{place}: {figures}{against}."


def write_points(value: float) -> str:
    """A fraction as percentage points, with a true minus sign: −1.2. One digit, or two or three where fewer would hide
    on which side of zero it lies: −0.03."""
    for digits in (1, 2, 3):
        if rounded := round(100 * value, digits):
            return f"{rounded:.{digits}f}".replace("-", "−")
    return "0.0"


def _score(contender: Contender, test: HeldOutRows, metric: str) -> FloatArray:
    """The figure of each seed (S,)."""
    if metric == "macro_f1":
        return np.array([macro_f1(test.labels, predicted, test.num_classes) for predicted in contender.predicted])
    return np.array([accuracy(test.labels, predicted) for predicted in contender.predicted])


def _macro_f1_difference(labels: IntArray, a: IntArray, b: IntArray, num_classes: int) -> Difference:
    """The difference in macro-F1 of two sets of runs, with a bootstrap that weights the rows alike for every run."""
    classes = np.eye(num_classes)
    true = classes[labels]

    def score_run(weights: FloatArray, predicted: IntArray) -> FloatArray:
        given = classes[predicted]
        return macro_f1_of(weights @ (true * given), weights @ true, weights @ given)

    def score(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        ours, theirs = ([score_run(weights, predicted) for predicted in runs] for runs in (a, b))
        return np.stack(ours, axis=1), np.stack(theirs, axis=1)

    ours, theirs = score(np.ones((1, len(labels))))
    return bootstrap_difference(ours[0], theirs[0], score, len(labels))
