"""From a model and a file of labelled texts to the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import InputDataError
from pretune.inference.load import load_classifier
from pretune.scoring.metrics import summarize
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import read_renaming
from pretune.text.labels.label_text import label_text
from pretune.text.labels.reader import read_labeled
from pretune.text.reading_report import join_names
from pretune.text.seen_texts import SEEN_KINDS, describe_seen, load_seen


def evaluate(
    model: Path | str,
    labels: Path | str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_names: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The figures of `pretune.scoring.metrics.summarize` for the rows of a file, and which rows were read.

    Labels are the model's class names. If the file has none of them but numbers from 0, these are the positions of the
    classes; `label_names` ("0=negative") renames the labels of the file. Rows without a text or a label are left out
    and counted as `skipped`. Raises InputDataError if the file cannot be used or has a label that the model does not
    know, and the errors of `load_classifier`.
    """
    classifier = load_classifier(model)
    rows = read_labeled(labels, text_column, label_column, preferred=classifier.columns)
    usable = [(t, y, n) for t, y, n in zip(rows.texts, rows.labels, rows.lines, strict=True) if clean_text(t) and y]
    if not usable:
        raise InputDataError(f"{labels} has no row with both a text and a label; check the columns.")
    texts = [text for text, _, _ in usable]
    places = [f"{labels}, line {n}" for _, _, n in usable]
    classes = classes_of([y for _, y, _ in usable], places, classifier.label_names, label_names)
    figures = summarize(classes, classifier.predict_probabilities(texts), classifier.label_names)
    seen = {kind: load_seen(classifier.path, kind) for kind in SEEN_KINDS}
    num_seen = {
        kind: None if it is None else int(it.among(list(map(clean_text, texts))).sum()) for kind, it in seen.items()
    }
    return {
        **figures,
        "skipped": len(rows) - len(usable),
        "detected": rows.detected["sentence"],
        "seen": num_seen,
        "seen_sentence": describe_seen(len(texts), num_seen),
    }


def classes_of(
    labels: Sequence[str], places: Sequence[str], names: tuple[str, ...], renaming: tuple[str, ...] = ()
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The class (N,) of each label, as written by `label_text`.

    Raises InputDataError for an unknown label, with its place from `places` (such as file and line).
    """
    renamed = read_renaming(renaming)
    known = {label_text(name): index for index, name in enumerate(names)} | {n: i for i, n in enumerate(names)}
    found = set(labels)
    positions = {str(index): index for index in range(len(names))}
    # Without a 0, the numbers may be stars from 1, which would be off by one as positions.
    if not renamed and not found & known.keys() and "0" in found and found <= positions.keys():
        known = positions
    classes = []
    for label, place in zip(labels, places, strict=True):
        index = known.get(renamed.get(label, label))
        if index is None:
            raise InputDataError(
                f"{place}: the label {label!r} is not one of the model's classes ({join_names(names)}); "
                "correct the labels, rename them with --label-names, or name the column with --label-column."
            )
        classes.append(index)
    return np.array(classes, dtype=np.int64)
