"""From the figures in benchmarks/results to the tables of docs/results.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from data_sets import DATA_SETS
from machine import RESULTS
from scipy import stats

from pretune.trace_schema import DELIVERED

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
START = "<!-- results: written by `python benchmarks/results_table.py --write` -->"
END = "<!-- end of the results -->"
_TRIVIAL = ("majority", "mean", "gazetteer")
_NETWORKS = ("scratch", "pretrained", "teacher", *DELIVERED)
_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "entity_f1": "entity F1",
    "pearson": "Pearson",
    "spearman": "Spearman",
}
_FIGURES = (
    "data set", "task", "labels", "training rows", "test rows", "metric", "pre-trained", "as delivered", "from scratch",
    "best linear", "trivial", "over from scratch", "over best linear",
)  # fmt: skip
_BUDGETS = (
    "data set", "text of pre-training", "tokens", "model", "precision", "seeds", "options of finetune",
    "minutes: pre-training", "fine-tuning", "from scratch", "the rest", "load",
)  # fmt: skip
_CROSSFITTED = {each.name for each in DATA_SETS if each.folds is not None}

Row = dict[str, Any]


class Difference(NamedTuple):
    """How far one model is above another, with the 95 % interval, if one was measured between these two."""

    point: float
    interval: tuple[float, float] | None


def read_figures(folder: Path = RESULTS) -> dict[str, Row]:
    """The figures of each data set that has been run, and of its variants, by the name of their file."""
    files = sorted(folder.glob("results-*.json"))
    return {file.stem.removeprefix("results-"): json.loads(file.read_text(encoding="utf-8")) for file in files}


def name_figures(data_set: str, variant: str | None) -> str:
    """The name of the figures of a data set, or of one of its variants."""
    return data_set if variant is None else f"{data_set}--{'-'.join(re.findall(r'[a-z0-9]+', variant))}"


def write_tables(page: Path = PAGE, figures: dict[str, Row] | None = None) -> Path:
    """Fill the page between its markers. Raises ValueError if it has no markers."""
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{page} has no lines {START!r} and {END!r} to write between")
    tables = render(read_figures() if figures is None else figures)
    page.write_text(f"{before}{START}\n\n{tables}\n{END}{after}", encoding="utf-8")
    return page


def render(figures: dict[str, Row]) -> str:
    """The tables: a line for every data set, one that has not been run says so; budgets; targets."""
    lines = [_line(_FIGURES), _line(["---"] * len(_FIGURES))]
    lines += [_line(_figures_of(title, result)) for title, result in _rows_of_table(figures)]
    lines += ["", _line(_BUDGETS), _line(["---"] * len(_BUDGETS))]
    lines += [_line(_budget_of(title, result)) for title, result in _rows_of_table(figures) if result is not None]
    lines += ["", *render_targets(figures)]
    return "\n".join([*lines, "", *_machines(figures.values())]) + "\n"


def _rows_of_table(figures: dict[str, Row]) -> Iterator[tuple[str, Row | None]]:
    """The title and the figures of each row: every data set, whether it has been run or not, then its variants."""
    for each in DATA_SETS:
        yield each.title, figures.get(each.name)
        for result in _variants(each.name, figures):
            yield _title_of_variant(each.title, result), result


def _title_of_variant(title: str, result: Row) -> str:
    return f"{title} ({result['variant']})"


def _variants(name: str, figures: dict[str, Row]) -> list[Row]:
    return [result for result in figures.values() if result["data_set"] == name and result.get("variant")]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machines(results: Iterable[Row]) -> list[str]:
    """A line for each machine and version, with the commits of its rows."""
    commits: dict[str, set[str]] = {}
    for each in results:
        machine = f"{each['machine']['chip']}, {each['machine']['cores']} cores; version {each['version']}"
        commits.setdefault(machine, set()).update(name[:10] for name in each["commit"].split(", "))
    return [f"- {machine}, commit {', '.join(sorted(found))}" for machine, found in sorted(commits.items())]


# -- figures -------------------------------------------------------------------------------------------------------


def _figures_of(title: str, result: Row | None) -> list[str]:
    if result is None:
        return [title, "not run yet", *[""] * (len(_FIGURES) - 2)]
    draws = result["draws"]
    first = draws[0]
    metric = main_metric(first["comparison"])
    counts = first["prepared"]
    return [
        title,
        first["task"] or "classification",
        str(first["labels"]) if first["task"] != "regression" else "score",
        f"{counts['train'] + counts['validation']:,}",
        f"{_count_test(result['data_set'], draws):,}",
        _METRICS.get(metric, metric),
        _value(_rows(draws, "pretrained"), metric),
        _value([_delivered(draw) for draw in draws] if _is_combined(draws) else [], metric),
        _value(_rows(draws, "scratch"), metric),
        _linear(draws, metric),
        _trivial(draws, metric),
        *(_difference(result["data_set"], draws, is_control) for is_control in (True, False)),
    ]


def main_metric(comparison: Row) -> str:
    """The metric of the verdicts: macro-F1 in place of accuracy if the classes are imbalanced."""
    verdicts = comparison["verdicts"]
    return str(verdicts[0]["metric"] if verdicts else comparison["rows"][-1].get("metric", "accuracy"))


def _count_test(name: str, draws: Sequence[Row]) -> int:
    """The test rows, each once: all bases are measured on the same ones."""
    tests = [int(draw["prepared"]["test"]) for draw in _by_base(draws)[0]]
    return sum(tests) if name in _CROSSFITTED else tests[0]


def _by_base(draws: Sequence[Row]) -> list[list[Row]]:
    """The draws of each base, that is of each seed of pre-training; all bases have the same draws in the same order."""
    seeds = sorted({draw.get("pretraining_seed", 0) for draw in draws})
    return [[draw for draw in draws if draw.get("pretraining_seed", 0) == seed] for seed in seeds]


def _row(draw: Row, kind: str) -> Row | None:
    return next((row for row in draw["comparison"]["rows"] if row["kind"] == kind), None)


def _rows(draws: Sequence[Row], kind: str) -> list[Row | None]:
    return [_row(draw, kind) for draw in draws]


def _is_combined(draws: Sequence[Row]) -> bool:
    """Whether what is delivered is not one seed of the network alone, in any of the draws."""
    return any(_row(draw, kind) for draw in draws for kind in DELIVERED)


def _delivered(draw: Row) -> Row | None:
    """The combination or the mean of the seeds, or the network if neither was better on validation."""
    return next(filter(None, (_row(draw, kind) for kind in (*DELIVERED, "pretrained"))), None)


def _value(of_draws: Sequence[Row | None], metric: str) -> str:
    rows = [row for row in of_draws if row is not None]
    values = [row[metric] for row in rows if row.get(metric) is not None]
    if not values:
        return "-"
    if len(of_draws) > 1:
        return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
    interval = rows[0].get(f"{metric}_interval")
    cell = f"{values[0]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
    return cell if metric != "macro_f1" else f"{cell}; accuracy {rows[0]['accuracy']:.3f}"


def _linear(draws: Sequence[Row], metric: str) -> str:
    kinds = {kind: row["name"] for draw in draws for row in draw["comparison"]["rows"] if (kind := row["kind"])}
    linear = [kind for kind in kinds if kind not in (*_TRIVIAL, *_NETWORKS)]
    scores = {kind: np.mean([(_row(draw, kind) or {}).get(metric) or 0.0 for draw in draws]) for kind in linear}
    if not scores:
        return "-"
    best = max(scores, key=lambda kind: float(scores[kind]))
    return f"{_value(_rows(draws, best), metric)}, {kinds[best]}"


def _trivial(draws: Sequence[Row], metric: str) -> str:
    found = [_value(_rows(draws, kind), metric) for kind in _TRIVIAL]
    value = next((value for value in found if value != "-"), "-")
    return re.sub(r" \(.*?\)", "", value)


def _difference(name: str, draws: Sequence[Row], is_control: bool) -> str:
    found = _compare(name, draws, is_control=is_control)
    return "-" if found is None else write_difference(found)


def _compare(name: str, draws: Sequence[Row], *, is_control: bool) -> Difference | None:
    """How far the model is above its control from scratch, or as delivered above the best linear baseline."""
    bases = _by_base(draws)
    found = [one for base in bases for draw in base if (one := _compare_in(draw, is_control=is_control)) is not None]
    if len(found) < len(draws):
        return None
    if len(draws) == 1:
        return found[0]
    differences = np.reshape([one.point for one in found], (len(bases), -1))
    if name in _CROSSFITTED:
        return mean_over_draws(differences, [])
    intervals = [one.interval for one in found if one.interval is not None]
    mean = mean_over_draws(differences, intervals)
    return mean if len(intervals) == len(found) else Difference(mean.point, None)


def _compare_in(draw: Row, *, is_control: bool) -> Difference | None:
    """The difference on all test rows of one draw. Earlier versions compared the network alone with the best linear
    baseline; if a combination is delivered, the difference is then that of the figures, without an interval."""
    verdicts = [verdict for verdict in draw["comparison"]["verdicts"] if "slice" not in verdict]
    verdict = next((each for each in verdicts if (each["between"][1] == "scratch") == is_control), None)
    if verdict is None:
        return None
    (ours, theirs), metric = verdict["between"], verdict["metric"]
    delivered, other = _delivered(draw), _row(draw, theirs)
    if is_control or delivered is None or other is None or ours == delivered["kind"]:
        low, high = verdict["difference_interval"]
        return Difference(verdict["difference"], (low, high))
    return Difference(delivered[metric] - other[metric], None)


def mean_over_draws(differences: npt.NDArray[np.float64], intervals: Sequence[tuple[float, float]]) -> Difference:
    """The mean difference with its 95 % interval; `differences` has a row for each base, a column for each draw.

    Three choices make it uncertain. Training rows: Student's t over the draws, each averaged over the bases, because
    they read the same rows. Bases: Student's t over their means. Test rows: `intervals` are those of the single
    differences, which all rest on the same test rows, so the mean over draws does not narrow this part. Without
    `intervals`, as with folds, each draw has test rows of its own, and the first of the three covers them.
    """
    of_rows = np.sqrt(np.mean([((high - low) / 2) ** 2 for low, high in intervals])) if intervals else 0.0
    of_draws, of_bases = (_student_half(np.mean(differences, axis=axis)) for axis in (0, 1))
    mean, half = float(np.mean(differences)), float(np.linalg.norm([of_draws, of_bases, of_rows]))
    return Difference(mean, (mean - half, mean + half))


def _student_half(values: npt.NDArray[np.float64]) -> float:
    """Half the 95 % interval of the mean of some values; 0 if there is only one, from which nothing can be said."""
    if len(values) == 1:
        return 0.0
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def write_difference(difference: Difference) -> str:
    """A difference with its interval: +0.031 (+0.010 to +0.052)."""
    point, *ends = (f"{value:+.3f}".replace("-", "−") for value in (difference.point, *(difference.interval or ())))
    return f"{point} ({' to '.join(ends)})" if ends else f"{point}, no interval"


# -- targets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an hour on two cores is to reach, from raw text: by chips without and with bf16."""

    data_set: str
    without_bf16: float
    with_bf16: float
    kind: Literal["as delivered", "pre-trained"] = "as delivered"


TARGETS = (
    Target(data_set="sst2", without_bf16=0.865, with_bf16=0.875),
    Target(data_set="sst2-1000", without_bf16=0.77, with_bf16=0.785),
    Target(data_set="imdb-folds", without_bf16=0.928, with_bf16=0.930),
    Target(data_set="imdb-folds", without_bf16=0.895, with_bf16=0.910, kind="pre-trained"),
)
CLEARLY_ABOVE = ("ag-news-1000", "hausa")  # the best linear baseline
_OVER_LINEAR = "as delivered, over the best linear"
_TARGETS = ("data set", "what", "target", "measured", "verdict")


def render_targets(figures: dict[str, Row]) -> list[str]:
    """A line for each target; the last is the promise that no data set is clearly below the best linear baseline, as
    far as there are intervals."""
    titles = {each.name: each.title for each in DATA_SETS}
    measured_rows = {title: result for title, result in _rows_of_table(figures) if result is not None}
    over_linear = {
        title: _compare(result["data_set"], result["draws"], is_control=False)
        for title, result in measured_rows.items()
    }
    lines = [_line(_TARGETS), _line(["---"] * len(_TARGETS))]
    for target in TARGETS:
        title, what = titles[target.data_set], f"accuracy, {target.kind}"
        lines.append(_line([title, what, *_judge(target, figures.get(target.data_set))]))
        for result in _variants(target.data_set, figures):
            lines.append(_line([_title_of_variant(title, result), what, *_judge(target, result)]))
    for name in CLEARLY_ABOVE:
        found = over_linear.get(titles[name])
        measured, verdict = "-", "not run yet"
        if found is not None:
            measured, verdict = write_difference(found), "not known"
        if found is not None and found.interval is not None:
            verdict = "reached" if found.interval[0] > 0 else "missed"
        lines.append(_line([titles[name], _OVER_LINEAR, "clearly above 0", measured, verdict]))
    intervals = {title: found.interval for title, found in over_linear.items() if found is not None and found.interval}
    worse = [title for title, (_, high) in intervals.items() if high < 0]
    verdict = f"missed: {'; '.join(worse)}" if worse else "reached"
    measured = "-" if len(intervals) == len(figures) else f"{len(intervals)} of {len(figures)} have an interval"
    return [*lines, _line(["all that were run", _OVER_LINEAR, "not clearly below 0", measured, verdict])]


def _judge(target: Target, result: Row | None) -> list[str]:
    """Target, measured value and verdict. A result of a version that did not note the precision is one in fp32."""
    if result is None:
        return [f"{target.without_bf16:.3f}; with bf16 {target.with_bf16:.3f}", "-", "not run yet"]
    aim = target.with_bf16 if result["base"].get("precision") == "bf16" else target.without_bf16
    is_delivered = target.kind == "as delivered"
    rows = [_delivered(draw) if is_delivered else _row(draw, "pretrained") for draw in result["draws"]]
    value = float(np.mean([row["accuracy"] for row in rows if row is not None]))
    return [f"{aim:.3f}", f"{value:.3f}", "reached" if value >= aim else f"missed by {aim - value:.3f}"]


# -- budgets -------------------------------------------------------------------------------------------------------


def _budget_of(title: str, result: Row) -> list[str]:
    base, draws = result["base"], result["draws"]
    last = base["last_evaluation"] or {}
    tokens = last.get("tokens") or base["tokens"]
    seeds = {len(row["seeds"]) for draw in draws if (row := _row(draw, "pretrained")) is not None}
    of_pretraining = len({draw.get("pretraining_seed", 0) for draw in draws})
    counted = [f"{of_pretraining} of pre-training"] if of_pretraining > 1 else []
    counted += [f"{len(draws) // of_pretraining} draws"] if len(draws) > of_pretraining else []
    rest = [(base["seconds"]["collect"] or 0.0) + (base["seconds"]["preprocess"] or 0.0)]
    rest += [(draw["seconds"][part] or 0.0) for draw in draws for part in ("prepare", "compare")]
    return [
        title,
        base["title"],
        "-" if tokens is None else f"{tokens / 1e6:.2g} M",
        base["size"] or "-",
        base.get("precision") or "fp32",
        ", ".join([" or ".join(map(str, sorted(seeds))), *counted]),
        f"`{' '.join(result['finetune_options'])}`" if result["finetune_options"] else "defaults",
        _minutes(base["seconds"]["pretrain"]),
        *(_minutes(_total(draws, part)) for part in ("finetune", "scratch")),
        _minutes(sum(rest)),
        "-" if result["load_average"] is None else f"{result['load_average']:.0f}",
    ]


def _total(draws: Sequence[Row], part: str) -> float | None:
    found = [draw["seconds"][part] for draw in draws if draw["seconds"][part] is not None]
    return sum(found) if found else None


def _minutes(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.1f}"
