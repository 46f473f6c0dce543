"""Traces of runs that end in different ways, small and made by hand."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args, get_origin

import pytest

from pretune import trace_schema as schema
from pretune.run_trace.redact import redact
from pretune.trace_schema import RunTrace

T = TypeVar("T")


def filled(cls: type[T], **given: Any) -> T:
    """A value of a dataclass of the schema; a field that is not given is None, empty or zero."""
    hints = typing.get_type_hints(cls)
    values = {
        field.name: _empty(hints[field.name])
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if "score" in values and "accuracy" in given:  # the score of a classification
        given = {"score": given["accuracy"], **given}
    if "score_noise" in values and "accuracy_noise" in given:
        given = {"score_noise": given["accuracy_noise"], "score_low": given.get("accuracy_low"), **given}
    return cls(**{**values, **given})


def _empty(hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType, typing.Union) and type(None) in get_args(hint):
        return None
    if get_origin(hint) is typing.Literal:
        return get_args(hint)[0]
    if dataclasses.is_dataclass(hint):
        return filled(hint)  # type: ignore[arg-type]
    return (get_origin(hint) or hint)()


def _evaluations(losses: Sequence[float], accuracies: Sequence[float], **lists: Sequence[Any]) -> list[Any]:
    best = accuracies.index(max(accuracies))
    rows = []
    for index, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
        more = {name: values[index] for name, values in lists.items()}
        rows.append(
            filled(
                schema.Evaluation,
                **{"step": 100 * index, "epoch": float(index), "tokens": 400_000 * index, "n": 1000, **more},
                loss=loss,
                accuracy=accuracy,
                accuracy_low=accuracy - 0.01,
                accuracy_high=accuracy + 0.01,
                accuracy_noise=0.01,
                is_best=index == best,
            )
        )
    return rows


def _pretraining() -> Any:
    rates = [0.001, 0.01, 0.02, 0.02, 0.012, 0.002]
    return filled(
        schema.Phase,
        stage="pretrain",
        unit="masked tokens",
        parameters=761_088,
        loss_references=[
            filled(schema.Reference, id="uniform", value=math.log(2805)),
            filled(schema.Reference, id="unigram", value=5.226),
        ],
        plan=filled(
            schema.Plan, steps=500, tokens_per_step=4000, warmup_steps=11, decay_start_step=320, tokens=2_000_000
        ),
        steps=filled(schema.StepSeries, step=[0, 100, 200, 300, 400, 500], learning_rate=rates),
        evaluations=_evaluations([7.959, 4.42, 2.86, 1.42, 1.181], [0.0, 0.17, 0.42, 0.63, 0.67]),
    )


def _overfitting() -> Any:
    found = filled(schema.Observation, rule="overfitting", sentence="overfitting")
    return filled(
        schema.Phase,
        stage="finetune",
        unit="texts",
        evaluations=_evaluations(
            [0.61, 0.42, 0.55, 0.71],
            [0.70, 0.80, 0.84, 0.83],
            train_loss=[0.60, 0.35, 0.12, 0.04],
            step=[50, 100, 150, 200],
            observations=[[], [], [found], [found]],
        ),
    )


def _guesses(*pairs: tuple[str, float]) -> list[Any]:
    return [schema.WordGuess(word=word, probability=probability) for word, probability in pairs]


def _watched() -> list[Any]:
    after = _guesses(("we", 0.515), ("I", 0.253), ("a", 0.014), ("Zoe", 0.012))
    return [
        filled(
            schema.WatchedSentence,
            masked_text="Once again, [MASK] found the speaker steady.",
            true_word="Olga",
            moments=[
                filled(
                    schema.WatchedMoment,
                    step=0,
                    probability=0.0004,
                    rank=790,
                    predictions=_guesses(("the", 0.004), ("kitten", 0.0007), ("Ode", 0.0007)),
                ),
                filled(schema.WatchedMoment, step=500, probability=0.0018, rank=47, predictions=after),
            ],
        )
    ]


def _prediction(classes: int) -> Any:
    """A borderline prediction of a network with one layer of width 16, whose parts sum to its logits."""
    logits = [0.4, -0.1, *(-1.0 - 0.01 * k for k in range(classes - 2))]
    parts = [[0.1 * v for v in logits], [0.7 * v for v in logits], [0.2 * v + 0.01 for v in logits], [-0.01] * classes]
    total = sum(math.exp(value) for value in logits)
    probabilities = [math.exp(value) / total for value in logits]
    words = ["The", "lunch", "was", "marvellous,", "the", "stew", "pitiful."]
    surfaces = ["[BOS]", *words, ".", "[EOS]"]
    return filled(
        schema.PredictionTrace,
        id="borderline",
        text="The lunch was marvellous, the stew pitiful.",
        label_names=[f"mood {k}" for k in range(classes)],
        tokens=[
            filled(schema.Token, position=i, surface=surface, is_special=surface.startswith("["))
            for i, surface in enumerate(surfaces)
        ],
        embedding=filled(schema.Embedding),
        contributions=[
            schema.Contribution(name=name, logits=values)
            for name, values in zip(("embedding", "attention_1", "feed_forward_1", "bias"), parts, strict=True)
        ],
        attention=filled(schema.Attention, shape=[1, 2, 10, 10], special_fraction=[[0.41, 0.02]]),
        head=schema.Head(
            pooled=[0.1] * 16, weight=[[0.2] * 16 for _ in range(classes)], bias=[0.0] * classes, logits=logits
        ),
        decision=filled(
            schema.Decision,
            probabilities=probabilities,
            label="mood 0",
            index=0,
            probability=probabilities[0],
            flip=schema.Flip(words=[3], label="mood 1", probability=0.9),
        ),
        reasons=filled(
            schema.Reasons,
            label="mood 0",
            runner_up="mood 1",
            score=0.5,
            masked_score=-0.8,
            words=words,
            integrated_gradients=[0.0, 0.1, 0.0, 1.5, 0.0, -0.1, -0.2],
            is_converged=True,
            occlusion=[0.1, 0.2, 0.0, 2.5, 0.0, 0.1, -2.0],
        ),
    )


def _comparison(difference: float, half: float, outcome: str) -> Any:
    def slices(least: float, most: float) -> list[Any]:
        rows = (("seen", 1500, most), ("unseen", 500, least))
        return [schema.SliceResult(name=n, n=k, score=a, accuracy=a, low=a - 0.01, high=a + 0.01) for n, k, a in rows]

    scratch, n = 0.80, 2000
    wald = 1.96 * math.sqrt(scratch * (1 - scratch) / n)
    models = [
        filled(
            schema.ComparedModel,
            name=name,
            kind=kind,
            n=n,
            accuracy=accuracy,
            low=accuracy - wald,
            high=accuracy + wald,
            seeds=[accuracy],
            slices=slices(0.52, 0.90),
        )
        for name, kind, accuracy in (
            ("from scratch", "scratch", scratch),
            ("pre-trained", "pretrained", scratch + difference),
        )
    ]
    between = ["pretrained", "scratch"]
    verdicts = [
        filled(
            schema.Verdict,
            between=between,
            metric="accuracy",
            slice=name,
            outcome=outcome,
            difference=value,
            low=value - half,
            high=value + half,
        )
        for name, value in ((None, difference), ("seen", difference - 0.10), ("unseen", difference + 0.30))
    ]
    only = round(100 + n * difference / 2), round(100 - n * difference / 2)
    return filled(
        schema.Comparison,
        models=models,
        verdicts=verdicts,
        disagreements=[
            filled(
                schema.Disagreement,
                other="scratch",
                both_right=1500,
                only_pretrained_right=only[0],
                only_other_right=only[1],
                both_wrong=300,
            )
        ],
    )


def _errors(classes: int) -> Any:
    confusion = [[0] * classes for _ in range(classes)]
    for k in range(classes):
        confusion[k][k] = 40 + (20 if k == 0 else 0)
        confusion[k][(k + 1) % classes] = 3 + k % 3
    n = sum(map(sum, confusion))
    bins = [
        (0.5, 0.9, 100, 71, 0.72, 0.63, 0.81),
        (0.9, 1.0, 100, 80, 0.95, 0.90, 0.99),
    ]
    names = ("low", "high", "n", "right", "mean_probability", "chance_low", "chance_high")
    return filled(
        schema.TestErrors,
        n=n,
        labels=[f"mood {k}" for k in range(classes)],
        confusion=confusion,
        calibration=[
            filled(
                schema.Calibration,
                model="pretrained",
                bins=[schema.CalibrationBin(**dict(zip(names, row, strict=True))) for row in bins],  # type: ignore[arg-type]
                error=0.08,
                error_by_chance=0.04,
            )
        ],
    )


def build(classes: int = 2, difference: float = 0.12, outcome: str = "better") -> RunTrace:
    """The trace of a whole run."""
    steps = [("found", 60_000), ("exact_duplicate", 59_990), ("near_duplicate", 59_952), ("contaminated", 59_919)]
    dropped = [("exact_duplicate", 10), ("near_duplicate", 38), ("contaminated", 33), ("too_short", 90)]
    tokens = ["[BOS]", "The", " sun", " rises", ",", " un", "imagin", "ative", ".", "[EOS]"]
    scratch = filled(
        schema.Phase,
        stage="scratch",
        unit="texts",
        evaluations=_evaluations([0.5, 0.2, 0.1], [0.90, 0.99, 0.98], step=[10, 20, 30]),
        test=[
            filled(
                schema.TestResult,
                n=2000,
                accuracy=0.80,
                low=0.78,
                high=0.82,
                slices=[
                    schema.SliceResult(name="seen", n=1500, score=0.985, accuracy=0.985, low=0.981, high=0.989),
                    schema.SliceResult(name="unseen", n=500, score=0.52, accuracy=0.52, low=0.48, high=0.56),
                ],
            )
        ],
    )
    return RunTrace(
        run=filled(schema.RunCard, id="r-1234abcd", name="demo", seed=0),
        stages=[
            filled(
                schema.Stage,
                name="preprocess",
                dropped=[filled(schema.Dropped, rule=rule, count=count, reason="a reason") for rule, count in dropped],
            )
        ],
        example=filled(
            schema.Example,
            clean_text="The sun rises, unimaginative.",
            tokens=tokens,
            ids=list(range(len(tokens))),
        ),
        funnel=filled(
            schema.Funnel, steps=[filled(schema.FunnelStep, step=name, documents=count) for name, count in steps]
        ),
        tokenizer=filled(
            schema.TokenizerReport,
            vocab_size=2805,
            tokens_per_word=1.187,
            characters_per_token=4.81,
            unknown_fraction=0.0,
            views=[
                schema.TokenView(name="rows", shape=[65_391, 50], padding_fraction=0.388),
                schema.TokenView(name="packed", shape=[43_635, 50], padding_fraction=0.0828),
            ],
        ),
        phases=schema.Phases(pretrain=_pretraining(), finetune=_overfitting(), scratch=scratch),
        watched=_watched(),
        comparison=_comparison(difference, 0.02, outcome),
        predictions=[_prediction(classes)],
        errors=_errors(classes),
    )


def without_labels() -> RunTrace:
    """A run that has no labels: stages 1 to 3 only."""
    trace = build()
    return dataclasses.replace(
        trace,
        phases=schema.Phases(pretrain=trace.phases.pretrain, finetune=None, scratch=None),
        comparison=None,
        predictions=[],
        errors=None,
    )


RUNS: dict[str, Callable[[], RunTrace]] = {
    "pre-training helped": build,
    "no clear difference": lambda: build(difference=0.005, outcome="no clear difference"),
    "pre-training did harm": lambda: build(difference=-0.05, outcome="worse"),
    "77 classes": lambda: build(classes=77),
    "no labels": without_labels,
    "redacted": lambda: redact(build()),
}


@pytest.fixture(params=list(RUNS))
def trace(request: pytest.FixtureRequest) -> RunTrace:
    """Every kind of run in turn."""
    return RUNS[request.param]()


@pytest.fixture
def make_trace() -> Callable[..., RunTrace]:
    """Make the trace of a whole run, with so many classes and such an outcome."""
    return build


@pytest.fixture
def unlabelled() -> RunTrace:
    return without_labels()
