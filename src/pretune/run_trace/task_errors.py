"""Predicted test rows in; out come the errors of tasks beyond one class for a text, with examples.

Of several labels: each label's figures, and which label stands in for which. Of numbers: where they lie beside the true
ones. Of entities: figures by type, and the kinds of errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretune.run_trace.log_values import rounded, words
from pretune.run_trace.predicted_rows import RowKey, TestText, key_of
from pretune.scoring.entities import count_entities, count_errors
from pretune.scoring.metrics import Counts, micro_f1_of, precision_recall_f1
from pretune.scoring.row_statistics import pearson_rows, spearman_rows
from pretune.trace_schema import (
    Entity,
    EntityErrors,
    EntityRow,
    LabelConfusion,
    LabelFigures,
    LabelSetErrors,
    LabelSetRow,
    ScoreErrors,
    ScoreRow,
)

EXAMPLES, EXAMPLE_CHARACTERS = 60, 500
CONFUSIONS = 30
MOST_POINTS = 2000  # rows of a regression whose numbers are kept
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Line = Mapping[str, Any]
Span = tuple[int, int, str]


# ---- several labels


def read_label_sets(
    lines: Sequence[Line], names: Sequence[str], thresholds: Sequence[float], texts: Mapping[RowKey, TestText]
) -> LabelSetErrors:
    """Raises KeyError, IndexError, TypeError or ValueError for lines that are no predictions of sets of labels."""
    true, predicted = (np.zeros((len(lines), len(names)), dtype=np.bool_) for _ in range(2))
    for index, line in enumerate(lines):
        true[index, line["label"]] = True
        predicted[index, line["predicted"]] = True
    counts = Counts((true & predicted).sum(0), true.sum(0), predicted.sum(0))
    wrong = (true != predicted).sum(axis=1)
    order = np.lexsort(([line["row"] for line in lines], -wrong))
    return LabelSetErrors(
        labels=_label_figures(names, counts, thresholds),
        confusions=_confusions(true & ~predicted, predicted & ~true),
        exact=int((wrong == 0).sum()),
        micro_f1=rounded(float(micro_f1_of(*counts))),
        examples=[
            LabelSetRow(
                row=lines[index]["row"],
                text=_cut(text.text) or "",
                text_pair=_cut(text.pair),
                label=list(lines[index]["label"]),
                predicted=list(lines[index]["predicted"]),
                slice=words(lines[index].get("slice")),
            )
            for index in _varied(order.tolist(), [(tuple(each["label"]), tuple(each["predicted"])) for each in lines])
            if (text := texts.get(key_of(lines[index]))) is not None
        ],
    )


def _label_figures(names: Sequence[str], counts: Counts, thresholds: Sequence[float] = ()) -> list[LabelFigures]:
    precision, recall, f1 = precision_recall_f1(counts)
    return [
        LabelFigures(
            label=words(name) or "",
            support=int(counts.support[k]),
            predicted=int(counts.predicted[k]),
            hits=int(counts.hits[k]),
            precision=rounded(float(precision[k])),
            recall=rounded(float(recall[k])),
            f1=rounded(float(f1[k])),
            threshold=rounded(thresholds[k]) if len(thresholds) == len(names) else None,
        )
        for k, name in enumerate(names)
    ]


def _confusions(missed: Any, invented: Any) -> list[LabelConfusion]:
    """Pairs of labels (N, C) that stand in for one another in a row, the most frequent first."""
    together = missed.astype(np.int64).T @ invented.astype(np.int64)
    places = np.argsort(-together, axis=None, kind="stable")[:CONFUSIONS]
    pairs = (divmod(int(place), together.shape[1]) for place in places)
    return [LabelConfusion(missed=m, invented=i, count=int(together[m, i])) for m, i in pairs if together[m, i] > 0]


def _varied(order: Sequence[int], kinds: Sequence[Any]) -> list[int]:
    """The first EXAMPLES places of an order; the first of each kind comes before the second of any."""
    seen, ranked = Counter[Any](), []
    for place, index in enumerate(order):
        ranked.append((seen[kinds[index]], place, index))
        seen[kinds[index]] += 1
    kept = sorted(ranked)[:EXAMPLES]
    return [index for _, _, index in sorted(kept, key=lambda item: item[1])]


# ---- numbers


def read_scores(lines: Sequence[Line], texts: Mapping[RowKey, TestText]) -> ScoreErrors:
    """Raises KeyError, TypeError or ValueError for lines that are no predictions of numbers."""
    true, predicted = (np.array([float(line[key]) for line in lines]) for key in ("label", "predicted"))
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("found a number that is not finite")
    errors = predicted - true
    kept = np.linspace(0, len(lines) - 1, min(len(lines), MOST_POINTS)).round().astype(np.int64)
    order = np.argsort(-np.abs(errors), kind="stable")[:EXAMPLES]
    return ScoreErrors(
        pearson=rounded(pearson_rows(true, predicted).figure()),
        spearman=rounded(spearman_rows(true, predicted).figure()),
        mean_absolute_error=rounded(float(np.abs(errors).mean())),
        baseline_error=rounded(float(np.abs(true - true.mean()).mean())),
        quantiles=[rounded(float(each)) for each in np.quantile(errors, _QUANTILES)],
        label=[rounded(float(each)) for each in true[kept]],
        predicted=[rounded(float(each)) for each in predicted[kept]],
        examples=[
            ScoreRow(
                row=lines[index]["row"],
                text=_cut(text.text) or "",
                text_pair=_cut(text.pair),
                label=rounded(float(true[index])),
                predicted=rounded(float(predicted[index])),
                slice=words(lines[index].get("slice")),
            )
            for index in order.tolist()
            if (text := texts.get(key_of(lines[index]))) is not None
        ],
    )


# ---- entities


def read_entities(lines: Sequence[Line], names: Sequence[str], texts: Mapping[RowKey, TestText]) -> EntityErrors:
    """Raises KeyError, IndexError, TypeError or ValueError for lines that are no predictions of entities."""
    true, predicted = ([_spans(line[key], names) for line in lines] for key in ("label", "predicted"))
    by_row = count_entities(true, predicted, names)
    counts = Counts(*(part.sum(axis=0) for part in by_row))
    kinds = {kind: int(of_type.sum()) for kind, of_type in count_errors(true, predicted, names).items()}
    wrong = [len(set(ours) ^ set(theirs)) for ours, theirs in zip(true, predicted, strict=True)]
    order = np.argsort(-np.array(wrong), kind="stable")[:EXAMPLES]
    return EntityErrors(
        types=_label_figures(names, counts),
        entity_f1=rounded(float(micro_f1_of(*counts))),
        right=int(counts.hits.sum()),
        **kinds,
        examples=[
            EntityRow(
                row=lines[index]["row"],
                text=_cut(text.text) or "",
                label=_within(true[index]),
                predicted=_within(predicted[index]),
                slice=words(lines[index].get("slice")),
            )
            for index in order.tolist()
            if (text := texts.get(key_of(lines[index]))) is not None
        ],
    )


def _spans(items: Sequence[Any], names: Sequence[str]) -> list[Span]:
    return [(int(start), int(end), names[kind]) for start, end, kind in items]


def _within(spans: Sequence[Span]) -> list[Entity]:
    """The entities in the part of a text that is shown."""
    limit = EXAMPLE_CHARACTERS - 1
    return [Entity(start=start, end=end, type=words(kind) or "") for start, end, kind in spans if end <= limit]


def _cut(text: str | None) -> str | None:
    return words(text, EXAMPLE_CHARACTERS)
