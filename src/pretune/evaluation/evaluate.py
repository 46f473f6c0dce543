"""From a model and a file of labelled texts to the figures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.inference.load import load_classifier
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.detect_task import Columns
from pretune.text.labels.task_rows import read_task_rows
from pretune.text.seen_texts import SEEN_KINDS, describe_seen, load_seen


def evaluate(
    model: Path | str,
    labels: Path | str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_names: tuple[str, ...] = (),
    stack: bool = True,
) -> dict[str, Any]:
    """The figures of `pretune.scoring.metrics.summarize` for the rows of a file, and which rows were read.

    Labels are the model's class names. If the file has none of them but numbers from 0, these are the positions of the
    classes; `label_names` ("0=negative") renames the labels of the file. Rows without a text or a label are left out
    and counted as `skipped`. Raises InputDataError if the file cannot be used or has a label that the model does not
    know, and the errors of `load_classifier`. Without `stack`, an n-gram model beside the model is not used.
    """
    classifier = load_classifier(model, stack=stack)
    task, names = classifier.task, classifier.label_names
    known = classifier.columns
    rows = read_task_rows(
        labels,
        task="pairs" if classifier.labelling.has_pairs else task.name,
        columns=Columns(text=text_column, label=label_column),
        preferred=Columns(
            text=known.get("text_column"), text_pair=known.get("text_pair_column"), label=known.get("label_column")
        ),
    )
    usable = [
        (t, y, n)
        for t, y, n in zip(rows.texts, rows.labels, rows.lines, strict=True)
        if clean_text(t) and y is not None and y != ""
    ]
    if not usable:
        raise InputDataError(f"{labels} has no row with both a text and a label; check the columns.")
    texts = [text for text, _, _ in usable]
    places = [f"{labels}, line {n}" for _, _, n in usable]
    matched = task.match_labels([y for _, y, _ in usable], places, names, label_names)
    true = task.true_values([{"label": label} for label in matched], names)
    figures = task.figures(true, classifier.predict_outputs(texts), names)
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
