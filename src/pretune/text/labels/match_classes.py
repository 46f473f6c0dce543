"""From the labels of another file to the classes of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pretune.errors import InputDataError
from pretune.text.labels.checks import read_renaming
from pretune.text.labels.label_text import label_text
from pretune.text.reading_report import join_names

_WHOLE_NUMBER = re.compile(r"-?\d+")


def match_classes(
    labels: Sequence[str],
    places: Sequence[str],
    names: Sequence[str],
    renaming: Sequence[str] = (),
    *,
    originals: Sequence[str] = (),
    notes: list[str] | None = None,
) -> list[int]:
    """The number of the class of each label, as written by `label_text`.

    `originals` are the labels of the classes in the training file, where these had other names. Labels that `renaming`
    leaves as they are, such as those of the training file, are understood as if they were all. If numbers are taken as
    positions of the classes, a sentence in `notes` says so. Raises InputDataError for an unknown label, with its place
    from `places` (such as file and line).
    """
    renamed = read_renaming(renaming)
    by_name = {label_text(name): index for index, name in enumerate(names)} | {n: i for i, n in enumerate(names)}
    left = set(labels) - renamed.keys()
    known = by_name if by_name.keys() >= left else _other_labels(left, by_name, names, originals, notes)
    classes = []
    for label, place in zip(labels, places, strict=True):
        index = by_name.get(renamed[label]) if label in renamed else known.get(label)
        if index is None:
            as_renamed = f", which --label-names renames to {renamed[label]!r}," if label in renamed else ""
            or_original = f"; in its training file {join_names(originals)}" if originals else ""
            raise InputDataError(
                f"{place}: the label {label!r}{as_renamed} is not one of the model's classes "
                f"({join_names(names)}{or_original}); correct the labels, rename them with --label-names, or name the "
                "column with --label-column."
            )
        classes.append(index)
    return classes


def _other_labels(
    found: set[str], by_name: dict[str, int], names: Sequence[str], originals: Sequence[str], notes: list[str] | None
) -> dict[str, int]:
    """The class of each label of a file in which labels occur that are not names of classes."""
    by_original = {label_text(label): index for index, label in enumerate(originals)}
    if found <= by_original.keys():
        return by_original
    if found & by_name.keys():
        return by_name
    if found & by_original.keys():
        return by_original
    positions = {str(index): index for index in range(len(names))}
    # Without a 0, the numbers may be stars from 1, which would be off by one as positions. If the training file had
    # numbers, other numbers are unknown labels.
    if "0" not in found or not found <= positions.keys() or any(map(_WHOLE_NUMBER.fullmatch, originals)):
        return by_name
    if notes is not None:
        meanings = join_names(f"{index} is {name}" for index, name in enumerate(names))
        notes.append(
            f"The labels are numbers and are taken as the positions of the model's classes ({meanings}); if that is "
            "wrong, rename them with --label-names."
        )
    return positions
