"""From true and predicted entities to precision, recall and F1, and to the kinds of errors.

An entity is (start, end, type), with the end exclusive; the offsets may count characters or words. The entities of a
row do not overlap. Shapes: N rows, T types.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.scoring.metrics import Counts, macro_f1_of, precision_recall_f1
from pretune.scoring.row_statistics import entity_f1_rows, over_seeds

IntArray = npt.NDArray[np.int64]
Entity = tuple[int, int, str]
Rows = Sequence[Iterable[Entity]]

_KINDS = ("wrong_type", "wrong_borders", "wrong_type_and_borders", "missed")


def count_entities(labels: Rows, predicted: Rows, types: Sequence[str]) -> Counts:
    """Hits, support and predictions of each row and type (N, T). A hit has the same borders and the same type.

    This is how CoNLL-2003 (Tjong Kim Sang and De Meulder 2003) and seqeval count. Raises ValueError if the numbers of
    rows differ, or an entity has none of the `types`.
    """
    places = {name: place for place, name in enumerate(types)}
    counts = Counts(*np.zeros((3, len(labels), len(types)), dtype=np.int64))
    for row, (true, given) in enumerate(zip(labels, predicted, strict=True)):
        for count, entities in zip(counts, (set(true) & set(given), set(true), set(given)), strict=True):
            for _, _, name in entities:
                if name not in places:
                    raise ValueError(f"found an entity of type {name!r}; the types are {', '.join(types)}")
                count[row, places[name]] += 1
    return counts


def count_errors(labels: Rows, predicted: Rows, types: Sequence[str]) -> dict[str, IntArray]:
    """What became of the entities that are no hits, by type (T,): kinds of errors as in SemEval-2013 task 9.

    Each true entity without a hit is in one kind, by its own type, so that the first four sum to support - hits:
    `wrong_type` if a prediction has its borders and another type; `wrong_borders` if one of its type overlaps it;
    `wrong_type_and_borders` if only others overlap it; `missed` if none does. `invented` are predictions, by the
    predicted type, that overlap no true entity.
    """
    places = {name: place for place, name in enumerate(types)}
    found = {kind: np.zeros(len(types), dtype=np.int64) for kind in (*_KINDS, "invented")}
    for true, given in zip(labels, predicted, strict=True):
        true_row, given_row = sorted(set(true)), sorted(set(given))
        for entity in true_row:
            if error := _error_of(entity, given_row):
                found[error][places[entity[2]]] += 1
        for entity in given_row:
            found["invented"][places[entity[2]]] += not _overlapping(entity, true_row)
    return found


def count_confusions(labels: Rows, predicted: Rows, types: Sequence[str]) -> IntArray:
    """Counts (T, T) of entities found with the right borders: row = true type, column = predicted type."""
    places = {name: place for place, name in enumerate(types)}
    table = np.zeros((len(types), len(types)), dtype=np.int64)
    for true, given in zip(labels, predicted, strict=True):
        type_at = {(start, end): name for start, end, name in given}
        for start, end, name in set(true):
            if (start, end) in type_at:
                table[places[name], places[type_at[start, end]]] += 1
    return table


def summarize_entities(
    labels: Rows, predicted: Rows, types: Sequence[str], groups: IntArray | None = None
) -> dict[str, Any]:
    """All figures of one set of predictions as JSON values, with an interval at 95 % for F1 over all entities.

    `macro_f1` is the mean over the types that are true or predicted somewhere. The interval comes from a bootstrap
    over rows, since the entities of a row are not independent; if `groups` (N,) numbers the group of each row, such as
    its document, it is over groups, since the rows of one are not independent either. Raises ValueError if there are no
    rows.
    """
    if len(labels) == 0:
        raise ValueError("no rows to evaluate")
    by_row = count_entities(labels, predicted, types)
    statistics = entity_f1_rows(by_row).over(groups)
    counts = Counts(*(part.sum(axis=0) for part in by_row))
    precision, recall, f1 = precision_recall_f1(Counts(*(np.asarray(part.sum()) for part in counts)))
    by_type = precision_recall_f1(counts)
    errors = count_errors(labels, predicted, types)
    return {
        "n": len(labels),
        "entities": int(counts.support.sum()),
        "predicted_entities": int(counts.predicted.sum()),
        "entity_f1": float(f1),
        "entity_f1_interval": list(over_seeds([statistics])[1]),
        "precision": float(precision),
        "recall": float(recall),
        "macro_f1": float(macro_f1_of(*counts)),
        "types": [
            {
                "label": name,
                "precision": float(by_type[0][t]),
                "recall": float(by_type[1][t]),
                "f1": float(by_type[2][t]),
                "support": int(counts.support[t]),
                "predicted": int(counts.predicted[t]),
                **{kind: int(number[t]) for kind, number in errors.items()},
            }
            for t, name in enumerate(types)
        ],
        "type_confusion": count_confusions(labels, predicted, types).tolist(),
    }


def _error_of(entity: Entity, predicted: Sequence[Entity]) -> str | None:
    """The kind of error made on a true entity; None for a hit."""
    overlapping = _overlapping(entity, predicted)
    if entity in overlapping:
        return None
    if any(other[:2] == entity[:2] for other in overlapping):
        return "wrong_type"
    if any(other[2] == entity[2] for other in overlapping):
        return "wrong_borders"
    return "wrong_type_and_borders" if overlapping else "missed"


def _overlapping(entity: Entity, others: Sequence[Entity]) -> Sequence[Entity]:
    """Those of the `others`, sorted and not overlapping each other, that have a place in common with an entity."""
    start, end, _ = entity
    first = bisect_right(others, start, key=lambda other: other[1])
    last = first
    while last < len(others) and others[last][0] < end:
        last += 1
    return others[first:last]
