"""Did pre-training help? Predictions of the model and of its from-scratch control beside linear baselines: verdicts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import InputDataError
from pretune.evaluation.baselines import Baseline, TextRows, predict_linear, predict_majority
from pretune.evaluation.metrics import accuracy, brier_score, calibration_error, macro_f1, macro_f1_of
from pretune.evaluation.uncertainty import (
    Difference,
    accuracy_difference,
    accuracy_over_seeds,
    bootstrap_difference,
    holm,
)
from pretune.runtime.atomic import write_text
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.text.seen_texts import SEEN_KINDS, describe_seen, load_seen

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

PREDICTIONS = "predictions"
NAMES = {"scratch": "from scratch", "pretrained": "pre-trained"}
LINEAR = ("tfidf", "nbsvm")
MIN_SLICE_ROWS = 20  # of a part; below, a verdict on it would be noise


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the comparison: predicted classes (S, N) and probabilities (S, N, C) of its seeds, for the same N
    test rows."""

    name: str
    kind: str
    predicted: IntArray
    probabilities: FloatArray


@dataclass(frozen=True, kw_only=True)
class HeldOutRows:
    """The test split: row numbers, true classes (N,), and the part of each row, where the label file names parts."""

    rows: list[int]
    labels: IntArray
    slices: list[str | None]
    num_classes: int

    def mask(self, part: str | None) -> npt.NDArray[np.bool_]:
        """(N,): the rows of one part; all for None."""
        return np.array([part is None or s == part for s in self.slices], dtype=np.bool_)

    @property
    def parts(self) -> list[str]:
        return sorted({s for s in self.slices if s is not None})


def compare(finetuned: Path, scratch: Path | None, prepared: Path, out: Path, *, redo: bool = False) -> Manifest:
    """Set the fine-tuned model beside its control and the baselines, on the test rows of `prepared`.

    Predictions of the networks are read, only the baselines are trained. Raises InputDataError where a folder is
    missing or not finished, where there are no test rows, or where predictions belong to other rows.
    """
    folders = {"prepared": Path(prepared), "finetuned": Path(finetuned)}
    if scratch is not None:
        folders["scratch"] = Path(scratch)
    manifests = {name: read_manifest(path) for name, path in folders.items()}
    folder = open_stage(
        Path(out), "compare", config={}, inputs={n: m.fingerprint for n, m in manifests.items()}, redo=redo
    )
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        _run(folder, folders, manifests["prepared"].summary)
    return folder.manifest


def _run(folder: StageFolder, folders: dict[str, Path], summary: dict[str, Any]) -> None:
    start = time.monotonic()
    inputs = {name: str(path) for name, path in folders.items()}
    folder.log.write("stage_started", config={}, inputs=inputs, synthetic=bool(summary.get("synthetic", False)))
    prepared = folders["prepared"]
    names = json.loads((prepared / "labels.json").read_text(encoding="utf-8"))["names"]
    test_lines = _read_lines(prepared / "test.jsonl")
    if not test_lines:
        raise InputDataError(f"{prepared} has no test rows, so nothing can be compared; prepare with --test-labels.")
    test = HeldOutRows(
        rows=[line["row"] for line in test_lines],
        labels=np.array([line["label"] for line in test_lines], dtype=np.int64),
        slices=[line.get("slice") for line in test_lines],
        num_classes=len(names),
    )
    metric = summary.get("early_stopping_metric", "accuracy")
    # The networks first: predictions that do not fit are refused before anything is trained.
    networks = [
        _read_predictions(folders[source], test, kind)
        for kind, source in (("scratch", "scratch"), ("pretrained", "finetuned"))
        if source in folders
    ]
    texts = [line["text"] for line in test_lines]
    _say_what_was_seen(folder, folders["finetuned"], texts)
    contenders = [*_train_baselines(folder, prepared, test, texts, metric), *networks]
    rows = [_describe(contender, test) for contender in contenders]
    verdicts = judge(contenders, test, metric)
    folder.log.write("comparison", rows=rows, verdicts=verdicts, coverage=describe_coverage(contenders, verdicts))
    seconds = round(time.monotonic() - start, 3)
    peak = peak_memory_bytes()
    folder.log.write(
        "flow",
        shape_in=[{"name": "test rows", "value": len(test.rows)}],
        shape_out=[
            {"name": "models", "value": len(rows)},
            {"name": "verdict" if len(verdicts) == 1 else "verdicts", "value": len(verdicts)},
        ],
        dropped=[],
        seconds=seconds,
        peak_memory_bytes=peak,
    )
    folder.log.write("stage_finished", seconds=seconds, peak_memory_bytes=peak)
    folder.finish(verdicts=[verdict["sentence"] for verdict in verdicts])


def _say_what_was_seen(folder: StageFolder, finetuned: Path, texts: Sequence[str]) -> None:
    """Log how many of the test rows the fine-tuned model has learned from; nothing if it is none."""
    seen = {kind: load_seen(finetuned, kind) for kind in SEEN_KINDS}
    num_seen = {kind: None if it is None else int(it.among(texts).sum()) for kind, it in seen.items()}
    count = sum(number or 0 for number in num_seen.values())
    if count:
        folder.log.write("warning", rule="seen", count=count, sentence=describe_seen(len(texts), num_seen))


# -- the contenders ------------------------------------------------------------------------------------------------


def _train_baselines(
    folder: StageFolder, prepared: Path, test: HeldOutRows, texts: Sequence[str], metric: str
) -> list[Contender]:
    train, validation = (_read_rows(prepared / f"{split}.jsonl") for split in ("train", "validation"))
    found = [predict_majority(train.labels, len(texts), test.num_classes)]
    for baseline in predict_linear(train, validation, texts, test.num_classes, is_imbalanced=metric == "macro_f1"):
        settings = ", ".join(f"{name} {value:.4g}" for name, value in baseline.chosen.items() if name in ("C", "beta"))
        folder.log.write("notice", sentence=f"{baseline.name} trained; chosen on validation: {settings}.")
        found.append(baseline)
    for baseline in found:
        _write_predictions(folder.path / PREDICTIONS / f"{baseline.kind}.jsonl", baseline, test)
    return [
        Contender(
            name=b.name,
            kind=b.kind,
            predicted=b.probabilities.argmax(axis=1)[None].astype(np.int64),
            probabilities=b.probabilities[None],
        )
        for b in found
    ]


def _read_rows(path: Path) -> TextRows:
    lines = _read_lines(path)
    labels = np.array([line["label"] for line in lines], dtype=np.int64)
    return TextRows(texts=[line["text"] for line in lines], labels=labels)


def _write_predictions(path: Path, baseline: Baseline, test: HeldOutRows) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = []
    for row, label, part, given in zip(
        test.rows, test.labels.tolist(), test.slices, baseline.probabilities, strict=True
    ):
        probabilities = [round(float(p), 6) for p in given]
        fields = {"row": row, "label": label, "predicted": int(given.argmax()), "probabilities": probabilities}
        lines.append(json.dumps({**fields, "slice": part} if part is not None else fields) + "\n")
    write_text(path, "".join(lines))


def _read_predictions(folder: Path, test: HeldOutRows, kind: str) -> Contender:
    """A network with what each of its seeds predicted, in the order of the test rows."""
    files = sorted((folder / PREDICTIONS).glob("seed-*.jsonl"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise InputDataError(f"{folder} has no {PREDICTIONS}/seed-*.jsonl; expected the folder of a finetune stage.")
    seeds = []
    for file in files:
        by_row = {line["row"]: line for line in _read_lines(file)}
        fits = by_row.keys() == set(test.rows) and all(
            by_row[row]["label"] == label for row, label in zip(test.rows, test.labels.tolist(), strict=True)
        )
        if not fits:
            raise InputDataError(
                f"{file} holds predictions for other rows than the test split; "
                "compare with the prepare folder that the model was fine-tuned on."
            )
        seeds.append([by_row[row] for row in test.rows])
    return Contender(
        name=NAMES[kind],
        kind=kind,
        predicted=np.array([[line["predicted"] for line in seed] for seed in seeds], dtype=np.int64),
        probabilities=np.array([[line["probabilities"] for line in seed] for seed in seeds], dtype=np.float64),
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError as error:
        raise InputDataError(f"{path} does not exist; give the command that writes it again.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path} is damaged ({error}); restore it, or make its folder again.") from error


# -- the figures and verdicts --------------------------------------------------------------------------------------


def _describe(contender: Contender, test: HeldOutRows) -> dict[str, Any]:
    correct = contender.predicted == test.labels
    mean, interval = accuracy_over_seeds(correct)
    row: dict[str, Any] = {
        "name": contender.name,
        "kind": contender.kind,
        "accuracy": mean,
        "accuracy_interval": list(interval),
        "macro_f1": float(np.mean([macro_f1(test.labels, p, test.num_classes) for p in contender.predicted])),
        "brier_score": float(np.mean([brier_score(test.labels, p) for p in contender.probabilities])),
        "calibration_error": float(np.mean([calibration_error(test.labels, p) for p in contender.probabilities])),
        "seeds": [accuracy(test.labels, predicted) for predicted in contender.predicted],
        "n": len(test.rows),
    }
    if test.parts:
        row["slices"] = {part: _describe_part(correct[:, test.mask(part)]) for part in test.parts}
    return row


def _describe_part(correct: npt.NDArray[np.bool_]) -> dict[str, Any]:
    mean, interval = accuracy_over_seeds(correct)
    return {"n": correct.shape[1], "accuracy": mean, "accuracy_interval": list(interval)}


def judge(contenders: Sequence[Contender], test: HeldOutRows, metric: str = "accuracy") -> list[dict[str, Any]]:
    """The verdicts on pre-trained against from scratch, and against the linear baseline that is best on the test rows.

    On all rows, then on each part with enough rows. Where classes are strongly imbalanced, `metric` is "macro_f1" and
    the verdicts are on that. A difference counts as clear only if neither the choice of test rows nor that of seeds is
    a likely explanation; see `pretune.evaluation.uncertainty.accuracy_difference`. Among the parts, a difference must
    also stay clear after Holm's correction for how many comparisons there are. Taking the best baseline by its test
    figure favours the baseline, which is the careful side.
    """
    by_kind = {contender.kind: contender for contender in contenders}
    pretrained = by_kind.get("pretrained")
    if pretrained is None:
        return []
    linear = [by_kind[kind] for kind in LINEAR if kind in by_kind]
    best = max(linear, key=lambda c: _score(c, test, metric).mean(), default=None)
    others = [other for other in (by_kind.get("scratch"), best) if other is not None]
    verdicts = [
        _verdict(pretrained, other, _difference(pretrained, other, test, metric, None), metric) for other in others
    ]
    of_parts = [
        (part, other, _difference(pretrained, other, test, metric, part))
        for part in test.parts
        if test.mask(part).sum() >= MIN_SLICE_ROWS
        for other in others
    ]
    corrected = holm([found.p_value for _, _, found in of_parts])
    for (part, other, found), p_value in zip(of_parts, corrected, strict=True):
        verdict = _verdict(pretrained, other, replace(found, p_value=p_value), metric, part, len(of_parts))
        verdicts.append({**verdict, "slice": part, "uncorrected_p_value": found.p_value})
    return verdicts


def describe_coverage(contenders: Sequence[Contender], verdicts: Sequence[dict[str, Any]]) -> str:
    """What the intervals cover and what they do not, and that verdicts on parts are corrected for their number."""
    num_seeds = [len(contender.predicted) for contender in contenders if contender.kind in ("scratch", "pretrained")]
    if min(num_seeds, default=1) > 1:
        covered, missing = "the choice of test rows and of fine-tuning seeds", "another pre-training run may differ"
    else:
        covered, missing = (
            "the choice of test rows",
            "one seed was run, and other fine-tuning or pre-training runs differ",
        )
    sentence = f"The intervals cover {covered}; {missing}."
    num_corrected = sum("slice" in verdict for verdict in verdicts)
    if num_corrected < 2:
        return sentence
    return (
        f"{sentence} The verdicts on parts are corrected for {num_corrected} comparisons (Holm), their intervals not."
    )


def _difference(a: Contender, b: Contender, test: HeldOutRows, metric: str, part: str | None) -> Difference:
    mask = test.mask(part)
    labels, ours, theirs = test.labels[mask], a.predicted[:, mask], b.predicted[:, mask]
    if metric == "macro_f1":
        return _macro_f1_difference(labels, ours, theirs, test.num_classes)
    return accuracy_difference(ours == labels, theirs == labels)


def _verdict(
    a: Contender, b: Contender, found: Difference, metric: str, part: str | None = None, num_corrected: int = 1
) -> dict[str, Any]:
    return {
        "between": [a.kind, b.kind],
        "metric": metric,
        "difference": found.difference,
        "difference_interval": list(found.interval),
        "p_value": found.p_value,
        "sentence": _sentence(found, b, metric, part, num_corrected),
    }


def _sentence(found: Difference, other: Contender, metric: str, part: str | None, num_corrected: int) -> str:
    point, low, high = (_points(value) for value in (found.difference, *found.interval))
    sign = "+" if found.difference > 0 else ""
    unit = "points" if metric == "accuracy" else "points of macro-F1"
    figures = f"{sign}{point} {unit} (95 % interval {low} to {high})"
    is_control = other.kind == "scratch"
    than = "the same network from scratch" if is_control else other.name
    where = "" if part is None else f" on the part {part!r}"
    if not found.is_clear:
        is_lost = not found.interval[0] <= 0.0 <= found.interval[1]
        correction = f", corrected for {num_corrected} comparisons of parts" if is_lost and num_corrected > 1 else ""
        return f"No clear difference{where}{correction}: {figures} against {than}."
    if found.difference > 0:
        lead = "Pre-training helped" if is_control else f"The pre-trained model beats {than}"
    else:
        lead = "Pre-training hurt" if is_control else f"The pre-trained model is worse than {than}"
    against = "" if not is_control else f" over {than}" if found.difference > 0 else f" against {than}"
    return f"{lead}{where}: {figures}{against}."


def _points(value: float) -> str:
    """A share as percentage points with a true minus sign, and without minus zero."""
    return f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")


def _score(contender: Contender, test: HeldOutRows, metric: str) -> FloatArray:
    """The figure of each seed (S,)."""
    if metric == "macro_f1":
        return np.array([macro_f1(test.labels, predicted, test.num_classes) for predicted in contender.predicted])
    return np.array([accuracy(test.labels, predicted) for predicted in contender.predicted])


def _macro_f1_difference(labels: IntArray, a: IntArray, b: IntArray, num_classes: int) -> Difference:
    """Paired over rows by a bootstrap that weighs the rows, the same for every run."""
    classes = np.eye(num_classes)
    true = classes[labels]

    def score_run(weights: FloatArray, predicted: IntArray) -> FloatArray:
        given = classes[predicted]
        return macro_f1_of(weights @ (true * given), weights @ true, weights @ given)

    def score(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        ours, theirs = ([score_run(weights, predicted) for predicted in runs] for runs in (a, b))
        return np.stack(ours, axis=1), np.stack(theirs, axis=1)

    ours, theirs = score(np.ones((1, len(labels))))
    return bootstrap_difference(ours[0], theirs[0], score, len(labels))
