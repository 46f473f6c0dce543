"""The prediction files of a run: what each model predicted for each test row, and the texts of these rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.run_trace.log_values import figure, members, texts, words
from pretune.runtime.json_text import parse_json
from pretune.scoring.prediction_files import AVERAGED_PREDICTIONS, PREDICTIONS, SEED_PREDICTIONS, STUDENT_PREDICTIONS

# Where each kind of model has its predictions; of several seeds, one file each.
FOLDERS = {"pretrained": "finetune", "scratch": "scratch"}
BASELINES = ("majority", "tfidf", "nbsvm")
LABEL_FILES = ("prepare/labels.json", "finetune/checkpoint/labels.json", "split/labels.json")


@dataclass(frozen=True, kw_only=True)
class PredictedRows:
    """The predictions of one model for N test rows and C classes, in the order of the rows."""

    seed: int | None
    row: npt.NDArray[np.int64]  # (N,)
    label: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]  # (N, C)
    slices: list[str | None]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """(N,): whether each row is predicted correctly."""
        return self.label == self.predicted

    def in_slice(self, name: str | None) -> npt.NDArray[np.bool_]:
        """(N,): whether each row is in the slice; every row is for None."""
        return np.array([name is None or each == name for each in self.slices], dtype=np.bool_)


def read_first_seeds(run: Path) -> dict[str, PredictedRows]:
    """The predictions of each kind of model that has some: of networks, those of the first seed."""
    found = {kind: read_seed(run, kind) for kind in FOLDERS}
    found |= {kind: read_predictions(run / "compare" / PREDICTIONS / f"{kind}.jsonl") for kind in BASELINES}
    return {kind: rows for kind, rows in found.items() if rows is not None}


def read_seed(run: Path, kind: str, seed: int | None = None) -> PredictedRows | None:
    """The predictions of a network with this seed, or with its first one; None if there are none."""
    found = find_predictions(run, kind, seed)
    return None if found is None else read_predictions(*found)


def find_predictions(run: Path, kind: str, seed: int | None = None) -> tuple[Path, int] | None:
    """The prediction file of a network with this seed, or with its first one, and its seed; None if there is none."""
    folder = run / FOLDERS[kind] / PREDICTIONS
    seeds = {
        int(name[1]): file
        for file in folder.glob(SEED_PREDICTIONS)
        if (name := re.fullmatch(r"seed-(\d+)", file.stem)) is not None
    }
    if not seeds:
        return None
    chosen = seed if seed in seeds else min(seeds)
    return seeds[chosen], chosen


def find_delivered_predictions(run: Path, seed: int | None) -> tuple[Path, int | None] | None:
    """The prediction file of the network that is delivered: a student or the mean of the seeds, which have no seed, if
    there is one, else that of the chosen `seed`; None if there is none."""
    folder = run / FOLDERS["pretrained"] / PREDICTIONS
    several = [file for name in (STUDENT_PREDICTIONS, AVERAGED_PREDICTIONS) if (file := folder / name).is_file()]
    return (several[0], None) if several else find_predictions(run, "pretrained", seed)


def read_predictions(path: Path, seed: int | None = None) -> PredictedRows | None:
    """One prediction file; None if it is missing, empty, or damaged."""
    lines = read_lines(path)
    if not lines:
        return None
    try:
        lines.sort(key=lambda line: line["row"])
        rows = PredictedRows(
            seed=seed,
            row=np.array([line["row"] for line in lines], dtype=np.int64),
            label=np.array([line["label"] for line in lines], dtype=np.int64),
            predicted=np.array([line["predicted"] for line in lines], dtype=np.int64),
            probabilities=np.array([line["probabilities"] for line in lines], dtype=np.float64),
            slices=[words(line.get("slice")) for line in lines],
        )
    except (KeyError, TypeError, ValueError):
        return None
    num_classes = rows.probabilities.shape[1] if rows.probabilities.ndim == 2 else 0
    if rows.label.ndim != 1:  # several labels a row
        return None
    is_sound = np.isfinite(rows.probabilities).all() and num_classes > max(rows.label.max(), rows.predicted.max())
    return rows if is_sound and min(rows.label.min(), rows.predicted.min()) >= 0 else None


def read_label_names(run: Path) -> list[str]:
    """The names of the classes, by class; none if no file of the run has them."""
    found = (texts(_read_object(run / name).get("names")) for name in LABEL_FILES)
    return next((names for names in found if names), [])


def read_thresholds(run: Path) -> list[float]:
    """The thresholds that the delivered model was given on validation, by label; none if it has none."""
    found = members(_read_object(run / "finetune/checkpoint/labels.json").get("decision")).get("thresholds")
    return [figure(each) or 0.0 for each in found] if isinstance(found, list) else []


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return members(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True, kw_only=True)
class TestText:
    """The text of a test row, and the second one of a pair."""

    __test__ = False  # it is no test, whatever its name

    text: str
    pair: str | None


RowKey = tuple[int, int]  # the number of a test row, and of its part if a long text was cut into several


def key_of(line: Mapping[str, Any]) -> RowKey:
    """Which test row, or part of one, a line is about. Raises KeyError or TypeError for a line without a row."""
    row, part = line["row"], line.get("part", 0)
    if not isinstance(row, int) or not isinstance(part, int):
        raise TypeError(f"found {row!r} and {part!r} as the number of a row and of its part; expected whole numbers")
    return row, part


def read_test_rows(run: Path) -> dict[RowKey, TestText]:
    """The text of each test row, or part of one."""
    for name in ("prepare/test.jsonl", "split/test.jsonl"):
        lines = read_lines(run / name)
        if lines:
            return {
                key_of(line): TestText(
                    text=str(line.get("text", "")),
                    pair=str(line["text_pair"]) if isinstance(line.get("text_pair"), str) else None,
                )
                for line in lines
                if isinstance(line.get("row"), int) and isinstance(line.get("part", 0), int)
            }
    return {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file with one in each line; a damaged line is left out."""
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in content.split("\n"):
        try:
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
