"""From a labelled file and the settings of the split to checked rows, with the task that they are for."""

from __future__ import annotations

from pathlib import Path

from pretune.errors import UsageError
from pretune.settings import SplitConfig
from pretune.tasks.registry import task_named
from pretune.text.labels.detect_task import Columns
from pretune.text.labels.split import LabelledSplit, split_labels


def split_file(labels: Path, test_labels: Path | None, config: SplitConfig) -> LabelledSplit:
    """The rows of a labelled file, read, checked and split for the task of the settings, or for the one it shows.

    Raises the errors of `split_labels`, and UsageError for conversations, which have no labels.
    """
    if config.task == "chat":
        raise UsageError(
            "Conversations are read and split by `pretune prepare FILE --task chat --base BASE --out DIR`; `run` and "
            "`split` are for labelled rows."
        )
    return split_labels(
        labels,
        task_named,
        test_labels,
        task=config.task,
        columns=Columns(text=config.text_column, label=config.label_column, text_pair=config.text_pair_column),
        label_separator=config.label_separator,
        label_names=config.label_names,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
    )
