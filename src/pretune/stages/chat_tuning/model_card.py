"""The figures of a tuned model in; the README of its folder out, which says what it is and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretune.text.reading_report import counted

_SPLITS = {"test": "test", "validation": "validation, which also chose the weights"}


@dataclass(frozen=True, kw_only=True)
class TuningSummary:
    """How far a training went: updates, tokens read, passes over the conversations, and the update that was kept (0:
    the weights before the first one)."""

    steps: int
    best_step: int
    tokens: int
    epochs: float


def write_card(
    start: str,
    summary: TuningSummary,
    figures: dict[str, Any],
    *,
    num_conversations: int,
    files: Sequence[str],
    notice: str | None,
) -> str:
    """Markdown. `start` says from what training started, `figures` are those of the held-out replies."""
    lines = ["# A model that replies", ""]
    if notice is not None:
        lines += [f"> **{notice}**", ""]
    source = f" ({', '.join(files)})" if files else ""
    lines += [
        f"{start} {counted(summary.steps, 'update')} read {counted(summary.tokens, 'token')} of "
        f"{counted(num_conversations, 'conversation')}{source}, which is {_passes(summary.epochs)}; only the replies "
        f"in them counted. {_describe_kept(summary)}",
        "",
        f"On {figures['conversations']:,} held-out conversations ({figures['n']:,} reply tokens; "
        f"{_SPLITS[figures['measured_on']]}):",
        "",
        "| | before | after |",
        "|---|---|---|",
        f"| loss in nats | {figures['base_loss']:.3f} | {_with_interval(figures, 'loss', 3)} |",
        f"| perplexity | {figures['base_perplexity']:.2f} | {_with_interval(figures, 'perplexity', 2)} |",
        f"| reply tokens predicted correctly | {figures['base_accuracy']:.1%} | {figures['accuracy']:.1%} |",
        "",
        "Intervals are 95 %, over conversations. A low loss does not make a reply true: the model writes what is "
        "likely after the question, and it may be wrong, or repeat a reply that it was trained on.",
        "",
        "The chat template is in `tokenizer_config.json`. A reply ends with `<|im_end|>`.",
    ]
    return "\n".join(lines) + "\n"


def _passes(epochs: float) -> str:
    shown = f"{epochs:.2g}" if epochs < 1 else f"{epochs:.2f}".rstrip("0").rstrip(".")
    return "one pass over them" if shown == "1" else f"{shown} passes over them"


def _describe_kept(summary: TuningSummary) -> str:
    if summary.best_step == 0:
        return (
            "No update lowered the loss on the validation replies, so the weights are those from before the first one: "
            "this model learned nothing from these conversations."
        )
    which = "the last one" if summary.best_step == summary.steps else f"number {summary.best_step:,}"
    return f"The weights are those after {which}, which had the lowest loss on the validation replies."


def _with_interval(figures: dict[str, Any], name: str, digits: int) -> str:
    shown = f"{figures[name]:.{digits}f}"
    interval = figures.get(f"{name}_interval")
    return shown if interval is None else f"{shown} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
