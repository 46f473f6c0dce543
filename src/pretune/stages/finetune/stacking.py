"""A fine-tuned classifier's logits and the prepared rows in; the n-gram model to stack on it out, if it helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.runtime.stage_folder import StageFolder
from pretune.scoring.baselines import TextRows
from pretune.scoring.nested_rows import is_new
from pretune.scoring.stacked_model import STACK_PREDICTIONS, StackedModel, train_stacked
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.rows import write_predictions
from pretune.tasks.classification import softmax
from pretune.tasks.task import Task
from pretune.text.labels.labelling import Labelling

FloatArray = npt.NDArray[np.float64]
LEAST_ROWS = 50  # validation rows; fewer do not tell which weight is right


def can_stack(config: FinetuneConfig, labelling: Labelling, metric: str) -> bool:
    """Whether NB-SVM may be stacked: for one class a text, of classes that are not strongly imbalanced (the weights
    that are best for the loss need not be for macro-F1), and never on the control from scratch."""
    is_wanted = config.stack and not config.from_scratch
    return is_wanted and labelling.task == "classification" and not labelling.has_pairs and metric == "accuracy"


def train_stack(
    folder: StageFolder, rows: Mapping[str, Sequence[dict[str, Any]]], logits: FloatArray
) -> StackedModel | None:
    """Train NB-SVM on the training rows, and stack it on the classifier that has these logits (N, C) for the validation
    rows; None if that is not better. The figures are logged.

    Only validation rows that are new decide: NB-SVM knows parts of training rows by heart.
    """
    train, validation = (_text_rows(rows[split]) for split in ("train", "validation"))
    new = np.flatnonzero(is_new(validation.texts, train.texts))
    if len(new) < LEAST_ROWS:
        sentence = (
            f"{len(new):,} of the {len(validation.texts):,} validation rows are neither part of a training row nor "
            f"contain one; at least {LEAST_ROWS} are needed to combine the model with NB-SVM, so it is left out."
        )
        folder.log.write("notice", sentence=sentence)
        return None
    chosen = TextRows(texts=[validation.texts[i] for i in new.tolist()], labels=validation.labels[new])
    stacked = train_stacked(train, chosen, np.log(np.maximum(softmax(logits[new]), np.finfo(np.float64).tiny)))
    folder.log.write("notice", sentence=stacked.describe())
    return stacked if stacked.is_better else None


def write_stack_predictions(
    folder: Path,
    task: Task,
    rows: Sequence[dict[str, Any]],
    targets: Targets,
    logits: FloatArray,
    stacked: StackedModel,
) -> None:
    """Write the combined predictions for the test rows, for which the classifier has these logits (N, C)."""
    combined = stacked.combine(logits, [row["text"] for row in rows])
    outputs = task.decode(combined, targets, {})
    write_predictions(folder / STACK_PREDICTIONS, rows, lambda index: task.to_fields(outputs, index))


def _text_rows(lines: Sequence[dict[str, Any]]) -> TextRows:
    return TextRows(texts=[line["text"] for line in lines], labels=np.array([line["label"] for line in lines]))
