"""From rows of different lengths to padded batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def group_by_length(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first.

    No batch exceeds the budget, padding included, unless a single row does.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    start = 0
    while start < len(order):
        rows = max(1, tokens_per_batch // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def pad_rows(
    rows: Sequence[Sequence[int] | npt.NDArray[np.int64]], pad_id: int, width_multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) padded at the end, and document ids (B, T): 0 in the text, -1 at padding.

    T is the length of the longest row, rounded up to a multiple of `width_multiple`.
    """
    longest = max(len(row) for row in rows)
    width = -(-longest // width_multiple) * width_multiple
    input_ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    document_ids = torch.full((len(rows), width), -1, dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.as_tensor(row, dtype=torch.long)
        document_ids[index, : len(row)] = 0
    return input_ids, document_ids
