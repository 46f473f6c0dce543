"""Event lists like those of a run on synthetic data, from formulas instead of training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.run_trace.build import build_run_trace, fold_events
from pretune.run_trace.codec import from_json
from pretune.run_trace.run_card import RunFolder
from pretune.trace_schema import FillTrace, PredictionTrace, RunTrace

Event = dict[str, Any]

EXAMPLE = "The sun rises in the east, and the film was a delight."
WATCHED = [
    ("The sun rises in the [MASK].", "east", ["the", "west", "east"]),
    ("We waited an hour for the soup and it came [MASK].", "cold", ["and", "out", "late"]),
]


class RunBuilder:
    """Collects the events of a run with a clock that advances by one second per event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 1_700_000_000.0

    def add(self, stage: str, event: str, **fields: Any) -> Event:
        self.now += 1.0
        record = {"event": event, "stage": stage, "time": self.now, **fields}
        self.events.append(record)
        return record

    @property
    def trace(self) -> RunTrace:
        """The fold of the events so far."""
        return fold_events(self.events, RunFolder(name="run"))

    def write(self, run: Path) -> Path:
        for event in self.events:
            folder = run / event["stage"]
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")
        return run


def shape(**values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def interval(accuracy: float, n: int) -> list[float]:
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)
    return [round(max(accuracy - half, 0.0), 6), round(min(accuracy + half, 1.0), 6)]


def start(run: RunBuilder, stage: str) -> None:
    run.add(stage, "stage_started", config={}, inputs={}, synthetic=True)


def finish(run: RunBuilder, stage: str, seconds: float) -> None:
    run.add(stage, "stage_finished", seconds=seconds, peak_memory_bytes=210_000_000)


def add_text_stages(run: RunBuilder) -> None:
    start(run, "collect")
    run.add(
        "collect",
        "detected",
        path="built-in",
        format="world",
        sentence="No path was given: 200,000 documents of the built-in world are used.",
    )
    run.add(
        "collect",
        "flow",
        shape_in=shape(domains=7),
        dropped=[],
        seconds=9.2,
        peak_memory_bytes=2.1e8,
        shape_out=shape(documents=200_000, characters=11_203_112),
    )
    run.add("collect", "example", text=EXAMPLE + "  ", source="built-in world, document 4,711")
    finish(run, "collect", 9.3)
    start(run, "preprocess")
    run.add("preprocess", "progress", done=100_000, total=200_000, unit="documents", elapsed_seconds=2.0)
    dropped = [
        {
            "rule": "exact_duplicate",
            "count": 9_214,
            "reason": "the same text, white space and case apart, came before",
            "examples": ["The soup was cold."],
        },
        {
            "rule": "symbols",
            "count": 31,
            "reason": "more than half of the characters are neither letters nor digits",
            "examples": ["*** !!! ***"],
        },
    ]
    made = {"kind": "bpe", "trainer": "tokenizers", "encoders": ["gigatoken"]}
    run.add(
        "preprocess",
        "tokenizer_report",
        **made,
        vocab_size=8192,
        fertility=1.31,
        unknown_share=0.0,
        round_trip_share=1.0,
        characters_per_token=4.1,
        longest_tokens=[" disappointing", " extraordinary"],
        size_rule="The text has 11,203,112 characters in 9,120 different words.",
    )
    views = {"rows": {"shape": [190_000, 50], "padding_share": 0.725}, "packed": {"shape": [52_300, 50]}}
    run.add("preprocess", "views", rows=views["rows"], packed=views["packed"] | {"padding_share": 0.002})
    run.add(
        "preprocess", "warning", sentence="Texts shared with the held-out labels were removed.", rule="leak", count=12
    )
    run.add(
        "preprocess",
        "flow",
        shape_in=shape(documents=200_000, characters=11_203_112),
        dropped=dropped,
        seconds=14.0,
        shape_out=shape(train_documents=186_940, train_tokens=2_610_441, validation_documents=3_815),
        peak_memory_bytes=6.4e8,
    )
    run.add(
        "preprocess",
        "example",
        text_before=EXAMPLE + "  ",
        text=EXAMPLE,
        ids=[1, 52, 931, 440, 88, 61, 2200, 15, 2],
        tokens=["[BOS]", "The", " sun", " rises", " in", " the", " east", ",", "[EOS]"],
    )
    finish(run, "preprocess", 14.1)


def watched(fraction: float) -> list[dict[str, Any]]:
    sentences = []
    for text, word, guesses in WATCHED:
        first = guesses[min(int(fraction * 3), 2)]
        predictions = [{"word": first, "probability": 0.05 + 0.5 * fraction}]
        probability = 0.05 + 0.5 * fraction if first == word else 0.01 + 0.1 * fraction
        rank = 1 if first == word else round(3000 * (1 - fraction)) + 2
        shown = {"masked_text": text, "true_word": word, "predictions": predictions}
        sentences.append({**shown, "probability": probability, "rank": rank})
    return sentences


def add_pretraining(run: RunBuilder, evaluations: int = 15, steps: int = 2400) -> None:
    start(run, "pretrain")
    run.add(
        "pretrain",
        "estimate",
        tokens_per_second=13_912.4,
        minutes=2.4,
        memory_bytes=1.2e9,
        disk_bytes=8.5e7,
        parameters=5_342_720,
        size="mini",
        is_compiled=True,
        precision="bf16",
        threads=2,
    )
    run.add(
        "pretrain",
        "plan",
        steps=steps,
        tokens_per_step=4096,
        warmup_steps=48,
        decay_start_step=1440,
        long_start_step=2160,
        tokens=steps * 4096,
        budget={"minutes": 3},
    )
    run.add("pretrain", "references", uniform_nats=math.log(8192), unigram_nats=6.12, most_frequent_share=0.041)
    for index in range(evaluations + 1):
        fraction = index / evaluations
        loss = 3.1 + 5.95 * math.exp(-4 * fraction) - 0.5 * max(fraction - 0.6, 0)
        accuracy = 0.001 if index == 0 else 0.42 * (1 - math.exp(-3 * fraction))
        step = round(fraction * steps)
        if index:
            run.add(
                "pretrain",
                "train",
                step=step,
                steps=steps,
                epoch=3.8 * fraction,
                tokens=step * 4096,
                loss=loss - 0.05,
                grad_norm=0.8,
                accuracy=accuracy,
                learning_rate=0.01,
                tokens_per_second=13_900.0,
                elapsed_seconds=140 * fraction,
            )
        run.add(
            "pretrain",
            "evaluation",
            step=step,
            epoch=round(3.8 * fraction, 4),
            tokens=step * 4096,
            loss=loss,
            n=20_480,
            train_loss=None if index == 0 else loss - 0.05,
            train_accuracy=None if index == 0 else accuracy + 0.01,
            accuracy=accuracy,
            accuracy_interval=interval(accuracy, 20_480),
            elapsed_seconds=140 * fraction,
            sentences=watched(fraction),
        )
    run.add(
        "pretrain",
        "flow",
        shape_in=shape(train_tokens=2_610_441),
        shape_out=shape(parameters=5_342_720),
        dropped=[],
        seconds=141.0,
        peak_memory_bytes=1.1e9,
    )
    guesses = [{"word": "east", "probability": 0.61}, {"word": "west", "probability": 0.2}]
    run.add(
        "pretrain",
        "example",
        text=EXAMPLE,
        true_word="east",
        predictions=guesses,
        masked_text=EXAMPLE.replace("east", "[MASK]"),
    )
    finish(run, "pretrain", 141.5)


FINETUNING = [  # epoch, train loss, train accuracy, validation loss, validation accuracy
    (0, None, None, 0.7012, 0.492),
    (1, 0.341, 0.852, 0.152, 0.947),
    (2, 0.102, 0.969, 0.121, 0.962),
    (3, 0.041, 0.988, 0.139, 0.964),
    (4, 0.012, 0.997, 0.268, 0.958),
    (5, 0.004, 0.999, 0.331, 0.957),
]


def add_trial(run: RunBuilder, stage: str, trial: int, rate: float, seed: int, worse: float = 0.0) -> None:
    run.add(stage, "trial_started", trial=trial, learning_rate=rate, seed=seed, epochs=5)
    for epoch, train_loss, train_accuracy, loss, accuracy in FINETUNING:
        right = accuracy - worse * (epoch > 0)
        run.add(
            stage,
            "evaluation",
            step=250 * epoch,
            epoch=float(epoch),
            tokens=epoch * 120_000,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            loss=loss,
            accuracy=right,
            accuracy_interval=interval(right, 1000),
            n=1000,
            macro_f1=right,
            elapsed_seconds=8.0 * epoch,
            trial=trial,
        )
    run.add(
        stage,
        "trial_finished",
        trial=trial,
        learning_rate=rate,
        seed=seed,
        best_epoch=3,
        best_step=750,
        validation_accuracy=0.964 - worse,
        validation_loss=0.139,
        macro_f1=0.964,
        stopped="patience",
    )


def add_task_stages(run: RunBuilder) -> None:
    start(run, "prepare")
    run.add(
        "prepare", "detected", path="labels.jsonl", format="jsonl", sentence='Text column "text", label column "label".'
    )
    run.add(
        "prepare",
        "flow",
        shape_in=shape(rows=11_000),
        shape_out=shape(train=9_000, validation=1_000, test=998),
        dropped=[{"rule": "empty_text", "count": 2, "reason": "the text is empty", "examples": [""]}],
        seconds=1.2,
        peak_memory_bytes=2.5e8,
    )
    run.add("prepare", "example", text=EXAMPLE, label="positive", split="train", num_tokens=15)
    finish(run, "prepare", 1.2)
    start(run, "finetune")
    run.add("finetune", "references", uniform_nats=math.log(2), prior_nats=0.6929, majority_share=0.508)
    for trial, (rate, seed, worse) in enumerate([(0.0005, 0, 0.0), (0.0015, 0, 0.011), (0.0005, 1, 0.004)]):
        add_trial(run, "finetune", trial, rate, seed, worse)
    run.add(
        "finetune",
        "chosen",
        trial=0,
        learning_rate=0.0005,
        seed=0,
        sentence="Kept: rate 0.0005, seed 0, with the best validation accuracy.",
    )
    slices = {
        name: {"n": 499, "accuracy": a, "accuracy_interval": interval(a, 499)}
        for name, a in (("known_words", 0.978), ("unseen_words", 0.934))
    }
    run.add(
        "finetune",
        "test",
        trial=0,
        seed=0,
        n=998,
        accuracy=0.956,
        accuracy_interval=interval(0.956, 998),
        macro_f1=0.956,
        loss=0.148,
        slices=slices,
    )
    run.add(
        "finetune",
        "flow",
        shape_in=shape(train=9_000),
        shape_out=shape(classes=2),
        dropped=[],
        seconds=121.0,
        peak_memory_bytes=9e8,
    )
    run.add("finetune", "example", text=EXAMPLE, label="positive", predicted="positive", probability=0.987)
    finish(run, "finetune", 121.0)


def add_comparison(run: RunBuilder) -> None:
    figures = [
        ("majority", 0.508, 0.51, 0.505),
        ("tfidf", 0.742, 0.951, 0.53),
        ("nbsvm", 0.751, 0.957, 0.541),
        ("scratch", 0.746, 0.962, 0.52),
        ("pretrained", 0.956, 0.978, 0.934),
    ]
    rows = []
    for kind, accuracy, known, unseen in figures:
        slices = {
            name: {"n": 499, "accuracy": a, "accuracy_interval": interval(a, 499)}
            for name, a in (("known_words", known), ("unseen_words", unseen))
        }
        seeds = [accuracy - 0.004, accuracy, accuracy + 0.004] if kind in ("scratch", "pretrained") else [accuracy]
        rows.append(
            {
                "name": kind,
                "kind": kind,
                "accuracy": accuracy,
                "accuracy_interval": interval(accuracy, 998),
                "macro_f1": 0.337 if kind == "majority" else accuracy,
                "seeds": seeds,
                "n": 998,
                "slices": slices,
            }
        )
    verdicts = [
        {
            "between": ["pretrained", "scratch"],
            "difference": 0.21,
            "difference_interval": [0.183, 0.237],
            "p_value": 1e-9,
            "sentence": "Pre-training helped: 21.0 points above the same network from scratch.",
        },
        {
            "between": ["pretrained", "scratch"],
            "difference": 0.414,
            "difference_interval": [0.37, 0.458],
            "p_value": 1e-12,
            "slice": "unseen_words",
            "sentence": "On words that no label taught it, pre-training gave 41.4 points.",
        },
    ]
    start(run, "compare")
    run.add("compare", "comparison", rows=rows, verdicts=verdicts)
    finish(run, "compare", 6.2)


def stack_on_comparison(run: RunBuilder, difference: float, bounds: tuple[float, float]) -> None:
    """Add the network with NB-SVM to the comparison, with its verdict against NB-SVM alone."""
    (comparison,) = [event for event in run.events if event["event"] == "comparison"]
    row = {"name": "network + NB-SVM", "kind": "stack", "accuracy": 0.97, "accuracy_interval": interval(0.97, 998)}
    comparison["rows"].append({**comparison["rows"][-1], **row, "seeds": [0.97]})
    verdict = {"difference": difference, "difference_interval": list(bounds), "p_value": 0.001, "metric": "accuracy"}
    sentence = "The model as delivered (network + NB-SVM, 97.0 %) was compared."
    comparison["verdicts"].append({"between": ["stack", "nbsvm"], "sentence": sentence, **verdict})


@pytest.fixture
def add_stack() -> Callable[[RunBuilder, float, tuple[float, float]], None]:
    """`stack_on_comparison`."""
    return stack_on_comparison


@pytest.fixture
def builder() -> RunBuilder:
    """An empty run."""
    return RunBuilder()


@pytest.fixture
def full_run() -> RunBuilder:
    """A run through all five stages, with the comparison."""
    run = RunBuilder()
    add_text_stages(run)
    add_pretraining(run)
    add_task_stages(run)
    add_comparison(run)
    return run


N = 40  # test rows
TEST_TEXTS = [f"The dish was {'superb' if row % 2 else 'mouldy'}, guest number {row}." for row in range(N)]
SLICES = ["seen" if row < 30 else "unseen" for row in range(N)]


def write_predictions(path: Path, wrong: set[int]) -> list[bool]:
    """Predictions of N rows of two classes, which are wrong in some rows; whether each is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in range(N):
        label = row % 2
        predicted = 1 - label if row in wrong else label
        highest = 0.55 + 0.011 * row
        probabilities = [1 - highest, highest] if predicted else [highest, 1 - highest]
        fields = {"row": row, "label": label, "predicted": predicted, "probabilities": probabilities}
        lines.append(json.dumps({**fields, "slice": SLICES[row]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return [row not in wrong for row in range(N)]


def add_tested_task(run: RunBuilder, folder: Path) -> None:
    """Fine-tuning, control and comparison whose logs and files agree, on 40 test rows."""
    from pretune.scoring.uncertainty import wilson_interval

    start(run, "split")
    finish(run, "split", 0.5)
    start(run, "prepare")
    run.add("prepare", "example", text=EXAMPLE, label="positive", split="test", num_tokens=15)
    finish(run, "prepare", 1.0)
    models = []
    for stage, kind, wrong in (("scratch", "scratch", set(range(0, 40, 3))), ("finetune", "pretrained", {4, 33})):
        right = write_predictions(folder / stage / "predictions" / "seed-0.jsonl", wrong)
        figures: dict[str, Any] = {"n": N, "accuracy": sum(right) / N}
        figures["accuracy_interval"] = list(wilson_interval(sum(right), N))
        start(run, stage)
        run.add(stage, "references", uniform_nats=math.log(2), prior_nats=0.69, majority_share=0.5)
        add_trial(run, stage, 0, 0.001, 0)
        run.add(stage, "chosen", trial=0, learning_rate=0.001, seed=0, sentence="Chosen: learning rate 0.001, seed 0.")
        run.add(stage, "test", trial=0, seed=0, macro_f1=0.9, loss=0.3, **figures)
        run.add(stage, "example", text=EXAMPLE, label="positive", predicted="positive", probability=0.987)
        finish(run, stage, 20.0)
        models.append({"name": kind, "kind": kind, "seeds": [figures["accuracy"]], "macro_f1": 0.9, **figures})
    verdict = {"between": ["pretrained", "scratch"], "metric": "accuracy", "difference": 0.3, "p_value": 0.002}
    verdict |= {"difference_interval": [0.12, 0.44], "sentence": "Pre-training helped: +30.0 points."}
    on_slice = {**verdict, "slice": "unseen", "difference": 0.01, "difference_interval": [-0.1, 0.12], "p_value": 0.8}
    start(run, "compare")
    run.add("compare", "comparison", rows=models, verdicts=[verdict, on_slice], coverage="One seed.")
    finish(run, "compare", 2.0)


@pytest.fixture
def tested_run(tmp_path: Path) -> Path:
    """The folder of a finished run with labels: logs, recipe, test rows and predictions, without models."""
    folder, run = tmp_path / "tested", RunBuilder()
    add_text_stages(run)
    add_pretraining(run)
    add_tested_task(run, folder)
    run.write(folder)
    (folder / "recipe.toml").write_text('labels = "labelled.csv"\ncontrol = true\n', encoding="utf-8")
    names = {"names": ["negative", "positive"]}
    (folder / "prepare" / "labels.json").write_text(json.dumps(names), encoding="utf-8")
    for split, texts in (("test", TEST_TEXTS), ("train", ["A fine film."]), ("validation", ["A dull film."])):
        rows = [{"row": row, "text": text, "label": row % 2} for row, text in enumerate(texts)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "prepare" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def traced(tested_run: Path) -> RunTrace:
    """The trace of that run, with one prediction whose numbers add up and one masked word."""
    found = json.loads((Path(__file__).parent / "traced.json").read_text(encoding="utf-8"))
    prediction, fill = from_json(PredictionTrace, found["prediction"]), from_json(FillTrace, found["fill"])
    return build_run_trace(tested_run, predictions=[prediction], fills=[fill])
