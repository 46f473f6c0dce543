"""The texts of a run that its trace shows, chosen by rule, with their traces.

Of the test rows: the wrong one with the highest probability, the borderline one with the smallest margin, and the
typical one, which is right, and nearest to the middle in probability and in length. Rows of up to 64 tokens are
preferred, because their attention can be shown. Of the masked sentences: the run's own example, and the first
held-out ones that pre-training watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import ModelError, PretuneError, UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier, load_filler
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.runtime.events import Event, read_events
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.manifest import read_manifest
from pretune.scoring.prediction_files import (
    AVERAGED_PREDICTIONS,
    PREDICTIONS,
    STACK_PREDICTIONS,
    STUDENT_PREDICTIONS,
    seed_predictions,
)
from pretune.text.clean.normalize import clean_text
from pretune.text.token_shards import TokenShard
from pretune.trace_schema import FillTrace, PredictionTrace
from pretune.tracing.decision import thresholds_of
from pretune.tracing.fill import trace_fill
from pretune.tracing.prediction import ATTENTION_TOKENS, trace_prediction
from pretune.tracing.run_context import read_run_context

WATCHED_FILLS = 2  # beside the run's own example

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """N test rows as the choice of examples sees them, whatever their task."""

    labels: list[str]  # in words
    is_right: npt.NDArray[np.bool_]
    confidence: FloatArray  # of a wrong row, how wrong it is
    doubt: FloatArray | None  # how near the decision was to another one; None if the task has no such thing


@dataclass(frozen=True, kw_only=True)
class TestRows:
    """The test rows as the delivered model predicted them."""

    __test__ = False  # it is no test, whatever its name

    numbers: list[int]  # of each row in its file, from 0; rows that are parts of one text share it
    texts: list[str]
    labels: npt.NDArray[np.int64]  # of a classification
    probabilities: FloatArray  # (N, C), of a classification
    lengths: npt.NDArray[np.int64]  # in tokens
    slices: list[str | None]
    pairs: list[str | None] = field(default_factory=list)  # the second texts
    judged: JudgedRows | None = None  # of another task

    def __len__(self) -> int:
        return len(self.texts)

    def pair(self, row: int) -> str | None:
        """The second text of a row of pairs."""
        return self.pairs[row] if self.pairs else None

    def find(self, number: Any, text: str) -> int | None:
        """The place of the row with this number in its file; of the parts of a long text, that with this text."""
        places = [place for place, each in enumerate(self.numbers) if each == number]
        if len(places) > 1:
            places = [place for place in places if clean_text(self.texts[place]) == clean_text(text)]
        return places[0] if places else None

    def judge(self) -> JudgedRows:
        """What the choice of examples looks at."""
        if self.judged is not None:
            return self.judged
        order = np.sort(self.probabilities, axis=1)
        top = order[:, -1]
        return JudgedRows(
            labels=[],
            is_right=self.probabilities.argmax(axis=1) == self.labels,
            confidence=top,
            doubt=top - order[:, -2] if order.shape[1] > 1 else top,
        )


@dataclass(frozen=True, kw_only=True)
class OwnExample:
    """The text that a run carries through all stages, or pair of texts, and its place among the test rows."""

    text: str
    text_pair: str | None
    label: str | None
    place: int | None


def trace_examples(run: Path) -> tuple[list[PredictionTrace], list[FillTrace]]:
    """The traced predictions and the traced masked words of a run, in the order in which they are read.

    A run without labels has no predictions, and one without test rows only that of its own example. Raises
    CorruptModelError for a damaged model.
    """
    return _trace_predictions(run), _trace_fills(run)


def _trace_predictions(run: Path) -> list[PredictionTrace]:
    if not (run / "finetune" / CHECKPOINT_NAME).is_dir():
        return []
    classifier = load_classifier(run)
    context = read_run_context(classifier)
    rows = read_test_rows(run, classifier)
    example = read_own_example(run, rows)
    place = None if example is None else example.place
    traces = []
    if example is not None and (example.text_pair is not None) == classifier.labelling.has_pairs:
        number, part = (None, None) if rows is None or place is None else (rows.numbers[place], rows.slices[place])
        traces.append(
            trace_prediction(
                classifier,
                example.text,
                example.text_pair,
                context=context,
                id="example",
                why="example",
                true_label=example.label,
                row=number,
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
                rows.pair(row),
                context=context,
                id=why,
                why=why,
                true_label=rows.judged.labels[row] if rows.judged else classifier.label_names[rows.labels[row]],
                row=rows.numbers[row],
                slice=rows.slices[row],
            )
        )
    return traces


def choose_rows(rows: TestRows, taken: set[int]) -> dict[str, int]:
    """Rows by name - typical, borderline, wrong - without those in `taken`, and each row once.

    The borderline row is chosen after the wrong one, and the typical row last. A name without a row is left out; ties
    go to the first row.
    """
    judged = rows.judge()
    top, is_right = judged.confidence, judged.is_right
    has_doubt = np.full(len(rows), judged.doubt is not None)
    doubt = top if judged.doubt is None else judged.doubt
    is_free = np.array([bool(text.strip()) for text in rows.texts], dtype=np.bool_)
    is_free[sorted(taken)] = False
    chosen: dict[str, int] = {}
    for why, is_candidate, cost in (
        ("wrong", ~is_right, -top),
        ("borderline", has_doubt, doubt),
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


def read_test_rows(run: Path, classifier: Classifier | None = None) -> TestRows | None:
    """The test rows with the predictions of the delivered model; None if the run has no test rows or lost a file.

    Those of a task beyond one class for a text are judged as `classifier` needs it.
    """
    try:
        texts = read_json_lines(run / "prepare" / "test.jsonl")
        predicted = read_json_lines(_delivered_predictions(run))
        lengths = TokenShard(run / "prepare", "test").lengths
        numbers = [int(row["row"]) for row in texts]
    except (OSError, ValueError, KeyError, PretuneError):
        return None
    if not texts or not len(texts) == len(predicted) == len(lengths):
        return None
    pairs = [row.get("text_pair") for row in texts] if "text_pair" in texts[0] else []
    if classifier is not None and classifier.task.name != "classification":
        return TestRows(
            numbers=numbers,
            texts=[str(row["text"]) for row in texts],
            labels=np.zeros(len(texts), dtype=np.int64),
            probabilities=np.zeros((len(texts), 1)),
            lengths=np.asarray(lengths),
            slices=[row.get("slice") for row in texts],
            pairs=pairs,
            judged=judge_rows(classifier, texts, predicted),
        )
    return TestRows(
        numbers=numbers,
        texts=[str(row["text"]) for row in texts],
        labels=np.array([row["label"] for row in texts], dtype=np.int64),
        probabilities=np.array([row["probabilities"] for row in predicted], dtype=np.float64),
        lengths=np.asarray(lengths),
        slices=[row.get("slice") for row in texts],
        pairs=pairs,
    )


def _delivered_predictions(run: Path) -> Path:
    """The file of what the delivered model predicts: with linear models stacked on the network, if there are some, or
    as the student or the mean of the seeds, or else as the chosen seed."""
    folder = run / "finetune" / PREDICTIONS
    several = (folder / name for name in (STACK_PREDICTIONS, STUDENT_PREDICTIONS, AVERAGED_PREDICTIONS))
    found = next((path for path in several if path.is_file()), None)
    if found is not None:
        return found
    return folder / seed_predictions(read_manifest(run / "finetune", "finetune").summary["chosen"]["seed"])


def judge_rows(
    classifier: Classifier, rows: Sequence[Mapping[str, Any]], predicted: Sequence[Mapping[str, Any]]
) -> JudgedRows:
    """Rows of several labels, numbers or entities.

    A wrong row is the more so the further a probability is on the wrong side of its threshold, the larger the error of
    the number, or the more entities are wrong. A row of several labels is in doubt if a probability is near its
    threshold. A number counts as right if its error is at most the median; a row without entities does not.
    """
    task, names = classifier.task, classifier.label_names
    labels = [task.describe(task.from_json(row["label"], names), str(row["text"]), names, names) for row in rows]
    decision = {**classifier.labelling.decision, **(classifier.stacked.decision if classifier.stacked else {})}
    if task.name == "regression":
        errors = np.array([abs(line["predicted"] - row["label"]) for row, line in zip(rows, predicted, strict=True)])
        return JudgedRows(labels=labels, is_right=errors <= np.median(errors), confidence=errors, doubt=None)
    if task.name == "multilabel":
        probabilities = np.array([line["probabilities"] for line in predicted], dtype=np.float64)
        levels = np.array(thresholds_of(decision, len(names)))
        true = np.zeros(probabilities.shape, dtype=np.bool_)
        for index, row in enumerate(rows):
            true[index, row["label"]] = True
        distance = probabilities - levels
        is_wrong = (distance >= 0) != true
        return JudgedRows(
            labels=labels,
            is_right=~is_wrong.any(axis=1),
            confidence=np.where(is_wrong, np.abs(distance), 0).max(axis=1),
            doubt=np.abs(distance).min(axis=1),
        )
    true_sets = [{tuple(each) for each in row["label"]} for row in rows]
    given = [{tuple(each) for each in line["predicted"]} for line in predicted]
    wrong = np.array([len(a ^ b) for a, b in zip(true_sets, given, strict=True)], dtype=np.float64)
    has_entities = np.array([bool(each) for each in true_sets])
    return JudgedRows(labels=labels, is_right=(wrong == 0) & has_entities, confidence=wrong, doubt=None)


def read_own_example(run: Path, rows: TestRows | None) -> OwnExample | None:
    """The text that the run carries through all stages, with its label and its test row, as far as it has them."""
    summaries = [_summary(run / stage) for stage in ("prepare", "collect")]
    example = next((each["example"] for each in summaries if each.get("example")), None)
    text = "" if example is None else str(example.get("text", ""))
    if example is None or not clean_text(text):
        return None
    is_test_row = rows is not None and example.get("split") == "test"  # the rows of each split have their own numbers
    return OwnExample(
        text=text,
        text_pair=example.get("text_pair"),
        label=example.get("label"),
        place=rows.find(example.get("row"), text) if rows is not None and is_test_row else None,
    )


def _summary(folder: Path) -> Mapping[str, Any]:
    try:
        return read_manifest(folder).summary
    except PretuneError:
        return {}


def _trace_fills(run: Path) -> list[FillTrace]:
    """The masked words of the run's log of pre-training; a sentence that cannot be traced is left out."""
    sentences = choose_sentences(read_events(run / "pretrain"))
    if not sentences or not (run / "pretrain" / CHECKPOINT_NAME).is_dir():
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
