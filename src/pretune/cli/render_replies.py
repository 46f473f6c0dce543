"""From the figures of replies to text for a reader; `--json` prints the same figures as data."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from pretune.run_trace.formats import percent, probability
from pretune.terminal import Cell, Column, Lines, Page, clean, clean_lines, page_for, paragraph, table, to_text

ANSWERS_SHOWN = 5
REPLY_CHARACTERS = 300


def describe_reply_figures(figures: Mapping[str, Any]) -> str:
    """Loss and perplexity of the held-out replies, and the model's own replies beside the true ones."""
    page = page_for(sys.stdout)
    low, high = figures["loss_interval"]
    lines: Lines = [
        Text(clean(figures["source"], 400)),
        Text(f"read as a {figures['read_as']}, {figures['tokens']:,} tokens of replies"),
        Text(""),
        Text(f"loss        {figures['loss']:.4f} nats per token  (95 % interval {low:.4f} to {high:.4f})"),
        Text("perplexity  {:,.2f}  (95 % interval {:,.2f} to {:,.2f})".format(
            figures["perplexity"], *figures["perplexity_interval"]
        )),
    ]  # fmt: skip
    if figures["end_probability"] is not None:
        lines.append(Text(f"probability of ending a reply where it ends: {probability(figures['end_probability'])}"))
    if figures["cut"]:
        lines.append(Text(f"cut, because they are longer than {figures['max_seq_len']:,} tokens: {figures['cut']:,}"))
    if figures["left_out"]:
        lines.append(Text(f"left out, because nothing of their last reply fits: {figures['left_out']:,}"))
    lines += [Text(""), *paragraph(figures["seen_sentence"], page)]
    if "replies" in figures:
        lines += [Text(""), *_style_table(figures, page), Text(""), *_answers(figures["answers"], page)]
    return to_text(lines, page).rstrip()


def _style_table(figures: Mapping[str, Any], page: Page) -> Lines:
    """How the model replies, beside the true replies to the same questions."""
    titles: Sequence[tuple[str, str, Any]] = (
        ("mean_words", "words of a reply", lambda value: f"{value:.1f}"),
        ("empty_fraction", "empty replies", percent),
        ("distinct_1", "distinct-1 (different words)", lambda value: f"{value:.3f}"),
        ("distinct_2", "distinct-2", lambda value: f"{value:.3f}"),
        ("distinct_3", "distinct-3", lambda value: f"{value:.3f}"),
        ("repeated_fraction", "repeated 4-grams of a reply", percent),
        ("copied_fraction", "copied from training replies (whole, or 13 words in a row)", percent),
        ("whole_copied_fraction", "copied whole", percent),
        ("mean_shared_words", "longest run of words shared with one, mean", lambda value: f"{value:.1f}"),
        ("longest_shared_words", "and the longest", lambda value: f"{value:,}"),
    )
    ours, true = figures["replies"], figures["references"]
    rows: list[list[str | Cell]] = [
        [title, write(ours[name]), _interval(ours, name, write), write(true[name])]
        for name, title, write in titles
        if name in ours
    ]
    columns = [
        Column(f"{ours['n']:,} replies", wraps=True),
        Column("model", "right"),
        Column("95 % interval", "right"),
        Column("held-out", "right"),
    ]
    return table(columns, rows, page, indent=0)


def _interval(figures: Mapping[str, Any], name: str, write: Any) -> str:
    found = figures.get(f"{name}_interval")
    return "" if found is None else f"{write(found[0])} to {write(found[1])}"


def _answers(answers: Sequence[Mapping[str, str]], page: Page) -> Lines:
    lines: Lines = []
    for each in answers[:ANSWERS_SHOWN]:
        lines += paragraph(_excerpt(each["question"]), page, first="? ", style="bold")
        lines += paragraph(_excerpt(each["reply"]), page, indent=2, first="model     ")
        lines += [*paragraph(_excerpt(each["reference"]), page, indent=2, first="held-out  "), Text("")]
    if len(answers) > ANSWERS_SHOWN:
        lines += paragraph(f"{len(answers) - ANSWERS_SHOWN} more are in --json.", page, style="dim")
    return lines


def _excerpt(text: str) -> str:
    kept = " ".join(clean_lines(text).split()) or "(nothing)"
    return kept if len(kept) <= REPLY_CHARACTERS else f"{kept[: REPLY_CHARACTERS - 1]}…"
