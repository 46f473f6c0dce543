"""The texts of a run that its trace shows, chosen by rule, with their traces.

Of the test rows: the wrong one with the highest probability, the borderline one with the smallest margin, and the
typical one, which is right, and nearest to the middle in probability and in length. Rows of up to 64 tokens are
preferred, because their attention can be shown. Of the masked sentences: the run's own example, and the first
held-out ones that pre-training watched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import ModelError, PretuneError, UsageError
from pretune.inference.load import load_classifier, load_filler
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import read_manifest
from pretune.text.clean.normalize import clean_text
from pretune.text.token_shards import TokenShard
from pretune.trace_schema import FillTrace, PredictionTrace
from pretune.tracing.fill import trace_fill
from pretune.tracing.prediction import ATTENTION_TOKENS, trace_prediction
from pretune.tracing.run_context import read_run_context

WATCHED_FILLS = 2  # beside the run's own example

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TestRows:
    """The test rows as the delivered model predicted them."""

    __test__ = False  # it is no test, whatever its name

    texts: list[str]
    labels: npt.NDArray[np.int64]
    probabilities: FloatArray  # (N, C)
    lengths: npt.NDArray[np.int64]  # in tokens
    slices: list[str | None]

    def __len__(self) -> int:
        return len(self.texts)


def trace_examples(run: Path) -> tuple[list[PredictionTrace], list[FillTrace]]:
    """The traced predictions and the traced masked words of a run, in the order in which they are read.

    A run without labels has no predictions, and one without test rows only that of its own example. Raises
    CorruptModelError for a damaged model.
    """
    return _trace_predictions(run), _trace_fills(run)


def _trace_predictions(run: Path) -> list[PredictionTrace]:
    if not (run / "finetune" / "checkpoint").is_dir():
        return []
    classifier = load_classifier(run)
    if classifier.task.name != "classification" or classifier.labelling.has_pairs:
        return []
    context = read_run_context(classifier)
    rows = read_test_rows(run)
    text, place, label = _own_example(run, rows)
    traces = []
    if text is not None:
        part = None if rows is None or place is None else rows.slices[place]
        traces.append(
            trace_prediction(
                classifier,
                text,
                context=context,
                id="example",
                why="example",
                true_label=label,
                row=place,
                slice=part,
            )
        )
    if rows is None:
        return traces
    for why, row in choose_rows(rows, set() if place is None else {place}).items():
        traces.append(
            trace_prediction(
                classifier,
                rows.texts[row],
                context=context,
                id=why,
                why=why,
                true_label=classifier.label_names[rows.labels[row]],
                row=row,
                slice=rows.slices[row],
            )
        )
    return traces


def choose_rows(rows: TestRows, taken: set[int]) -> dict[str, int]:
    """Rows by name - typical, borderline, wrong - without those in `taken`, and each row once.

    The borderline row is chosen after the wrong one, and the typical row last. A name without a row is left out; ties
    go to the first row.
    """
    order = np.sort(rows.probabilities, axis=1)
    top = order[:, -1]
    margin = top - order[:, -2] if order.shape[1] > 1 else top
    is_right = rows.probabilities.argmax(axis=1) == rows.labels
    is_free = np.array([bool(text.strip()) for text in rows.texts], dtype=np.bool_)
    is_free[sorted(taken)] = False
    chosen: dict[str, int] = {}
    for why, is_candidate, cost in (
        ("wrong", ~is_right, -top),
        ("borderline", np.ones(len(rows), dtype=np.bool_), margin),
        ("typical", is_right, _distance_from_middle(top, is_right) + _distance_from_middle(rows.lengths, is_right)),
    ):
        candidates = np.flatnonzero(is_candidate & is_free)
        short = candidates[rows.lengths[candidates] <= ATTENTION_TOKENS]
        candidates = short if len(short) else candidates
        if len(candidates):
            chosen[why] = int(candidates[cost[candidates].argmin()])
            is_free[chosen[why]] = False
    return {why: chosen[why] for why in ("typical", "borderline", "wrong") if why in chosen}


def _distance_from_middle(values: npt.NDArray[Any], among: npt.NDArray[np.bool_]) -> FloatArray:
    """How far a value is from the median of some of the values, as a fraction of them that lies between."""
    if not among.any():
        return np.zeros(len(values))
    ordered = np.sort(values[among])
    middle = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))
    return np.abs(middle - 0.5)


def read_test_rows(run: Path) -> TestRows | None:
    """The test rows with the predictions of the chosen seed; None if the run has no test rows or lost a file."""
    try:
        seed = read_manifest(run / "finetune", "finetune").summary["chosen"]["seed"]
        texts = _read_lines(run / "prepare" / "test.jsonl")
        predicted = _read_lines(run / "finetune" / "predictions" / f"seed-{seed}.jsonl")
        lengths = TokenShard(run / "prepare", "test").lengths
    except (OSError, ValueError, KeyError, PretuneError):
        return None
    if not texts or not len(texts) == len(predicted) == len(lengths):
        return None
    return TestRows(
        texts=[str(row["text"]) for row in texts],
        labels=np.array([row["label"] for row in texts], dtype=np.int64),
        probabilities=np.array([row["probabilities"] for row in predicted], dtype=np.float64),
        lengths=np.asarray(lengths),
        slices=[row.get("slice") for row in texts],
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:  # not splitlines: texts may contain other line separators
        return [json.loads(line) for line in file]


def _own_example(run: Path, rows: TestRows | None) -> tuple[str | None, int | None, str | None]:
    """The text that the run carries through all stages, its test row, and its label, as far as it has them."""
    summaries = [_summary(run / stage) for stage in ("prepare", "collect")]
    example = next((each["example"] for each in summaries if each.get("example")), None)
    text = None if example is None else str(example.get("text", ""))
    if example is None or not text or not clean_text(text):
        return None, None, None
    row = example.get("row")
    is_test_row = rows is not None and isinstance(row, int) and row < len(rows) and rows.texts[row] == text
    return text, row if is_test_row else None, example.get("label")


def _summary(folder: Path) -> Mapping[str, Any]:
    try:
        return read_manifest(folder).summary
    except PretuneError:
        return {}


def _trace_fills(run: Path) -> list[FillTrace]:
    """The masked words of the run's log of pre-training; a sentence that cannot be traced is left out."""
    sentences = choose_sentences(read_events(run / "pretrain"))
    if not sentences or not (run / "pretrain" / "checkpoint").is_dir():
        return []
    try:
        filler = load_filler(run)
    except ModelError:  # a model without [MASK], or a classifier as the base
        return []
    fills = []
    for name, sentence in sentences.items():
        try:
            fills.append(trace_fill(filler, sentence["masked_text"], true_word=sentence["true_word"], id=name))
        except UsageError:
            continue
    return fills


def choose_sentences(events: list[Event]) -> dict[str, Event]:
    """Masked sentences of a log of pre-training by name: the run's own example, then the first watched ones."""
    examples = [event for event in events if event["event"] == "example" and "masked_text" in event]
    chosen = {"example": examples[-1]} if examples else {}
    evaluations = [event for event in events if event["event"] == "evaluation" and event.get("sentences")]
    watched = evaluations[-1]["sentences"] if evaluations else []
    own = {event["masked_text"] for event in chosen.values()}
    held_out = [each for each in watched if not each.get("is_in_training") and each["masked_text"] not in own]
    return chosen | {f"watched-{number}": each for number, each in enumerate(held_out[:WATCHED_FILLS], 1)}
