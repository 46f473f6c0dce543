"""The labelled rows of a prepare folder in; batches with class weights, and files of predictions, out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.labelled_rows import ClassificationRows, load_labeled
from pretune.data.masked_rows import SpecialIds
from pretune.errors import InputDataError
from pretune.runtime.atomic import write_text
from pretune.settings import FinetuneConfig

_EVALUATION_ROWS = 128


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one split of a prepare folder. Raises InputDataError if the file is missing."""
    if not path.is_file():
        raise InputDataError(f"{path} does not exist; expected a split that the prepare stage wrote.")
    with path.open(encoding="utf-8") as file:  # not splitlines: texts may contain other line separators
        return [json.loads(line) for line in file]


def make_rows(
    prepared: Path,
    split: str,
    labels: Sequence[int],
    special: SpecialIds,
    config: FinetuneConfig,
    seed: int,
    num_classes: int,
    *,
    is_balanced: bool,
    width_multiple: int,
    num_rows: int | None,
) -> ClassificationRows:
    """The batches of a split, or of `num_rows` of its rows, spread evenly over it.

    The width of a batch is a multiple of `width_multiple`; 8 suits the tensor cores of a GPU. Only training rows have
    tokens hidden and, with `is_balanced`, class weights.
    """
    data = load_labeled(prepared, split, list(labels), num_rows)
    is_training = split == "train"
    return ClassificationRows(
        data,
        special,
        batch_size=config.batch_size if is_training else _EVALUATION_ROWS,
        seed=seed,
        mask_augment=config.mask_augment if is_training and special.mask >= 0 else 0.0,
        class_weights=class_weights(data.labels, num_classes) if is_training and is_balanced else None,
        width_multiple=width_multiple,
    )


def class_weights(labels: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float32]:
    """The weight (num_classes,) of a row of each class in the loss; all classes have the same total weight."""
    counts = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    return (len(labels) / (len(counts) * counts)).astype(np.float32)


def write_predictions(path: Path, rows: Sequence[dict[str, Any]], probabilities: npt.NDArray[np.float64]) -> None:
    """Write a JSON line for each row: its label, the predicted class, and the probability of every class."""
    lines = []
    for row, given in zip(rows, probabilities, strict=True):
        fields = {
            "row": row["row"],
            "label": row["label"],
            "predicted": int(given.argmax()),
            "probabilities": [float(p) for p in given],
        }
        if "slice" in row:
            fields["slice"] = row["slice"]
        lines.append(json.dumps(fields) + "\n")
    write_text(path, "".join(lines))
