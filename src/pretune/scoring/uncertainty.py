"""From the correct and wrong rows of runs to intervals for one model and for the difference of two.

Shapes: S seeds (training runs), N test rows, the same rows in the same order on both sides of a comparison, U units:
the rows, or groups of rows that are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pretune.runtime.randomness import generator

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Counts = IntArray | FloatArray

Z_95 = 1.959963984540054
_REPLICATES = 1000
_NEAREST = 1e-6  # of the distance to a bound: nearer, a logarithm says nothing
_CHUNK = 50  # replicates at a time, which limits memory to chunk x rows
_FEW_ROWS = 5  # drawing fewer again hardly shows how much a figure varies
_ROUNDING = 1e-9  # of the size of a figure: replicates that differ less are equal


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference a - b of one figure, as a fraction and averaged over seeds, with a 95 % interval and a two-sided
    p-value."""

    difference: float
    interval: tuple[float, float]
    p_value: float

    @property
    def is_clear(self) -> bool:
        """Whether chance, in rows and in seeds, is an unlikely explanation."""
        return self.p_value < 0.05 and not self.interval[0] <= 0.0 <= self.interval[1]


def wilson_interval(correct: float, count: float) -> tuple[float, float]:
    """Wilson's score interval (1927) for a proportion; it stays inside [0, 1] and is sensible at 0 and 1 too."""
    if count <= 0:
        return 0.0, 1.0
    fraction, squared = correct / count, Z_95**2
    centre = (fraction + squared / (2 * count)) / (1 + squared / count)
    half = Z_95 / (1 + squared / count) * math.sqrt(fraction * (1 - fraction) / count + squared / (4 * count**2))
    return max(0.0, min(centre - half, fraction)), min(1.0, max(centre + half, fraction))


def ratio_error(sums: FloatArray, counts: Counts) -> float | None:
    """Standard error of sum(sums) / sum(counts), such as a loss per token, over N independent units; None for one.

    The units, (N,) each, differ in size, and a ratio is not linear in them: its variance is that of the residuals
    sums - ratio * counts (linearisation; Cochran 1977, Sampling Techniques, 6.4). What is counted within a unit may be
    correlated.
    """
    num_units, total = len(sums), float(counts.sum())
    if num_units < 2 or total == 0:
        return None
    residuals = sums - float(sums.sum()) / total * counts
    return math.sqrt(float((residuals**2).sum()) * num_units / (num_units - 1)) / total


def ratio_interval(sums: FloatArray, counts: Counts) -> tuple[float, float] | None:
    """A 95 % interval for sum(sums) / sum(counts), by its standard error and Student's t; None as in `ratio_error`."""
    error = ratio_error(sums, counts)
    if error is None:
        return None
    ratio, half = float(sums.sum() / counts.sum()), t_quantile(len(sums) - 1) * error
    return ratio - half, ratio + half


def fraction_interval(hits: Counts, counts: Counts) -> tuple[float, float]:
    """A 95 % interval for the fraction sum(hits) / sum(counts), such as the accuracy per token, over units, (U,) each.

    As `ratio_interval`, but inside [0, 1]: Wilson's formula is applied to the number of independent tokens that would
    have this interval. One unit, or units whose fractions are all equal, do not show how much units vary; then it is
    Wilson's for all tokens.
    """
    fraction, count = float(hits.sum() / counts.sum()), float(counts.sum())
    if error := ratio_error(hits.astype(np.float64), counts):
        half = t_quantile(len(hits) - 1) * error
        count = min(count, Z_95**2 * fraction * (1 - fraction) / half**2)
    return wilson_interval(fraction * count, count)


def accuracy_over_seeds(correct: BoolArray, groups: IntArray | None = None) -> tuple[float, tuple[float, float]]:
    """The mean accuracy of runs that differ in their seed, with a 95 % interval for the expected accuracy.

    The expected accuracy is the mean over all seeds and all rows of this kind; a single further run varies more.
    `correct` is (S, N). Half of the interval is sqrt(z^2 V_rows + t^2 V_seeds). V_rows is the variance of the mean over
    rows (of each row's mean over the seeds), with the normal quantile z; V_seeds is the variance between seeds divided
    by S, with Student's t for S - 1 degrees of freedom, because few seeds give a poor estimate of their own spread.
    (Half-widths are squared and added as in Newcombe 1998, Statistics in Medicine 17:873.) With two seeds the interval
    is wide, as it must be to cover. Wilson's formula is applied to the number of independent rows that would have this
    interval. With one seed this is exactly Wilson's interval.

    `groups` (N,) are the numbers of the groups of rows that are not independent. V_rows is then that of a ratio over
    groups, `ratio_error`, with Student's t for the number of groups.
    """
    num_seeds, num_rows = correct.shape
    mean = float(correct.mean())
    of_rows = correct.mean(axis=0)
    sums, sizes = sum_by_group(of_rows, groups)
    if groups is None:
        squared = Z_95**2 * float(of_rows.var()) / num_rows
    else:
        squared = (t_quantile(max(1, len(sums) - 1)) * (ratio_error(sums, sizes) or 0.0)) ** 2
    if num_seeds > 1:
        squared += t_quantile(num_seeds - 1) ** 2 * float(correct.mean(axis=1).var(ddof=1)) / num_seeds
    count = Z_95**2 * mean * (1 - mean) / squared if squared > 0 else len(sums)
    count = min(count, num_rows * num_seeds)
    return mean, wilson_interval(mean * count, count)


def accuracy_difference(a: BoolArray, b: BoolArray, groups: IntArray | None = None) -> Difference:
    """The difference in mean accuracy between two sets of runs, `a` (S_a, N) and `b` (S_b, N), on the same rows.

    Two things vary by chance: the rows drawn for the test and the seeds of the runs. The variance of the difference is
    estimated as

        variance over rows of (mean of a - mean of b) / N  +  variance between seeds of a / S_a  +  of b / S_b

    The first term is paired row by row, with half a row added to each of the four outcomes so that few rows do not give
    false certainty (Agresti and Min 2005). With two to four seeds, the seed terms are themselves uncertain, so the
    quantile comes from Student's t with the degrees of freedom of Welch and Satterthwaite. (Resampling seeds in a
    hierarchical bootstrap would understate their variance by a third at three seeds, and ignore that it is an
    estimate.) The interaction of row and seed is counted in both terms, which errs on the side of caution. If both
    sides are a single set of predictions, the p-value is that of McNemar's exact test, and variation between seeds is
    not covered.

    `groups` (N,) are the numbers of the groups of rows that are not independent: the errors of a group are then added
    up before they are squared, and half a group of the mean size is added to each outcome.
    """
    differences = a.mean(axis=0) - b.mean(axis=0)
    sums, sizes = sum_by_group(differences, groups)
    centre, row_variance = _add_half_units(sums, sizes, 1.0)
    found = _difference(float(differences.mean()), centre, row_variance, len(sums), a.mean(axis=1), b.mean(axis=1))
    if len(a) == len(b) == 1:
        return replace(found, p_value=mcnemar_p_value(a[0], b[0], groups))
    return found


def bootstrap_difference(
    a: FloatArray,
    b: FloatArray,
    score: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    num_rows: int,
    seed: int = 0,
    limit: float = 1.0,
) -> Difference:
    """As `accuracy_difference`, for a figure without a formula for its variance, such as macro-F1.

    `a` (S_a,) and `b` (S_b,) are the figures of each run. `score(weights)` takes weights (R, N) of the rows and returns
    the figures of the runs of both sides, (R, S_a) and (R, S_b). The variance over rows is that of a paired bootstrap,
    which draws the same rows for both sides. No difference can be larger than `limit`: 1 for a fraction, 2 for a
    correlation, infinity for an error in the units of the labels.

    With fewer than five rows, or replicates that are all equal, the bootstrap would give false certainty. Then the
    variance is at least that of rows that all differ as the figures do, with half a row added to each of four outcomes
    as in `accuracy_difference`: two differ by the limit. If there is none, they differ by the larger figure, or as the
    figures do if that is what five rows or more show.
    """
    differences = []
    for weights in _draw_rows(num_rows, seed):
        scores_a, scores_b = score(weights)
        differences.append(scores_a.mean(axis=1) - scores_b.mean(axis=1))
    drawn, mean = np.concatenate(differences), float(a.mean() - b.mean())
    size = limit if math.isfinite(limit) else float(max(abs(a.mean()), abs(b.mean())))
    centre, variance = mean, float(drawn.var())
    if _says_little(drawn, num_rows, size):
        mean = mean if abs(mean) > _ROUNDING * size else 0.0
        reach = abs(mean) if math.isinf(limit) and num_rows >= _FEW_ROWS else size
        centre, least = _add_half_units(np.full(num_rows, mean), np.ones(num_rows), reach)
        variance = max(variance, least)
    return _difference(mean, centre, variance, num_rows, a, b, limit)


def bootstrap_over_seeds(
    figures: FloatArray,
    score: Callable[[FloatArray], FloatArray],
    num_rows: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """As `accuracy_over_seeds`, for a figure without a formula for its variance: the mean of the `figures` (S,) of
    each run, with a 95 % interval inside `bounds`.

    `score(weights)` takes weights (R, N) of the rows and returns the figures of the runs, (R, S). The variance over
    rows is that of a bootstrap (Efron 1979, Annals of Statistics 7:1). The half-width is then applied on a scale on
    which the figure has no bounds near and is roughly normal: a fraction as in Wilson's interval, a correlation as
    Fisher's z (1921), a figure with one bound as the logarithm of the distance to it. Unlike Fisher's own standard
    error, that of the bootstrap does not assume normal values.

    With fewer than five rows, or replicates that are all equal, the interval has a least width: that of Wilson's
    interval for as many rows, that of Fisher's standard error, or that of one more row half of which is at the bound
    and half at twice the distance. Only a figure that is exactly at its single bound, such as an error of zero, has an
    interval without a width: nothing says how large an error could be.
    """
    drawn = np.concatenate([score(weights).mean(axis=1) for weights in _draw_rows(num_rows, seed)])
    mean = float(figures.mean())
    if bounds == (0.0, 1.0):
        half = _half_width(drawn, figures, num_rows)
        count = Z_95**2 * mean * (1 - mean) / half**2 if half > 0 and 0 < mean < 1 else num_rows
        if _says_little(drawn, num_rows, 1.0):
            count = min(count, num_rows)
        return mean, wilson_interval(mean * count, count)
    if bounds == (-1.0, 1.0):
        half, is_floored = _half_width(drawn, figures, num_rows), _says_little(drawn, num_rows, 1.0)
        return mean, _correlation_interval(mean, half, num_rows, is_floored=is_floored)
    if mean in bounds:
        return mean, (mean, mean)
    bound, sign = (bounds[0], 1) if math.isfinite(bounds[0]) else (bounds[1], -1)
    distance = sign * (mean - bound)
    of_rows, of_seeds = (sign * (x - bound) for x in (drawn, figures))
    if min(of_rows.min(), of_seeds.min()) > _NEAREST * distance:
        width = _half_width(np.log(of_rows), np.log(of_seeds), num_rows)
    else:  # a replicate is at the bound, and its logarithm infinite, so by the derivative
        width = _half_width(of_rows, of_seeds, num_rows) / distance
    if _says_little(drawn, num_rows, distance):
        width = max(width, t_quantile(max(1, num_rows - 1)) / (num_rows + 1))
    ratio = math.exp(min(width, -math.log(_NEAREST)))
    low, high = sorted((bound + sign * distance / ratio, bound + sign * distance * ratio))
    return mean, (low, high)


def _correlation_interval(mean: float, half: float, num_rows: int, *, is_floored: bool) -> tuple[float, float]:
    """The interval on the scale of Fisher's z, by the half-width of the bootstrap; if `is_floored`, at least as wide as
    by Fisher's standard error, 1 / sqrt(N - 3). Up to three rows say nothing.

    A correlation of 1 has no finite z. Instead of it, the interval starts from the largest smaller correlation that the
    ranks of N rows can have, those of two neighbours exchanged, and reaches to 1.
    """
    if num_rows <= 3:
        return -1.0, 1.0
    largest = 1 - max(12 / (num_rows * (num_rows**2 - 1)), _ROUNDING)
    is_perfect = 1 - abs(mean) <= _ROUNDING
    centre = math.copysign(largest, mean) if is_perfect else mean
    width = half / (1 - centre**2)  # by the derivative: replicates may be 1
    if is_perfect or is_floored:
        width = max(width, Z_95 / math.sqrt(num_rows - 3))
    low, high = (math.tanh(math.atanh(centre) + side * width) for side in (-1, 1))
    return min(low, mean), max(high, mean)


def _says_little(drawn: FloatArray, num_rows: int, size: float) -> bool:
    """Whether replicates (R,) of a figure of this size do not show how much it varies."""
    return num_rows < _FEW_ROWS or float(drawn.std()) <= _ROUNDING * size


def sum_by_group(values: Counts, groups: IntArray | None) -> tuple[FloatArray, FloatArray]:
    """The sums of the values (N,) of each group, (U,), and how many rows it has; without groups, every row is one."""
    if groups is None:
        return values.astype(np.float64), np.ones(len(values))
    places = np.unique(groups, return_inverse=True)[1]
    sums, sizes = np.bincount(places, values), np.bincount(places)
    return sums.astype(np.float64), sizes.astype(np.float64)


def _add_half_units(sums: FloatArray, sizes: FloatArray, reach: float) -> tuple[float, float]:
    """The mean difference of rows and its variance, from the sums (U,) over units of these sizes, with half a unit of
    the mean size added at `reach` a row, at its negative, and twice at zero."""
    size = float(sizes.mean())
    weights = np.concatenate([np.ones(len(sums)), np.full(4, 0.5)])
    padded = np.concatenate([sums, np.array([reach, -reach, 0.0, 0.0]) * size])
    num_rows = np.concatenate([sizes, np.full(4, size)])
    total = float(weights @ num_rows)
    centre = float(weights @ padded) / total
    return centre, float(weights @ (padded - centre * num_rows) ** 2) / total**2


def _half_width(drawn: FloatArray, figures: FloatArray, num_rows: int) -> float:
    """Half of an interval by the replicates (R,) of the rows and, from two on, the figures (S,) of the seeds."""
    squared = t_quantile(max(1, num_rows - 1)) ** 2 * float(drawn.var())
    if len(figures) > 1:
        squared += t_quantile(len(figures) - 1) ** 2 * float(figures.var(ddof=1)) / len(figures)
    return math.sqrt(squared)


def mcnemar_p_value(a: BoolArray, b: BoolArray, groups: IntArray | None = None) -> float:
    """The p-value of McNemar's exact test on the rows that only one of two classifiers predicts correctly.

    `a` and `b` are (N,): whether each row is correct. The test is a two-sided binomial test with probability 1/2. With
    `groups` (N,), all rows of a group change sides together: Fisher's randomisation test (1935, The Design of
    Experiments).
    """
    if groups is not None:
        return _p_value_of_signs(sum_by_group(a.astype(np.float64) - b, groups)[0])
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    trials, fewer = only_a + only_b, min(only_a, only_b)
    if trials == 0:
        return 1.0
    half = -trials * math.log(2)
    tail = sum(
        math.exp(math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + half)
        for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def _p_value_of_signs(gains: FloatArray) -> float:
    """How likely a sum of whole numbers (U,) is as far from zero as this one, if the sign of each is random."""
    sizes = np.abs(gains[gains != 0]).astype(np.int64)
    chances = np.ones(1)  # of each sum of the sizes that have a positive sign
    for size in sizes.tolist():
        longer = np.zeros(len(chances) + size)
        longer[:-size] += chances / 2
        longer[size:] += chances / 2
        chances = longer
    sums = 2 * np.arange(len(chances)) - int(sizes.sum())
    return min(1.0, float(chances[np.abs(sums) >= abs(int(gains.sum()))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), so that the chance of any false alarm stays at the level."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _draw_rows(num_rows: int, seed: int) -> Iterator[FloatArray]:
    """How often each row is drawn in each replicate, (R, N), some replicates at a time."""
    for chunk in range(_REPLICATES // _CHUNK):
        draws = generator(seed, "bootstrap", chunk).integers(num_rows, size=(_CHUNK, num_rows))
        offsets = np.arange(_CHUNK)[:, None] * num_rows
        counts = np.bincount((draws + offsets).ravel(), minlength=_CHUNK * num_rows).reshape(_CHUNK, num_rows)
        yield counts.astype(np.float64)


def _difference(
    mean: float,
    centre: float,
    row_variance: float,
    num_rows: int,
    seeds_a: FloatArray,
    seeds_b: FloatArray,
    limit: float = 1.0,
) -> Difference:
    variance, freedom = _add_seed_variance(row_variance, num_rows, seeds_a, seeds_b)
    if variance == 0:  # the errors of all rows are equal
        return Difference(difference=mean, interval=(mean, mean), p_value=1.0)
    error = math.sqrt(variance)
    half = t_quantile(freedom) * error
    interval = (max(-limit, min(centre - half, mean)), min(limit, max(centre + half, mean)))
    return Difference(difference=mean, interval=interval, p_value=_t_p_value(abs(centre) / error, freedom))


def _add_seed_variance(row_variance: float, num_rows: int, *figures: FloatArray) -> tuple[float, float]:
    """The variance over rows and seeds, and its degrees of freedom (Satterthwaite 1946)."""
    terms = [(row_variance, max(1, num_rows - 1))]
    terms += [(float(seeds.var(ddof=1)) / len(seeds), len(seeds) - 1) for seeds in figures if len(seeds) > 1]
    variance = sum(term for term, _ in terms)
    spread = sum(term**2 / freedom for term, freedom in terms)
    return variance, variance**2 / spread if spread > 0 else float(max(1, num_rows - 1))


def t_quantile(freedom: float) -> float:
    """The standard errors on either side of an interval of 95 %, by the degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _t_p_value(statistic: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -statistic))
