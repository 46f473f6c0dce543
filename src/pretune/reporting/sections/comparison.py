"""The comparison of a trace in; out come all models on one test set, with intervals, slices and verdicts."""

from __future__ import annotations

import math

from rich.text import Text

from pretune.reporting.sections.flow import synthetic_note
from pretune.run_trace import formats
from pretune.run_trace.comparison import find_delivered
from pretune.run_trace.headline import NOT_COMPARED, has_control
from pretune.run_trace.metrics import FIGURE_TITLES, SHORT_TITLES, rows_of, title_of, write_interval, write_score
from pretune.terminal import NARROW, Cell, Column, Lines, Page, Row, clean, heading, paragraph, table
from pretune.trace_schema import DELIVERED, ComparedModel, RunTrace, SliceResult, Verdict

TITLE = "DID PRE-TRAINING HELP?"
NAMES = {
    "majority": "majority class",
    "tfidf": "TF-IDF + logistic regression",
    "nbsvm": "NB-SVM",
    "scratch": "from scratch",
    "pretrained": "pre-trained",
}
NO_CONTROL = "Whether pre-training helped is unknown: the same network was not trained from scratch."
RULER = (16, 30)  # columns of the drawn interval, fewest and most
REST_OF_TABLE = 82  # columns of the table without that


def render_comparison(trace: RunTrace, page: Page) -> Lines:
    """The tables and the verdicts; a note if the comparison has not been run."""
    comparison, note = trace.comparison, synthetic_note(trace)
    if comparison is None:
        sentence = "Not measured in this run: the model has not been compared with the baselines and the control."
        return [*heading(TITLE, note, page), *paragraph(sentence, page, indent=1, style="dim")]
    models = comparison.models
    tested = f"{formats.count(max(model.n for model in models))} test {rows_of(comparison.metric)}"
    lines = heading(TITLE, " · ".join(filter(None, [f"all models on the same {tested}", note])), page)
    delivered = find_delivered(comparison)
    ours = ["pretrained", *([delivered.kind] if delivered is not None else [])]
    lines += _table(models, ours, comparison.metric, page)
    lines += _slices(models, ours, comparison.metric, page)
    lines += _verdicts(comparison.verdicts, models, NOT_COMPARED if has_control(trace.stages) else NO_CONTROL, page)
    for sentence in (_explain_titles(models), clean(comparison.coverage, 400), _calibration(models)):
        if sentence:
            lines += paragraph(sentence, page, indent=1, style="dim")
    return lines


def _name(model: ComparedModel) -> str:
    return NAMES.get(model.kind, clean(model.name, 32))


def _table(models: list[ComparedModel], ours: list[str], metric: str, page: Page) -> Lines:
    low, high = _ruler_range(models)
    ruler = min(page.width - REST_OF_TABLE, RULER[1])
    is_narrow = page.width < NARROW and metric != "accuracy"
    # Of a classification, the macro-F1; the rest of its figures is in a sentence.
    others = ["macro_f1"] if metric == "accuracy" else [name for name in FIGURE_TITLES if name in models[0].figures]
    ruler -= 10 * max(len(others) - 1, 0)
    has_ruler = ruler >= RULER[0]
    columns = [
        Column("model", wraps=page.width < NARROW),
        Column(SHORT_TITLES.get(metric, title_of(metric)), "right", wraps=is_narrow),
        Column("95 % interval", "right", wraps=is_narrow),
        *(Column(SHORT_TITLES.get(name, FIGURE_TITLES[name]), "right", wraps=is_narrow) for name in others),
        Column("per seed", wraps=True),
    ]
    if has_ruler:
        left, right = (f"{100 * end:g} %" if metric == "accuracy" else f"{end:g}" for end in (low, high))
        columns.insert(3, Column(left + right.rjust(ruler - len(left))))
    cells: list[Row] = []
    for model in models:
        style = "bold green" if model.kind in ours else ""
        seeds = " ".join(_seed(metric, seed) for seed in model.seeds) if len(model.seeds) > 1 else ""
        line: list[str | Cell] = [
            Cell(_name(model), style),
            Cell(write_score(metric, model.score), style),
            write_interval(metric, (model.low, model.high)),
            *(_figure(model, name) for name in others),
            Cell(seeds, "dim"),
        ]
        if has_ruler:
            line.insert(3, Cell(_ruler(model, low, high, ruler), style))
        cells.append(line)
    if page.width < NARROW:  # without the seeds
        columns, cells = columns[:-1], [line[:-1] for line in cells]
    return table(columns, cells, page)


def _seed(metric: str, seed: float) -> str:
    return f"{100 * seed:.1f}" if metric == "accuracy" else write_score(metric, seed)


def _figure(model: ComparedModel, name: str) -> str:
    value = {"macro_f1": model.macro_f1, **model.figures}.get(name)
    return "-" if value is None else write_score(name, value)


def _ruler_range(models: list[ComparedModel]) -> tuple[float, float]:
    """The tenths that enclose all intervals."""
    low = min(model.low for model in models)
    high = max(model.high for model in models)
    first = math.floor(low * 10 + 1e-9)
    return first / 10, max(math.ceil(high * 10 - 1e-9), first + 1) / 10


def _ruler(model: ComparedModel, low: float, high: float, width: int) -> str:
    """The interval as a line, with the score as a mark on it."""

    def column(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    first, last = (min(max(column(value), 0), width - 1) for value in (model.low, model.high))
    marks = [" "] * width
    marks[first : last + 1] = "─" * (last - first + 1)
    marks[first], marks[last] = "├", "┤"
    marks[min(max(column(model.score), 0), width - 1)] = "●"
    return "".join(marks)


def _explain_titles(models: list[ComparedModel]) -> str:
    """The short titles of the table in full."""
    known = [name for name in SHORT_TITLES if name in models[0].figures]
    return "; ".join(f"{SHORT_TITLES[name]}: {FIGURE_TITLES[name]}" for name in known)


def _slices(models: list[ComparedModel], ours: list[str], metric: str, page: Page) -> Lines:
    by_model = [{found.name: found for found in model.slices} for model in models]
    names = list(dict.fromkeys(name for slices in by_model for name in slices))
    if not names:
        return []
    has_intervals = page.width >= NARROW and 32 + 26 * len(names) <= max(page.width, 84)
    sizes = {name: max(slices[name].n for slices in by_model if name in slices) for name in names}
    columns = [
        Column(f"{title_of(metric)} by slice", wraps=page.width < NARROW),
        *(Column(_slice_title(name, sizes[name], page), "right", wraps=True) for name in names),
    ]
    cells: list[Row] = []
    for model, slices in zip(models, by_model, strict=True):
        style = "bold green" if model.kind in ours else ""
        found = [Cell(_slice(slices.get(name), metric, has_intervals), style) for name in names]
        cells.append([Cell(_name(model), style), *found])
    return [Text(""), *table(columns, cells, page)]


def _slice_title(name: str, n: int, page: Page) -> str:
    gap = "\n" if page.width < NARROW else " "
    return f"{clean(name.replace('_', ' '), 24)}{gap}(n = {formats.count(n)})"


def _slice(found: SliceResult | None, metric: str, has_intervals: bool) -> str:
    if found is None:
        return "-"
    text = write_score(metric, found.score)
    return f"{text}  {write_interval(metric, (found.low, found.high))}" if has_intervals else text


def _verdicts(verdicts: list[Verdict], models: list[ComparedModel], without_control: str, page: Page) -> Lines:
    is_compared = any(model.kind == "scratch" for model in models)
    lines: Lines = [Text("")] if verdicts or not is_compared else []
    if not is_compared:
        lines += paragraph(without_control, page, indent=1, first="● ", style="bold")
    for verdict in verdicts:
        lines += paragraph(clean(verdict.sentence, 400), page, indent=1, first="● ", style="bold")
        evidence = _evidence(verdict, models)
        if evidence:
            lines += paragraph(evidence, page, indent=3, style="dim")
    return lines


def _calibration(models: list[ComparedModel]) -> str:
    """A sentence on the probabilities of each model but the majority class, which gives every row the same."""
    parts = [
        f"{_name(model)} {formats.percent(model.calibration_error)}, {model.brier_score:.3f}"
        for model in models
        if model.kind != "majority" and model.calibration_error is not None and model.brier_score is not None
    ]
    what = "Expected calibration error (mean gap between confidence and accuracy) and Brier score"
    return f"{what}, lower is better: {'; '.join(parts)}." if parts else ""


def _evidence(verdict: Verdict, models: list[ComparedModel]) -> str:
    """What the verdict's sentence leaves out: the p-value, and the number of seeds on each side, unless a model is made
    of several."""
    parts = []
    if verdict.p_value is not None:
        parts.append(f"p {'< 0.001' if verdict.p_value < 0.001 else '= ' + format(verdict.p_value, '.3f')}")
    num_seeds = {model.kind: len(model.seeds) for model in models if model.kind not in DELIVERED}
    seeds = [formats.count(num_seeds[kind]) for kind in verdict.between if num_seeds.get(kind)]
    if len(seeds) == 2:
        parts.append(f"seeds: {seeds[0]} vs. {seeds[1]}")
    return ", ".join(parts)
