"""The conclusion of a comparison of strategies: by rule, for every order in which they can come."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pretune.evaluation.strategies import (
    AS_IS,
    FINETUNED,
    FURTHER,
    KINDS,
    SCRATCH,
    HeldOut,
    Measured,
    _nats,
    conclude,
    describe_strategy,
    judge_strategies,
)
from pretune.scoring.uncertainty import ratio_error

NUM = 80
RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.integers(10, 60, NUM)
DIFFICULTY = RANDOM.normal(0, 0.6, NUM)
TEXT = HeldOut(name="medical questions", counts=COUNTS)


def measured(kind: str, loss: float, *, noise: float = 0.05, num_seeds: int = 1) -> Measured:
    """A strategy with this loss per token, on conversations of which some are harder for all of them."""
    random = np.random.default_rng(KINDS.index(kind) + 1)
    per_token = loss + DIFFICULTY + random.normal(0, noise, (num_seeds, NUM))
    return Measured(kind=kind, sums=[per_token * COUNTS])


def of(as_is: float, scratch: float, finetuned: float, further: float, **more: float) -> list[Measured]:
    losses = (as_is, scratch, finetuned, further)
    return [measured(kind, loss, **more) for kind, loss in zip(KINDS, losses, strict=True)]


@pytest.mark.parametrize(
    ("losses", "best", "beginning", "advice"),
    [
        ((4.0, 3.5, 2.5, 3.0), FINETUNED, "Best here: fine-tuning.", "That agrees with the usual advice"),
        ((4.0, 3.5, 3.0, 2.5), FURTHER, "Best here: pre-training further", "That contradicts the usual advice"),
        ((4.0, 2.0, 3.0, 2.5), SCRATCH, "Best here: training from scratch", "That contradicts the usual advice"),
        ((2.0, 3.5, 3.0, 2.5), AS_IS, "Best here: the base as it is", "That contradicts the usual advice"),
    ],
)
def test_a_clear_winner(losses: tuple[float, ...], best: str, beginning: str, advice: str) -> None:
    found = conclude(of(*losses), TEXT)
    assert (found.lowest, found.is_clear) == (best, True)
    assert found.sentence.startswith(beginning)
    assert advice in found.sentence
    assert "0.5" in found.sentence  # the lead over the next one


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1234, "0.123"), (-0.0003, "−0.0003"), (0.000012, "0.00001"), (0.000004, "0.000")],
)
def test_a_difference_has_as_many_digits_as_on_the_page(value: float, written: str) -> None:
    assert _nats(value) == written


def test_a_lead_by_chance_is_no_win() -> None:
    every = of(4.0, 3.5, 3.0, 2.99, noise=0.5)
    found = conclude(every, TEXT)
    assert found.sentence.startswith("No clear winner")
    assert not found.is_clear
    assert "contradicts" not in found.sentence


def test_a_tie_that_leaves_fine_tuning_behind_contradicts_the_advice() -> None:
    every = [measured(FURTHER, 2.5), measured(SCRATCH, 2.5), measured(FINETUNED, 3.5), measured(AS_IS, 4.0)]
    found = conclude(every, TEXT)
    assert found.sentence.startswith("No clear winner")
    assert not found.is_clear
    assert "contradicts" in found.sentence


def test_verdicts_are_on_both_references_and_on_every_text() -> None:
    other = HeldOut(name="another clinic", counts=COUNTS)
    every = [Measured(kind=each.kind, sums=[*each.sums, each.sums[0] * 1.2]) for each in of(4.0, 3.5, 2.5, 3.0)]
    verdicts = judge_strategies(every, [TEXT, other])
    pairs = [tuple(verdict["between"]) for verdict in verdicts if verdict["slice"] is None]
    assert pairs == [
        (FINETUNED, AS_IS),
        (SCRATCH, AS_IS),
        (FURTHER, AS_IS),
        (SCRATCH, FINETUNED),
        (FURTHER, FINETUNED),
    ]
    assert [verdict["slice"] for verdict in verdicts[5:]] == ["another clinic"] * 5
    first, last = verdicts[0], verdicts[4]
    assert first["difference"] == pytest.approx(1.5, abs=0.05)
    assert "lower than that of the base as it is, by 1.5" in first["sentence"]
    assert last["difference"] == pytest.approx(-0.5, abs=0.05)
    assert "higher than that of fine-tuning, by 0.5" in last["sentence"]


def test_seeds_are_shown_and_widen_the_interval() -> None:
    steady = measured(FINETUNED, 3.0)
    apart = Measured(
        kind=FINETUNED, sums=[np.concatenate([steady.sums[0] * 0.9, steady.sums[0], steady.sums[0] * 1.1])]
    )
    [one], [three] = describe_strategy(steady, [TEXT]), describe_strategy(apart, [TEXT])
    assert three["seeds"] == pytest.approx([0.9 * one["loss"], one["loss"], 1.1 * one["loss"]])
    assert np.diff(three["loss_interval"]) > 2 * np.diff(one["loss_interval"])


def just_ahead(kind: str, scale: float = 1.0) -> Measured:
    """A strategy whose loss is 2.15 standard errors below that of fine-tuning, 3 nats."""
    noise = scale * np.random.default_rng(9).normal(0, 0.05, NUM)
    noise -= noise @ COUNTS / COUNTS.sum()
    error = ratio_error(noise * COUNTS, COUNTS)
    assert error is not None
    return Measured(kind=kind, sums=[((3.0 + DIFFICULTY + noise - 2.15 * error) * COUNTS)[None]])


def test_a_difference_that_the_correction_makes_unclear_says_so() -> None:
    """The interval that is shown is not corrected: it excluded zero, and nothing said why that was not clear."""
    every = [measured(FINETUNED, 3.0, noise=0.0), just_ahead(SCRATCH), just_ahead(FURTHER)]
    for verdict in judge_strategies(every, [TEXT]):
        assert verdict["difference_interval"][0] > 0
        assert 0.05 < verdict["p_value"] < 0.1
        expected = f"no clear difference from fine-tuning, corrected for 2 comparisons (p = {verdict['p_value']:.3f}) ("
        assert expected in verdict["sentence"]
    found = conclude([measured(FINETUNED, 3.0, noise=0.0), just_ahead(SCRATCH), measured(AS_IS, 4.0)], TEXT)
    assert "its lead over fine-tuning is not clear, corrected for 2 comparisons (p = 0.0" in found.sentence
    by_chance = conclude(of(4.0, 3.5, 3.0, 2.99, noise=0.5), TEXT)
    assert "is not clear: " in by_chance.sentence  # its interval includes zero


def test_rounding_does_not_hide_on_which_side_of_zero_a_difference_lies() -> None:
    every = [measured(FINETUNED, 3.0, noise=0.0), just_ahead(SCRATCH, scale=0.01)]
    sentence = conclude(every, TEXT).sentence
    assert sentence.startswith("Best here: training from scratch.")
    assert re.search(r"by 0\.0001\d? nats per token \(95 % interval 0\.0000\d+ to 0\.0002\d?\)", sentence)
    [verdict] = judge_strategies([just_ahead(FINETUNED, scale=0.01), measured(AS_IS, 3.0, noise=0.0)], [TEXT])
    assert not re.search(r"\D0\.000\D", verdict["sentence"])
