"""A head to start from: logistic regression on the frozen vectors of the texts, fitted before fine-tuning.

With few labels, a random head would first turn the vectors that pre-training made; one that fits them already leaves
them as they are (LP-FT, arXiv:2202.10054).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import nn

from pretune.compute.cpu_threads import lanes_for
from pretune.data.padding import group_by_length, pad_rows
from pretune.model.transformer import Backbone, mean_over_text
from pretune.text.tokenizer.windows import mean_over_windows

IntArray = npt.NDArray[np.int64]
_TOKENS_PER_BATCH = 4096
_ABSENT = -10.0  # the bias of a class without rows, which is thus hardly ever predicted at first


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """The weights (C, D) and biases (C,) of a fitted probe."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def copy_into(self, head: nn.Linear) -> None:
        """Overwrite the weights of a head of the same shape."""
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self.weight))
            head.bias.copy_(torch.from_numpy(self.bias))


@torch.no_grad()
def pooled_vectors(
    transformer: Backbone, rows: Sequence[Sequence[int]], windows: Sequence[int] | None = None
) -> Float[np.ndarray, "N D"]:
    """The mean vector of each row of token ids, in batches of a fixed number of tokens; or of each text, with the
    numbers of its `windows`, which are the rows."""
    device = transformer.embed_tokens.weight.device
    vectors = np.empty((len(rows), transformer.config.hidden_size), dtype=np.float32)

    def pool(indices: list[int]) -> None:
        padded = pad_rows([rows[index] for index in indices], transformer.config.pad_token_id)
        input_ids, document_ids = (tensor.to(device) for tensor in padded)
        vectors[indices] = mean_over_text(transformer(input_ids, document_ids), document_ids).cpu().numpy()

    lanes_for(device.type).map(pool, group_by_length([len(row) for row in rows], _TOKENS_PER_BATCH))
    return vectors if windows is None else mean_over_windows(vectors, [len(row) for row in rows], windows)


def fit_linear_probe(
    vectors: Float[np.ndarray, "N D"], labels: IntArray, num_classes: int, *, is_balanced: bool = False
) -> LinearProbe | None:
    """Logistic regression of the labels (N,) on the vectors; None if all labels are the same.

    With `is_balanced`, all classes have the same total weight.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return None
    model = LogisticRegression(max_iter=1000, class_weight="balanced" if is_balanced else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors.astype(np.float64), labels)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes, it has the difference
        coefficients, intercepts = (np.concatenate([-x / 2, x / 2]) for x in (coefficients, intercepts))
    weight = np.zeros((num_classes, vectors.shape[1]), dtype=np.float32)
    bias = np.full(num_classes, _ABSENT, dtype=np.float32)
    weight[model.classes_], bias[model.classes_] = coefficients, intercepts
    return LinearProbe(weight=weight, bias=bias)
