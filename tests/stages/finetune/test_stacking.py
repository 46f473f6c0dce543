"""Linear models are stacked on a network that knows less than words do, and on no other; every command says what it
uses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import StageDiffersError
from pretune.evaluation.evaluate import evaluate
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict
from pretune.reporting.sections.prediction import render_prediction
from pretune.run_trace import codec
from pretune.runtime.events import read_events
from pretune.runtime.verification import verify
from pretune.scoring.nested_rows import groups_of_lines, is_new
from pretune.scoring.pair_model import OVERLAP
from pretune.scoring.stacked_model import NGRAMS_NAME, STACK_NAME
from pretune.scoring.uncertainty import accuracy_over_seeds
from pretune.settings import FinetuneConfig, SplitConfig
from pretune.stages.compare import compare
from pretune.stages.finetune.stacking import LEAST_ROWS
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.tasks.classification import Classification
from pretune.tasks.task import LabelledLines
from pretune.terminal import Page
from pretune.trace_schema import PredictionTrace
from pretune.tracing.prediction import trace
from pretune.tracing.stack import BIAS
from pretune.training.finetuning_trial import FinetuningTrial

# At this rate the model stays as it starts, with a linear head on mean vectors. The label depends on a pair of words,
# of which neither alone tells anything, so such a head knows little; nine times in ten the pair is right.
LEARNED_NOTHING = FinetuneConfig(epochs=1, learning_rates=(1e-7,), seeds=1, method="head")
PAIRS = {"good": ("fine room", "poor lobby"), "bad": ("fine lobby", "poor room")}


def render(found: PredictionTrace) -> str:
    return "\n".join(line.plain for line in render_prediction(found, Page(width=100)))


def write_rows(path: Path, num_rows: int, seed: int, good: float = 0.5) -> Path:
    random = np.random.default_rng(seed)
    lines = []
    for label in random.choice(["good", "bad"], size=num_rows, p=[good, 1 - good]):
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
    finetune(run_folder / "pretrain", folder / "prepare", folder / "finetune", LEARNED_NOTHING)
    return folder


def test_both_files_are_in_the_checkpoint(root: Path) -> None:
    folder = root / "finetune" / "checkpoint"
    assert (folder / STACK_NAME).is_file()
    assert (folder / NGRAMS_NAME).is_file()
    assert all(result.is_whole for result in verify(root / "finetune"))
    sentences = [event["sentence"] for event in read_events(root / "finetune") if event["event"] == "notice"]
    assert any("predictions combine" in sentence and "NB-SVM" in sentence for sentence in sentences)


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


def check_example(folder: Path) -> None:
    """The example in the log has the answer of `predict`."""
    [event] = [event for event in read_events(folder) if event["event"] == "example"]
    [found] = predict(folder, [event["text"]])
    assert event["predicted"] == found.label
    assert event["probability"] == (found.probability and pytest.approx(found.probability, abs=1e-5))


def test_the_example_has_the_answer_of_the_model_as_delivered(root: Path) -> None:
    """It was the network's, and `predict` on the same text gave another."""
    check_example(root / "finetune")


def test_compare_has_a_row_of_its_own(root: Path) -> None:
    compare(root / "finetune", None, root / "prepare", root / "compare")
    [event] = [event for event in read_events(root / "compare") if event["event"] == "comparison"]
    rows = {row["kind"]: row for row in event["rows"]}
    assert rows["stack"]["accuracy"] > rows["pretrained"]["accuracy"] + 0.05
    assert rows["stack"]["name"].startswith("network + ")
    [verdict] = event["verdicts"]
    assert verdict["between"][0] == "stack"
    accuracy = f"{100 * rows['stack']['accuracy']:.1f} %"
    assert f"the model as delivered ({rows['stack']['name']}, {accuracy})" in verdict["sentence"].replace("The", "the")


def test_a_trace_shows_what_each_part_adds(root: Path) -> None:
    text = "day 7 the poor room was 9"
    found, [predicted] = trace(root / "finetune", text), predict(root / "finetune", [text])
    assert found.stack is not None
    assert (found.stack.label, found.stack.probability) == (predicted.label, pytest.approx(predicted.probability))
    loaded = load_classifier(root / "finetune").stacked
    assert loaded is not None
    assert [part.name for part in found.stack.parts] == [*loaded.titles, BIAS]
    total = np.sum([part.logits for part in found.stack.parts], axis=0)
    assert np.exp(total) / np.exp(total).sum() == pytest.approx(found.stack.probabilities)
    assert found.stack.ngrams[0].ngram == "poor room"
    assert found.stack.ngrams[0].part == loaded.titles[1]
    read = codec.from_json(PredictionTrace, json.loads(json.dumps(codec.to_json(found))))
    assert read.stack is not None
    assert read.stack.ngrams[0].ngram == found.stack.ngrams[0].ngram
    assert trace(root / "finetune", text, stack=False).stack is None


@pytest.mark.parametrize(
    "settings", [{"stack": False}, {"from_scratch": True}], ids=["not wanted", "the control from scratch"]
)
def test_nothing_is_stacked(settings: dict[str, bool], root: Path, run_folder: Path, tmp_path: Path) -> None:
    config = replace(LEARNED_NOTHING, **settings)
    finetune(run_folder / "pretrain", root / "prepare", tmp_path / "out", config)
    assert not (tmp_path / "out" / "checkpoint" / STACK_NAME).exists()
    assert not (tmp_path / "out" / "predictions" / "stack.jsonl").exists()


@pytest.mark.parametrize("place", ["train_stack", "save_model_folder"])
def test_a_training_whose_stack_failed_is_resumed_without_one(
    place: str, root: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the stack, the folder had other settings, so that a training that ran out of memory was lost."""

    def fail(*_args: Any, **_settings: Any) -> None:
        raise MemoryError

    given = run_folder / "pretrain", root / "prepare", tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(f"pretune.stages.finetune.candidates.{place}", fail)
        finetune(*given, LEARNED_NOTHING)
    monkeypatch.setattr(FinetuningTrial, "run", fail)  # no trial runs again
    manifest = finetune(*given, replace(LEARNED_NOTHING, stack=False))
    assert manifest.config["stack"] is False
    for name in ("checkpoint/model.safetensors", "predictions/seed-0.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (root / "finetune" / name).read_bytes()
    assert not (tmp_path / "out" / "checkpoint" / STACK_NAME).exists()
    assert not (tmp_path / "out" / "predictions" / "stack.jsonl").exists()
    sentences = [event["sentence"] for event in read_events(tmp_path / "out") if event["event"] == "notice"]
    assert not any("predictions combine" in sentence for sentence in sentences)
    with pytest.raises(StageDiffersError, match=r"stack \(was False, now True\)"):
        finetune(*given, LEARNED_NOTHING)


def test_a_resumed_training_that_keeps_no_stack_has_no_predictions_of_one(
    root: Path, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the attempt before were left, and compared as if the delivered model had a stack."""

    def fail(*_args: Any, **_settings: Any) -> None:
        raise MemoryError

    given = run_folder / "pretrain", root / "prepare", tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr("pretune.stages.finetune.candidates.save_model_folder", fail)
        finetune(*given, LEARNED_NOTHING)
    left = tmp_path / "out" / "predictions" / "stack.jsonl"
    assert left.is_file()
    monkeypatch.setattr("pretune.stages.finetune.candidates.train_stack", lambda *_, **__: None)  # not better this time
    finetune(*given, LEARNED_NOTHING)
    assert not left.exists()


def write_pairs(path: Path, num_rows: int, task: str) -> Path:
    """Pairs of six words; the label is how many they have in common, or whether that is many."""
    random = np.random.default_rng(num_rows)
    lines = []
    for kept in random.integers(7, size=num_rows).tolist():
        words = [f"w{number}" for number in random.permutation(100)[:12]]
        label = kept + 0.5 if task == "regression" else ("alike" if kept > 3 else "different")
        lines.append(
            json.dumps({"a": " ".join(words[:6]), "b": " ".join(words[6 - kept : 12 - kept][::-1]), "label": label})
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_pairs_are_combined_with_their_overlap(task: str, run_folder: Path, tmp_path: Path) -> None:
    labels, test = write_pairs(tmp_path / "train.jsonl", 700, task), write_pairs(tmp_path / "test.jsonl", 120, task)
    columns = SplitConfig(text_column="a", text_pair_column="b", label_column="label")
    prepare(labels, tmp_path / "prepare", base=run_folder / "pretrain", test_labels=test, split=columns)
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "finetune", LEARNED_NOTHING)
    compare(tmp_path / "finetune", None, tmp_path / "prepare", tmp_path / "compare")
    [event] = [event for event in read_events(tmp_path / "compare") if event["event"] == "comparison"]
    rows, metric = {row["kind"]: row for row in event["rows"]}, event["rows"][0]["metric"]
    assert rows["stack"]["name"] == "network + words and overlap"
    assert rows["stack"][metric] > rows["pretrained"][metric] + 0.2
    given = ("w1 w2 w3 w4 w5 w6", "w6 w5 w4 w3 w8 w9")
    found, [predicted] = trace(tmp_path / "finetune", *given), predict(tmp_path / "finetune", [given])
    assert found.stack is not None
    assert found.stack.label == predicted.label
    assert found.stack.ngrams[0].ngram == OVERLAP
    if task == "regression":
        assert sum(part.logits[0] for part in found.stack.parts) == pytest.approx(float(predicted.label or 0), rel=1e-3)
    assert "With words and overlap" in render(found)


def test_rare_classes_are_combined_for_macro_f1(run_folder: Path, tmp_path: Path) -> None:
    labels = write_rows(tmp_path / "train.jsonl", 700, 1, good=0.85)
    test = write_rows(tmp_path / "test.jsonl", 150, 2, good=0.85)
    prepare(labels, tmp_path / "prepare", base=run_folder / "pretrain", test_labels=test)
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "finetune", LEARNED_NOTHING)
    sentences = [event["sentence"] for event in read_events(tmp_path / "finetune") if event["event"] == "notice"]
    assert any("the macro-F1 from" in sentence and "predictions combine" in sentence for sentence in sentences)
    alone, both = (evaluate(tmp_path / "finetune", test, stack=stack)["macro_f1"] for stack in (False, True))
    assert both > alone


@pytest.mark.slow
def test_several_labels_are_combined_with_thresholds_of_their_own(run_folder: Path, tmp_path: Path) -> None:
    random, names = np.random.default_rng(0), ("food", "staff", "room")
    for name, num_rows in (("train", 700), ("test", 120)):
        drawn = random.random((num_rows, 3)) < 0.4
        lines = [
            {"text": f"day {random.integers(10_000)} " + " and ".join(n for n, d in zip(names, own, strict=True) if d),
             "labels": [n for n, d in zip(names, own, strict=True) if d]}
            for own in drawn.tolist()
        ]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    test = tmp_path / "test.jsonl"
    prepare(tmp_path / "train.jsonl", tmp_path / "prepare", base=run_folder / "pretrain", test_labels=test)
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "finetune", LEARNED_NOTHING)
    alone, both = (evaluate(tmp_path / "finetune", test, stack=stack) for stack in (False, True))
    assert both["micro_f1"] > max(0.95, alone["micro_f1"] + 0.05)
    found = trace(tmp_path / "finetune", "day 9 food and room")
    assert found.stack is not None
    assert found.stack.label == "food, room"
    assert len(found.stack.thresholds) == 3
    assert "6 With TF-IDF" in render(found)
    check_example(tmp_path / "finetune")


def write_entities(path: Path, num_rows: int, seed: int) -> Path:
    """Rows with made-up names, which a network that has learned nothing cannot tell from other words."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(num_rows):
        name = "".join(random.choice(list("abcdefghij"), size=6)).capitalize()
        number, is_place = str(random.integers(10_000)), random.random() < 0.5
        tokens = ["we", "met", "in", name, number] if is_place else ["then", name, "said", number]
        lines.append({"tokens": tokens, "tags": [("LOC" if is_place else "PER") if t == name else "O" for t in tokens]})
    for line in lines:
        line["tags"] = [tag if tag == "O" else f"B-{tag}" for tag in line["tags"]]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def test_entities_are_combined_with_a_tagger(run_folder: Path, tmp_path: Path) -> None:
    labels, test = write_entities(tmp_path / "train.jsonl", 600, 1), write_entities(tmp_path / "test.jsonl", 60, 2)
    prepare(labels, tmp_path / "prepare", base=run_folder / "pretrain", test_labels=test)
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "finetune", LEARNED_NOTHING)
    sentences = [event["sentence"] for event in read_events(tmp_path / "finetune") if event["event"] == "notice"]
    assert any("With the linear tagger, the loss over" in sentence for sentence in sentences)
    assert any("validation words goes" in sentence and "the entity F1 from" in sentence for sentence in sentences)
    alone, both = (evaluate(tmp_path / "finetune", test, stack=stack)["entity_f1"] for stack in (False, True))
    assert both > max(0.95, alone + 0.2)
    compare(tmp_path / "finetune", None, tmp_path / "prepare", tmp_path / "compare")
    [event] = [event for event in read_events(tmp_path / "compare") if event["event"] == "comparison"]
    rows = {row["kind"]: row for row in event["rows"]}
    assert rows["stack"]["name"] == "network + linear tagger"
    assert rows["stack"]["entity_f1"] == pytest.approx(both)

    text = "we met in Agecab 77"
    found, [predicted] = trace(tmp_path / "finetune", text), predict(tmp_path / "finetune", [text])
    assert predicted.label == "Agecab (LOC)"
    assert found.stack is not None
    assert found.word is not None
    assert found.stack.label == ("B-LOC" if text[found.word.start : found.word.end] == "Agecab" else "O")
    total = np.sum([part.logits for part in found.stack.parts], axis=0)
    assert np.exp(total) / np.exp(total).sum() == pytest.approx(found.stack.probabilities)
    assert found.stack.ngrams
    given = [(each.start, each.end, each.type) for each in predicted.entities]  # type: ignore[attr-defined]
    assert [(each.start, each.end, each.type) for each in found.entities] == given
    assert "6 With linear tagger" in render(found)
    check_example(tmp_path / "finetune")


def test_rows_that_are_parts_of_others_do_not_decide(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linear model knows parts of training rows by heart; on these it would look much better than it is."""
    random = np.random.default_rng(5)
    lines = []
    for number in range(45):
        words = [f"w{number}x{place}" for place in range(6)]
        label = random.choice(["good", "bad"])
        texts = [" ".join(words[i:j]) for i, j in ((0, 6), (0, 3), (2, 6), (1, 5))] + [f"alone in {number}"]
        lines += [json.dumps({"text": text, "label": label}) for text in texts]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    # Parts stay apart from their wholes where moving them would take half of the rows of a class.
    monkeypatch.setattr("pretune.text.labels.split.split_with_wholes", lambda _texts, splits, _strata: list(splits))
    split = SplitConfig(validation_fraction=0.3, test_fraction=0.2)
    prepare(tmp_path / "train.jsonl", tmp_path / "prepare", base=run_folder / "pretrain", split=split)
    rows = {name: read_lines(tmp_path / "prepare" / f"{name}.jsonl") for name in ("train", "validation", "test")}
    training, validation, _ = ([line["text"] for line in lines] for lines in rows.values())
    new = [text for text, one in zip(validation, is_new(validation, training).tolist(), strict=True) if one]
    assert 0 < len(new) < LEAST_ROWS < len(validation)

    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "few", LEARNED_NOTHING)
    assert not (tmp_path / "few" / "checkpoint" / STACK_NAME).exists()
    sentences = [event["sentence"] for event in read_events(tmp_path / "few") if event["event"] == "notice"]
    expected = (
        f"{len(new)} of the {len(validation)} validation rows are neither part of a training row nor contain one; at "
        f"least {LEAST_ROWS} are needed to combine"
    )
    assert sum(sentence.startswith(expected) for sentence in sentences) == 1
    [test] = [event for event in read_events(tmp_path / "few") if event["event"] == "test"]
    groups = groups_of_lines(rows["test"])
    assert groups is not None
    predicted = read_lines(tmp_path / "few" / "predictions" / "seed-0.jsonl")
    is_right = np.array([[line["predicted"] == line["label"] for line in predicted]])
    assert test["accuracy_interval"] == pytest.approx(accuracy_over_seeds(is_right, groups)[1])

    given: list[list[str]] = []

    def record(_task: Classification, data: LabelledLines) -> list[Any]:
        given.append([line["text"] for line in data.validation])
        return []

    monkeypatch.setattr("pretune.stages.finetune.stacking.LEAST_ROWS", len(new))
    monkeypatch.setattr(Classification, "partners", record)
    finetune(run_folder / "pretrain", tmp_path / "prepare", tmp_path / "enough", LEARNED_NOTHING)
    assert given == [new]


def read_lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
