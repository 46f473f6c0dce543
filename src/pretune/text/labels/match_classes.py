"""From the labels of another file to the classes of a model."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.errors import InputDataError
from pretune.text.labels.checks import read_renaming
from pretune.text.labels.label_text import label_text
from pretune.text.reading_report import join_names


def match_classes(
    labels: Sequence[str], places: Sequence[str], names: tuple[str, ...], renaming: tuple[str, ...] = ()
) -> list[int]:
    """The number of the class of each label, as written by `label_text`.

    Raises InputDataError for an unknown label, with its place from `places` (such as file and line).
    """
    renamed = read_renaming(renaming)
    known = {label_text(name): index for index, name in enumerate(names)} | {n: i for i, n in enumerate(names)}
    found = set(labels)
    positions = {str(index): index for index in range(len(names))}
    # Without a 0, the numbers may be stars from 1, which would be off by one as positions.
    if not renamed and not found & known.keys() and "0" in found and found <= positions.keys():
        known = positions
    classes = []
    for label, place in zip(labels, places, strict=True):
        index = known.get(renamed.get(label, label))
        if index is None:
            raise InputDataError(
                f"{place}: the label {label!r} is not one of the model's classes ({join_names(names)}); "
                "correct the labels, rename them with --label-names, or name the column with --label-column."
            )
        classes.append(index)
    return classes
