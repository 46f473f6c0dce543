"""Intervals have the promised coverage, by known values, a reference library and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, sem

from pretune.scoring.uncertainty import (
    Difference,
    accuracy_difference,
    accuracy_over_seeds,
    bootstrap_difference,
    bootstrap_over_seeds,
    fraction_interval,
    holm,
    mcnemar_p_value,
    ratio_error,
    ratio_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (10, 10), (81, 263), (1, 2), (740, 872)])
def test_wilson_parity(correct: int, count: int) -> None:
    reference = binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((reference.low, reference.high))


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_contains_the_fraction(count: int, share: float) -> None:
    low, high = wilson_interval(share * count, count)
    assert 0.0 <= low <= share * count / count <= high <= 1.0


def draw_runs(skill: float, seed_spread: float, num_seeds: int, rows: np.ndarray, random: np.random.Generator):
    """Runs (S, N) with the same difficulty of the rows that differ by seed and by noise."""
    of_seed = random.normal(0, seed_spread, size=(num_seeds, 1))
    return rows + of_seed + skill + random.normal(0, 1, size=(num_seeds, len(rows))) > 0


def test_one_seed_is_wilson() -> None:
    correct = np.arange(100)[None] < 83
    assert accuracy_over_seeds(correct) == (0.83, pytest.approx(wilson_interval(83, 100)))


def test_seeds_that_differ_widen_the_interval() -> None:
    same = np.tile(np.arange(200) < 160, (3, 1))
    apart = np.stack([np.arange(200) < 140, np.arange(200) < 160, np.arange(200) < 180])
    _, (low, high) = accuracy_over_seeds(same)
    _, (low_apart, high_apart) = accuracy_over_seeds(apart)
    assert high_apart - low_apart > 1.5 * (high - low)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.03, 0.06])
def test_the_interval_over_seeds_covers_the_expected_accuracy(num_seeds: int, spread: float) -> None:
    """Even with few seeds that differ much; with Satterthwaite's degrees of freedom, two seeds covered 89 %."""
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(500):
        skills = random.normal(0.83, spread, size=num_seeds)
        _, (low, high) = accuracy_over_seeds(random.random((num_seeds, 400)) < skills[:, None])
        covered += low <= 0.83 <= high
    assert covered / 500 >= 0.94


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_raises_p_values(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= q <= min(1.0, len(p_values) * p) + 1e-12 for p, q in zip(p_values, corrected, strict=True))
    ranked = [q for _, q in sorted(zip(p_values, corrected, strict=True))]
    assert ranked == sorted(ranked)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_false_alarms_are_rare_although_seeds_differ() -> None:
    """Both sides are the same kind of run: at most about one comparison in twenty may call a difference clear."""
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(400):
        rows = random.normal(1, 1, size=400)
        a, b = (draw_runs(0.0, 0.3, 3, rows, random) for _ in range(2))
        alarms += accuracy_difference(a, b).is_clear
    assert alarms <= 30


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(1, 1, size=1000)
    found = accuracy_difference(draw_runs(0.6, 0.05, 3, rows, random), draw_runs(0.0, 0.05, 3, rows, random))
    assert found.is_clear
    assert 0.05 < found.interval[0] < found.difference < found.interval[1]


def test_few_rows_give_no_false_certainty() -> None:
    found = accuracy_difference(np.ones((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool))
    assert found.difference == 1.0
    assert found.interval[0] < 0.3


def test_equal_predictions_have_no_difference() -> None:
    a = np.random.default_rng(0).random((2, 50)) < 0.7
    found = accuracy_difference(a, a)
    assert found.difference == 0.0
    assert found.p_value == pytest.approx(1.0)
    assert not found.is_clear


def test_the_sides_are_symmetric() -> None:
    random = np.random.default_rng(5)
    a, b = random.random((3, 80)) < 0.8, random.random((2, 80)) < 0.6
    forth, back = accuracy_difference(a, b), accuracy_difference(b, a)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert forth.p_value == pytest.approx(back.p_value)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (7, 2), (30, 31), (0, 12), (600, 700)])
def test_mcnemar_parity(only_a: int, only_b: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True] * 5)
    b = np.array([False] * only_a + [True] * only_b + [True] * 5)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p_value(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(("num_a", "num_b"), [(1, 1), (3, 3), (3, 1)])
def test_rows_of_a_group_that_err_together_are_one_row(num_a: int, num_b: int) -> None:
    """Five copies of each row say no more than the row."""
    random = np.random.default_rng(6)
    rows = random.normal(0, 1, size=200)
    a, b = (draw_runs(skill, 0.1, seeds, rows, random) for skill, seeds in ((0.8, num_a), (0.3, num_b)))
    copies, groups = (each.repeat(5, axis=1) for each in (a, b)), np.arange(200).repeat(5)
    one, many = accuracy_difference(a, b), accuracy_difference(*copies, groups)
    assert many.difference == pytest.approx(one.difference)
    assert many.interval == pytest.approx(one.interval)
    assert many.p_value == pytest.approx(one.p_value)
    _, (low, high) = accuracy_over_seeds(a)
    assert accuracy_over_seeds(a.repeat(5, axis=1), groups)[1] == pytest.approx((low, high), abs=0.002)
    _, (low_apart, high_apart) = accuracy_over_seeds(a.repeat(5, axis=1))
    assert high_apart - low_apart < (0.5 if num_a == 1 else 1.0) * (high - low)


def test_the_interval_over_groups_covers_the_expected_accuracy() -> None:
    """Groups of one to ten rows that are mostly right on all of them or on none."""
    random = np.random.default_rng(7)
    covered = alone = 0
    for _ in range(300):
        groups = np.arange(60).repeat(random.integers(1, 11, size=60))
        correct = (random.normal(0, 1, size=60)[groups] + random.normal(0, 0.5, size=len(groups)) > 0)[None]
        for counted, (low, high) in (
            ("groups", accuracy_over_seeds(correct, groups)[1]),
            ("rows", accuracy_over_seeds(correct)[1]),
        ):
            covered += counted == "groups" and low <= 0.5 <= high
            alone += counted == "rows" and low <= 0.5 <= high
    assert 0.92 <= covered / 300 <= 0.98
    assert alone / 300 < 0.75


def test_groups_that_are_all_right_keep_a_width() -> None:
    correct, groups = np.ones((1, 100), dtype=bool), np.arange(10).repeat(10)
    assert accuracy_over_seeds(correct, groups) == (1.0, wilson_interval(10, 10))
    assert accuracy_over_seeds(correct, np.zeros(100, dtype=np.int64))[1] == wilson_interval(1, 1)


def test_the_interval_of_a_fraction_covers_it_where_tokens_of_a_row_are_alike() -> None:
    random = np.random.default_rng(8)
    covered = alone = 0
    for _ in range(300):
        counts = random.integers(20, 60, size=40)
        hits = random.binomial(counts, random.beta(4, 6, size=40))  # each row with an accuracy of its own
        low, high = fraction_interval(hits, counts)
        covered += low <= 0.4 <= high
        low, high = wilson_interval(float(hits.sum()), float(counts.sum()))
        alone += low <= 0.4 <= high
    assert 0.92 <= covered / 300 <= 0.98
    assert alone / 300 < 0.75


@pytest.mark.parametrize(
    ("hits", "counts", "expected"),
    [
        ([0, 0, 0], [30, 50, 40], wilson_interval(0, 120)),
        ([30, 50, 40], [30, 50, 40], wilson_interval(120, 120)),
        ([12], [60], wilson_interval(12, 60)),
        ([10, 20], [20, 40], wilson_interval(30, 60)),
    ],
)
def test_rows_that_do_not_vary_give_the_interval_of_their_tokens(
    hits: list[int], counts: list[int], expected: tuple[float, float]
) -> None:
    assert fraction_interval(np.array(hits), np.array(counts)) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [[1] * 9, [3, 1, 1, 2], [5, 5, 5], [1, 2, 3, 4, 5, 6], [4]])
def test_the_test_over_groups_counts_every_choice_of_sides(sizes: list[int]) -> None:
    groups = np.arange(len(sizes)).repeat(sizes)
    gains = np.array([-1, *[1] * (len(sizes) - 1)])
    a = gains[groups] > 0
    signs = np.array(list(itertools.product([-1, 1], repeat=len(sizes))))
    expected = float(np.mean(np.abs(signs @ sizes) >= abs(int(gains @ sizes))))
    assert mcnemar_p_value(a, ~a, groups) == pytest.approx(expected)
    if set(sizes) == {1}:
        assert mcnemar_p_value(a, ~a) == pytest.approx(expected)


def test_bootstrap_agrees_with_the_formula() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(1, 1, size=500)
    a, b = draw_runs(0.5, 0.1, 3, rows, random), draw_runs(0.0, 0.1, 3, rows, random)

    def score(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return weights @ a.T / weights.sum(axis=1, keepdims=True), weights @ b.T / weights.sum(axis=1, keepdims=True)

    drawn = bootstrap_difference(a.mean(axis=1), b.mean(axis=1), score, len(rows))
    again = bootstrap_difference(a.mean(axis=1), b.mean(axis=1), score, len(rows))
    formula = accuracy_difference(a, b)
    assert drawn == again
    assert drawn.difference == pytest.approx(formula.difference)
    assert drawn.interval == pytest.approx(formula.interval, abs=0.006)


def mean_of(rows: np.ndarray):
    """The figure of runs (S, N) that is the mean of their rows."""
    return lambda weights: weights @ rows.T / weights.sum(axis=1, keepdims=True)


def test_a_large_difference_is_cut_at_its_limit_only() -> None:
    rows = 5.0 + np.random.default_rng(1).normal(size=(2, 60))
    a, b = rows[:1], rows[1:] - 5.0

    def score(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return mean_of(a)(weights), mean_of(b)(weights)

    figures = a.mean(axis=1), b.mean(axis=1)
    without = bootstrap_difference(*figures, score, 60, limit=np.inf)
    assert without.interval[0] < 5.0 < without.interval[1]
    assert bootstrap_difference(*figures, score, 60, limit=4.0).interval[1] == 4.0


@pytest.mark.parametrize(
    ("bounds", "level"), [((0.0, 1.0), 0.6), ((-1.0, 1.0), -0.4), ((0.0, np.inf), 30.0), ((-np.inf, 1.0), -7.0)]
)
def test_the_interval_over_seeds_has_the_width_of_the_formula(bounds: tuple[float, float], level: float) -> None:
    """Far from the bounds every scale gives about mean +- 1.96 deviations, which seeds that differ widen."""
    random = np.random.default_rng(2)
    rows = level + 0.1 * random.normal(size=(1, 400))
    mean, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), 400, bounds)
    error = rows.std() / 20
    assert mean == pytest.approx(level, abs=0.02)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.15 * error)
    apart = np.concatenate([rows - 0.05, rows, rows + 0.05])
    _, (low_apart, high_apart) = bootstrap_over_seeds(apart.mean(axis=1), mean_of(apart), 400, bounds)
    assert high_apart - low_apart > 2 * (high - low)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, np.inf), (-np.inf, 1.0)])
@pytest.mark.parametrize("distance", [0.0, 0.01, 0.2])
def test_the_interval_stays_inside_the_bounds(bounds: tuple[float, float], distance: float) -> None:
    random = np.random.default_rng(3)
    bound, sign = (bounds[0], 1) if np.isfinite(bounds[0]) else (bounds[1], -1)
    rows = bound + sign * distance * random.exponential(size=(2, 12))
    mean, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), 12, bounds)
    assert bounds[0] <= low <= mean <= high <= bounds[1]
    assert np.isfinite([low, high]).all()


def test_few_rows_without_an_error_give_no_certain_fraction() -> None:
    rows = np.ones((1, 10))
    _, interval = bootstrap_over_seeds(np.ones(1), mean_of(rows), 10)
    assert interval == pytest.approx(wilson_interval(10, 10))


def test_replicates_at_the_bound_give_a_finite_interval() -> None:
    """One of twelve rows has an error, so that a third of the replicates have none."""
    rows = np.eye(12)[:1]
    mean, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), 12, (0.0, np.inf))
    assert 0.0 <= low < mean < high < np.inf


def compare_alike(a: float, b: float, num_rows: int, limit: float) -> Difference:
    """Of two models whose figures are these in every replicate."""
    figures = np.array([a]), np.array([b])

    def score(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(weights), 1), a), np.full((len(weights), 1), b)

    return bootstrap_difference(*figures, score, num_rows, limit=limit)


@pytest.mark.parametrize(("a", "b", "limit"), [(1.0, 0.0, 1.0), (1.0, -1.0, 2.0), (0.3, 2.5, np.inf)])
@pytest.mark.parametrize("num_rows", [1, 2, 3, 4])
def test_no_difference_over_a_handful_of_rows_is_clear(a: float, b: float, limit: float, num_rows: int) -> None:
    """The same rows drawn again give the same figures, so that the bootstrap had p = 0 and an interval of no width."""
    found = compare_alike(a, b, num_rows, limit)
    assert found.p_value > 0.05
    assert found.interval[0] < 0 < found.interval[1]
    assert -limit <= found.interval[0] <= found.difference <= found.interval[1] <= limit


def test_replicates_that_are_all_equal_leave_an_interval() -> None:
    """That of models of which one is right and the other wrong in every row, as for accuracy."""
    found = compare_alike(1.0, 0.0, 20, 1.0)
    accuracy = accuracy_difference(np.ones((2, 20), dtype=bool), np.zeros((2, 20), dtype=bool))
    assert (found.interval, found.p_value) == (accuracy.interval, accuracy.p_value)
    assert found.is_clear
    assert not compare_alike(3.0, 3.0 + 1e-15, 20, np.inf).is_clear


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_a_correlation_of_up_to_three_rows_says_nothing(num_rows: int) -> None:
    rows = np.ones((1, num_rows))
    assert bootstrap_over_seeds(np.ones(1), mean_of(rows), num_rows, (-1.0, 1.0)) == (1.0, (-1.0, 1.0))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_perfect_correlation_has_an_interval(sign: int) -> None:
    """It excludes zero from five rows on: so many ranks agree by chance in fewer than 5 % of all orders."""
    for num_rows, least in ((4, -0.7), (5, 0.08), (20, 0.99)):
        rows = np.full((1, num_rows), float(sign))
        _, ends = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), num_rows, (-1.0, 1.0))
        assert sorted(sign * end for end in ends) == pytest.approx([least, 1.0], abs=0.01)


@pytest.mark.parametrize(("num_rows", "at_least"), [(1, 100), (2, 50), (4, 1.5), (40, 1.04)])
def test_errors_that_are_all_equal_have_an_interval(num_rows: int, at_least: float) -> None:
    rows = np.full((1, num_rows), 2.5)
    mean, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), num_rows, (0.0, np.inf))
    assert low * at_least < mean < high / at_least


def test_two_rows_do_not_make_a_certain_fraction() -> None:
    rows = np.array([[0.66, 0.67]])
    _, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), 2)
    assert (low, high) == pytest.approx(wilson_interval(2 * 0.665, 2))


def test_rows_that_are_mostly_at_the_bound_do_not_widen_the_interval_without_limit() -> None:
    rows = np.array([[0.0, 0.0, 4.0, 0.0, 2.0, 0.0, 2.0, 0.0]])
    mean, (low, high) = bootstrap_over_seeds(rows.mean(axis=1), mean_of(rows), 8, (0.0, np.inf))
    assert mean == 1.0
    assert 0.1 < low < 0.6
    assert 1.7 < high < 6


def test_with_units_of_one_the_error_of_a_ratio_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).gamma(1.0, 2.0, size=300)
    assert ratio_error(values, np.ones(300)) == pytest.approx(sem(values))
    assert ratio_error(np.zeros(2), np.zeros(2)) is None


def test_what_is_counted_in_one_unit_does_not_count_as_independent() -> None:
    """The coverage of two standard errors, with values that are correlated within a unit."""
    random, covered = np.random.default_rng(1), 0
    for _ in range(400):
        counts = random.integers(10, 50, size=80)
        sums = counts * random.normal(3.0, 1.0, size=80) + np.sqrt(counts) * random.normal(0, 1, size=80)
        error = ratio_error(sums, counts)
        assert error is not None
        covered += abs(sums.sum() / counts.sum() - 3.0) <= 1.96 * error
    assert 0.91 <= covered / 400 <= 0.98


def test_the_interval_of_a_ratio_covers_it() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        counts = rng.integers(1, 100, 12).astype(np.float64)
        sums = counts * rng.normal(3.0, 1.0, 12)
        interval = ratio_interval(sums, counts)
        assert interval is not None
        covered += interval[0] <= 3.0 <= interval[1]
    assert 0.90 <= covered / 300 <= 0.98
    assert ratio_interval(np.array([2.0]), np.array([1.0])) is None
