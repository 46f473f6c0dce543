from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.expression import evaluate, read_pointer
from pretune.run_trace.insights import RULES
from pretune.run_trace.quiz.finetuning import TEMPLATES
from pretune.run_trace.quiz.template import finish
from pretune.run_trace.quiz.verify import verify
from pretune.run_trace.shown_trial import find_test, find_test_of_shown, seed_results, trial_shown

OTHER_SEED = {"trial": 2, "seed": 1, "n": 998, "accuracy": 0.5, "accuracy_interval": [0.47, 0.53], "macro_f1": 0.5}


@pytest.fixture
def two_tests(full_run: Any) -> Any:
    """A run whose other seed was tested before the chosen one, as stage 5 does it."""
    place = next(index for index, event in enumerate(full_run.events) if event["event"] == "test")
    full_run.events.insert(place, {"event": "test", "stage": "finetune", "time": 0.0, **OTHER_SEED})
    return full_run


def test_the_shown_trial_is_the_chosen_one(full_run: Any) -> None:
    trial = trial_shown(full_run.trace.phases.finetune)
    assert trial is not None and (trial.trial, trial.best_step) == (0, 750)


def test_the_test_is_that_of_the_chosen_seed(two_tests: Any) -> None:
    phase = two_tests.trace.phases.finetune
    assert [test.seed for test in phase.test] == [1, 0]
    assert find_test(phase) == 1
    assert find_test(replace(phase, test=phase.test[:1])) is None  # only the other seed is tested so far
    assert find_test(replace(phase, trials=[], test=phase.test[:1])) == 0


def test_the_mean_of_the_seeds_has_a_test_of_its_own(two_tests: Any) -> None:
    (chosen,) = (e for e in two_tests.events if (e["event"], e["stage"]) == ("chosen", "finetune"))
    chosen["averaged_trials"] = [0, 2]
    assert find_test(two_tests.trace.phases.finetune) is None  # only the seeds are tested so far
    place = max(index for index, event in enumerate(two_tests.events) if event["event"] == "test")
    mean = {**OTHER_SEED, "trial": None, "seed": None, "accuracy": 0.97, "accuracy_interval": [0.96, 0.98]}
    two_tests.events.insert(place + 1, {"event": "test", "stage": "finetune", "time": 0.0, **mean})
    two_tests.events = [event for event in two_tests.events if event["stage"] != "compare"]
    phase = two_tests.trace.phases.finetune
    assert (find_test(phase), find_test_of_shown(phase)) == (2, 1)
    assert [test.seed for test in seed_results(phase)] == [1, 0]
    assert two_tests.trace.run.headline == "The fine-tuned model classifies 97.0 % of the test texts correctly."


def test_a_student_has_a_test_of_its_own(two_tests: Any) -> None:
    phase = two_tests.trace.phases.finetune
    student = replace(phase.test[0], seed=None, is_student=True)
    tests = [*phase.test, replace(phase.test[0], seed=None), student]  # the third is of the mean, the teacher
    phase = replace(phase, test=tests, is_self_trained=True)
    assert (find_test(phase), find_test_of_shown(phase)) == (3, 3)
    assert find_test(replace(phase, test=tests[:3])) is None  # only the others are tested so far


def test_a_log_with_the_test_of_another_seed_alone_has_a_headline(two_tests: Any) -> None:
    kept = ("trial_started", "trial_finished", "chosen", "test")
    own = [event for event in two_tests.events if event["stage"] == "finetune" and event["event"] in kept]
    two_tests.events = [event for event in own if (event["event"], event.get("seed")) != ("test", 0)]
    assert two_tests.trace.run.headline == "The run is at its stage finetune."


def test_the_headline_has_the_figure_of_the_delivered_seed(two_tests: Any) -> None:
    two_tests.events = [event for event in two_tests.events if event["stage"] != "compare"]
    assert two_tests.trace.run.headline == "The fine-tuned model classifies 95.6 % of the test texts correctly."


def test_an_insight_compares_validation_with_the_test_of_the_same_seed(two_tests: Any) -> None:
    def found(trace: Any) -> Any:
        return next((i for rule in RULES if (i := rule(trace)) is not None and i.rule == "validation"), None)

    assert found(two_tests.trace) is None  # 96.4 % on validation, 95.6 % on the test
    (test,) = (event for event in two_tests.events if event["event"] == "test" and event["seed"] == 0)
    test |= {"accuracy": 0.9, "accuracy_interval": [0.88, 0.92]}
    trace = two_tests.trace
    insight, written = found(trace), to_json(trace)
    assert insight is not None and "90.0 % of the test texts" in insight.sentence
    assert evaluate(insight.derivations["test_accuracy"], written) == pytest.approx(0.9)
    assert [read_pointer(written, pointer) is not None for pointer in insight.pointers] == [True, True]


def test_the_question_about_validation_and_test_is_of_the_same_seed(two_tests: Any) -> None:
    (test,) = (event for event in two_tests.events if event["event"] == "test" and event["seed"] == 0)
    test |= {"accuracy": 0.7, "accuracy_interval": [0.67, 0.73]}
    test["slices"] = {
        "known": {"n": 499, "accuracy": 0.96, "accuracy_interval": [0.94, 0.98]},
        "unseen": {"n": 499, "accuracy": 0.44, "accuracy_interval": [0.40, 0.48]},
    }
    template, trace = next(each for each in TEMPLATES if each.id == "Q-GAP"), two_tests.trace
    assert template.requires(trace)
    question = finish(template, template.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None and verify(question, to_json(trace))
    assert "70.0 % on the test split" in question.prompt
