"""The events of training in; out come both phases as charts and tables, with the watched sentences over time."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from pretune.run_trace import formats
from pretune.reporting.chart import Chart, Marker, Reference, Series, draw_chart
from pretune.reporting.noise import accuracy_noise
from pretune.reporting.observations import in_short, observe
from pretune.reporting.sections.phases import MASK, Phase, of_stage, read_phase, synthetic_note
from pretune.reporting.terminal import (
    NARROW,
    ROOMY,
    Cell,
    Column,
    Lines,
    Page,
    Row,
    around,
    clean,
    heading,
    paragraph,
    side_by_side,
    table,
)
from pretune.runtime.events import Event

TITLES = {
    "pretrain": "Pre-training: predicting masked words",
    "finetune": "Fine-tuning: learning the task",
    "scratch": "Control: the same network from scratch",
}
ENDINGS = {"patience": "no better score", "epochs": "last epoch", "diverged": "divergence"}
SIDE_BY_SIDE_FROM = 84  # columns from which the loss and the accuracy panel fit next to each other
PANEL_GAP = 3
WATCHED_LIMIT = 90  # characters of a watched sentence


def render_training(events: list[Event], page: Page) -> Lines:
    """The trace of both phases; a phase without an evaluation is left out."""
    lines = heading("TRAINING TRACE", synthetic_note(events), page)
    stages = ("pretrain", "finetune") if of_stage(events, "finetune") or of_stage(events, "pretrain") else ("scratch",)
    phases = [phase for phase in (read_phase(events, stage) for stage in stages) if phase.rows]
    if not phases:
        return [*lines, Text(" No model has been evaluated yet.", style="dim")]
    for index, phase in enumerate(phases):
        lines += [Text("")] * (index > 0) + render_phase(phase, page)
    return lines


def render_phase(phase: Phase, page: Page) -> Lines:
    """One phase: the plan, the two panels, the table, and the parts that only this phase has."""
    lines = [Text("").append(TITLES.get(phase.stage, phase.stage), style="bold cyan")]
    for sentence in (_describe_machine(phase), _describe_plan(phase), _describe_trial(phase)):
        if sentence:
            lines += paragraph(sentence, page, indent=1, style="dim")
    lines += [Text(""), *_panels(phase, page), Text(""), *render_rows(phase, page)]
    lines += _anchors(phase, page)
    if phase.is_pretraining:
        return lines + render_watched(phase, page)
    return lines + _trials(phase, page) + _tests(phase, page)


# ---- machine, plan and trial


def _describe_machine(phase: Phase) -> str:
    estimate = phase.estimate
    parts = []
    if "parameters" in estimate:
        parts.append(f"{formats.short_count(estimate['parameters'])} parameters ({clean(estimate.get('size', '?'))})")
    if "tokens_per_second" in estimate:
        parts.append(f"about {formats.count(round(estimate['tokens_per_second']))} tokens/s")
    if "precision" in estimate:
        parts.append(clean(estimate["precision"]))
    if "is_compiled" in estimate:
        parts.append("compiled" if estimate["is_compiled"] else "not compiled")
    if "threads" in estimate:
        parts.append(f"{formats.count(estimate['threads'])} {'thread' if estimate['threads'] == 1 else 'threads'}")
    return " · ".join(parts)


def _describe_plan(phase: Phase) -> str:
    plan = phase.plan
    if "steps" not in plan:
        return ""
    parts = [f"{formats.count(plan['steps'])} steps"]
    if "tokens_per_step" in plan:
        parts[0] += f" of {formats.count(plan['tokens_per_step'])} tokens"
    if "tokens" in plan:
        parts.append(f"{formats.short_count(plan['tokens'])} tokens in total")
    rate = [f"warm-up to step {formats.count(plan['warmup_steps'])}"] if plan.get("warmup_steps") else []
    if plan.get("decay_start_step") is not None:
        rate.append(f"decay from step {formats.count(plan['decay_start_step'])}")
    parts += [f"learning rate: {', '.join(rate)}"] if rate else []
    return " · ".join(parts)


def _describe_trial(phase: Phase) -> str:
    if not phase.trials:
        return ""
    trial = phase.trial
    shown = f"Shown: trial {trial.get('trial', '?')}"
    if "learning_rate" in trial:
        shown += f" (learning rate {formats.rate(trial['learning_rate'])}, seed {trial.get('seed', '?')})"
    shown += f", one of {len(phase.trials)} trials." if len(phase.trials) > 1 else "."
    chosen = clean(phase.chosen.get("sentence", ""))
    return f"{shown} {chosen}".rstrip()


# ---- the panels


def _panels(phase: Phase, page: Page) -> Lines:
    fits = page.width >= SIDE_BY_SIDE_FROM
    width = (page.width - PANEL_GAP) // 2 if fits else page.width
    panel = Page(width, page.charset)
    loss, accuracy = draw_chart(loss_chart(phase), panel), draw_chart(accuracy_chart(phase), panel)
    return side_by_side(loss, accuracy, width, PANEL_GAP) if fits else [*loss, Text(""), *accuracy]


def loss_chart(phase: Phase) -> Chart:
    """The loss panel; each phase has its own axis, since the range of its loss differs."""
    title = "loss, nats per masked token" if phase.is_pretraining else "loss, nats per text"
    return Chart(
        title,
        "epoch",
        _series(phase, "loss", "train_loss"),
        _loss_references(phase),
        _kept(phase, "loss"),
        y_limits=(0.0, float("inf")),
        format_y="{:g}".format,
    )


def accuracy_chart(phase: Phase) -> Chart:
    """The accuracy panel."""
    what = "masked tokens predicted correctly" if phase.is_pretraining else "texts classified correctly"
    title = f"accuracy, {what}"
    return Chart(
        title,
        "epoch",
        _series(phase, "accuracy", "train_accuracy"),
        _accuracy_references(phase),
        _kept(phase, "accuracy"),
        y_limits=(0.0, 1.0),
        format_y=lambda value: f"{100 * value:g} %",
    )


def _series(phase: Phase, validation: str, train: str) -> list[Series]:
    held_out = [(row["epoch"], row[validation]) for row in phase.rows]
    trained = [(row["epoch"], row[train]) for row in phase.rows if row.get(train) is not None]
    series = [Series("validation", held_out, "solid", "cyan")]
    return [*series, Series("train", trained, "dashed", "yellow")] if trained else series


def _loss_references(phase: Phase) -> list[Reference]:
    known = phase.references
    if phase.is_pretraining:
        named = [("ln V", known.get("uniform_nats")), ("unigram entropy", known.get("unigram_nats"))]
    else:
        named = [("ln K", known.get("uniform_nats")), ("prior", known.get("prior_nats"))]
    return [Reference(f"{name} {formats.nats(value)}", value) for name, value in named if value is not None]


def _accuracy_references(phase: Phase) -> list[Reference]:
    if phase.is_pretraining:
        name, value = "most frequent token", phase.references.get("most_frequent_share")
    else:
        name, value = "majority class", phase.references.get("majority_share")
    return [] if value is None else [Reference(f"{name} {formats.percent(value)}", value)]


def _kept(phase: Phase, measure: str) -> list[Marker]:
    step = phase.trial.get("best_step")
    return [Marker("kept", (row["epoch"], row[measure])) for row in phase.rows if row["step"] == step][:1]


# ---- the table


def render_rows(phase: Phase, page: Page) -> Lines:
    """The table of one phase: a line for each evaluation."""
    columns = [
        Column("epoch", "right"),
        Column("step", "right", style="dim"),
        Column("loss", "right"),
        Column("accuracy", "right"),
        Column("validation", "right"),
        Column("time", "right", style="dim"),
        Column("observation", wraps=True),
    ]
    best_step = phase.trial.get("best_step")
    rows: list[Row] = []
    for row, observations in zip(phase.rows, observe(phase), strict=True):
        style = "bold" if row["step"] == best_step else ""
        rows.append(
            [
                Cell(f"{row['epoch']:.2f}", style),
                formats.count(row["step"]),
                Cell(_known(row.get("train_loss"), formats.nats), style),
                Cell(_known(row.get("train_accuracy"), formats.percent), style),
                Cell(f"{formats.nats(row['loss'])} {_accuracy(row):>14}", style),
                formats.clock(row["elapsed_seconds"]) if "elapsed_seconds" in row else "-",
                in_short(observations),
            ]
        )
    if page.width < ROOMY:
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    if page.width < NARROW:  # without the time, too
        columns, rows = [*columns[:4], *columns[5:]], [[*row[:4], *row[5:]] for row in rows]
    lines = table(columns, rows, page)
    n = phase.rows[-1].get("n")
    unit = "masked tokens" if phase.is_pretraining else "texts"
    note = "loss and accuracy: on training text; validation: loss, and accuracy ± half its 95 % interval"
    note += f", on {formats.count(n)} {unit}" if n else ""
    return lines + paragraph(note, page, indent=1, style="dim")


def _known(value: float | None, format_value: Any) -> str:
    return "-" if value is None else format_value(value)


def _accuracy(row: Event) -> str:
    return f"{formats.percent(row['accuracy'])} {formats.spread(accuracy_noise(row))}"


def _anchors(phase: Phase, page: Page) -> Lines:
    known = phase.references
    if phase.is_pretraining:
        meanings = [
            ("ln V", known.get("uniform_nats"), "loss of a uniform guess over the vocabulary"),
            ("unigram entropy", known.get("unigram_nats"), "loss of predicting from token frequencies alone"),
        ]
    else:
        meanings = [
            ("ln K", known.get("uniform_nats"), "loss of a uniform guess over the classes"),
            ("prior", known.get("prior_nats"), "loss of predicting from class frequencies alone"),
        ]
    parts = [f"{name} = {formats.nats(value)}: {meaning}" for name, value, meaning in meanings if value is not None]
    return paragraph("; ".join(parts), page, indent=1, style="dim") if parts else []


# ---- pre-training: the watched sentences


def render_watched(phase: Phase, page: Page) -> Lines:
    """The watched sentences at the first, the middle and the last evaluation that predicted them."""
    seen = [row for row in phase.rows if row.get("sentences")]
    if not seen:
        return []
    moments = [seen[i] for i in dict.fromkeys((0, (len(seen) - 1) // 2, len(seen) - 1))]
    columns = [Column("sentence", wraps=True)]
    columns += [Column(f"step {formats.count(row['step'])}", wraps=True) for row in moments]
    rows: list[Row] = []
    for index, sentence in enumerate(moments[0]["sentences"]):
        text, word = around(clean(sentence["masked_text"]), MASK, WATCHED_LIMIT), clean(sentence["true_word"], 20)
        note = "\n(in the training text)" if sentence.get("is_in_training") else ""
        cells = [Cell(f"{text}\nmasked: {word}{note}")]
        for row in moments:
            found = row["sentences"][index] if index < len(row["sentences"]) else {}
            cells.append(_guess(found, sentence["true_word"]))
        rows.append(cells)
    lines = [Text(""), Text("").append("Predictions of the same masked words over time", style="bold")]
    return lines + table(columns, rows, page)


def _guess(sentence: Event, true_word: str) -> Cell:
    """The most probable word, and below it the probability and the rank of the true word."""
    predictions = sentence.get("predictions") or []
    if not predictions:
        return Cell("-")
    first = predictions[0]
    is_hit = first["word"].strip() == true_word.strip()
    top = f"{clean(first['word'], 14) or '(blank)'} {formats.percent(first['probability'])}" + " ✓" * is_hit
    if is_hit:
        return Cell(top, "green")
    probability = sentence.get("probability")
    below = [] if probability is None else [formats.percent(probability)]
    below += [f"rank {formats.count(sentence['rank'])}"] if sentence.get("rank") else []
    return Cell(f"{top}\n{clean(true_word, 14)}: {', '.join(below)}" if below else top)


# ---- fine-tuning: trials and the test set


def _trials(phase: Phase, page: Page) -> Lines:
    if len(phase.trials) < 2:
        return []
    columns = [
        Column("trial", "right"),
        Column("rate", "right"),
        Column("seed", "right"),
        Column("best epoch", "right"),
        Column("validation", "right"),
        Column("loss", "right"),
        Column("ended by", wraps=True),
        Column("", wraps=True),
    ]
    rows: list[Row] = []
    for trial in phase.trials:
        is_chosen = trial.get("trial") == phase.chosen.get("trial")
        values = [
            str(trial.get("trial", "?")),
            _known(trial.get("learning_rate"), formats.rate),
            str(trial.get("seed", "?")),
            _known(trial.get("best_epoch"), formats.count),
            _known(trial.get("validation_accuracy"), formats.percent),
            _known(trial.get("validation_loss"), formats.nats),
            ENDINGS.get(trial.get("stopped", ""), "not finished"),
            "● chosen" if is_chosen else _search(trial),
        ]
        rows.append([Cell(value, "bold green" if is_chosen else "") for value in values])
    if page.width < NARROW:  # without the loss and the ending
        columns, rows = [*columns[:5], columns[7]], [[*row[:5], row[7]] for row in rows]
    return [Text(""), Text("").append("All trials", style="bold"), *table(columns, rows, page)]


def _search(trial: Event) -> str:
    """A trial of the search for the learning rate sees fewer rows, so its scores do not compare with the others."""
    return f"search, {formats.count(trial['rows'])} rows" if trial.get("is_search") else ""


def _tests(phase: Phase, page: Page) -> Lines:
    if not phase.test:
        return []
    chosen_seed = phase.chosen.get("seed")
    lines = [Text(""), Text("").append("Test set, evaluated once for each seed", style="bold")]
    for test in phase.test:
        sentence = (
            f"seed {test.get('seed', '?')}: accuracy {formats.percent(test['accuracy'])} "
            f"(95 % interval {formats.interval(test['accuracy_interval'])}), macro-F1 {test['macro_f1']:.3f}, "
            f"loss {formats.nats(test['loss'])}, n = {formats.count(test['n'])}"
        )
        for name, found in (test.get("slices") or {}).items():
            accuracy, n = formats.percent(found["accuracy"]), formats.count(found["n"])
            sentence += f"; slice {clean(name.replace('_', ' '), 24)} {accuracy} (n = {n})"
        mark = "● " if test.get("seed") == chosen_seed and len(phase.test) > 1 else "  "
        lines += paragraph(sentence, page, indent=1, first=mark)
    return lines
