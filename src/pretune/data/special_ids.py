"""A tokenizer goes in, out come the ids that batches treat in a way of their own: padding, masks, ends of documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pretune.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """The special ids that batches need; tokens from `first_ordinary` upwards stand for text, except `later`."""

    pad: int
    mask: int
    first_ordinary: int
    later: tuple[int, ...] = ()  # special tokens of a foreign tokenizer that come after ordinary ones
    end: int = 2  # of a document

    def is_ordinary(self, input_ids: Int[Tensor, "*B T"]) -> Bool[Tensor, "*B T"]:
        """Whether a token stands for text."""
        found = input_ids >= self.first_ordinary
        return found & ~torch.isin(input_ids, torch.tensor(self.later)) if self.later else found

    def are_ordinary(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """The same for an array of numpy."""
        found: npt.NDArray[np.bool_] = ids >= self.first_ordinary
        return found & ~np.isin(ids, self.later) if self.later else found


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """The special ids of a tokenizer that batches need."""
    first = tokenizer.first_ordinary_id
    later = tuple(sorted(token_id for token_id in tokenizer.all_special_ids if token_id >= first))
    return SpecialIds(
        pad=tokenizer.pad_id, mask=tokenizer.mask_id, first_ordinary=first, later=later, end=tokenizer.end_id
    )
