"""From a model and a file of labelled texts to the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, UsageError
from pretune.inference.classify import Classifier, Text
from pretune.inference.load import ModelPlace, load_classifier
from pretune.scoring.nested_rows import groups_of_lines
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import read_renaming
from pretune.text.labels.detect_task import Columns
from pretune.text.labels.task_rows import TaskRows, read_task_rows
from pretune.text.seen_texts import SEEN_KINDS, SeenTexts, describe_seen, kinds_in_part, load_seen


def evaluate(
    model: ModelPlace | Classifier,
    labels: Path | str,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    label_names: tuple[str, ...] = (),
    stack: bool = True,
) -> dict[str, Any]:
    """The figures of `pretune.scoring.metrics.summarize` for the rows of a file, and which rows were read.

    Labels are the model's class names, or the labels of its training file. If the file has none of them but numbers
    from 0, these are the positions of the classes, and `detected` says so; `label_names` ("0=negative") renames the
    labels of the file, or names its numbered tags ("1=B-PER"). Rows without a text or a label, and rows that do not
    parse, are left out and counted as `skipped`; `warnings` are sentences about how the file was read. Raises
    InputDataError if the file cannot be used or has a label that the model does not know, UsageError for new names of
    scores, and the errors of `load_classifier`. Without `stack`, linear models stacked on it are not used.
    """
    classifier = model if isinstance(model, Classifier) else load_classifier(model, stack=stack, on_gpu=True)
    task, names = classifier.task, classifier.label_names
    if label_names and task.name == "regression":
        raise UsageError(f"--label-names renames labels, and {classifier.path} predicts scores; leave it out.")
    columns = Columns(text=text_column, text_pair=text_pair_column, label=label_column)
    rows = _read_rows(classifier, labels, columns, label_names)
    pairs: Iterable[Text] = rows.texts
    if rows.text_pairs is not None:
        pairs = zip(rows.texts, rows.text_pairs, strict=True)
    usable = [
        (texts, y, n)
        for texts, y, n in zip(pairs, rows.labels, rows.lines, strict=True)
        if all(map(clean_text, _parts(texts))) and y is not None
    ]
    if not usable:
        raise InputDataError(f"{labels} has no row with both a text and a label; check the columns.")
    texts = [text for text, _, _ in usable]
    places = [f"{labels}, line {n}" for _, _, n in usable]
    notes: list[str] = []
    originals = classifier.labelling.labels
    matched = task.match_labels([y for _, y, _ in usable], places, names, label_names, originals=originals, notes=notes)
    true = task.true_values([{"label": label} for label in matched], names)
    groups = None if rows.text_pairs is not None else groups_of_lines([{"text": text} for text in texts])
    figures = task.figures(true, classifier.predict_outputs(texts), names, groups)
    seen = {kind: load_seen(classifier.path, kind) for kind in SEEN_KINDS}
    num_seen = {kind: None if it is None else _count_seen(it, texts) for kind, it in seen.items()}
    return {
        **figures,
        "skipped": len(rows) - len(usable) + _num_lost(rows),
        "warnings": _warnings(rows),
        "detected": " ".join([rows.detected["sentence"], *notes]),
        "seen": num_seen,
        "seen_sentence": describe_seen(len(texts), num_seen, in_part=kinds_in_part(seen)),
    }


def _read_rows(classifier: Classifier, labels: Path | str, columns: Columns, label_names: tuple[str, ...]) -> TaskRows:
    """The rows of a file, read as those that the model was trained on."""
    known = classifier.columns
    classifier.second_column(columns.text_pair)  # refuses one for a model of single texts
    return read_task_rows(
        labels,
        task=classifier.task.name,  # a preferred column of second texts makes pairs
        columns=columns,
        preferred_separator=known.get("label_separator"),
        preferred_number=known.get("number_form"),
        preferred=Columns(
            text=known.get("text_column"), text_pair=known.get("text_pair_column"), label=known.get("label_column")
        ),
        tag_names=read_renaming(label_names) if classifier.task.is_token_level else None,
    )


def _num_lost(rows: TaskRows) -> int:
    """The number of rows that did not parse; in CoNLL, what does not parse is a line of a sentence, which is kept."""
    return 0 if rows.detected["format"] == "CoNLL" else rows.findings.dropped.total


def _warnings(rows: TaskRows) -> list[str]:
    """Sentences about how the file was read."""
    return [concern.sentence for concern in rows.findings.all_concerns_about(rows.path)] + rows.findings.all_notices()


def _count_seen(seen: SeenTexts, texts: Sequence[Text]) -> int | None:
    """The number of rows that are among the texts; of a pair, both texts must be. None if that is not known."""
    first, *second = zip(*([clean_text(part) for part in _parts(text)] for text in texts), strict=True)
    return seen.count_among(first, second[0] if second else None)


def _parts(texts: Text) -> tuple[str, ...]:
    """The text, or both texts of a pair."""
    return (texts,) if isinstance(texts, str) else texts
