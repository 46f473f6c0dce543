"""Questions about section 6, errors and calibration: confusion, recall, the majority class, and the band of chance."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at
from pretune.trace_schema import Calibration, CalibrationBin, Json, RunTrace, TestErrors

MOST_CLASSES = 4  # that a prompt shows as a matrix
FEWEST_ROWS = 20  # of a bin or a class
INSIDE, OUTSIDE = 0.9, 1.6  # halves of the band of chance from its middle
MARGIN = 1.2  # by which a calibration error must be above what chance gives, or below


def _errors(trace: RunTrace) -> TestErrors:
    assert trace.errors is not None
    return trace.errors


def _matrix(trace: RunTrace) -> list[list[int]]:
    return [] if trace.errors is None else trace.errors.confusion


def _names(trace: RunTrace) -> list[str]:
    return [f"“{label}”" for label in _errors(trace).labels]


def _row(k: int) -> Json:
    return ["sum", at("errors", "confusion", k)]


def _diagonal(size: int) -> Json:
    return ["sum", ["list", *(at("errors", "confusion", k, k) for k in range(size))]]


def _described(trace: RunTrace) -> str:
    names = _names(trace)
    rows = []
    for name, counts in zip(names, _matrix(trace), strict=True):
        cells = ", ".join(f"{formats.count(count)} as {other}" for other, count in zip(names, counts, strict=True))
        rows.append(f"of {formats.count(sum(counts))} rows with the label {name}, it predicts {cells}")
    return "; ".join(rows)


# ---- counts


def _has_small_matrix(trace: RunTrace) -> bool:
    matrix = _matrix(trace)
    wrong = sum(map(sum, matrix)) - sum(row[k] for k, row in enumerate(matrix))
    return 2 <= len(matrix) <= MOST_CLASSES and wrong >= 1


def _wrong_rows(trace: RunTrace, _rng: Random) -> Draft:
    matrix = _matrix(trace)
    n, right = sum(map(sum, matrix)), sum(row[k] for k, row in enumerate(matrix))
    cells = [formats.count(count) for k, row in enumerate(matrix) for j, count in enumerate(row) if j != k]
    total = ["sum", ["flatten", at("errors", "confusion")]]
    return Draft(
        prompt=f"The test rows as the network labels them: {_described(trace)}. On how many rows is it wrong?",
        number=["sub", total, _diagonal(len(matrix))],
        unit="rows",
        wrong_numbers=[
            WrongNumber(_diagonal(len(matrix)), "On so many it is right.", "counts right rows instead of wrong ones"),
            WrongNumber(
                ["sub", _row(0), at("errors", "confusion", 0, 0)],
                "That counts only the wrong rows of the first label.",
                "leaves out the mistakes of other classes",
            ),
        ],
        hints=["A row is right if label and prediction are the same.", "Add the counts in which they differ."],
        solution=[f"{' + '.join(cells)} = {n - right} of {formats.count(n)} rows."],
    )


def _has_majority(trace: RunTrace) -> bool:
    counts = [sum(row) for row in _matrix(trace)]
    return len(counts) >= 2 and sum(counts) >= FEWEST_ROWS and max(counts) / sum(counts) - 1 / len(counts) >= 0.01


def _majority(trace: RunTrace, _rng: Random) -> Draft:
    counts = [sum(row) for row in _matrix(trace)]
    n, size, largest = sum(counts), len(counts), max(counts)
    sums = ["list", *(_row(k) for k in range(size))]
    number = ["div", ["mul", 100, ["max", sums]], ["sum", sums]]
    name = _names(trace)[counts.index(largest)]
    return Draft(
        prompt=f"The test split has {formats.count(n)} rows of {size} classes. The most frequent class, {name}, has "
        f"{formats.count(largest)} of "
        "them. Which accuracy does a model reach that always answers with this class?",
        number=number,
        tolerance=0.3,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["div", 100, size],
                "That holds only if all classes are equally frequent.",
                "takes one in K for the level of guessing",
            ),
            WrongNumber(
                0,
                "Such a model is right on every row of that class.",
                "takes a model that learned nothing for one that is always wrong",
            ),
        ],
        hints=[
            "It is right on the rows of that class, and on no other.",
            f"Divide {formats.count(largest)} by {formats.count(n)}.",
        ],
        solution=[
            f"{formats.count(largest)} / {formats.count(n)} = {formats.percent(largest / n)}.",
            "Every accuracy has to be compared with this level, not with zero.",
        ],
    )


def _recallable(trace: RunTrace) -> list[int]:
    """Classes with enough rows whose recall is not their precision."""
    matrix = _matrix(trace)
    found = []
    for k, row in enumerate(matrix):
        column = sum(each[k] for each in matrix)
        if sum(row) >= FEWEST_ROWS and column >= 1 and 0 < row[k] < sum(row) and column != sum(row):
            found.append(k)
    return found


def _has_recall(trace: RunTrace) -> bool:
    return bool(_recallable(trace))


def _recall(trace: RunTrace, rng: Random) -> Draft:
    k, matrix = rng.choice(_recallable(trace)), _matrix(trace)
    name, right, labelled, predicted = _names(trace)[k], matrix[k][k], sum(matrix[k]), sum(row[k] for row in matrix)
    cell, column = at("errors", "confusion", k, k), ["sum", ["map", at("errors", "confusion"), k]]
    return Draft(
        prompt=f"{formats.count(labelled)} test rows have the label {name}. The network predicts {name} for "
        f"{formats.count(predicted)} rows, and "
        f"{formats.count(right)} of these have that label. What is the recall of {name}?",
        number=["div", ["mul", 100, cell], _row(k)],
        tolerance=0.02 if abs(right / labelled - right / predicted) < 0.005 else 0.2,
        unit="%",
        wrong_numbers=[
            WrongNumber(["div", ["mul", 100, cell], column], "That is the precision.", "mixes up recall and precision"),
            WrongNumber(
                ["div", ["mul", 100, cell], ["sum", ["flatten", at("errors", "confusion")]]],
                "That divides by all rows of the test.",
                "divides by all rows",
            ),
        ],
        hints=[
            "Recall asks: of the rows that have the label, how many were found?",
            f"Divide by the {formats.count(labelled)} rows with the label, not by the predictions.",
        ],
        solution=[f"{formats.count(right)} / {formats.count(labelled)} = {100 * right / labelled:.2f} %."],
    )


# ---- calibration


def _model_name(trace: RunTrace, kind: str) -> str:
    """The name that the comparison shows for a model, such as `from scratch`."""
    models = [] if trace.comparison is None else trace.comparison.models
    return next((model.name for model in models if model.kind == kind), kind)


def _outcome(each: CalibrationBin) -> str | None:
    """Whether the fraction of right rows lies clearly below, above or inside the band of chance; None in between.

    Among many bins one lies outside by chance alone, so outside counts only from 3 standard deviations on.
    """
    middle, half = (each.chance_high + each.chance_low) / 2, (each.chance_high - each.chance_low) / 2
    if each.n < FEWEST_ROWS or half <= 0:
        return None
    distance = (each.right / each.n - middle) / half
    if abs(distance) >= OUTSIDE:
        return "below" if distance < 0 else "above"
    return "inside" if abs(distance) <= INSIDE else None


def _bins(trace: RunTrace) -> list[tuple[int, int, Calibration, CalibrationBin, str]]:
    found = []
    for i, calibration in enumerate([] if trace.errors is None else trace.errors.calibration):
        for j, each in enumerate(calibration.bins):
            outcome = _outcome(each)
            if outcome is not None:
                found.append((i, j, calibration, each, outcome))
    outside = [each for each in found if each[4] != "inside"]
    return outside or found


def _has_bins(trace: RunTrace) -> bool:
    return bool(_bins(trace))


def _bin(trace: RunTrace, rng: Random) -> Draft:
    i, j, calibration, each, outcome = rng.choice(_bins(trace))
    place = ("errors", "calibration", i, "bins", j)
    fraction = ["div", at(*place, "right"), at(*place, "n")]
    low, high = at(*place, "chance_low"), at(*place, "chance_high")
    shown, mean = formats.percent(each.right / each.n), formats.percent(each.mean_probability)
    band = f"{formats.percent(each.chance_low)} to {formats.percent(each.chance_high)}"
    offset = each.right / each.n - each.mean_probability
    claims = {
        "below": Claim(
            text="Overconfident: it is right less often than it says, more than chance explains.",
            why=f"{shown} lies below the band of {band}."
            if outcome == "below"
            else f"{shown} does not lie below {band}.",
            holds=["lt", fraction, low],
            misconception="takes any fraction below the probability for overconfidence"
            if outcome == "inside" and offset < 0
            else "mixes up over- and underconfident",
        ),
        "above": Claim(
            text="Underconfident: it is right more often than it says, more than chance explains.",
            why=f"{shown} lies above the band of {band}."
            if outcome == "above"
            else f"{shown} does not lie above {band}.",
            holds=["gt", fraction, high],
            misconception="takes any fraction above the probability for underconfidence"
            if outcome == "inside" and offset > 0
            else "mixes up over- and underconfident",
        ),
        "inside": Claim(
            text="Neither can be said: chance alone gives such a fraction.",
            why=f"{shown} lies {'inside' if outcome == 'inside' else 'outside'} the band of {band}.",
            holds=["and", ["ge", fraction, low], ["le", fraction, high]],
            misconception="calls a deviation chance without looking at the band",
        ),
    }
    exact = Claim(
        text="Exact: the fraction of right rows equals the mean probability.",
        why=f"{shown} and {mean} are not equal.",
        holds=["near", fraction, at(*place, "mean_probability"), 1e-4],
        misconception="takes two figures that are near for equal ones",
    )
    return Draft(
        prompt=f"The model “{_model_name(trace, calibration.model)}” predicts {formats.count(each.n)} test rows with "
        f"probabilities of {formats.percent(each.low)} to {formats.percent(each.high)}, {mean} on average. "
        f"{formats.count(each.right)} of them are right, {shown}. If the probabilities were exact, 95 % of such groups "
        f"would have {band} right rows. Is the model over- or underconfident in this group?",
        right=claims[outcome],
        wrong=[
            *(claim for name, claim in claims.items() if name != outcome),
            *([exact] if shown != mean else []),  # a reader sees rounded figures
        ],
        hints=[
            "Compare the fraction of right rows with the band, not with the mean alone.",
            f"Is {shown} within {band}?",
        ],
        solution=[
            f"{formats.count(each.right)} / {formats.count(each.n)} = {shown}; the band is {band}.",
            {
                "below": "It is below: the model is overconfident here.",
                "above": "It is above: the model is underconfident here.",
                "inside": "It is inside: this group gives no reason to doubt the probabilities.",
            }[outcome],
        ],
    )


def _judged(trace: RunTrace) -> list[tuple[int, Calibration, bool]]:
    found = []
    for i, each in enumerate([] if trace.errors is None else trace.errors.calibration):
        if each.error_by_chance > 0 and not 1 / MARGIN <= each.error / each.error_by_chance <= MARGIN:
            found.append((i, each, each.error > each.error_by_chance))
    return found


def _is_judged(trace: RunTrace) -> bool:
    return bool(_judged(trace))


def _calibration_error(trace: RunTrace, rng: Random) -> Draft:
    i, each, is_off = rng.choice(_judged(trace))
    error, chance = at("errors", "calibration", i, "error"), at("errors", "calibration", i, "error_by_chance")
    shown = [f"{value:.4f}" for value in (each.error, each.error_by_chance)]
    claims = {
        True: Claim(
            text="They are off: such an error is larger than chance makes it.",
            why=f"{shown[0]} is {'above' if is_off else 'not above'} {shown[1]}.",
            holds=["gt", error, chance],
            misconception="takes every error above zero for a wrong calibration",
        ),
        False: Claim(
            text="No fault is visible: even exact probabilities often have such an error.",
            why=f"{shown[0]} is {'not below' if is_off else 'below'} {shown[1]}.",
            holds=["le", error, chance],
            misconception="takes every small number for chance",
        ),
    }
    return Draft(
        prompt=f"The expected calibration error of the model “{_model_name(trace, each.model)}” is {shown[0]}. A model "
        "with exact "
        f"probabilities stays below {shown[1]} "
        "in 95 % of the cases, with the same rows. What does that say about the probabilities?",
        right=claims[is_off],
        wrong=[
            claims[not is_off],
            Claim(
                text="They are exact, since an exact model has an error of zero.",
                why="With a limited number of rows even exact probabilities have an error above zero.",
                holds=["eq", error, 0],
                misconception="expects an error of zero from exact probabilities",
            ),
            *_as_error_rate(i, each),
        ],
        hints=[
            "With few rows, frequencies differ from probabilities by chance.",
            "Compare the error with the level that chance reaches.",
        ],
        solution=[
            f"{shown[0]} is {'above' if is_off else 'below'} {shown[1]}, the level that chance reaches in 5 % of the "
            "cases."
        ],
    )


def _as_error_rate(i: int, each: Calibration) -> list[Claim]:
    """The mistake to take the calibration error for the error rate; none where both look the same, rounded."""
    wrong, shown = sum(b.n - b.right for b in each.bins), formats.percent(each.error)
    if formats.percent(wrong / max(1, sum(b.n for b in each.bins))) == shown:
        return []
    return [
        Claim(
            text=f"The model is wrong on {shown} of the rows.",
            why="The calibration error compares probabilities with frequencies; it does not count mistakes.",
            holds=["eq", at("errors", "calibration", i, "error"), _error_rate(i)],
            misconception="takes the calibration error for the error rate",
        )
    ]


def _error_rate(i: int) -> Json:
    bins = at("errors", "calibration", i, "bins")
    return ["sub", 1, ["div", ["sum", ["map", bins, "right"]], ["sum", ["map", bins, "n"]]]]


TEMPLATES = (
    Template("Q-WRONG", "easy", "confusion matrix", "errors", _has_small_matrix, _wrong_rows),
    Template("Q-MAJORITY", "easy", "majority class", "errors", _has_majority, _majority),
    Template("Q-RECALL", "medium", "recall and precision", "errors", _has_recall, _recall),
    Template("Q-ECE", "medium", "calibration error", "errors", _is_judged, _calibration_error),
    Template("Q-CALIBRATION", "hard", "calibration", "errors", _has_bins, _bin),
)
