"""The texts that pre-training must not see: labelled rows that stage 4 holds out, and files given to be protected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretune.errors import InputDataError
from pretune.text.documents import iter_documents
from pretune.text.files import find_files
from pretune.text.findings import Findings
from pretune.text.labeled import read_labeled
from pretune.text.splits import assign_splits


def held_out_texts(
    labels: Path | None,
    test_labels: Path | None,
    *,
    text_column: str | None,
    label_column: str | None,
    validation_fraction: float,
    test_fraction: float,
) -> list[str]:
    """The validation and test rows of a label file, as stage 4 will split it, and all rows of a test file."""
    texts: list[str] = []
    if labels is not None:
        rows = _labelled_rows(labels, text_column, label_column)
        fraction = 0.0 if test_labels is not None else test_fraction
        splits = assign_splits([text for text, _ in rows], [label for _, label in rows], validation_fraction, fraction)
        texts += [text for (text, _), split in zip(rows, splits, strict=True) if split != "train"]
    if test_labels is not None:
        texts += [text for text, _ in _labelled_rows(test_labels, text_column, label_column)]
    return texts


def _labelled_rows(path: Path, text_column: str | None, label_column: str | None) -> list[tuple[str, str]]:
    rows = read_labeled(path, text_column, label_column)
    return [(text, label) for text, label in zip(rows.texts, rows.labels, strict=True) if text.strip() and label]


def protected_texts(paths: Sequence[str | Path]) -> list[str]:
    """Every document of some files or folders, read as stage 1 reads them.

    Raises InputDataError where one of them cannot be read, also in a folder.
    """
    findings = Findings()
    if not paths:
        return []
    texts = [document.text for document in iter_documents(find_files(paths, findings), findings)]
    for rule in findings.unreadable.rules.values():  # text that is not read would not be protected
        raise InputDataError(rule.reason)
    return texts
