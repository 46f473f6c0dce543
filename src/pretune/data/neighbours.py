"""Rows of packed documents go in, the words around each row in its document come out, for a second loss.

A classifier reads the mean of a row's vectors, which predicting hidden words does not train. Predicting the surrounding
words from it does, as two-view embeddings did for documents (Johnson and Zhang 2015, arXiv:1504.01255).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.data.masking import is_frequent
from pretune.data.packing import RowTable
from pretune.data.special_ids import SpecialIds

IntArray = npt.NDArray[np.int64]
REACH = 64  # tokens on each side


class Neighbours:
    """The tokens before and after rows, without special and frequent ones: marks and function words are everywhere.

    `offsets` are the document boundaries in the token stream `tokens`, and `counts` (V,) those of its tokens.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.unsignedinteger],
        offsets: IntArray,
        special: SpecialIds,
        counts: IntArray,
    ) -> None:
        self.tokens, self.offsets = np.asarray(tokens), np.asarray(offsets)
        self.is_wanted = special.are_ordinary(np.arange(len(counts))) & ~is_frequent(counts)

    def of(self, table: RowTable, rows: IntArray) -> IntArray:
        """(R, 2 * REACH): the ids of the tokens around each row; -1 where there is none.

        A row of several documents has no neighbours: its mean describes none of them alone.
        """
        first = table.firsts[rows]
        is_single = table.firsts[rows + 1] - first == 1
        start = table.starts[first]
        end = start + table.lengths[first]
        document = np.searchsorted(self.offsets, start, side="right") - 1
        steps = np.arange(1, REACH + 1)
        places = np.concatenate([start[:, None] - steps, end[:, None] - 1 + steps], axis=1)
        is_inside = (places >= self.offsets[document][:, None]) & (places < self.offsets[document + 1][:, None])
        found = self.tokens[np.where(is_inside, places, 0)].astype(np.int64)
        return np.where(is_inside & is_single[:, None] & self.is_wanted[found], found, -1)
