"""The labels that a program expects, read as in training and shown as predictions are, to compare the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pretune.errors import InputDataError
from pretune.inference.classify import Classifier, Text
from pretune.text.labels.label_text import label_text
from pretune.text.labels.python_data import written_label
from pretune.text.labels.scores import PLAIN, detect_number_form, number_of
from pretune.text.labels.several_labels import as_list, read_label_cells


def describe_labels(texts: Sequence[Text], labels: Sequence[Any], classifier: Classifier) -> list[str | None]:
    """Each label as the task of the model shows it, by the rules of `evaluate`; None for a missing label.

    Raises InputDataError for a label that the model does not know, or that is not one of its task.
    """
    task, names = classifier.task, classifier.label_names
    found: list[str | None] = [None] * len(labels)
    try:
        read = _read_labels(labels, classifier)
        known = [place for place, label in enumerate(read) if label is not None]
        places = [f"item {place + 1}" for place in known]
        originals = classifier.labelling.labels
        matched = task.match_labels([read[place] for place in known], places, names, originals=originals)
    except (TypeError, ValueError) as error:
        raise InputDataError(f"The expected labels are not those of the task {task.name}: {error}.") from error
    for place, value in zip(known, matched, strict=True):
        text = texts[place]
        first = text if isinstance(text, str) else text[0]
        found[place] = task.describe(task.from_json(value, names), first, names, names)
    return found


def _read_labels(labels: Sequence[Any], classifier: Classifier) -> list[Any]:
    """The labels in the form that the task compares, as a file of them would be read; None for a missing one."""
    if classifier.task.name == "regression":
        return _read_scores(labels, classifier.columns.get("number_form"))
    written: list[Any] = [label if (label := written_label(each)) != "" else None for each in labels]
    if classifier.task.name == "multilabel":
        separator = classifier.columns.get("label_separator")
        return list(read_label_cells(written, range(1, len(written) + 1), "labels", separator)[0])
    if classifier.task.name == "tokens":  # a cell of a table may have the list as text
        return [label if (items := as_list(label)) is None else written_label(items) for label in written]
    return written


def _read_scores(labels: Sequence[Any], example: str | None) -> list[float | None]:
    """The numbers, None for one that is missing or not finite; `example` is one as the training file writes them.

    Raises ValueError for a word.
    """
    texts = [label for label in labels if isinstance(label, str)]
    form = detect_number_form(texts if example is None else [example])
    if any(number_of(text, form) is None for text in texts):
        form = detect_number_form(texts)
    found: list[float | None] = []
    for place, label in enumerate(labels, 1):
        # Numbers are written with a decimal point, which may stand between groups of digits in the training file.
        number = number_of(label, form) if isinstance(label, str) else number_of(label_text(label), PLAIN)
        if number is None:
            raise ValueError(f"item {place}: {label!r:.60} is not a number")
        found.append(number if math.isfinite(number) else None)
    return found
