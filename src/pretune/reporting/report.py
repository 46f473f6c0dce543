"""The logs of a run in, the run as text out: data flow, training trace, comparison, prediction trace."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.text import Text

from pretune.reporting.sections.comparison import render_comparison
from pretune.reporting.sections.flow import render_flow
from pretune.reporting.sections.funnel import render_funnel
from pretune.reporting.sections.phases import of_stage, synthetic_note
from pretune.reporting.sections.prediction import render_prediction
from pretune.reporting.sections.training import render_training
from pretune.reporting.terminal import Lines, Page, clean, page_for, paragraph, show
from pretune.runtime.events import STAGE_ORDER, Event, read_run
from pretune.runtime.manifest import TRACE_NAME
from pretune.trace_schema import PredictionTrace

# The event after which a stage has a checkpoint to resume from; the other stages have none.
_AFTER_CHECKPOINT = {"pretrain": "checkpoint", "finetune": "evaluation", "scratch": "evaluation"}


def show_run(run: Path, stream: TextIO) -> None:
    """Write a run to a stream, in the width, characters and colours that the stream offers."""
    page = page_for(stream)
    show(run_lines(run, page), stream, page)


def show_prediction(trace: PredictionTrace, stream: TextIO) -> None:
    """Write one prediction trace to a stream."""
    page = page_for(stream)
    show(render_prediction(trace, page), stream, page)


def run_lines(run: Path, page: Page) -> Lines:
    """The lines of a run, section by section. The same logs in another folder give the same lines."""
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
    """A line for each stage that has started and not finished."""
    lines: Lines = []
    for stage in STAGE_ORDER:
        own = of_stage(events, stage)
        if own and own[-1]["event"] != "stage_finished":
            steps = [event["step"] for event in own if "step" in event]
            reached = f" (last logged step: {max(steps):,})" if steps else ""
            has_checkpoint = any(event["event"] == _AFTER_CHECKPOINT.get(stage) for event in own)
            advice = "resume from its last checkpoint" if has_checkpoint else "start it over"
            sentence = f"{clean(stage)} is not finished{reached}; run the same command to {advice}."
            lines += paragraph(sentence, page, first="! ", style="yellow")
    return lines


def _prediction(path: Path, events: list[Event], page: Page) -> Lines:
    """The recorded prediction trace; if its file was edited or cut short, a warning, and the rest is still shown."""
    if not path.is_file():
        return []
    try:
        trace = _read_value(PredictionTrace, json.loads(path.read_text(encoding="utf-8")))
        return render_prediction(trace, page, synthetic_note(events))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        sentence = f"{TRACE_NAME} is damaged and not shown; delete it and run the same command to write it again."
        return paragraph(sentence, page, first="! ", style="yellow")


def _read_value(hint: Any, value: Any) -> Any:
    """A value of the trace from JSON, by its type."""
    if typing.get_origin(hint) is types.UnionType:
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return None if value is None else _read_value(kinds[0], value)
    if typing.get_origin(hint) is list:
        return [_read_value(typing.get_args(hint)[0], item) for item in value]
    if not is_dataclass(hint):
        return value
    hints = typing.get_type_hints(hint)
    return hint(**{each.name: _read_value(hints[each.name], value[each.name]) for each in fields(hint)})  # type: ignore[operator]
