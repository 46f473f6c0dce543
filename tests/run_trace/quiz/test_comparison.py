"""Questions about verdicts name the metric that was compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.codec import to_json
from pretune.run_trace.quiz.comparison import TEMPLATES
from pretune.run_trace.quiz.template import finish
from pretune.run_trace.quiz.verify import verify
from pretune.trace_schema import Question, RunTrace

MakeTrace = Callable[..., RunTrace]


def of_macro_f1(trace: RunTrace, macro_f1: float | None) -> RunTrace:
    """The same run with strongly imbalanced classes, whose verdicts are on macro-F1."""
    assert trace.comparison is not None
    models = [dataclasses.replace(each, macro_f1=macro_f1) for each in trace.comparison.models]
    verdicts = [dataclasses.replace(each, metric="macro_f1") for each in trace.comparison.verdicts]
    comparison = dataclasses.replace(trace.comparison, models=models, verdicts=verdicts)
    return dataclasses.replace(trace, comparison=comparison)


def ask(name: str, trace: RunTrace) -> Question | None:
    template = next(each for each in TEMPLATES if each.id == name)
    if not template.requires(trace):
        return None
    question = finish(template, template.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None and verify(question, to_json(trace))
    return question


def test_a_verdict_on_accuracies_has_accuracies_beside_it(make_trace: MakeTrace) -> None:
    question = ask("Q-HELPED", make_trace())
    assert question is not None
    assert "is right on 92.0 % and the same network from scratch on 80.0 %." in question.prompt
    assert "is 10.0 to 14.0 points." in question.prompt


def test_a_verdict_on_macro_f1_has_macro_f1_beside_it(make_trace: MakeTrace) -> None:
    question = ask("Q-HELPED", of_macro_f1(make_trace(), 0.612))
    assert question is not None
    assert "has a macro-F1 of 0.612 and the same network from scratch of 0.612." in question.prompt
    assert "is 10.0 to 14.0 points of macro-F1." in question.prompt
    assert "is right on" not in question.prompt
    assert ask("Q-HELPED", of_macro_f1(make_trace(), None)) is None


@pytest.mark.parametrize(
    ("difference", "outcome", "where"),
    [
        (0.12, "better", "the whole interval lies above zero"),
        (0.005, "no clear difference", "zero lies inside the interval"),
        (-0.05, "worse", "the whole interval lies below zero"),
    ],
)
def test_every_option_is_explained_with_the_interval_of_this_run(
    make_trace: MakeTrace, difference: float, outcome: str, where: str
) -> None:
    question = ask("Q-HELPED", make_trace(difference=difference, outcome=outcome))
    assert question is not None
    about_zero = [option for option in question.options if "zero" in option.text]
    assert len(about_zero) == 3 and all(option.why.endswith(f" points: {where}.") for option in about_zero)
    assert [option.is_right for option in about_zero].count(True) == 1


@pytest.mark.parametrize(("metric", "unit"), [("accuracy", "points ("), ("macro_f1", "points of macro-F1 (")])
def test_slices_are_compared_in_points_of_the_metric(make_trace: MakeTrace, metric: str, unit: str) -> None:
    trace = make_trace() if metric == "accuracy" else of_macro_f1(make_trace(), 0.6)
    question = ask("Q-SLICE", trace)
    assert question is not None and question.prompt.count(unit) == 2


def test_a_reason_for_the_gain_on_a_slice_is_given_only_where_it_is_known(make_trace: MakeTrace) -> None:
    trace = make_trace()
    synthetic = dataclasses.replace(trace, run=dataclasses.replace(trace.run, is_synthetic=True))
    ours, built_in = ask("Q-SLICE", trace), ask("Q-SLICE", synthetic)
    assert ours is not None and built_in is not None
    assert [option.text for option in ours.options if option.is_right] == ["The gain is larger on “unseen”."]
    assert len(ours.solution) == 1 and built_in.solution[1].startswith("Rows of “unseen” use words")


@pytest.mark.parametrize(("template", "seeds", "named"), [("Q-POINTS", 1, 0), ("Q-POINTS", 3, 1), ("Q-COIN", 3, 1)])
def test_rows_of_one_of_several_seeds_are_said_to_be_of_the_first(
    make_trace: MakeTrace, template: str, seeds: int, named: int
) -> None:
    trace = make_trace()
    assert trace.comparison is not None
    models = [dataclasses.replace(each, seeds=[each.score] * seeds) for each in trace.comparison.models]
    several = dataclasses.replace(trace, comparison=dataclasses.replace(trace.comparison, models=models))
    question = ask(template, several)
    assert question is not None and question.prompt.count("(each with its first seed)") == named


def test_rows_on_which_two_models_are_wrong_in_different_ways_are_not_counted_as_different(
    make_trace: MakeTrace,
) -> None:
    question = ask("Q-COIN", make_trace())
    assert question is not None
    assert "exactly one is right on 200 test rows" in question.prompt and "disagree" not in question.prompt


def test_a_gain_on_a_slice_that_the_correction_leaves_unclear_is_not_asked_for(make_trace: MakeTrace) -> None:
    trace = make_trace()
    assert trace.comparison is not None
    verdicts = [dataclasses.replace(each, outcome="no clear difference") for each in trace.comparison.verdicts]
    changed = dataclasses.replace(trace, comparison=dataclasses.replace(trace.comparison, verdicts=verdicts))
    assert ask("Q-SLICE", changed) is None


@pytest.mark.parametrize(
    ("difference", "outcome", "helped", "harmed"),
    [
        (0.005, "no clear difference", "counts a higher figure", "reads the sign"),
        (-0.005, "no clear difference", "reads the sign", "counts a lower figure"),
        (0.12, "better", None, "reads the sign"),
        (-0.05, "worse", "reads the sign", None),
    ],
)
def test_a_mistake_is_the_one_that_leads_to_the_option(
    make_trace: MakeTrace, difference: float, outcome: str, helped: str | None, harmed: str | None
) -> None:
    question = ask("Q-HELPED", make_trace(difference=difference, outcome=outcome))
    assert question is not None
    for beginning, expected in (("Pre-training helped", helped), ("Pre-training did harm", harmed)):
        found = next(option.misconception for option in question.options if option.text.startswith(beginning))
        assert found is None if expected is None else str(found).startswith(expected)
