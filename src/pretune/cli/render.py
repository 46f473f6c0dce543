"""From the results of commands to text for a reader; `--json` prints the same figures as data."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from pretune.cli.next_commands import objective_of, prepare_chat
from pretune.recipe import Recipe
from pretune.run_trace.commands import label_commands
from pretune.run_trace.formats import count, percent, size
from pretune.run_trace.log_values import last_of
from pretune.runtime.events import read_events
from pretune.runtime.manifest import REPORT_NAME
from pretune.runtime.verification import Verified
from pretune.terminal import Cell, Column, Lines, Page, clean, page_for, table, to_text
from pretune.text.reading_report import counted

MOST_CLASSES = 12  # the confusion matrix of more classes is only in --json
MOST_COLUMNS = 5  # numbers beside a name; more are another table


def describe_next(folder: Path, recipe: Recipe) -> str:
    """The commands to type after a run, which use its models or start a run on the user's own text."""
    lines = ["", "What to try next", ""]
    run = shlex.quote(str(folder))
    if recipe.has_labels:
        texts = '"a text of your own"' + (' "and its second text"' if _has_pairs(folder) else "")
        lines += [f"  pretune predict {run} {texts}", f"  pretune trace {run} {texts}"]
    objective = objective_of(folder / "pretrain")
    if objective != "causal":
        lines.append(f'  pretune fill {run} "The sun rises in the [MASK]."')
    if objective != "masked":
        lines.append(f'  pretune generate {run} "The sun rises in the"')
    if recipe.is_builtin:
        lines += [f"  pretune learn {run}", f"  pretune watch {run}"]
        lines.append("  pretune run --corpus TEXTS --labels LABELLED.csv --out runs/mine --minutes 20")
    elif objective != "masked":
        lines.append(f"  {prepare_chat(folder, 'work/conversations')}")
    if not recipe.has_labels:
        lines += [f"  {command}" for command in label_commands(str(folder))]
    lines += ["", f"The run is in {folder}; `pretune show {run}` prints all of this again."]
    report = folder / REPORT_NAME
    if report.is_file():
        lines.append(describe_report(report, report.stat().st_size, folder, has_excerpts=not recipe.is_builtin))
    return "\n".join(lines)


def _has_pairs(run: Path) -> bool:
    """Whether the labelled examples of a run are pairs of texts."""
    return "text_pair_column" in last_of(read_events(run / "split"), "split", "detected")


def describe_report(report: Path, num_bytes: int, run: Path, *, has_excerpts: bool) -> str:
    """Where the page of a run is, how large, and whether it has text of the user, which the reader may not want to send
    to others."""
    found = f"The page of the run is {report} ({size(num_bytes)}); open it in a browser"
    if not has_excerpts:
        return f"{found}, or send it."
    command = f"pretune report {shlex.quote(str(run))} --redact --out FILE"
    return f"{found}. It shows excerpts of your texts; `{command}` leaves them out."


def describe_export(exported: dict[str, Any]) -> str:
    """One line about the exported files of one split."""
    shape, files = exported["shape"], exported["files"]
    rows = f"{shape[0]:,} documents" if len(shape) == 1 else f"{shape[0]:,} x {shape[1]} tokens"
    padding = f" ({exported['padding_share']:.1%} padding)" if len(shape) > 1 else ""
    names = " ".join(str(file) for file in files)
    return f"{exported['split']:<10}  {rows}{padding}, {exported['tokens']:,} tokens of text: {clean(names, 400)}"


def describe_evaluation(figures: dict[str, Any]) -> str:
    """The figures of an evaluation: over all rows, for each class, and the confusion matrix."""
    if "confusion_matrix" not in figures:
        return _describe_figures(figures)
    low, high = figures["accuracy_interval"]
    lines = [
        clean(figures["detected"]),
        "",
        f"rows      {figures['n']:,}" + (f" ({figures['skipped']:,} skipped)" if figures["skipped"] else ""),
        f"accuracy  {figures['accuracy']:.4f}  (95 % interval {low:.4f} to {high:.4f})",
        f"macro F1  {figures['macro_f1']:.4f}",
        f"loss      {figures['loss']:.4f} nats",
        f"Brier     {figures['brier_score']:.4f}",
        f"ECE       {figures['calibration_error']:.4f}  (expected calibration error: how far probabilities are from "
        "the fraction of correct answers)",
        clean(figures["seen_sentence"]),
        "",
    ]
    page = page_for(sys.stdout)
    tables = _class_table(figures, page)
    if len(figures["classes"]) <= MOST_CLASSES:
        tables += [Text(""), *_confusion_table(figures, page)]
    return "\n".join(lines) + "\n" + to_text(tables, page).rstrip()


def describe_minimal_pairs(figures: dict[str, Any]) -> str:
    """How often the acceptable sentence is preferred: over all pairs, as the mean of the paradigms, and in each."""
    numbers = [("all pairs", figures["accuracy"], figures["accuracy_interval"])]
    if len(figures["paradigms"]) > 1:
        numbers.append(("mean of paradigms", figures["mean_of_paradigms"], figures["mean_of_paradigms_interval"]))
    width = max(len(name) for name, _, _ in numbers)
    lines = [clean(figures["detected"]), figures["scoring_sentence"], ""]
    lines += [
        f"{name:<{width}}  {value:.4f}  (95 % interval {low:.4f} to {high:.4f})" for name, value, (low, high) in numbers
    ]
    ties = f", {counted(figures['ties'], 'tie')} that count half" if figures["ties"] else ""
    skipped = f", {figures['skipped']:,} skipped without two sentences" if figures["skipped"] else ""
    lines.append(f"{'pairs':<{width}}  {figures['n']:,}{ties}{skipped}; chance is 0.5")
    if figures["notice"]:
        lines.append(clean(figures["notice"]))
    page = page_for(sys.stdout)
    columns = [Column("paradigm", wraps=True), *(Column(n, "right") for n in ("pairs", "accuracy", "95 % interval"))]
    rows: list[list[str | Cell]] = [
        [clean(p["paradigm"]), f"{p['pairs']:,}", f"{p['accuracy']:.3f}", "{:.3f} to {:.3f}".format(*p["interval"])]
        for p in figures["paradigms"]
    ]
    return "\n".join([*lines, "", to_text(table(columns, rows, page, indent=0), page).rstrip()])


def describe_text_loss(figures: dict[str, Any]) -> str:
    """How well text is predicted, with intervals, and how it was read."""
    lines = [*([clean(figures["detected"])] if figures["detected"] else []), *map(clean, figures["remarks"]), ""]
    for name, title, unit in (
        ("loss", "loss", " nats per token"),
        ("perplexity", "perplexity", ""),
        ("bits_per_byte", "bits per byte", ""),
    ):
        interval = figures[f"{name}_interval"]
        shown = "" if interval is None else "  (95 % interval {:.4g} to {:.4g})".format(*interval)
        lines.append(f"{title:<14} {figures[name]:.4g}{unit}{shown}")
    read = f"{figures['tokens']:,} in {counted(figures['documents'], 'document')}"
    windows = f"{counted(figures['windows'], 'window')} of at most {figures['window']:,} tokens"
    lines.append(f"{'tokens':<14} {read}, read in {windows}; {figures['bytes']:,} bytes")
    if figures["loss_interval"] is not None:
        lines.append(f"The intervals are over {figures['interval_over']}.")
    if figures["unknown_tokens"]:
        lines.append(
            f"{figures['unknown_tokens']:,} tokens stand for unknown words, whose letters are not predicted: bits per "
            "byte is too low to compare with other models."
        )
    return "\n".join(lines)


def _describe_figures(figures: dict[str, Any]) -> str:
    """The figures of a task without classes: numbers with their intervals, and tables of what there is several of."""
    lines = [clean(figures["detected"]), "", f"rows  {figures['n']:,}"]
    lines[-1] += f" ({figures['skipped']:,} skipped)" if figures["skipped"] else ""
    numbers = {name: value for name, value in figures.items() if isinstance(value, float)}
    width = max(map(len, numbers), default=0)
    for name, value in numbers.items():
        interval = figures.get(f"{name}_interval")
        shown = "" if interval is None else f"  (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
        unit = " nats per row" if name == "loss" else ""
        lines.append(f"{name.replace('_', ' '):<{width}}  {value:.4f}{unit}{shown}")
    lines += [clean(figures["seen_sentence"]), ""]
    page = page_for(sys.stdout)
    tables: list[Any] = []
    for value in figures.values():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [*_table_of(value, page), Text("")]
    return ("\n".join(lines) + "\n" + to_text(tables, page)).rstrip()


def _table_of(rows: Sequence[dict[str, Any]], page: Page) -> Lines:
    """Rows with equal keys as tables of at most `MOST_COLUMNS` numbers, each with the names at the left."""
    names = [name for name, value in rows[0].items() if not isinstance(value, dict | list)]
    first, *others = names
    lines: Lines = []
    for start in range(0, max(len(others), 1), MOST_COLUMNS):
        shown = [first, *others[start : start + MOST_COLUMNS]]
        columns = [
            Column(name.replace("_", " "), "left" if isinstance(rows[0][name], str) else "right", wraps=place == 0)
            for place, name in enumerate(shown)
        ]
        cells: list[list[str | Cell]] = [[_write_value(row[name]) for name in shown] for row in rows]
        lines += [*([Text("")] if lines else []), *table(columns, cells, page, indent=0)]
    return lines


def _write_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else clean(str(value))


def describe_selftest(found: dict[str, Any]) -> str:
    """How often the attributions rank the planted word first, and what that means."""
    page = page_for(sys.stdout)
    names = {
        "learned": "label that the word determines",
        "integrated_gradients": "word ranked first by integrated gradients",
        "occlusion": "word ranked first by masking",
    }
    columns = [Column("held-out rows with the word", wraps=True), Column("rows", "right"), Column("fraction", "right")]
    rows: list[list[str | Cell]] = [
        [title, f"{round(found[name] * found['rows']):,} of {found['rows']:,}", percent(found[name])]
        for name, title in names.items()
    ]
    first = f'The word "{found["word"]}" was planted in half of {found["training_rows"]:,} training rows, and their '
    first += f"label set to {clean(found['label'], 40)}."
    last = "The attributions find the reason: each fraction is at least 95 %."
    if found["learned"] < 0.95:
        last = "The model did not learn the planted word, so this says nothing about the attributions."
    elif not found["is_passed"]:
        last = "The attributions miss the reason too often (under 95 %): do not read them for models like this one."
    return f"{first}\n{to_text(table(columns, rows, page, indent=0), page).rstrip()}\n{last}"


def _class_table(figures: dict[str, Any], page: Page) -> Lines:
    columns = [Column("label", wraps=True), *(Column(n, "right") for n in ("rows", "precision", "recall", "F1"))]
    rows: list[list[str | Cell]] = [
        [clean(c["label"]), f"{c['support']:,}", f"{c['precision']:.3f}", f"{c['recall']:.3f}", f"{c['f1']:.3f}"]
        for c in figures["classes"]
    ]
    return table(columns, rows, page, indent=0)


def _confusion_table(figures: dict[str, Any], page: Page) -> Lines:
    names = [clean(c["label"], 16) for c in figures["classes"]]
    columns = [Column("true \\ predicted", wraps=True), *(Column(name, "right") for name in names)]
    rows: list[list[str | Cell]] = [
        [name, *(f"{count:,}" for count in counts)]
        for name, counts in zip(names, figures["confusion_matrix"], strict=True)
    ]
    return table(columns, rows, page, indent=0)


def describe_prediction(texts: Sequence[str], label: str | None, probability: float | None) -> str:
    """The prediction in words, its probability if it has one, and the texts, separated by tabs."""
    shown = "\t".join(map(clean, texts))
    if label is None:
        return f"(no text)\t-\t{shown}"
    return f"{clean(label)}\t{'-' if probability is None else f'{probability:.4f}'}\t{shown}"


def describe_fill(masks: list[list[dict[str, Any]]]) -> str:
    """The words for each [MASK], best first."""
    lines = []
    for number, words in enumerate(masks, start=1):
        if len(masks) > 1:
            lines.append(f"[MASK] {number}")
        lines += [f"{word['probability']:.4f}  {clean(word['word'])}" for word in words]
    return "\n".join(lines)


def describe_verification(results: Sequence[Verified]) -> str:
    """A line for each folder, followed by its files that differ or have no hash, and the overall result."""
    lines, num_faults = [], sum(len(result.faults) for result in results)
    width = max(len(clean(result.path)) for result in results)
    for result in results:
        kind = f"{result.kind}, not finished" if result.status == "running" else result.kind
        state = f"{counted(result.num_files, 'file')}, {size(result.size_bytes)}, OK"
        if result.faults:
            state = f"{count(len(result.faults))} of {counted(result.num_files, 'file')} CHANGED OR MISSING"
        lines.append(f"{clean(result.path):{width}}  {clean(kind)}: {state}")
        for fault in result.faults:
            found = f"found: {clean(fault.found).rstrip('.')}; expected: {clean(fault.expected)}"
            lines += [f"  {clean(fault.file)}", f"    {found}", f"    what to do: {fault.advice}"]
        lines += [f"  {clean(note)}" for note in result.notes]
    if num_faults:
        faults = counted(num_faults, "file")
        return "\n".join([*lines, "", f"Not OK: {faults} changed or missing; see what to do below each."])
    return "\n".join([*lines, "", "OK: every file that has a hash matches it."])
