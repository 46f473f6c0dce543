"""Questions about several labels, numbers and entities: asked only of such runs, and right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.quiz.make import TEMPLATES, make_quiz
from pretune.run_trace.quiz.tasks import MOST_LABELS
from pretune.run_trace.quiz.template import finish
from pretune.run_trace.quiz.verify import verify
from pretune.trace_schema import (
    EntityErrors,
    LabelFigures,
    Question,
    RunTrace,
    ScoreErrors,
    TaskName,
)
from pretune.trace_schema import (
    TestErrors as RowErrors,
)

MakeTrace = Callable[..., RunTrace]
NEW = ("Q-THRESHOLD", "Q-ABSOLUTE", "Q-HIT")


def errors(**fields: object) -> RowErrors:
    empty = RowErrors(
        n=9, seed=0, labels=["a", "b"], confusion=[], calibration=[], slices=[], positive_probability=[], label=[],
        examples=[],
    )  # fmt: skip
    return dataclasses.replace(empty, **fields)  # type: ignore[arg-type]


def of_task(trace: RunTrace, task: TaskName) -> RunTrace:
    return dataclasses.replace(trace, run=dataclasses.replace(trace.run, task=task))


def templates_of(trace: RunTrace) -> set[str]:
    """The templates of all questions of a run's quiz."""
    quiz = make_quiz(trace)
    assert quiz is not None
    return {question.template for question in (*quiz.quiz, *quiz.practice, *quiz.test)}


def with_labels(trace: RunTrace, probabilities: list[float], thresholds: list[float]) -> RunTrace:
    prediction = trace.predictions[0]
    reached = [p >= t for p, t in zip(probabilities, thresholds, strict=True)]
    names = [f"mood {k}" for k in range(len(probabilities))]
    decision = dataclasses.replace(
        prediction.decision,
        probabilities=probabilities,
        thresholds=thresholds,
        labels=[name for name, is_reached in zip(names, reached, strict=True) if is_reached],
    )
    traced = dataclasses.replace(prediction, task="multilabel", label_names=names, decision=decision)
    return of_task(dataclasses.replace(trace, predictions=[traced], errors=errors()), "multilabel")


def with_scores(trace: RunTrace, true: list[float], predicted: list[float]) -> RunTrace:
    found = ScoreErrors(
        pearson=0.5, spearman=0.5, mean_absolute_error=1, baseline_error=2, quantiles=[], label=true,
        predicted=predicted, examples=[],
    )  # fmt: skip
    return of_task(dataclasses.replace(trace, errors=errors(scores=found)), "regression")


def with_entities(trace: RunTrace, right: int = 6) -> RunTrace:
    kind = LabelFigures(label="LOC", support=10, predicted=12, hits=right, precision=0.5, recall=0.6, f1=0.55)
    found = EntityErrors(
        types=[kind], entity_f1=0.55, right=right, wrong_type=1, wrong_borders=2, wrong_type_and_borders=0, missed=1,
        invented=3, examples=[],
    )  # fmt: skip
    return of_task(dataclasses.replace(trace, errors=errors(entities=found)), "tokens")


def ask(name: str, trace: RunTrace) -> Question | None:
    template = next(each for each in TEMPLATES if each.id == name)
    if not template.requires(trace):
        return None
    question = finish(template, template.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None and verify(question, to_json(trace))
    return question


def test_labels_are_counted_against_their_own_thresholds(make_trace: MakeTrace) -> None:
    question = ask("Q-THRESHOLD", with_labels(make_trace(), [0.6, 0.3, 0.2], [0.7, 0.25, 0.1]))
    assert question is not None and question.answer == 2
    assert [option.value for option in question.options] == [1]  # one is above one half; that is also "one label"


def test_thresholds_that_change_nothing_are_not_asked_about(make_trace: MakeTrace) -> None:
    assert ask("Q-THRESHOLD", with_labels(make_trace(), [0.6, 0.3], [0.55, 0.45])) is None
    assert ask("Q-THRESHOLD", with_labels(make_trace(), [0.6, 0.3], [0.55, 0.3001])) is None


def test_labels_that_the_prompt_does_not_list_are_below_their_thresholds(make_trace: MakeTrace) -> None:
    others = [0.01] * 6
    question = ask("Q-THRESHOLD", with_labels(make_trace(), [0.3] * MOST_LABELS + others, [0.2] * (MOST_LABELS + 6)))
    assert question is not None and question.answer == MOST_LABELS
    assert "All other labels are below their thresholds." in question.prompt
    many = with_labels(make_trace(), [0.3] * (MOST_LABELS + 1) + others, [0.2] * (MOST_LABELS + 7))
    assert ask("Q-THRESHOLD", many) is None


def test_an_absolute_error_has_no_sign(make_trace: MakeTrace) -> None:
    question = ask("Q-ABSOLUTE", with_scores(make_trace(), [1.0, 2.0, 3.0], [2.0, 1.5, 3.5]))
    assert question is not None and question.answer == pytest.approx(2 / 3)
    assert {round(option.value or 0, 3) for option in question.options} == {0.333, 0.5}
    assert ask("Q-ABSOLUTE", with_scores(make_trace(), [1.0, 2.0, 3.0], [2.0, 2.5, 3.5])) is None  # all above


def test_a_hit_has_the_type_and_both_borders(make_trace: MakeTrace) -> None:
    question = ask("Q-HIT", with_entities(make_trace()))
    assert question is not None and question.answer == pytest.approx(50)
    assert sorted(option.value or 0 for option in question.options) == [60, 75]  # the recall; near misses as hits
    assert ask("Q-HIT", with_entities(make_trace(), right=0)) is None


@pytest.mark.parametrize("task", ["multilabel", "regression", "tokens"])
def test_what_only_classes_have_is_not_asked_of_other_tasks(make_trace: MakeTrace, task: TaskName) -> None:
    trace = of_task(make_trace(), task)
    asked = templates_of(trace)
    assert asked and not asked & {"Q-SOFTMAX", "Q-BOTH-ROSE", "Q-HELPED", "Q-WRONG", "Q-CALIBRATION", "Q-IG"}
    assert not any(ask(name, make_trace()) for name in NEW)


def test_the_quiz_of_each_task_has_its_own_question(make_trace: MakeTrace) -> None:
    runs = (
        with_labels(make_trace(), [0.6, 0.3, 0.2], [0.7, 0.25, 0.1]),
        with_scores(make_trace(), [1.0, 2.0, 3.0], [2.0, 1.5, 3.5]),
        with_entities(make_trace()),
    )
    for name, trace in zip(NEW, runs, strict=True):
        assert name in templates_of(trace)
