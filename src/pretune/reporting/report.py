"""The trace of a run in, the run as text out: data flow, training trace, comparison, prediction trace."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from rich.text import Text

from pretune.reporting.sections.comparison import render_comparison
from pretune.reporting.sections.flow import render_flow, synthetic_note
from pretune.reporting.sections.funnel import render_funnel
from pretune.reporting.sections.prediction import render_prediction
from pretune.reporting.sections.strategies import render_strategies
from pretune.reporting.sections.training import render_training
from pretune.run_trace.build import build_run_trace
from pretune.terminal import Lines, Page, page_for, paragraph, show
from pretune.trace_schema import PredictionTrace, RunTrace


def show_run(run: Path, stream: TextIO) -> None:
    """Write a run to a stream, in the width, characters and colours that the stream offers.

    Raises InputDataError if the folder is no run.
    """
    page = page_for(stream)
    show(run_lines(build_run_trace(run), page), stream, page)


def show_prediction(trace: PredictionTrace, stream: TextIO) -> None:
    """Write one prediction trace to a stream."""
    page = page_for(stream)
    show(render_prediction(trace, page), stream, page)


def run_lines(trace: RunTrace, page: Page) -> Lines:
    """The lines of a run, section by section."""
    begun = {stage.name for stage in trace.stages if stage.status != "missing"}
    if not begun:
        return [Text("Nothing has been logged here yet.")]
    lines = _unfinished(trace, page) + render_flow(trace, page)
    if len(trace.stages) == 1:
        lines += render_funnel(trace, page)
    phases = (trace.phases.pretrain, trace.phases.finetune, trace.phases.scratch)
    if any(phase is not None and phase.evaluations for phase in phases):
        lines += render_training(trace, page)
    if trace.strategies is not None:
        return lines + render_strategies(trace.strategies, page)
    if "compare" in begun or {"finetune", "pretrain"} <= begun:
        lines += render_comparison(trace, page)
    return lines + _prediction(trace, page)


def _unfinished(trace: RunTrace, page: Page) -> Lines:
    """A line for each stage that has started and not finished."""
    lines: Lines = []
    for stage in trace.stages:
        if stage.reached is not None:
            lines += paragraph(stage.reached, page, first="! ", style="yellow")
    return lines


def _prediction(trace: RunTrace, page: Page) -> Lines:
    """The traced example; if the file that it was recorded in is damaged, a sentence."""
    if trace.predictions:
        carried = [prediction for prediction in trace.predictions if prediction.why == "example"]
        return render_prediction((carried or trace.predictions)[0], page, synthetic_note(trace))
    lines: Lines = []
    for missing in trace.missing:
        if missing.section == "prediction" and "damaged" in missing.sentence:
            lines += paragraph(missing.sentence, page, first="! ", style="yellow")
    return lines
