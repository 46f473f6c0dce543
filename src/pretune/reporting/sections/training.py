"""The phases of a trace in; out come charts and tables, with the watched sentences over time."""

from __future__ import annotations

from functools import partial
from typing import Any

from rich.text import Text

from pretune.reporting.chart import Chart, Marker, Reference, Series, draw_chart
from pretune.reporting.sections.flow import MASK, synthetic_note
from pretune.run_trace import formats
from pretune.run_trace.metrics import FIGURE_TITLES, title_of, write_interval, write_noise, write_score
from pretune.run_trace.shown_trial import find_test, seed_results, trial_shown
from pretune.terminal import (
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
from pretune.trace_schema import (
    ContinuedPrompt,
    Evaluation,
    Hardware,
    Phase,
    RunTrace,
    TestResult,
    Trial,
    WatchedMoment,
    WatchedSentence,
)

TITLES = {
    "masked": "Pre-training: predicting masked words",
    "causal": "Pre-training: predicting the next token",
    "hybrid": "Pre-training: predicting masked words, and the next token",
    "replies": "Fine-tuning: learning to reply",
    "finetune": "Fine-tuning: learning the task",
    "scratch": "Control: the same network from scratch",
}
ENDINGS = {"patience": "no better score", "epochs": "last epoch", "updates": "last update", "diverged": "divergence"}
# What the loss is measured in, and the title of the panel of the main metric: by the objective, or by the metric.
LOSS_UNITS = {
    "masked": "nats per masked token",
    "causal": "nats per next token",
    "hybrid": "nats per masked, or next, token",
    "replies": "nats per reply token",
    "accuracy": "nats per text",
    "micro_f1": "nats per text, all labels together",
    "pearson": "squared deviations",
    "entity_f1": "nats per word",
}
SCORE_TITLES = {
    "masked": "accuracy, masked tokens predicted correctly",
    "causal": "accuracy, next tokens predicted correctly",
    "hybrid": "accuracy, tokens predicted correctly",
    "replies": "accuracy, reply tokens predicted correctly",
    "accuracy": "accuracy, texts classified correctly",
    "micro_f1": "micro-F1, over all labels of all texts",
    "pearson": "Pearson correlation of predicted and true",
    "entity_f1": "entity F1, entities found with type and borders",
}
SIDE_BY_SIDE_FROM = 84  # columns from which the loss and the score panel fit next to each other
PANEL_GAP = 3
WATCHED_LIMIT = 90  # characters of a watched sentence


def render_training(trace: RunTrace, page: Page) -> Lines:
    """The trace of both phases; a phase without an evaluation is left out."""
    lines = heading("TRAINING TRACE", synthetic_note(trace), page)
    phases = [phase for phase in (trace.phases.pretrain, trace.phases.finetune) if phase is not None]
    if not phases and trace.phases.scratch is not None:
        phases = [trace.phases.scratch]
    phases = [phase for phase in phases if phase.evaluations]
    if not phases:
        return [*lines, Text(" No model has been evaluated yet.", style="dim")]
    for index, phase in enumerate(phases):
        is_pretraining = phase.stage == "pretrain"
        lines += [Text("")] * (index > 0)
        lines += render_phase(phase, page, trace.run.hardware if is_pretraining else None)
        lines += render_watched(trace.watched, page) if is_pretraining else []
        lines += render_continued(trace.continued, page) if is_pretraining else []
    return lines


def render_phase(phase: Phase, page: Page, hardware: Hardware | None = None) -> Lines:
    """One phase: the plan, the two panels, the table, and of fine-tuning the trials and the test."""
    lines = [Text("").append(TITLES[phase.objective or phase.stage], style="bold cyan")]
    for sentence in (_describe_machine(phase, hardware), _describe_plan(phase), _describe_trial(phase)):
        if sentence:
            lines += paragraph(sentence, page, indent=1, style="dim")
    lines += [Text(""), *_panels(phase, page), Text(""), *render_rows(phase, page)]
    lines += _anchors(phase, page)
    if phase.objective == "replies":
        return lines + _replies(phase, page)
    return lines if phase.stage == "pretrain" else lines + _trials(phase, page) + _tests(phase, page)


# ---- machine, plan and trial


def _describe_machine(phase: Phase, hardware: Hardware | None) -> str:
    parts = []
    if phase.parameters is not None:
        parts.append(f"{formats.short_count(phase.parameters)} parameters ({clean(phase.size or '?')})")
    if phase.tokens_per_second is not None:
        parts.append(f"about {formats.count(round(phase.tokens_per_second))} tokens/s")
    if hardware is not None and hardware.precision is not None:
        parts.append(clean(hardware.precision))
    if hardware is not None and hardware.is_compiled is not None:
        parts.append("compiled" if hardware.is_compiled else "not compiled")
    if hardware is not None and hardware.threads is not None:
        parts.append(f"{formats.count(hardware.threads)} {'thread' if hardware.threads == 1 else 'threads'}")
    if hardware is not None and hardware.processes is not None and hardware.processes > 1:
        parts.append(f"{formats.count(hardware.processes)} processes")
    return " · ".join(parts)


def _describe_plan(phase: Phase) -> str:
    plan = phase.plan
    if plan is None:
        return ""
    parts = [f"{formats.count(plan.steps)} steps"]
    if plan.tokens_per_step is not None:
        parts[0] += f" of {formats.count(plan.tokens_per_step)} tokens"
    if plan.tokens is not None:
        parts.append(f"{formats.short_count(plan.tokens)} tokens in total")
    rate = [f"warm-up to step {formats.count(plan.warmup_steps)}"] if plan.warmup_steps else []
    if plan.decay_start_step is not None:
        rate.append(f"decay from step {formats.count(plan.decay_start_step)}")
    parts += [f"learning rate: {', '.join(rate)}"] if rate else []
    if plan.long_start_step is not None and plan.long_start_step < plan.steps:
        parts.append(f"longer rows after step {formats.count(plan.long_start_step)}")
    return " · ".join(parts)


def _describe_trial(phase: Phase) -> str:
    trial = trial_shown(phase)
    if trial is None:
        return ""
    shown = f"Shown: trial {trial.trial}"
    if trial.learning_rate is not None:
        shown += f" (learning rate {formats.rate(trial.learning_rate)}, seed {_known(trial.seed, str)})"
    shown += f", one of {len(phase.trials)} trials." if len(phase.trials) > 1 else "."
    return f"{shown} {clean(phase.chosen or '')}".rstrip()


# ---- the panels


def _panels(phase: Phase, page: Page) -> Lines:
    fits = page.width >= SIDE_BY_SIDE_FROM
    width = (page.width - PANEL_GAP) // 2 if fits else page.width
    panel = Page(width, page.charset)
    loss, score = draw_chart(loss_chart(phase), panel), draw_chart(score_chart(phase), panel)
    return side_by_side(loss, score, width, PANEL_GAP) if fits else [*loss, Text(""), *score]


def loss_chart(phase: Phase) -> Chart:
    """The loss panel; each phase has its own axis, since the range of its loss differs."""
    return Chart(
        f"loss, {LOSS_UNITS[phase.objective or phase.metric]}",
        "epoch",
        _series(phase, "loss", "train_loss"),
        [Reference(f"{each.name} {formats.nats(each.value)}", each.value) for each in phase.loss_references],
        _kept(phase, "loss"),
        y_limits=(0.0, float("inf")),
        format_y="{:g}".format,
    )


def score_chart(phase: Phase) -> Chart:
    """The panel of the main metric."""
    is_accuracy = phase.metric == "accuracy"
    low = -1.0 if phase.metric == "pearson" else 0.0
    return Chart(
        SCORE_TITLES.get(phase.objective or phase.metric, title_of(phase.metric)),
        "epoch",
        _series(phase, "score", "train_accuracy"),
        [Reference(f"{each.name} {formats.percent(each.value)}", each.value) for each in phase.accuracy_references],
        _kept(phase, "score"),
        y_limits=(low, 1.0),
        format_y=(lambda value: f"{100 * value:g} %") if is_accuracy else "{:g}".format,
    )


def _series(phase: Phase, validation: str, train: str) -> list[Series]:
    held_out = [(row.epoch, getattr(row, validation)) for row in phase.evaluations]
    trained = [(row.epoch, value) for row in phase.evaluations if (value := getattr(row, train)) is not None]
    if phase.objective == "hybrid":  # its training loss is a mean of both, on a scale of its own
        name = "loss" if validation == "loss" else "accuracy"
        following = [(row.epoch, getattr(row.next_tokens, name)) for row in phase.evaluations if row.next_tokens]
        return [
            Series("masked", held_out, "solid", "cyan"),
            Series("next token", following, "dashed", "magenta"),
        ]
    series = [Series("validation", held_out, "solid", "cyan")]
    return [*series, Series("train", trained, "dashed", "yellow")] if trained else series


def _kept(phase: Phase, measure: str) -> list[Marker]:
    return [Marker("kept", (row.epoch, getattr(row, measure))) for row in phase.evaluations if row.is_best][:1]


# ---- the table


def render_rows(phase: Phase, page: Page) -> Lines:
    """The table of one phase: a line for each evaluation."""
    columns = [
        Column("epoch", "right"),
        Column("step", "right", style="dim"),
        Column("loss", "right"),
        Column("accuracy", "right"),
        Column("masked" if phase.objective == "hybrid" else "validation", "right"),
        *_next_token_columns(phase),
        Column("time", "right", style="dim"),
        Column("observation", wraps=True),
    ]
    is_accuracy, is_hybrid = phase.metric == "accuracy", phase.objective == "hybrid"
    decimals = formats.epoch_decimals(row.epoch for row in phase.evaluations)
    rows: list[Row] = []
    for row in phase.evaluations:
        style = "bold" if row.is_best else ""
        rows.append(
            [
                Cell(f"{row.epoch:.{decimals}f}", style),
                formats.count(row.step),
                Cell(_known(row.weighted_train_loss if is_hybrid else row.train_loss, formats.nats), style),
                Cell(_known(row.train_accuracy, formats.percent), style),
                Cell(f"{formats.nats(row.loss)} {_score(row, phase.metric):>14}", style),
                *_next_token_cells(phase, row),
                _known(row.elapsed_seconds, formats.clock),
                row.summary,
            ]
        )
    if not is_accuracy or is_hybrid:  # it is not measured on the training rows
        columns, rows = [*columns[:3], *columns[4:]], [[*row[:3], *row[4:]] for row in rows]
    if page.width < ROOMY:
        columns, rows = [columns[0], *columns[2:]], [[row[0], *row[2:]] for row in rows]
    if page.width < NARROW:  # without the time, too
        columns, rows = [*columns[:-2], columns[-1]], [[*row[:-2], row[-1]] for row in rows]
    lines = table(columns, rows, page)
    n = phase.evaluations[-1].n
    trained = "loss and accuracy" if is_accuracy else "loss"
    note = f"{trained}: on training text; validation: loss, and {title_of(phase.metric)} ± half its 95 % interval"
    note += f", on {formats.count(n)} {phase.unit}" if n else ""
    note += "" if is_accuracy else f"; loss in {LOSS_UNITS[phase.metric]}"
    if is_hybrid:
        note = _note_of_hybrid(phase)
    elif phase.objective == "causal":
        note += "; bits: per byte of the text"
    return lines + paragraph(note, page, indent=1, style="dim")


def _next_token_columns(phase: Phase) -> list[Column]:
    columns = {"hybrid": [Column("next token", "right"), Column("bits", "right")], "causal": [Column("bits", "right")]}
    return columns.get(phase.objective or "", [])


def _next_token_cells(phase: Phase, row: Evaluation) -> list[Cell]:
    """What the columns of the next token show: of a causal model, its loss is in the column of validation."""
    found = row.next_tokens
    bits = Cell("-" if found is None else _known(found.bits_per_byte, "{:.3f}".format))
    if phase.objective == "hybrid":
        return [
            Cell("-" if found is None else f"{formats.nats(found.loss)} {formats.percent(found.accuracy):>7}"),
            bits,
        ]
    return [bits] if phase.objective == "causal" else []


def _note_of_hybrid(phase: Phase) -> str:
    last = phase.evaluations[-1]
    following = None if last.next_tokens is None else last.next_tokens.n
    return (
        "loss: of the training text, both objectives as weighted; masked and next token: loss and accuracy on "
        f"{_known(last.n, formats.count)} masked and {_known(following, formats.count)} next tokens of the validation "
        "text, that of masked ones ± half its 95 % interval; bits: per byte of the text, by predicting the next token"
    )


def _known(value: float | None, format_value: Any) -> str:
    return "-" if value is None else format_value(value)


def _score(row: Evaluation, metric: str) -> str:
    return f"{write_score(metric, row.score)} {write_noise(metric, row.score_noise)}"


def _anchors(phase: Phase, page: Page) -> Lines:
    parts = [f"{each.name} = {formats.nats(each.value)}: {each.meaning}" for each in phase.loss_references]
    return paragraph("; ".join(parts), page, indent=1, style="dim") if parts else []


# ---- pre-training: the watched sentences


def render_watched(watched: list[WatchedSentence], page: Page) -> Lines:
    """The watched sentences at the first, the middle and the last evaluation that predicted them."""
    steps = [moment.step for moment in watched[0].moments] if watched else []
    if not steps:
        return []
    shown = [steps[i] for i in dict.fromkeys((0, (len(steps) - 1) // 2, len(steps) - 1))]
    columns = [Column("sentence", wraps=True)]
    columns += [Column(f"step {formats.count(step)}", wraps=True) for step in shown]
    rows: list[Row] = []
    for sentence in watched:
        text, word = around(clean(sentence.masked_text), MASK, WATCHED_LIMIT), clean(sentence.true_word, 20)
        note = "\n(in the training text)" if sentence.is_in_training else ""
        moments = {moment.step: moment for moment in sentence.moments}
        guesses = [_guess(moments.get(step), sentence.true_word) for step in shown]
        rows.append([Cell(f"{text}\nmasked: {word}{note}"), *guesses])
    lines = [Text(""), Text("").append("Predictions of the same masked words over time", style="bold")]
    return lines + table(columns, rows, page)


def render_continued(continued: list[ContinuedPrompt], page: Page) -> Lines:
    """The prompts, and what the model has written after each at every evaluation."""
    lines: Lines = []
    for each in continued:
        if not each.moments:
            continue
        title = f"“{clean(each.prompt, WATCHED_LIMIT)}”, continued with the most probable tokens"
        lines += [Text(""), Text("").append(title, style="bold")]
        rows: list[Row] = [
            [formats.count(moment.step), clean(moment.text.strip(), WATCHED_LIMIT) or "(the end)"]
            for moment in each.moments
        ]
        lines += table([Column("step", "right", style="dim"), Column("continued", wraps=True)], rows, page)
    return lines


def _guess(moment: WatchedMoment | None, true_word: str) -> Cell:
    """The most probable word, and below it the probability and the rank of the true word."""
    if moment is None or not moment.predictions:
        return Cell("-")
    first = moment.predictions[0]
    is_hit = first.word.strip() == true_word.strip()
    top = f"{clean(first.word, 14) or '(blank)'} {formats.probability(first.probability)}" + " ✓" * is_hit
    if is_hit:
        return Cell(top, "green")
    below = [] if moment.probability is None else [formats.probability(moment.probability)]
    below += [f"rank {formats.count(moment.rank)}"] if moment.rank else []
    return Cell(f"{top}\n{clean(true_word, 14)}: {', '.join(below)}" if below else top)


# ---- fine-tuning on conversations: the held-out replies


def _replies(phase: Phase, page: Page) -> Lines:
    """Which weights are kept, and the figures of the held-out replies before and after."""
    lines = paragraph(clean(phase.chosen), page, indent=1) if phase.chosen else []
    found = phase.replies
    if found is None:
        return lines
    title = f"Replies of {formats.count(found.conversations)} {found.measured_on} conversations"
    columns = [Column(""), Column("before", "right"), Column("after", "right"), Column("95 % interval", "right")]
    interval, paired = _between(found.loss_low, found.loss_high), _between(found.change_low, found.change_high)
    change = formats.nats(found.loss - found.base_loss)
    rows: list[Row] = [
        ["loss, nats per reply token", formats.nats(found.base_loss), Cell(formats.nats(found.loss), "bold"), interval],
        ["change of the loss, paired by conversation", "", change, paired],
        ["perplexity", f"{found.base_perplexity:.2f}", f"{found.perplexity:.2f}", ""],
        ["reply tokens predicted correctly", formats.percent(found.base_accuracy), formats.percent(found.accuracy), ""],
    ]
    lines += [Text(""), Text("").append(title, style="bold"), *table(columns, rows, page)]
    note = f"on {formats.count(found.n)} reply tokens; intervals are over conversations"
    if found.measured_on == "validation":
        note += "; these conversations also chose the weights"
    return lines + paragraph(note, page, indent=1, style="dim")


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{formats.nats(low)} to {formats.nats(high)}"


# ---- fine-tuning: trials and the test set


def _trials(phase: Phase, page: Page) -> Lines:
    if len(phase.trials) < 2:
        return []
    columns = [
        Column("trial", "right"),
        Column("rate", "right"),
        Column("seed", "right"),
        Column("kept epoch", "right"),
        Column("validation", "right"),
        Column("loss", "right"),
        Column("ended by", wraps=True),
        Column("", wraps=True),
    ]
    rows: list[Row] = []
    for trial in phase.trials:
        is_averaged = trial.trial in phase.averaged_trials
        is_chosen = is_averaged or (
            phase.chosen is not None and trial.trial == phase.shown_trial and not phase.averaged_trials
        )
        values = [
            str(trial.trial),
            _known(trial.learning_rate, formats.rate),
            _known(trial.seed, str),
            _known(trial.best_epoch, partial(formats.epoch, others=[row.epoch for row in phase.evaluations])),
            _known(trial.validation_score, partial(write_score, phase.metric)),
            _known(trial.validation_loss, formats.nats),
            ENDINGS.get(trial.stopped or "", "not finished"),
            "● averaged" if is_averaged else "● chosen" if is_chosen else _kind(trial),
        ]
        rows.append([Cell(value, "bold green" if is_chosen else "") for value in values])
    if page.width < NARROW:  # without the loss and the ending
        columns, rows = [*columns[:5], columns[7]], [[*row[:5], row[7]] for row in rows]
    return [Text(""), Text("").append("All trials", style="bold"), *table(columns, rows, page)]


def _kind(trial: Trial) -> str:
    """A trial of the search for the learning rate sees fewer rows, so its scores do not compare with the others."""
    if trial.is_student:
        return "student"
    return f"search, {formats.count(trial.rows)} rows" if trial.is_search and trial.rows is not None else ""


def _tests(phase: Phase, page: Page) -> Lines:
    if not phase.test:
        return []
    place = find_test(phase) if phase.chosen is not None and len(phase.test) > 1 else None
    others = [test for test in phase.test if test not in seed_results(phase)]
    names = ["the student" if test.is_student else "the mean of their weights" for test in others]
    whose = " and for ".join(["each seed", *names])
    lines = [Text(""), Text("").append(f"Test set, evaluated once for {whose}", style="bold")]
    for index, test in enumerate(phase.test):
        is_chosen = index == place
        lines += paragraph(_describe_test(test, phase.metric), page, indent=1, first="● " if is_chosen else "  ")
    return lines


def _without_seed(test: TestResult) -> str:
    return "student" if test.is_student else "mean weights"


def _describe_test(test: TestResult, metric: str) -> str:
    others = [f"{FIGURE_TITLES[name]} {write_score(name, value)}" for name, value in test.figures.items()]
    of = _without_seed(test) if test.seed is None else f"seed {test.seed}"
    parts = [
        f"{of}: {title_of(metric)} {write_score(metric, test.score)} "
        f"(95 % interval {write_interval(metric, (test.low, test.high))})",
        *(others or [f"macro-F1 {_known(test.macro_f1, '{:.3f}'.format)}"]),
        f"loss {_known(test.loss, formats.nats)}",
        f"n = {formats.count(test.n)}",
    ]
    sentence = ", ".join(parts)
    for found in test.slices:
        score, n = write_score(metric, found.score), formats.count(found.n)
        sentence += f"; slice {clean(found.name.replace('_', ' '), 24)} {score} (n = {n})"
    return sentence
