"""A weighted row counts as a repeated one, for every figure; intervals and differences cover what they promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, rankdata, spearmanr
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, root_mean_squared_error

from pretune.scoring.metrics import Counts
from pretune.scoring.row_statistics import (
    RowStatistics,
    _weighted_ranks,
    absolute_error_rows,
    accuracy_rows,
    difference_of_runs,
    entity_f1_rows,
    macro_f1_rows,
    micro_f1_rows,
    over_seeds,
    pearson_rows,
    r2_rows,
    spearman_rows,
    squared_error_rows,
)
from pretune.scoring.uncertainty import accuracy_difference, accuracy_over_seeds

NUMBER_FIGURES = {
    "pearson": pearson_rows,
    "spearman": spearman_rows,
    "mean_absolute_error": absolute_error_rows,
    "root_mean_squared_error": squared_error_rows,
    "r2": r2_rows,
}
COUNT_FIGURES = {"macro_f1": macro_f1_rows, "micro_f1": micro_f1_rows, "entity_f1": entity_f1_rows}


def draw_counts(random: np.random.Generator, num_rows: int, num_classes: int = 4) -> Counts:
    """Several entities of each type in a row."""
    hits, missed, invented = random.integers(3, size=(3, num_rows, num_classes))
    return Counts(hits, hits + missed, hits + invented)


def draw_all(random: np.random.Generator, num_rows: int) -> list[tuple[Callable[..., RowStatistics], list[np.ndarray]]]:
    """Each constructor with its arguments, arrays of rows."""
    numbers = [random.integers(-3, 4, num_rows) / 2.0, random.normal(size=num_rows).round(1)]
    counts = list(draw_counts(random, num_rows))
    return [
        (accuracy_rows, [random.integers(3, size=num_rows), random.integers(3, size=num_rows)]),
        *((lambda *parts, make=make: make(Counts(*parts)), counts) for make in COUNT_FIGURES.values()),
        *((make, numbers) for make in NUMBER_FIGURES.values()),
    ]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(any))
def test_whole_weights_are_repeated_rows(seed: int, weights: list[int]) -> None:
    repeats = np.array(weights)
    for make, rows in draw_all(np.random.default_rng(seed), len(weights)):
        weighted = make(*rows).figure(repeats.astype(np.float64))
        repeated = make(*(part.repeat(repeats, axis=0) for part in rows)).figure()
        assert weighted == pytest.approx(repeated, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=2, max_size=30).filter(any))
def test_selected_rows_have_the_figure_of_a_slice(seed: int, chosen: list[bool]) -> None:
    mask = np.array(chosen)
    for make, rows in draw_all(np.random.default_rng(seed), len(chosen)):
        of_slice = make(*(part[mask] for part in rows)).figure()
        assert make(*rows).select(mask).figure() == pytest.approx(of_slice, abs=1e-9)


def test_many_weights_at_once() -> None:
    random = np.random.default_rng(0)
    weights = random.integers(4, size=(6, 40)).astype(np.float64)
    for make, rows in draw_all(random, 40):
        statistics = make(*rows)
        assert statistics.figures(weights) == pytest.approx([statistics.figure(row) for row in weights])


@given(
    arrays(np.float64, 12, elements=st.integers(-3, 3).map(float)),
    arrays(np.int64, (2, 12), elements=st.integers(0, 3)),
)
def test_weighted_ranks_parity(numbers: np.ndarray, weights: np.ndarray) -> None:
    for row, ranks in zip(weights, _weighted_ranks(numbers, weights.T.astype(np.float64)).T, strict=True):
        assert ranks.repeat(row) == pytest.approx(rankdata(numbers.repeat(row)))


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1), st.integers(3, 60), st.sampled_from([0.0, 1e3, -1e6]), st.sampled_from([1e-3, 1.0, 1e5])
)
def test_number_figures_parity(seed: int, num_rows: int, offset: float, scale: float) -> None:
    """Numbers far from zero lose no digits that matter."""
    random = np.random.default_rng(seed)
    targets = (random.normal(size=num_rows) + offset) * scale
    predicted = targets + random.normal(size=num_rows) * scale
    expected = {
        "pearson": pearsonr(targets, predicted).statistic,
        "spearman": spearmanr(targets, predicted).statistic,
        "mean_absolute_error": mean_absolute_error(targets, predicted),
        "root_mean_squared_error": root_mean_squared_error(targets, predicted),
        "r2": r2_score(targets, predicted),
    }
    for name, make in NUMBER_FIGURES.items():
        statistics = make(targets, predicted)
        assert statistics.name == name
        assert statistics.figure() == pytest.approx(expected[name], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1])
def test_numbers_that_are_all_alike_have_a_defined_figure(value: float) -> None:
    same, other = np.full(7, value), np.arange(7.0)
    for make in (pearson_rows, spearman_rows):
        assert make(same, other).figure() == make(other, same).figure() == make(same, same).figure() == 0.0
    assert r2_rows(same, same).figure() == 1.0  # as r2_score, which takes rounding of the mean for variance
    assert r2_rows(same, other).figure() == 0.0


def test_a_replicate_of_one_row_has_no_correlation() -> None:
    random = np.random.default_rng(1)
    targets, predicted = random.normal(size=(2, 9)) + 1e3
    alone = np.eye(9) * 5
    for make in (pearson_rows, spearman_rows):
        assert not make(targets, predicted).figures(alone).any()


def test_f1_parity_of_labels() -> None:
    random = np.random.default_rng(2)
    targets, predicted = random.random((2, 80, 5)) < np.array([0.5, 0.3, 0.1, 0.02, 0.0])
    counts = Counts(targets & predicted, targets, predicted)
    assert micro_f1_rows(counts).figure() == pytest.approx(f1_score(targets, predicted, average="micro"))
    macro = f1_score(
        targets, predicted, average="macro", zero_division=np.nan
    )  # NaN leaves out labels that never occur
    assert macro_f1_rows(counts).figure() == pytest.approx(macro)


def test_accuracy_keeps_its_formula() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(3, size=60)
    runs = [np.where(random.random(60) < 0.7, labels, (labels + 1) % 3) for _ in range(5)]
    statistics = [accuracy_rows(labels, run) for run in runs]
    correct = np.stack([labels == run for run in runs])
    assert over_seeds(statistics) == accuracy_over_seeds(correct)
    assert difference_of_runs(statistics[:3], statistics[3:]) == accuracy_difference(correct[:3], correct[3:])


def test_copies_in_one_group_say_no_more_than_one_row() -> None:
    """Also for ranks, which are not sums over rows."""
    random = np.random.default_rng(9)
    groups = np.arange(60).repeat(4)
    for (make, rows), (_, others) in zip(draw_all(random, 60), draw_all(random, 60), strict=True):
        others = [rows[0], *others[1:]] if len(rows) == 2 else others
        one, other = make(*rows), make(*others)
        copies, of_other = (make(*(part.repeat(4, axis=0) for part in parts)).over(groups) for parts in (rows, others))
        mean, interval = over_seeds([copies])
        assert mean == pytest.approx(over_seeds([one])[0])
        assert interval == pytest.approx(over_seeds([one])[1], rel=0.03, abs=1e-3)
        found, expected = difference_of_runs([copies], [of_other]), difference_of_runs([one], [other])
        assert found.interval == pytest.approx(expected.interval)
        assert found.p_value == pytest.approx(expected.p_value)
        assert copies.select(groups < 30).groups.tolist() == groups[groups < 30].tolist()  # type: ignore[union-attr]


def test_the_drawn_rows_agree_with_the_formula_of_accuracy() -> None:
    """Micro-F1 of one label for each row is accuracy, so the bootstrap must find what the formula finds."""
    random = np.random.default_rng(4)
    labels = random.integers(3, size=500)
    runs = [np.where(random.random(500) < skill, labels, (labels + 1) % 3) for skill in (0.8, 0.8, 0.7, 0.7)]
    ones = np.ones((500, 1))
    drawn = [micro_f1_rows(Counts((labels == run)[:, None], ones, ones)) for run in runs]
    correct = np.stack([labels == run for run in runs])
    mean, interval = over_seeds(drawn[:2])
    expected_mean, expected = accuracy_over_seeds(correct[:2])
    assert mean == pytest.approx(expected_mean)
    assert interval == pytest.approx(expected, abs=0.006)
    difference, formula = difference_of_runs(drawn[:2], drawn[2:]), accuracy_difference(correct[:2], correct[2:])
    assert difference.difference == pytest.approx(formula.difference)
    assert difference.interval == pytest.approx(formula.interval, abs=0.006)


def test_a_difference_of_errors_may_be_large() -> None:
    """It is in the units of the labels; a fraction could not differ by more than one."""
    random = np.random.default_rng(5)
    targets = random.normal(size=200) * 50_000
    near, far = targets + random.normal(size=200) * 1_000, targets + random.normal(size=200) * 9_000
    found = difference_of_runs([absolute_error_rows(targets, far)], [absolute_error_rows(targets, near)])
    assert 5_000 < found.interval[0] < found.difference < found.interval[1] < 8_000
    assert found.is_clear


def test_a_difference_of_correlations_may_exceed_one() -> None:
    targets = np.arange(50.0)
    found = difference_of_runs([spearman_rows(targets, targets)], [spearman_rows(targets, -targets)])
    assert found.difference == pytest.approx(2.0)


def test_equal_runs_do_not_differ() -> None:
    for make, rows in draw_all(np.random.default_rng(6), 30):
        found = difference_of_runs([make(*rows)], [make(*rows)])
        assert found.difference == 0.0
        assert not found.is_clear


def test_other_figures_or_rows_are_refused() -> None:
    targets = np.arange(9.0)
    with pytest.raises(ValueError, match="one figure on the same rows"):
        difference_of_runs([pearson_rows(targets, targets)], [spearman_rows(targets, targets)])
    with pytest.raises(ValueError, match="one figure on the same rows"):
        difference_of_runs([pearson_rows(targets, targets)], [pearson_rows(targets[:5], targets[:5])])


def draw_numbers(random: np.random.Generator, num_rows: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    x, noise = random.normal(size=(2, num_rows))
    return x, correlation * x + np.sqrt(1 - correlation**2) * noise


@pytest.mark.slow
@pytest.mark.parametrize("make", NUMBER_FIGURES.values(), ids=NUMBER_FIGURES.keys())
def test_the_interval_covers_the_figure_of_many_rows(make: Callable[..., RowStatistics]) -> None:
    random = np.random.default_rng(7)
    truth = make(*draw_numbers(random, 200_000, 0.8)).figure()
    covered = 0
    for _ in range(200):
        _, (low, high) = over_seeds([make(*draw_numbers(random, 60, 0.8))])
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNT_FIGURES)
def test_false_alarms_are_rare(name: str) -> None:
    """Two runs of the same quality: about one comparison in twenty may call their difference clear."""
    random = np.random.default_rng(8)
    alarms = 0
    for _ in range(200):
        support = random.integers(3, size=(150, 3))
        sides = []
        for _ in range(2):
            hits = random.binomial(support, 0.7)
            sides.append(COUNT_FIGURES[name](Counts(hits, support, hits + random.binomial(1, 0.3, size=(150, 3)))))
        alarms += difference_of_runs(sides[:1], sides[1:]).is_clear
    assert alarms <= 20
