"""Passages and the training text go in, whether each passage occurs in it comes out: such a passage can be recalled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

_STRETCH = 1 << 22  # tokens searched at once


def find_passages(
    passages: Sequence[Ids], tokens: npt.NDArray[np.unsignedinteger], classes: Ids, stretch_tokens: int = _STRETCH
) -> npt.NDArray[np.bool_]:
    """Whether each passage occurs in `tokens`; tokens with the same number in `classes` (V,) are equal.

    The text is read once, `stretch_tokens` at a time; only positions with the rarest token of a passage are compared in
    full. An empty passage occurs everywhere.
    """
    wanted = [classes[passage] for passage in passages]
    found = np.array([not len(passage) for passage in wanted], dtype=np.bool_)
    if found.all():
        return found
    longest = max(len(passage) for passage in wanted)
    counts = np.bincount(classes[tokens[:stretch_tokens]], minlength=int(classes.max()) + 1)
    rarest = [int(counts[passage].argmin()) if len(passage) else 0 for passage in wanted]
    is_rarest = np.zeros(len(counts), dtype=np.bool_)
    is_rarest[[passage[place] for passage, place in zip(wanted, rarest, strict=True) if len(passage)]] = True
    for first in range(0, len(tokens), stretch_tokens):
        stretch = classes[tokens[first : first + stretch_tokens + longest - 1]]
        places = np.flatnonzero(is_rarest[stretch])
        places = places[np.argsort(stretch[places], kind="stable")]
        kinds = stretch[places]
        for number in np.flatnonzero(~found).tolist():
            passage, place = wanted[number], rarest[number]
            start, end = np.searchsorted(kinds, [passage[place], passage[place] + 1])
            begins = places[start:end] - place
            begins = begins[(begins >= 0) & (begins + len(passage) <= len(stretch))]
            for offset, kind in enumerate(passage):
                begins = begins[stretch[begins + offset] == kind]
            found[number] = len(begins) > 0
        if found.all():
            break
    return found
