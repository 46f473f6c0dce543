"""Questions about section 4, did pre-training help: paired differences, intervals, slices and baselines."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.metrics import points_of, title_of, write_score
from pretune.run_trace.noise import Z_95
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at
from pretune.scoring.metric_titles import points_interval, signed_points
from pretune.trace_schema import ComparedModel, Disagreement, Json, RunTrace, Verdict

EDGE = 0.1  # fraction of an interval's half that zero must be away from its ends
CONTROL = {"pretrained", "scratch"}


def _about_control(trace: RunTrace) -> list[tuple[int, Verdict]]:
    if trace.comparison is None:
        return []
    return [(i, each) for i, each in enumerate(trace.comparison.verdicts) if set(each.between) == CONTROL]


def _overall(trace: RunTrace) -> tuple[int, Verdict] | None:
    """The comparison with the same network from scratch, if zero is clearly inside or outside its interval."""
    found = next(((i, each) for i, each in _about_control(trace) if each.slice is None), None)
    if found is None:
        return None
    margin, result = EDGE * (found[1].high - found[1].low) / 2, found[1]
    is_clear = min(abs(result.low), abs(result.high)) >= max(margin, 1e-6)
    outcome = "better" if result.low > 0 else "worse" if result.high < 0 else "no clear difference"
    return found if is_clear and outcome == result.outcome else None


def _has_overall(trace: RunTrace) -> bool:
    found, models = _overall(trace), [_model(trace, kind) for kind in ("pretrained", "scratch")]
    return found is not None and all(
        model is not None and _figure(model[1], found[1].metric) is not None for model in models
    )


def _figure(model: ComparedModel, metric: str) -> float | None:
    """The figure of a model that a verdict compares: of strongly imbalanced classes, that is macro-F1."""
    return {"accuracy": model.accuracy, "macro_f1": model.macro_f1}.get(metric)


def _model(trace: RunTrace, kind: str) -> tuple[int, ComparedModel] | None:
    models = [] if trace.comparison is None else trace.comparison.models
    return next(((i, each) for i, each in enumerate(models) if each.kind == kind), None)


def _helped(trace: RunTrace, _rng: Random) -> Draft:
    found, pretrained, scratch = _overall(trace), _model(trace, "pretrained"), _model(trace, "scratch")
    assert found is not None and pretrained is not None and scratch is not None
    index, result = found
    low, high = at("comparison", "verdicts", index, "low"), at("comparison", "verdicts", index, "high")
    interval = f"{points_interval(result.low, result.high)} {points_of(result.metric)}"
    figures = [write_score(result.metric, _figure(each[1], result.metric) or 0.0) for each in (pretrained, scratch)]
    reaches = "is right on" if result.metric == "accuracy" else f"has a {title_of(result.metric)} of"
    where = {
        "better": "the whole interval lies above zero",
        "no clear difference": "zero lies inside the interval",
        "worse": "the whole interval lies below zero",
    }[result.outcome]
    why = f"The interval is {interval}: {where}."  # the same of every option, since it decides about each
    claims = {
        "better": Claim(
            text="Pre-training helped on this test: the whole interval lies above zero.",
            why=why,
            holds=["gt", low, 0],
            misconception=_mistake(result, 1.0, "counts a higher figure as a gain without looking at the interval"),
        ),
        "no clear difference": Claim(
            text="Nothing can be said about a difference: zero is inside the interval.",
            why=why,
            holds=["and", ["le", low, 0], ["ge", high, 0]],
            misconception="takes a difference with an interval for one that is not measurable",
        ),
        "worse": Claim(
            text="Pre-training did harm on this test: the whole interval lies below zero.",
            why=why,
            holds=["lt", high, 0],
            misconception=_mistake(result, -1.0, "counts a lower figure as harm without looking at the interval"),
        ),
    }
    rows = [at("comparison", "models", place, "n") for place in (pretrained[0], scratch[0])]
    others = [claim for outcome, claim in claims.items() if outcome != result.outcome]
    return Draft(
        prompt=f"On the same {formats.count(pretrained[1].n)} test rows, the pre-trained network {reaches} "
        f"{figures[0]} and the same network from scratch {reaches.split()[-1]} {figures[1]}. The 95 % "
        f"interval of the paired difference is {interval}. What can you say?",
        right=claims[result.outcome],
        wrong=[
            *others,
            Claim(
                text="The two figures cannot be compared, since they come from different rows.",
                why=f"Both come from the same {formats.count(pretrained[1].n)} rows, so the difference is paired.",
                holds=["ne", *rows],
                misconception="overlooks that the comparison is paired",
            ),
        ],
        hints=[
            "A difference counts only if chance in the choice of test rows is an unlikely explanation.",
            "Ask whether zero lies inside the interval.",
        ],
        solution=[
            f"The interval is {interval}; zero is {'inside' if result.outcome.startswith('no') else 'outside'}.",
            {
                "better": "So pre-training helped here. Another run, with other seeds, may give another figure.",
                "worse": "So pre-training did harm here. Such a result is reported like any other.",
                "no clear difference": "So there is no claim to make; more rows or seeds would narrow the interval.",
            }[result.outcome],
        ],
    )


def _mistake(result: Verdict, sign: float, without_interval: str) -> str:
    """What a reader did wrong who takes a difference for one of this sign."""
    is_unclear = result.outcome == "no clear difference" and sign * result.difference > 0
    return without_interval if is_unclear else "reads the sign of the difference the wrong way round"


# ---- slices


def _slices(trace: RunTrace) -> tuple[tuple[int, Verdict], tuple[int, Verdict]] | None:
    """The comparisons on the slice with the smallest and the largest gain, if their intervals are apart."""
    parts = sorted((pair for pair in _about_control(trace) if pair[1].slice is not None), key=lambda p: p[1].difference)
    if len(parts) < 2:
        return None
    least, most = parts[0], parts[-1]
    is_apart = most[1].low - least[1].high >= 0.02 and most[1].low > 0
    return (least, most) if is_apart and most[1].outcome == "better" else None  # corrected, a gain may be unclear


def _has_slices(trace: RunTrace) -> bool:
    return _slices(trace) is not None


def _slice(trace: RunTrace, _rng: Random) -> Draft:
    found = _slices(trace)
    assert found is not None
    (i, least), (j, most) = found
    ends = {(place, end): at("comparison", "verdicts", place, end) for place in (i, j) for end in ("low", "high")}
    shown = [
        f"“{each.slice}” {signed_points(each.difference)} {points_of(each.metric)} "
        f"({points_interval(each.low, each.high)})"
        for each in (least, most)
    ]
    solution = [f"{shown[0]} ends below the beginning of {shown[1]}."]
    if trace.run.is_synthetic and most.slice == "unseen":  # of other data, nothing that was measured says why
        solution.append("Rows of “unseen” use words that no labelled training row holds, but the raw text does.")
    return Draft(
        prompt=f"Pre-training compared with the same network from scratch, by slice of the test: {shown[0]}, "
        f"{shown[1]}; in brackets "
        "the 95 % interval. What do the slices show?",
        right=Claim(
            text=f"The gain is larger on “{most.slice}”.",
            why="The two intervals do not overlap.",
            holds=["gt", ends[j, "low"], ends[i, "high"]],
        ),
        wrong=[
            Claim(
                text="The gain is the same on both; the figures differ by chance.",
                why="Then the intervals would overlap, and they do not.",
                holds=["le", ends[j, "low"], ends[i, "high"]],
                misconception="calls a difference noise without looking at the intervals",
            ),
            Claim(
                text=f"The gain is larger on “{least.slice}”.",
                why=f"It is {signed_points(least.difference)} {points_of(least.metric)} there.",
                holds=["gt", ends[i, "low"], ends[j, "high"]],
                misconception="reads the two gains the wrong way round",
            ),
            Claim(
                text="On neither slice is a gain measurable.",
                why=f"On “{most.slice}” the interval begins at {signed_points(most.low)} points.",
                holds=["and", ["le", ends[i, "low"], 0], ["le", ends[j, "low"], 0]],
                misconception="takes a slice for too small to measure anything",
            ),
        ],
        hints=[
            "A mean over the test can hide that one part carries the whole gain.",
            "Do the two intervals overlap?",
        ],
        solution=solution,
    )


# ---- rows on which two models disagree


def _disagreement(trace: RunTrace) -> tuple[int, Disagreement] | None:
    rows = [] if trace.comparison is None else trace.comparison.disagreements
    found = next(((i, each) for i, each in enumerate(rows) if each.other == "scratch" and each.slice is None), None)
    if found is None or found[1].only_pretrained_right + found[1].only_other_right < 20:
        return None
    return found


def _has_disagreement(trace: RunTrace) -> bool:
    return _disagreement(trace) is not None


def _which_seed(trace: RunTrace) -> str:
    """What the rows are about if there are several seeds, of which the accuracies beside them are the means."""
    models = [_model(trace, kind) for kind in CONTROL]
    return " (each with its first seed)" if any(each is not None and len(each[1].seeds) > 1 for each in models) else ""


def _counts(index: int) -> tuple[Json, Json, Json]:
    place = ("comparison", "disagreements", index)
    first, second = at(*place, "only_pretrained_right"), at(*place, "only_other_right")
    both = ["add", at(*place, "both_right"), at(*place, "both_wrong")]
    return first, second, ["add", both, ["add", first, second]]


def _points_of_rows(trace: RunTrace, _rng: Random) -> Draft:
    found = _disagreement(trace)
    assert found is not None
    index, rows = found
    first, second, n = _counts(index)
    total = rows.both_right + rows.both_wrong + rows.only_pretrained_right + rows.only_other_right
    a, b = rows.only_pretrained_right, rows.only_other_right
    return Draft(
        prompt=f"Of {formats.count(total)} test rows, {formats.count(a)} are right only with pre-training and "
        f"{formats.count(b)} only from scratch{_which_seed(trace)}; on all others, both are right or both wrong. By "
        "how many points does pre-training change the accuracy? (Below zero if it lowers it.)",
        number=["div", ["mul", 100, ["sub", first, second]], n],
        tolerance=0.1,
        unit="points",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 100, first], n],
                "That leaves out the rows that are right only from scratch.",
                "counts the rows that are gained, but not those that are lost",
            ),
            WrongNumber(
                ["div", ["mul", 100, ["sub", first, second]], ["add", first, second]],
                "That divides by the rows with different outcomes instead of by all rows.",
                "divides by a part of the rows",
            ),
        ],
        hints=[
            "Rows on which both models have the same outcome cancel out.",
            "Rows gained minus rows lost, divided by all rows.",
        ],
        solution=[
            f"({formats.count(a)} - {formats.count(b)}) / {formats.count(total)} = {100 * (a - b) / total:.1f} points."
        ],
    )


def _by_chance(trace: RunTrace, _rng: Random) -> Draft:
    found = _disagreement(trace)
    assert found is not None
    index, rows = found
    first, second, n = _counts(index)
    a, b = rows.only_pretrained_right, rows.only_other_right
    return Draft(
        prompt=f"Of the network with pre-training and the one from scratch{_which_seed(trace)}, exactly one is right "
        f"on {formats.count(a + b)} test rows: {formats.count(a)} are right only with pre-training, {formats.count(b)} "
        "only without. If the two were equally good, how many of them would you expect to be right only with "
        "pre-training?",
        number=["div", ["add", first, second], 2],
        tolerance=0.5,
        unit="rows",
        wrong_numbers=[
            WrongNumber(
                ["div", n, 2], "That is half of all test rows.", "includes rows on which both are right or both wrong"
            ),
            WrongNumber(
                first, "That is what was counted, not what chance would give.", "takes the result for the expectation"
            ),
            WrongNumber(
                0,
                "Of two equally good models, one may be right where the other is wrong.",
                "expects equally good models to be right on the same rows",
            ),
        ],
        hints=[
            "McNemar's test looks only at rows on which exactly one model is right.",
            "Without a difference, each such row falls to either side like a coin.",
        ],
        solution=[
            f"({formats.count(a)} + {formats.count(b)}) / 2 = {(a + b) / 2:g} rows.",
            f"By chance the count lies within about {formats.count(round(math.sqrt(a + b)))} of that (two standard "
            "deviations).",
        ],
    )


# ---- intervals


def _with_interval(trace: RunTrace) -> list[tuple[int, ComparedModel]]:
    """Models of one training run that are neither nearly always right nor nearly always wrong. A constant answer is no
    model to ask about: it is that of the training rows, and its accuracy need not be that of the largest test class."""
    models = [] if trace.comparison is None else trace.comparison.models
    return [
        (i, m)
        for i, m in enumerate(models)
        if m.accuracy is not None and len(m.seeds) == 1 and m.kind != "majority" and m.n >= 50 and 0.1 <= m.score <= 0.9
        and abs(Z_95 * math.sqrt(m.score * (1 - m.score) / m.n) - (m.high - m.low) / 2) <= 0.001
    ]  # fmt: skip


def _has_interval(trace: RunTrace) -> bool:
    return bool(_with_interval(trace))


def _half_interval(trace: RunTrace, rng: Random) -> Draft:
    index, model = rng.choice(_with_interval(trace))
    accuracy, n = at("comparison", "models", index, "accuracy"), at("comparison", "models", index, "n")
    variance = ["div", ["mul", accuracy, ["sub", 1, accuracy]], n]
    half = 100 * Z_95 * math.sqrt(model.score * (1 - model.score) / model.n)
    return Draft(
        prompt=f"The model “{model.name}” is right on {formats.percent(model.score)} of {formats.count(model.n)} "
        "test rows. How many "
        "points wide is half of the 95 % interval of its accuracy?",
        number=["mul", 100 * Z_95, ["sqrt", variance]],
        tolerance=max(0.1 * half, 0.05),
        unit="points",
        wrong_numbers=[
            WrongNumber(["mul", 100, ["sqrt", variance]], "That is one standard error.", "leaves out the factor 1.96"),
            WrongNumber(
                ["mul", 100 * Z_95, variance],
                "The square root is missing.",
                "takes the variance for the standard error",
            ),
        ],
        hints=[
            "The standard error of a fraction p among n rows is the square root of p (1 - p) / n.",
            "Half of a 95 % interval is about 1.96 standard errors.",
        ],
        solution=[
            f"1.96 x sqrt({model.score:.3f} x {1 - model.score:.3f} / {model.n}) = {half / 100:.4f}, which is "
            f"{half:.2f} points."
        ],
    )


TEMPLATES = (
    Template("Q-POINTS", "medium", "paired difference", "help", _has_disagreement, _points_of_rows),
    Template("Q-INTERVAL", "medium", "interval of an accuracy", "help", _has_interval, _half_interval),
    Template("Q-HELPED", "hard", "verdict with an interval", "help", _has_overall, _helped),
    Template("Q-SLICE", "hard", "slices of the test", "help", _has_slices, _slice),
    Template("Q-COIN", "hard", "paired test", "help", _has_disagreement, _by_chance),
)
