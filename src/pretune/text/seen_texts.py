"""Hashes of the texts that a model has learned from, which stages pass on so that evaluations can report overlap.

A stage folder has `seen-pretraining.npy` for the documents of the pre-training text and `seen-training.npy` for the
labelled training rows; a folder of prepared rows has the latter for long texts that were cut into several rows. If a
model learned from other texts as well, of which nothing is recorded, the name of its file ends in `-in-part.npy`. Only
whole texts are recognised, after cleaning and ignoring case and white space; a text inside a longer document is not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The texts that a model learned from in one kind of training; all of them if `is_complete`."""

    hashes: HashStarts
    is_complete: bool = True

    def among(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(texts,): whether the model learned from each clean text."""
        found: npt.NDArray[np.bool_] = np.isin(_hash_starts(texts), self.hashes)
        return found

    def count_among(self, texts: Sequence[str], text_pairs: Sequence[str] | None = None) -> int | None:
        """How many of the clean texts the model learned from; None if it may be some, but none is recorded.

        Of pairs, it must have learned from this very pair, which is how rows are recorded, or from both texts in a
        corpus.
        """
        if text_pairs is None:
            return self._as_known(int(self.among(texts).sum()))
        joined = [join_pair(a, b) for a, b in zip(texts, text_pairs, strict=True)]
        # At once: each look-up passes over all hashes.
        first, second, as_row = np.split(self.among([*texts, *text_pairs, *joined]), 3)
        return self._as_known(int((first & second | as_row).sum()))

    def count_groups_among(self, groups: Sequence[Sequence[str]]) -> int | None:
        """Of how many groups of texts the model learned from at least one; None as in `count_among`."""
        found = iter(self.among([text for texts in groups for text in texts]).tolist())
        return self._as_known(sum(any([next(found) for _ in texts]) for texts in groups))

    def _as_known(self, count: int) -> int | None:
        return count if count or self.is_complete else None


def join_pair(text: str, text_pair: str) -> str:
    """A pair of clean texts as one text of the record: a sentence of it may well occur in other pairs."""
    return f"{text}\0{text_pair}"


def save_seen(
    folder: Path,
    seen_in: SeenIn,
    texts: Iterable[str] = (),
    hashes: Iterable[HashStarts] = (),
    *,
    is_complete: bool = True,
) -> None:
    """Write the hashes of clean texts, and arrays of hashes that are already known, into a stage folder."""
    every = np.concatenate([_hash_starts(list(texts)), *hashes])
    every.sort()  # in place, unlike np.unique: a large corpus has billions of texts
    is_repeated = every[1:] == every[:-1]
    if is_repeated.any():
        every = np.delete(every, np.flatnonzero(is_repeated))
    np.save(folder / _file_name(seen_in, is_complete=is_complete), every, allow_pickle=False)


def load_seen(model: Path, seen_in: SeenIn) -> SeenTexts | None:
    """The texts that a model learned from; None if unknown, as for a model folder that was copied alone.

    `model` is a stage folder or the checkpoint in it. Raises CorruptModelError if the file is damaged.
    """
    for file, is_complete in _places(model, seen_in):
        if file.is_file():
            try:
                return SeenTexts(np.load(file, allow_pickle=False), is_complete)
            except (ValueError, EOFError) as error:
                raise CorruptModelError(f"{file} is damaged ({error}); restore it from a copy.") from error
    return None


def hand_on_seen(source: Path, target: Path, seen_in: SeenIn) -> None:
    """Copy the hashes of a model or of a text, if there are any, into another stage folder."""
    for file, _ in _places(source, seen_in):
        if file.is_file():
            shutil.copyfile(file, target / file.name)
            return


def join_seen(earlier: SeenTexts | None, later: SeenTexts | None) -> SeenTexts | None:
    """The texts of two trainings of one model, one after the other; None if nothing is recorded of either."""
    known = [seen for seen in (earlier, later) if seen is not None]
    if not known:
        return None
    hashes = np.unique(np.concatenate([seen.hashes for seen in known]))
    return SeenTexts(hashes, is_complete=len(known) == 2 and all(seen.is_complete for seen in known))


def kinds_in_part(seen: Mapping[SeenIn, SeenTexts | None]) -> tuple[SeenIn, ...]:
    """The kinds of training of which some texts are recorded, but not all."""
    return tuple(seen_in for seen_in, texts in seen.items() if texts is not None and not texts.is_complete)


def describe_seen(
    num_rows: int, num_seen: Mapping[SeenIn, int | None], *, in_part: Sequence[SeenIn] = (), unit: str = "rows"
) -> str:
    """A sentence for an evaluation: how many of its rows the model has learned from, as far as that is known.

    `in_part` are the kinds of training that are recorded in part.
    """
    known = {seen_in: count for seen_in, count in num_seen.items() if count is not None}
    if not known and in_part:
        sentence = f"None of the {num_rows:,} {unit} is among those on record"
        return f"{sentence}; what else the model has learned from is not known."
    if not known:
        unsure = f"It is not known whether the model has learned from some of these {unit}"
        return f"{unsure}: its folder has no record of it."
    where = {PRETRAINING: "in the pre-training text", TRAINING: f"among the training {unit}"}
    found = [f"{count:,} {where[seen_in]}" for seen_in, count in known.items() if count]
    if found:
        sentence = f"The model has learned from some of the {num_rows:,} {unit}: {' and '.join(found)}."
        return f"{sentence} Figures on new texts may be worse."
    places = {PRETRAINING: "in the model's pre-training text", TRAINING: f"among its training {unit}"}
    sentence = f"None of the {num_rows:,} {unit} was {' or '.join(places[seen_in] for seen_in in known)}"
    unknown = [places[seen_in] for seen_in in num_seen if seen_in not in known]
    return sentence + (f"; it is not known whether some were {' or '.join(unknown)}." if unknown else ".")


def _places(folder: Path, seen_in: SeenIn) -> Iterator[tuple[Path, bool]]:
    """The files that may hold the hashes of a stage folder, or of the checkpoint in it, and whether one is complete."""
    for place in (folder, folder.absolute().parent):
        for is_complete in (True, False):
            yield place / _file_name(seen_in, is_complete=is_complete), is_complete


def _file_name(seen_in: SeenIn, *, is_complete: bool = True) -> str:
    return f"seen-{seen_in}{'' if is_complete else '-in-part'}.npy"


def _hash_starts(texts: Sequence[str]) -> HashStarts:
    return np.array([int.from_bytes(hash_text(text)[:8], "big") for text in texts], dtype=np.uint64)
