"""The predictions for the test rows in; out come confusions with examples, calibration, and errors by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretune.run_trace.calibration import calibrate
from pretune.run_trace.log_values import rounded, words
from pretune.run_trace.predicted_rows import (
    PredictedRows,
    RowKey,
    TestText,
    find_delivered_predictions,
    read_label_names,
    read_lines,
    read_predictions,
    read_seed,
    read_test_rows,
    read_thresholds,
)
from pretune.run_trace.shown_trial import trial_shown
from pretune.run_trace.task_errors import read_entities, read_label_sets, read_scores
from pretune.scoring.metrics import confusion_matrix
from pretune.scoring.nested_rows import groups_of_lines
from pretune.scoring.uncertainty import accuracy_over_seeds, wilson_interval
from pretune.trace_schema import Phase, Phases, SliceError, TestErrors, TestRow

EXAMPLES_OF_CELL, EXAMPLES = 6, 200
EXAMPLE_CHARACTERS = 500
MOST_PROBABILITIES = 20_000  # rows above which the single probabilities are left out


def read_errors(run: Path, phases: Phases) -> TestErrors | None:
    """The errors of the network on the test rows, without linear models stacked on it, and the calibration of its
    control; None if there are no predictions."""
    if phases.finetune is not None and phases.finetune.metric != "accuracy":
        return _read_task_errors(run, phases.finetune)
    found = find_delivered_predictions(run, _chosen_seed(phases.finetune))
    rows = None if found is None else read_predictions(*found)
    if rows is None:
        return None
    ours = "pretrained"  # or as the comparison calls what has no seed
    if rows.seed is None:
        ours = "student" if phases.finetune is not None and phases.finetune.is_self_trained else "averaged"
    control = read_seed(run, "scratch", _chosen_seed(phases.scratch))
    num_classes = rows.probabilities.shape[1]
    names, texts = read_label_names(run), read_test_rows(run)
    groups = _groups_of(rows, texts)
    calibration = [calibrate(ours, rows, groups)]
    if control is not None:
        is_same = control.row.tolist() == rows.row.tolist()
        calibration.append(calibrate("scratch", control, groups if is_same else _groups_of(control, texts)))
    has_probabilities = num_classes == 2 and len(rows.row) <= MOST_PROBABILITIES
    return TestErrors(
        n=len(rows.row),
        seed=rows.seed,
        labels=names if len(names) == num_classes else [str(label) for label in range(num_classes)],
        confusion=confusion_matrix(rows.label, rows.predicted, num_classes).tolist(),
        calibration=calibration,
        slices=_slices(rows, groups),
        positive_probability=[rounded(float(p)) for p in rows.probabilities[:, 1]] if has_probabilities else [],
        label=rows.label.tolist() if has_probabilities else [],
        examples=_examples(rows, texts),
    )


def _read_task_errors(run: Path, phase: Phase) -> TestErrors | None:
    """The errors of a task beyond one class for a text; None without predictions, or if they are damaged."""
    found = find_delivered_predictions(run, _chosen_seed(phase))
    lines = [] if found is None else read_lines(found[0])
    if found is None or not lines:
        return None
    names, texts = read_label_names(run), read_test_rows(run)
    empty = TestErrors(
        n=len(lines),
        seed=found[1],
        labels=names,
        confusion=[],
        calibration=[],
        slices=[],
        positive_probability=[],
        label=[],
        examples=[],
    )
    try:
        if phase.metric == "micro_f1":
            return replace(empty, label_sets=read_label_sets(lines, names, read_thresholds(run), texts))
        if phase.metric == "pearson":
            return replace(empty, scores=read_scores(lines, texts))
        return replace(empty, entities=read_entities(lines, names, texts))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _chosen_seed(phase: Phase | None) -> int | None:
    trial = None if phase is None else trial_shown(phase)
    return None if trial is None else trial.seed


def _groups_of(rows: PredictedRows, texts: Mapping[RowKey, TestText]) -> npt.NDArray[np.int64] | None:
    """(N,): the groups of rows of which one contains another; None if there are none, or if texts are missing."""
    found = [(number, texts.get((number, 0))) for number in rows.row.tolist()]
    if any(text is None or text.pair is not None for _, text in found):
        return None
    return groups_of_lines([{"row": number, "text": text.text} for number, text in found if text is not None])


def _slices(rows: PredictedRows, groups: npt.NDArray[np.int64] | None) -> list[SliceError]:
    found = []
    for name in sorted({each for each in rows.slices if each is not None}):
        mask = rows.in_slice(name)
        n, wrong = int(mask.sum()), int((~rows.is_right[mask]).sum())
        low, high = wilson_interval(wrong, n)
        if groups is not None:
            _, (lowest, highest) = accuracy_over_seeds(rows.is_right[mask][None], groups[mask])
            low, high = 1 - highest, 1 - lowest
        found.append(SliceError(slice=name, n=n, wrong=wrong, low=rounded(low), high=rounded(high)))
    return found


def _examples(rows: PredictedRows, texts: Mapping[RowKey, TestText]) -> list[TestRow]:
    """Mistakes first, the surest before the others; then right rows of each class. With many classes, the first example
    of each cell comes before the second of any."""
    confidence = rows.probabilities.max(axis=1)
    order = np.lexsort((rows.row, -confidence, rows.is_right))
    ranked, seen = [], Counter[tuple[int, int]]()
    for index in order.tolist():
        cell = int(rows.label[index]), int(rows.predicted[index])
        if seen[cell] < EXAMPLES_OF_CELL and (int(rows.row[index]), 0) in texts:
            ranked.append((bool(rows.is_right[index]), seen[cell], index))
            seen[cell] += 1
    kept = sorted(ranked, key=lambda item: item[:2])[:EXAMPLES]
    by_confidence = sorted((is_right, -confidence[index], index) for is_right, _, index in kept)
    return [
        TestRow(
            row=int(rows.row[index]),
            text=words(texts[int(rows.row[index]), 0].text, EXAMPLE_CHARACTERS) or "",
            text_pair=words(texts[int(rows.row[index]), 0].pair, EXAMPLE_CHARACTERS),
            label=int(rows.label[index]),
            predicted=int(rows.predicted[index]),
            probability=rounded(float(confidence[index])),
            slice=rows.slices[index],
        )
        for _, _, index in by_confidence
    ]
