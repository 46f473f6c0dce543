"""From a labelled file and the settings of the split to checked rows, with the task that they are for."""

from __future__ import annotations

from pathlib import Path

from pretune.settings import SplitConfig
from pretune.tasks.registry import find_task
from pretune.text.labels.label_rules import Columns
from pretune.text.labels.split import LabelledSplit, split_labels


def split_file(labels: Path, test_labels: Path | None, config: SplitConfig) -> LabelledSplit:
    """The rows of a labelled file, read, checked and split for the task of the settings, or for the one it shows.

    Raises the errors of `split_labels`.
    """
    columns = columns_of(config)
    return split_labels(
        labels,
        find_task(config.task, labels, columns),
        test_labels,
        columns=columns,
        label_names=config.label_names,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
    )


def columns_of(config: SplitConfig) -> Columns:
    """The columns that the settings name."""
    return Columns(text=config.text_column, label=config.label_column)
