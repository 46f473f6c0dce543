"""The labelled rows of a prepare folder in; batches with label weights out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.labelled_rows import EncodedRows, LabelledBatches, load_labeled
from pretune.data.padding import pad_rows
from pretune.data.special_ids import SpecialIds
from pretune.data.targets import Targets
from pretune.model.transformer import TaskModel
from pretune.settings import FinetuneConfig
from pretune.text.tokenizer.windows import WindowRule

FloatArray = npt.NDArray[np.float64]
EVALUATION_ROWS = 128
TRAIN_WINDOWS = 1  # of a long text in an epoch, drawn at random; ADR 0026 has the measurement


def texts_of(row: dict[str, Any]) -> list[str]:
    """The text of a row, or both texts of a pair."""
    return [row["text"], row["text_pair"]] if "text_pair" in row else [row["text"]]


def make_batches(
    prepared: Path,
    split: str,
    targets: Targets,
    special: SpecialIds,
    config: FinetuneConfig,
    seed: int,
    *,
    label_weights: Callable[[Targets], npt.NDArray[np.float32]] | None,
    width_multiple: int,
    num_rows: int | None,
    encoded: EncodedRows | None = None,
    window_rule: WindowRule | None = None,
) -> LabelledBatches:
    """The batches of a split, or of `num_rows` of its rows, spread evenly over it.

    The width of a batch is a multiple of `width_multiple`; 8 suits the tensor cores of a GPU. Only training rows have
    tokens hidden and, with `label_weights`, which gives those of some targets, weights in the loss. `encoded` are the
    token ids of the split, if they are not those of the prepare folder. With a `window_rule`, long texts are read in
    windows.
    """
    data = load_labeled(prepared, split, targets, num_rows, encoded)
    is_training = split == "train"
    return LabelledBatches(
        data,
        special,
        batch_size=config.batch_size if is_training else EVALUATION_ROWS,
        seed=seed,
        mask_augment=config.mask_augment if is_training and special.mask >= 0 else 0.0,
        label_weights=label_weights(data.targets) if is_training and label_weights is not None else None,
        width_multiple=width_multiple,
        window_rule=window_rule,
        train_windows=TRAIN_WINDOWS if is_training else None,
    )


def predict_windows(model: TaskModel, windows: Sequence[Sequence[int]], pad_id: int) -> FloatArray:
    """The outputs (K,) of the model for one text in one or several windows, or (T, K) for its tokens."""
    device = model.classifier.weight.device
    input_ids, document_ids = (tensor.to(device) for tensor in pad_rows(windows, pad_id))
    with torch.no_grad():
        if len(windows) == 1:
            logits = model(input_ids, document_ids)
        else:
            logits = model(input_ids, document_ids, windows=torch.tensor([len(windows)], device=device))
    outputs: FloatArray = logits[0].float().cpu().double().numpy()
    return outputs
