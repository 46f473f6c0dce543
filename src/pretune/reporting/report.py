"""A whole run as text, from its logs alone: data flow, training trace, comparison, prediction trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from rich.text import Text

from pretune.reporting.sections.comparison import render_comparison
from pretune.reporting.sections.flow import render_flow
from pretune.reporting.sections.funnel import render_funnel
from pretune.reporting.sections.phases import of_stage, synthetic_note
from pretune.reporting.sections.prediction import render_prediction
from pretune.reporting.sections.training import render_training
from pretune.reporting.terminal import DEFAULT_WIDTH, Lines, Page, clean, page_for, paragraph, show, to_text
from pretune.runtime.events import STAGE_ORDER, Event, read_run
from pretune.runtime.manifest import TRACE_NAME

# The event after which a stage has a checkpoint to go on from; the other stages have none.
_AFTER_CHECKPOINT = {"pretrain": "checkpoint", "finetune": "evaluation", "scratch": "evaluation"}


def render_run(run: Path, width: int = DEFAULT_WIDTH) -> str:
    """Everything the logs of a run (and its recorded prediction trace) tell, as plain text of `width` columns.

    The same logs in another folder give the same text.
    """
    page = Page(width=width)
    return to_text(run_lines(run, page), page)


def show_run(run: Path, stream: TextIO) -> None:
    """Write a run to a stream, in the width, the characters and the colours that it offers."""
    page = page_for(stream)
    show(run_lines(run, page), stream, page)


def show_prediction(trace: dict[str, Any], stream: TextIO) -> None:
    """Write one prediction trace to a stream."""
    page = page_for(stream)
    show(render_prediction(trace, page), stream, page)


def run_lines(run: Path, page: Page) -> Lines:
    """The lines of a run, section after section."""
    events = read_run(run)
    if not events:
        return [Text("Nothing has been logged here yet.")]
    lines = _unfinished(events, page) + render_flow(events, page)
    if len({event["stage"] for event in events}) == 1:
        lines += render_funnel(events, page)
    if any(event["event"] == "evaluation" for event in events):
        lines += render_training(events, page)
    if of_stage(events, "compare") or (of_stage(events, "finetune") and of_stage(events, "pretrain")):
        lines += render_comparison(events, page)
    return lines + _prediction(run / TRACE_NAME, events, page)


def _unfinished(events: list[Event], page: Page) -> Lines:
    """A line for each stage that began and has not ended."""
    lines: Lines = []
    for stage in STAGE_ORDER:
        own = of_stage(events, stage)
        if own and own[-1]["event"] != "stage_finished":
            steps = [event["step"] for event in own if "step" in event]
            reached = f", last at step {max(steps):,}" if steps else ""
            has_checkpoint = any(event["event"] == _AFTER_CHECKPOINT.get(stage) for event in own)
            advice = "the same command goes on from its last checkpoint" if has_checkpoint else "give its command again"
            sentence = f"{clean(stage)} is not finished{reached}; {advice}."
            lines += paragraph(sentence, page, first="! ", style="yellow")
    return lines


def _prediction(path: Path, events: list[Event], page: Page) -> Lines:
    """The recorded prediction trace; a file that somebody altered or cut short does not cost the rest of the page."""
    if not path.is_file():
        return []
    try:
        return render_prediction(json.loads(path.read_text(encoding="utf-8")), page, synthetic_note(events))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        sentence = f"{TRACE_NAME} is damaged and left out; remove it, and the command of the run writes it again."
        return paragraph(sentence, page, first="! ", style="yellow")
