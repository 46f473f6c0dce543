"""A fine-tuned model's outputs and the prepared rows in; the linear models to stack on it out, if they help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.scoring.nested_rows import group_rows, is_new
from pretune.scoring.partners import TITLES, Partner
from pretune.scoring.prediction_files import write_predictions
from pretune.scoring.stacked_model import StackedModel, train_stacked
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.rows import texts_of
from pretune.tasks.task import LabelledLines, Task
from pretune.text.labels.labelling import Labelling

FloatArray = npt.NDArray[np.float64]
Rows = Sequence[dict[str, Any]]
LEAST_ROWS = 50  # validation rows; fewer do not tell which weight is right


def can_stack(config: FinetuneConfig) -> bool:
    """Whether linear models may be stacked: never on the control from scratch."""
    return config.stack and not config.from_scratch


def train_stack(
    log: Callable[[str], None],
    task: Task,
    labelling: Labelling,
    rows: Mapping[str, Rows],
    outputs: FloatArray,
    targets: Targets,
    metric: str,
    train_partners: Callable[[LabelledLines], list[Partner]],
) -> StackedModel | None:
    """Stack the linear models that `train_partners` returns on the model that has these outputs (M, K) for the targets
    of the validation rows; None if that is not better. `log` takes a sentence with the figures. If `metric` is
    macro-F1, rare classes count more.

    Only validation rows that are new decide: a linear model knows parts of training rows by heart.
    """
    train, validation = rows["train"], rows["validation"]
    new = np.arange(len(validation))
    if not labelling.has_pairs:
        new = np.flatnonzero(is_new([row["text"] for row in validation], [row["text"] for row in train]))
    if len(new) < LEAST_ROWS:
        log(_describe_too_few(len(new), len(validation)))
        return None
    chosen = [validation[index] for index in new.tolist()]
    data = LabelledLines(train=train, validation=chosen, test=(), names=labelling.names, metric=metric)
    partners = train_partners(data)
    if not partners:
        return None
    own = targets.take(new)
    true = task.true_values(chosen, labelling.names)

    def entity_f1(scores: FloatArray) -> float:
        found = task.decode(scores, own, dict(labelling.decision))
        return float(task.figures(true, found, labelling.names)["entity_f1"])

    stacked, combined = train_stacked(
        partners,
        linear_texts(chosen, own),
        outputs[targets.places(new)],
        own.values,
        task.link,
        np.repeat(group_rows(list(map(texts_of, chosen)), [row["row"] for row in chosen]), own.counts),
        is_imbalanced=metric == "macro_f1",
        entity_f1=entity_f1 if task.is_token_level else None,
    )
    log(stacked.describe())
    if not stacked.is_better:
        return None
    decision = task.decide(combined, own, dict(labelling.decision))
    return replace(stacked, decision=decision)


def write_stack_predictions(
    file: Path, task: Task, rows: Rows, targets: Targets, outputs: FloatArray, stacked: StackedModel
) -> None:
    """Write the combined predictions for the test rows, for whose targets the model has these outputs (M, K)."""
    found = task.decode(stacked.combine(outputs, linear_texts(rows, targets)), targets, stacked.decision)
    write_predictions(file, rows, lambda index: task.to_fields(found, index))


def linear_texts(rows: Rows, targets: Targets) -> list[Any]:
    """The text of each row, both texts of a pair, or the words that have a target, as linear models read them."""
    if targets.words is not None:
        return targets.words_in([row["text"] for row in rows])
    return [tuple(texts) if len(texts := texts_of(row)) > 1 else texts[0] for row in rows]


def _describe_too_few(num_new: int, num_rows: int) -> str:
    return (
        f"{num_new:,} of the {num_rows:,} validation rows are neither part of a training row nor contain one; at least "
        f"{LEAST_ROWS} are needed to combine the {TITLES['encoder']} with a linear model, so that is left out."
    )
