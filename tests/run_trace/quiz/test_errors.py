"""Questions about mistakes and calibration name a model as the comparison does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.quiz.errors import TEMPLATES
from pretune.trace_schema import RunTrace


@pytest.mark.parametrize("name", ["Q-ECE", "Q-CALIBRATION"])
def test_a_model_has_the_name_that_the_page_shows(name: str, make_trace: Callable[..., RunTrace]) -> None:
    template = next(each for each in TEMPLATES if each.id == name)
    assert "the model “pre-trained”" in template.make(make_trace(), Random(0)).prompt.replace("The model", "the model")


def with_bin(trace: RunTrace, error: float, **fields: float) -> RunTrace:
    """The trace with one group of rows, and this calibration error."""
    assert trace.errors is not None
    calibration = trace.errors.calibration[0]
    bins = [dataclasses.replace(calibration.bins[0], **fields)]
    changed = dataclasses.replace(calibration, bins=bins, error=error)
    return dataclasses.replace(trace, errors=dataclasses.replace(trace.errors, calibration=[changed]))


@pytest.mark.parametrize(("mean", "is_offered"), [(0.71, True), (0.7503, False)])  # 0.75 of the rows are right
def test_two_figures_that_look_equal_are_not_offered_as_a_mistake(
    make_trace: Callable[..., RunTrace], mean: float, is_offered: bool
) -> None:
    trace = with_bin(make_trace(), 0.08, n=100, right=75, mean_probability=mean)
    draft = next(each for each in TEMPLATES if each.id == "Q-CALIBRATION").make(trace, Random(0))
    assert any(claim.text.startswith("Exact:") for claim in draft.wrong) == is_offered


@pytest.mark.parametrize(("error", "is_offered"), [(0.21, True), (0.2503, False)])
def test_a_calibration_error_that_looks_like_the_error_rate_is_not_offered_as_one(
    make_trace: Callable[..., RunTrace], error: float, is_offered: bool
) -> None:
    trace = with_bin(make_trace(), error, n=100, right=75)
    draft = next(each for each in TEMPLATES if each.id == "Q-ECE").make(trace, Random(0))
    assert any(claim.text.startswith("The model is wrong on") for claim in draft.wrong) == is_offered


@pytest.mark.parametrize(
    ("right", "over", "under"),
    [
        (68, "takes any fraction below", "mixes up"),  # all three: of 100, with a probability of 0.7 on average
        (72, "mixes up", "takes any fraction above"),
        (30, "", "mixes up"),
        (95, "mixes up", ""),
    ],
)
def test_a_mistake_about_confidence_is_the_one_that_leads_to_the_option(
    make_trace: Callable[..., RunTrace], right: int, over: str, under: str
) -> None:
    trace = with_bin(make_trace(), 0.08, n=100, right=right, mean_probability=0.7, chance_low=0.61, chance_high=0.79)
    draft = next(each for each in TEMPLATES if each.id == "Q-CALIBRATION").make(trace, Random(0))
    for beginning, expected in (("Overconfident", over), ("Underconfident", under)):
        claims = [claim for claim in draft.wrong if claim.text.startswith(beginning)]
        assert [str(claim.misconception).startswith(expected) for claim in claims] == ([True] if expected else [])
