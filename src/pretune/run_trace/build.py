"""A run's folder in; out comes its trace, for any state of the run: in progress, without labels, one stage alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pretune.errors import InputDataError
from pretune.run_trace.carried_example import read_example
from pretune.run_trace.checks import check_run
from pretune.run_trace.codec import as_written
from pretune.run_trace.comparison import read_comparison
from pretune.run_trace.insights import choose_next_step, find_insights
from pretune.run_trace.missing import find_missing
from pretune.run_trace.predicted_rows import PredictedRows, read_first_seeds
from pretune.run_trace.quiz.make import make_quiz
from pretune.run_trace.recorded import Recorded, read_recorded, traced_model
from pretune.run_trace.redact import count_excerpts
from pretune.run_trace.run_card import RunFolder, make_run_card, read_folder
from pretune.run_trace.stages import read_stages
from pretune.run_trace.strategies import read_strategies
from pretune.run_trace.test_errors import read_errors
from pretune.run_trace.text_reports import read_funnel, read_tokenizer
from pretune.run_trace.training import read_continued, read_phases, read_watched
from pretune.runtime.events import LOG_NAME, Event, count_damaged, read_run
from pretune.runtime.manifest import RECIPE_NAME
from pretune.trace_schema import FillTrace, PredictionTrace, RunTrace


def build_run_trace(
    run: Path, *, predictions: Sequence[PredictionTrace] = (), fills: Sequence[FillTrace] = ()
) -> RunTrace:
    """Fold the logs and files of a run, or of one stage folder. Without predictions, those in its trace.json are kept,
    if they are of the same model.

    Raises:
        InputDataError: the folder is missing or is no run
    """
    folder, model = read_folder(run), traced_model(run)
    events = _read_events(run)
    recorded = Recorded() if predictions or fills else read_recorded(run)
    if model is None or recorded.fingerprint == model:  # copied logs have no manifest
        predictions, fills = [*predictions, *recorded.predictions], [*fills, *recorded.fills]
    trace = fold_events(events, folder, read_first_seeds(run), predictions=predictions, fills=fills)
    trace = replace(trace, errors=read_errors(run, trace.phases))
    if predictions or fills:
        trace = replace(trace, fingerprint=model or recorded.fingerprint)
    return _complete(trace, events, run, recorded)


def _complete(trace: RunTrace, events: list[Event], run: Path, recorded: Recorded) -> RunTrace:
    """Add what is made from the rest of the trace: insights, the next step, the quiz, what is missing, the checks."""
    trace = replace(trace, insights=find_insights(trace), next_step=choose_next_step(trace))
    trace = replace(trace, quiz=make_quiz(trace), excerpts=count_excerpts(trace))
    trace = replace(
        trace, missing=find_missing(trace, is_damaged=recorded.is_damaged, damaged_lines=count_damaged(run))
    )
    return replace(trace, checks=check_run(trace, events, run))


def fold_events(
    events: list[Event],
    folder: RunFolder,
    predicted: Mapping[str, PredictedRows] | None = None,
    *,
    predictions: Sequence[PredictionTrace] = (),
    fills: Sequence[FillTrace] = (),
) -> RunTrace:
    """The part of a trace that the logs alone give."""
    stages, phases = read_stages(events, is_run=folder.recipe is not None), read_phases(events)
    comparison, strategies = read_comparison(events, predicted or {}), read_strategies(events)
    return RunTrace(
        run=make_run_card(events, stages, phases, comparison, folder, strategies),
        stages=stages,
        example=read_example(events),
        funnel=read_funnel(events),
        tokenizer=read_tokenizer(events),
        phases=phases,
        watched=read_watched(events),
        continued=read_continued(events),
        comparison=comparison,
        strategies=strategies,
        predictions=[as_written(prediction) for prediction in predictions],
        fills=[as_written(fill) for fill in fills],
    )


def _read_events(run: Path) -> list[Event]:
    if not run.is_dir():
        raise InputDataError(f"{run} is no folder; give the folder of a run, for example runs/demo.")
    events = read_run(run)
    if not events and not any((run / name).is_file() for name in (RECIPE_NAME, LOG_NAME)):
        raise InputDataError(
            f"{run} is no run: it has neither a {RECIPE_NAME} nor a stage folder with {LOG_NAME} in it; give the "
            "folder that `pretune run` wrote, or one of its stage folders."
        )
    return events
