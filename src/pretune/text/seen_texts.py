"""Hashes of the texts that a model has learned from, which stages pass on so that evaluations can report overlap.

A stage folder has `seen-pretraining.npy` for the documents of the pre-training text and `seen-training.npy` for the
labelled training rows. Only whole texts are recognised, after cleaning and ignoring case and white space; a text inside
a longer document is not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pretune.errors import CorruptModelError
from pretune.text.splits import hash_text

SeenIn = Literal["pretraining", "training"]
PRETRAINING: SeenIn = "pretraining"
TRAINING: SeenIn = "training"
SEEN_KINDS = (PRETRAINING, TRAINING)

HashStarts = npt.NDArray[np.uint64]  # (texts,): the first 8 bytes of `hash_text`, sorted


@dataclass(frozen=True)
class SeenTexts:
    """The texts that a model learned from in one kind of training."""

    hashes: HashStarts

    def among(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(texts,): whether the model learned from each clean text."""
        found: npt.NDArray[np.bool_] = np.isin(_hash_starts(texts), self.hashes)
        return found


def save_seen(folder: Path, seen_in: SeenIn, texts: Iterable[str] = (), hashes: HashStarts | None = None) -> None:
    """Write the hashes of clean texts, and hashes that are already known, into a stage folder."""
    every = _hash_starts(list(texts))
    if hashes is not None:
        every = np.concatenate([every, hashes])
    np.save(folder / _file_name(seen_in), np.unique(every), allow_pickle=False)


def load_seen(model: Path, seen_in: SeenIn) -> SeenTexts | None:
    """The texts that a model learned from; None if unknown, as for a model folder that was copied alone.

    `model` is a stage folder or the checkpoint in it. Raises CorruptModelError if the file is damaged.
    """
    for folder in (model, model.absolute().parent):
        file = folder / _file_name(seen_in)
        if file.is_file():
            try:
                return SeenTexts(np.load(file, allow_pickle=False))
            except (ValueError, EOFError) as error:
                raise CorruptModelError(f"{file} is damaged ({error}); restore it from a copy.") from error
    return None


def hand_on_seen(source: Path, target: Path, seen_in: SeenIn) -> None:
    """Copy the hashes of a model or of a text, if there are any, into another stage folder."""
    for folder in (source, source.absolute().parent):
        file = folder / _file_name(seen_in)
        if file.is_file():
            shutil.copyfile(file, target / file.name)
            return


def describe_seen(num_rows: int, num_seen: dict[SeenIn, int | None]) -> str:
    """A sentence for an evaluation: how many of its rows the model has learned from, if that is known."""
    known = {seen_in: count for seen_in, count in num_seen.items() if count is not None}
    if not known:
        return "It is not known whether the model has learned from some of these rows: its folder was copied alone."
    where = {PRETRAINING: "in the pre-training text", TRAINING: "among the training rows"}
    found = [f"{count:,} {where[seen_in]}" for seen_in, count in known.items() if count]
    if not found:
        return f"None of the {num_rows:,} rows was in the model's pre-training text or among its training rows."
    shown = " and ".join(found)
    return f"The model has learned from some of the {num_rows:,} rows: {shown}. Figures on new texts may be worse."


def _file_name(seen_in: SeenIn) -> str:
    return f"seen-{seen_in}.npy"


def _hash_starts(texts: Sequence[str]) -> HashStarts:
    return np.array([int.from_bytes(hash_text(text)[:8], "big") for text in texts], dtype=np.uint64)
