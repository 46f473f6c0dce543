"""Every task through stages 4 and 5, prediction, evaluation and comparison, on rows that a small model can learn."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.errors import InputDataError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict, predict_file
from pretune.runtime.events import read_events
from pretune.settings import FinetuneConfig, PrepareConfig, SplitConfig
from pretune.stages.compare import compare
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare

FOOD, ROOM, STAFF = "The food was cold.", "The room was noisy.", "The waiter was rude."
FILLERS = ["We went in May.", "It was a warm day.", "The film was long.", "We bought a hotel.", "They sang and danced."]
FINETUNE = FinetuneConfig(epochs=8, patience=8, learning_rates=(4e-3,), seeds=1)


def several_labels(random: np.random.Generator) -> dict[str, Any]:
    parts = {"food": FOOD, "room": ROOM, "staff": STAFF}
    labels = [name for name in parts if random.random() < 0.4]
    text = [*(parts[name] for name in labels), *random.choice(FILLERS, size=2)]
    return {"text": " ".join(random.permutation(text)), "labels": labels}


def score(random: np.random.Generator) -> dict[str, Any]:
    """The number of complaints, and a little noise."""
    complaints = [part for part in (FOOD, ROOM, STAFF) if random.random() < 0.5]
    text = " ".join(random.permutation([*complaints, *random.choice(FILLERS, size=2)]))
    return {"text": text, "score": round(100 + 10 * len(complaints) + float(random.normal(0, 0.5)), 3)}


def pair(random: np.random.Generator) -> dict[str, Any]:
    """Whether the second text complains; the first says nothing about it."""
    complains = bool(random.random() < 0.5)
    first, second = (" ".join(random.choice(FILLERS, size=2)) for _ in range(2))
    return {
        "text_a": first,
        "text_b": f"{second} {FOOD if complains else STAFF}",
        "label": "yes" if complains else "no",
    }


def scored_pair(random: np.random.Generator) -> dict[str, Any]:
    row = pair(random)
    return {**row, "label": round((4 if row["label"] == "yes" else 1) + float(random.normal(0, 0.1)), 3)}


TASKS: dict[str, tuple[Callable[[np.random.Generator], dict[str, Any]], str]] = {
    "multilabel": (several_labels, "micro_f1"),
    "regression": (score, "pearson"),
    "pairs": (pair, "accuracy"),
    "scored pairs": (scored_pair, "pearson"),
}
# Scored pairs join what pairs and scores show apart.
EVERY_TASK = [pytest.param(task, marks=pytest.mark.slow if task == "scored pairs" else ()) for task in TASKS]
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a task with its rows, and what stages 4 and 5 made of them."""
    made: dict[str, Path] = {}

    def folder_of(task: str) -> Path:
        if task not in made:
            folder, random = tmp_path_factory.mktemp(task.replace(" ", "-")), np.random.default_rng(0)
            rows = [TASKS[task][0](random) for _ in range(260)]
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            base = run_folder / "pretrain"
            if "text_a" in rows[0]:
                split = SplitConfig(task="pairs", text_column="text_a", text_pair_column="text_b")
            else:
                split = SplitConfig(task="auto")
            prepare(folder / "rows.jsonl", folder / "prepare", PrepareConfig(), base=base, split=split)
            finetune(base, folder / "prepare", folder / "finetune", FINETUNE)
            made[task] = folder
        return made[task]

    return folder_of


def labels_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "finetune" / "checkpoint" / "labels.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_model_learns_the_task(task: str, folder_of: Folder) -> None:
    folder, metric = folder_of(task), TASKS[task][1]
    [test] = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    assert test[metric] > 0.85
    low, high = test[f"{metric}_interval"]
    assert low < test[metric] <= high
    every = evaluate(folder / "finetune", folder / "rows.jsonl")
    assert every["n"] == 260
    assert every[metric] > 0.85


@pytest.mark.parametrize("task", EVERY_TASK)
def test_the_comparison_reads_what_was_predicted(task: str, folder_of: Folder, tmp_path: Path) -> None:
    folder, metric = folder_of(task), TASKS[task][1]
    compare(folder / "finetune", None, folder / "prepare", tmp_path / "compare")
    [event] = [event for event in read_events(tmp_path / "compare") if event["event"] == "comparison"]
    *baselines, ours = event["rows"]
    [test] = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    assert ours[metric] == pytest.approx(test[metric], abs=1e-9)
    trivial, *linear = [row[metric] for row in baselines]
    assert linear
    assert min(linear) > trivial
    assert event["verdicts"][0]["metric"] == metric


@pytest.mark.parametrize("task", EVERY_TASK)
def test_files_get_the_predictions(task: str, folder_of: Folder, tmp_path: Path) -> None:
    folder = folder_of(task)
    model = load_classifier(folder / "finetune")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()][:20]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = predict_file(model, tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    texts = [(row["text_a"], row["text_b"]) if "text_a" in row else row["text"] for row in rows]
    cells = [prediction.cells() for prediction in predict(model, texts)]
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [tuple(line[name] for name in done.added_columns) for line in written] == cells
    predict_file(model, tmp_path / "rows.jsonl", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 20


@pytest.mark.parametrize("task", EVERY_TASK)
def test_transformers_computes_the_same_outputs(task: str, folder_of: Folder) -> None:
    transformers = pytest.importorskip("transformers")
    folder = folder_of(task)
    checkpoint = folder / "finetune" / "checkpoint"
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    expected = {
        "multilabel": "multi_label_classification",
        "regression": "regression",
        "pairs": "single_label_classification",
        "scored pairs": "regression",
    }
    assert theirs.config.problem_type == expected[task]
    ours = load_classifier(checkpoint)
    texts = ("We went in May.", "The food was cold.") if "pairs" in task else ("The room was noisy.", None)
    with torch.no_grad():
        found = theirs(**tokenizer(*texts, return_tensors="pt")).logits
    ids = tokenizer(*texts)["input_ids"]
    assert found == pytest.approx(ours.predict_logits([ids]), abs=1e-5)
    names = labels_of(folder)["names"]
    assert [theirs.config.id2label[place] for place in range(len(names))] == names


def test_thresholds_and_units_are_in_the_checkpoint(folder_of: Folder) -> None:
    several, scores = labels_of(folder_of("multilabel")), labels_of(folder_of("regression"))
    assert several["task"] == "multilabel"
    assert len(several["decision"]["thresholds"]) == 3
    assert 105 < scores["decision"]["mean"] < 125
    [found] = predict(folder_of("regression") / "finetune", [f"{FOOD} {ROOM} {STAFF} We went in May."])
    assert 120 < found.score < 140  # type: ignore[attr-defined]


def test_rows_without_any_label_are_valid(folder_of: Folder) -> None:
    folder = folder_of("multilabel")
    rows = [json.loads(line) for line in (folder / "prepare" / "train.jsonl").read_text().splitlines()]
    assert any(row["label"] == [] for row in rows)
    [none] = predict(folder / "finetune", ["We went in May. It was a warm day."])
    assert none.labels == ()  # type: ignore[attr-defined]
    assert none.label == "(no label)"
    assert not none.is_empty


def test_pairs_and_single_texts_are_not_confused(folder_of: Folder) -> None:
    with pytest.raises(InputDataError, match="two texts"):
        predict(folder_of("pairs") / "finetune", ["One text."])
    with pytest.raises(InputDataError, match="one text"):
        predict(folder_of("multilabel") / "finetune", [("One.", "Two.")])
    [blank] = predict(folder_of("pairs") / "finetune", [("One.", " ")])
    assert blank.is_empty
