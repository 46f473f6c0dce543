"""The figures of a tuned model in; the README of its folder out, which says what it is and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SPLITS = {"test": "test", "validation": "validation, which also chose the weights"}


def write_card(
    start: str, figures: dict[str, Any], *, num_conversations: int, files: Sequence[str], notice: str | None
) -> str:
    """Markdown. `start` says from what training started, `figures` are those of the held-out replies."""
    lines = ["# A model that replies", ""]
    if notice is not None:
        lines += [f"> **{notice}**", ""]
    source = f" ({', '.join(files)})" if files else ""
    lines += [
        f"{start} It was trained on {num_conversations:,} conversations{source}, and only the replies in them counted.",
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


def _with_interval(figures: dict[str, Any], name: str, digits: int) -> str:
    shown = f"{figures[name]:.{digits}f}"
    interval = figures.get(f"{name}_interval")
    return shown if interval is None else f"{shown} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
