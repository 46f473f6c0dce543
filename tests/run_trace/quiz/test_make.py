"""The quiz of runs that end in different ways: every question holds, and the parts are whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import from_json, to_json
from pretune.run_trace.quiz import tasks
from pretune.run_trace.quiz.make import PRACTICE, QUIZ, TEMPLATES, TEST, make_quiz
from pretune.run_trace.quiz.template import finish
from pretune.run_trace.quiz.verify import verify
from pretune.run_trace.redact import redact
from pretune.trace_schema import FunnelStep, Phase, Question, Quiz, RunTrace

CONCEPTS = {"C-PRETRAINING", "C-FINETUNING", "C-PRINTED", "C-NONE", "C-CHATBOT"}


def quiz_of(trace: RunTrace) -> Quiz:
    quiz = make_quiz(trace)
    assert quiz is not None
    return quiz


def questions_of(quiz: Quiz | None) -> list[Question]:
    return [] if quiz is None else [*quiz.quiz, *quiz.practice, *quiz.test]


def test_every_question_is_verified_against_the_document(trace: RunTrace) -> None:
    document, quiz = to_json(trace), quiz_of(trace)
    assert not [question.id for question in questions_of(quiz) if not verify(question, document)]


def test_the_parts_are_whole_and_repeat_nothing_inside(trace: RunTrace) -> None:
    quiz = quiz_of(trace)
    for part, levels in ((quiz.quiz, QUIZ), (quiz.practice, PRACTICE), (quiz.test, TEST)):
        assert len(part) == len(levels)
        assert len({question.template for question in part}) == len(part)
        assert any(question.expression is None for question in part)
    assert {question.template for question in questions_of(quiz)} >= CONCEPTS
    assert len({question.id for question in questions_of(quiz)}) == 18


def test_a_whole_run_has_the_levels_asked_for_and_no_question_twice(make_trace: Callable[..., RunTrace]) -> None:
    quiz = quiz_of(make_trace())
    assert [question.level for question in quiz.quiz] == list(QUIZ)
    assert [question.level for question in quiz.practice] == list(PRACTICE)
    assert [question.level for question in quiz.test] == list(TEST)
    templates = [question.template for question in questions_of(quiz)]
    assert len(set(templates)) == len(templates)


def with_another_metric(trace: RunTrace) -> RunTrace:
    """The same run, as if its task had scores instead of classes."""

    def changed(phase: Phase | None) -> Phase | None:
        if phase is None:
            return None
        without = {"accuracy": None, "accuracy_low": None, "accuracy_high": None, "accuracy_noise": None}
        rows = [dataclasses.replace(row, **without) for row in phase.evaluations]
        return dataclasses.replace(phase, metric="pearson", evaluations=rows)

    phases = trace.phases
    return dataclasses.replace(
        trace,
        phases=dataclasses.replace(phases, finetune=changed(phases.finetune), scratch=changed(phases.scratch)),
    )


def test_a_run_with_another_metric_has_questions_that_hold(
    trace: RunTrace, make_trace: Callable[..., RunTrace]
) -> None:
    verified = set()
    for changed in (with_another_metric(trace), with_another_metric(make_trace())):
        document = to_json(changed)
        for template in TEMPLATES:
            if template.requires(changed):
                question = finish(template, template.make(changed, Random(0)), document, Random(0))
                assert question is None or verify(question, document), template.id
                verified.add(template.id)
    assert "Q-BEST" in verified


def test_a_run_without_labels_asks_about_stages_1_to_3_only(unlabelled: RunTrace) -> None:
    questions = [question for question in questions_of(quiz_of(unlabelled)) if question.expression is not None]
    assert {question.section for question in questions} == {"flow", "training"}


def test_the_same_run_gets_the_same_quiz_and_another_run_another(make_trace: Callable[..., RunTrace]) -> None:
    trace = make_trace()
    other = dataclasses.replace(trace, run=dataclasses.replace(trace.run, id="r-another"))
    assert quiz_of(trace) == quiz_of(trace)
    assert quiz_of(trace) != quiz_of(other)


def test_a_quiz_survives_being_written(trace: RunTrace) -> None:
    quiz = quiz_of(trace)
    assert from_json(Quiz, to_json(quiz)) == quiz


def test_a_run_with_nothing_to_show_has_no_quiz(unlabelled: RunTrace) -> None:
    phases = dataclasses.replace(unlabelled.phases, pretrain=None)
    bare = RunTrace(run=unlabelled.run, stages=[], phases=phases)
    assert make_quiz(bare) is None


def test_a_run_that_goes_on_has_no_quiz(make_trace: Callable[..., RunTrace]) -> None:
    """Its questions would change while they are answered."""
    trace = make_trace()
    assert make_quiz(dataclasses.replace(trace, run=dataclasses.replace(trace.run, status="running"))) is None


def test_a_real_run_has_a_quiz_that_holds(small_run: Path) -> None:
    trace = build_run_trace(small_run)
    questions = list(questions_of(trace.quiz))
    assert len(questions) == 18
    assert not [question.template for question in questions if not verify(question, to_json(trace))]


def test_hints_solution_and_reasons_are_there(trace: RunTrace) -> None:
    for question in questions_of(quiz_of(trace)):
        assert len(question.hints) >= 2 and question.solution, question.template
        assert all(option.why for option in question.options), question.template
        wrong = [option for option in question.options if not option.is_right]
        assert len(wrong) >= (2 if question.kind == "choice" else 0), question.template
        assert all(option.misconception for option in wrong), question.template


def test_no_text_of_the_user_is_in_an_expression(trace: RunTrace) -> None:
    def strings(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(strings, value))
        return {value} if isinstance(value, str) else set()

    texts = {"Olga", "we", "mood 0", "seen", "unseen", "marvellous,"}
    for question in questions_of(quiz_of(trace)):
        assert not strings(question.expression) & texts


def test_a_redacted_run_has_no_text_in_its_questions(make_trace: Callable[..., RunTrace]) -> None:
    redacted = quiz_of(redact(make_trace()))
    words = str(to_json(redacted))
    assert not [text for text in ("Olga", "mood 0", "mood 1", "unseen", "marvellous", "sun rises") if text in words]


# A run has one task, and those of the others have tests of their own.
OF_CLASSES = [template for template in TEMPLATES if template not in tasks.TEMPLATES]


@pytest.mark.parametrize("template", OF_CLASSES, ids=lambda template: template.id)
def test_each_template_makes_a_question_that_holds(template: object, make_trace: Callable[..., RunTrace]) -> None:
    """In a run made so that every precondition is met, for ten draws."""
    trace = make_trace()
    document = to_json(trace)
    assert template.requires(trace)  # type: ignore[attr-defined]
    for seed in range(10):
        draft = template.make(trace, Random(seed))  # type: ignore[attr-defined]
        question = finish(template, draft, document, Random(seed))  # type: ignore[arg-type]
        assert question is not None and verify(question, document)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.id)
def test_no_template_fails_on_a_run_that_has_little(template: object, unlabelled: RunTrace) -> None:
    """Preconditions are asked of every run, so they may not fail."""
    phases = dataclasses.replace(unlabelled.phases, pretrain=None)
    bare = RunTrace(run=unlabelled.run, stages=[], phases=phases)
    is_about_run = template.is_about_run  # type: ignore[attr-defined]
    assert template.requires(bare) == (not is_about_run)  # type: ignore[attr-defined]
    template.requires(unlabelled)  # type: ignore[attr-defined]


def test_counts_of_millions_are_asked_for_too(make_trace: Callable[..., RunTrace]) -> None:
    """The document keeps six digits of an answer, so it may not have to be exact to the last one."""
    trace = make_trace()
    assert trace.funnel is not None
    counts = [("found", 59_919_123), ("exact_duplicate", 59_101_777), ("near_duplicate", 51_234_567)]
    steps = [FunnelStep(step=name, documents=count, characters=None) for name, count in counts]
    large = dataclasses.replace(trace, funnel=dataclasses.replace(trace.funnel, steps=steps))
    template = next(template for template in TEMPLATES if template.id == "Q-FUNNEL")
    question = finish(template, template.make(large, Random(0)), to_json(large), Random(0))
    assert question is not None and verify(from_json(Question, to_json(question)), to_json(large))
