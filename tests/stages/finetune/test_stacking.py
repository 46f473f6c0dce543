"""NB-SVM is stacked on a model that knows less than words do, and on no other; every command says what it uses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict
from pretune.run_trace import codec
from pretune.runtime.events import read_events
from pretune.runtime.verification import verify
from pretune.scoring.stacked_model import NGRAMS_NAME, STACK_NAME
from pretune.settings import FinetuneConfig
from pretune.stages.compare import compare
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.trace_schema import PredictionTrace
from pretune.tracing.prediction import trace
from pretune.tracing.stack import PARTS

# At this rate the model stays as it starts, with a linear head on mean vectors. The label depends on a pair of words,
# of which neither alone tells anything, so such a head knows little; nine times in ten the pair is right.
LEARNT_NOTHING = FinetuneConfig(epochs=1, learning_rates=(1e-7,), seeds=1, method="head")
PAIRS = {"good": ("fine room", "poor lobby"), "bad": ("fine lobby", "poor room")}


def write_rows(path: Path, num_rows: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    lines = []
    for label in random.choice(["good", "bad"], size=num_rows):
        named = label if random.random() < 0.8 else random.choice(["good", "bad"])
        text = f"day {random.integers(10_000)} the {random.choice(PAIRS[named])} was {random.integers(10_000)}"
        lines.append(json.dumps({"text": text, "label": label}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacking")
    labels, test = write_rows(folder / "train.jsonl", 700, 1), write_rows(folder / "test.jsonl", 150, 2)
    prepare(labels, folder / "prepare", base=run_folder / "pretrain", test_labels=test)
    finetune(run_folder / "pretrain", folder / "prepare", folder / "finetune", LEARNT_NOTHING)
    return folder


def test_both_files_are_in_the_checkpoint(root: Path) -> None:
    folder = root / "finetune" / "checkpoint"
    assert (folder / STACK_NAME).is_file()
    assert (folder / NGRAMS_NAME).is_file()
    assert all(result.is_whole for result in verify(root / "finetune"))
    sentences = [event["sentence"] for event in read_events(root / "finetune") if event["event"] == "notice"]
    assert any("predictions combine both" in sentence for sentence in sentences)


def test_evaluate_uses_the_stack_or_leaves_it_out(root: Path) -> None:
    alone = evaluate(root / "finetune", root / "test.jsonl", stack=False)
    both = evaluate(root / "finetune", root / "test.jsonl")
    assert both["accuracy"] > alone["accuracy"] + 0.05
    assert load_classifier(root / "finetune", stack=False).stacked is None


def test_predictions_are_those_that_finetune_wrote(root: Path) -> None:
    with (root / "finetune" / "predictions" / "stack.jsonl").open(encoding="utf-8") as file:
        written = [json.loads(line) for line in file]
    with (root / "prepare" / "test.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    names = load_classifier(root / "finetune").label_names
    for found, line in zip(predict(root / "finetune", texts), written, strict=True):
        assert [found.probabilities[name] for name in names] == pytest.approx(line["probabilities"], abs=1e-5)


def test_compare_has_a_row_of_its_own(root: Path) -> None:
    compare(root / "finetune", None, root / "prepare", root / "compare")
    [event] = [event for event in read_events(root / "compare") if event["event"] == "comparison"]
    rows = {row["kind"]: row for row in event["rows"]}
    assert rows["stack"]["accuracy"] > rows["pretrained"]["accuracy"] + 0.05
    assert all("stack" not in verdict["between"] for verdict in event["verdicts"])


def test_a_trace_shows_what_each_part_adds(root: Path) -> None:
    text = "day 7 the poor room was 9"
    found, [predicted] = trace(root / "finetune", text), predict(root / "finetune", [text])
    assert found.stack is not None
    assert (found.stack.label, found.stack.probability) == (predicted.label, pytest.approx(predicted.probability))
    assert tuple(part.name for part in found.stack.parts) == PARTS
    total = np.sum([part.logits for part in found.stack.parts], axis=0)
    assert np.exp(total) / np.exp(total).sum() == pytest.approx(found.stack.probabilities)
    assert found.stack.ngrams[0].ngram == "poor room"
    read = codec.from_json(PredictionTrace, json.loads(json.dumps(codec.to_json(found))))
    assert read.stack is not None
    assert read.stack.ngrams[0].ngram == found.stack.ngrams[0].ngram
    assert trace(root / "finetune", text, stack=False).stack is None


@pytest.mark.parametrize(
    "settings", [{"stack": False}, {"from_scratch": True}], ids=["not wanted", "the control from scratch"]
)
def test_nothing_is_stacked(settings: dict[str, bool], root: Path, run_folder: Path, tmp_path: Path) -> None:
    config = replace(LEARNT_NOTHING, **settings)
    finetune(run_folder / "pretrain", root / "prepare", tmp_path / "out", config)
    assert not (tmp_path / "out" / "checkpoint" / STACK_NAME).exists()
    assert not (tmp_path / "out" / "predictions" / "stack.jsonl").exists()


def test_rows_that_are_parts_of_others_do_not_decide(run_folder: Path, tmp_path: Path) -> None:
    """NB-SVM knows parts of training rows by heart; on these it would look much better than it is."""
    random = np.random.default_rng(5)
    lines = []
    for number in range(150):
        words = [f"w{number}x{place}" for place in range(6)]
        label = random.choice(["good", "bad"])
        lines += [
            json.dumps({"text": " ".join(words[i:j]), "label": label}) for i, j in ((0, 6), (0, 3), (2, 6), (1, 5))
        ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    prepare(tmp_path / "train.jsonl", tmp_path / "prepare", base=run_folder / "pretrain")
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "finetune", LEARNT_NOTHING)
    assert not (tmp_path / "finetune" / "checkpoint" / STACK_NAME).exists()
    sentences = [event["sentence"] for event in read_events(tmp_path / "finetune") if event["event"] == "notice"]
    assert any("it is left out" in sentence or "not clearly better" in sentence for sentence in sentences)
