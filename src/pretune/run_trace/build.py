"""A run's folder in; out comes its trace, for any state of the run: in progress, without labels, one stage alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pretune.errors import InputDataError
from pretune.run_trace.carried_example import read_example
from pretune.run_trace.comparison import read_comparison
from pretune.run_trace.predicted_rows import PredictedRows, read_first_seeds
from pretune.run_trace.run_card import RunFolder, make_run_card, read_folder
from pretune.run_trace.stages import read_stages
from pretune.run_trace.test_errors import read_errors
from pretune.run_trace.text_reports import read_funnel, read_tokenizer
from pretune.run_trace.training import read_phases, read_watched
from pretune.runtime.events import LOG_NAME, Event, read_run
from pretune.runtime.manifest import RECIPE_NAME
from pretune.trace_schema import FillTrace, PredictionTrace, RunTrace


def build_run_trace(
    run: Path, *, predictions: Sequence[PredictionTrace] = (), fills: Sequence[FillTrace] = ()
) -> RunTrace:
    """Fold the logs and files of a run, or of one stage folder.

    Raises:
        InputDataError: the folder is missing or is no run
    """
    events = _read_events(run)
    folder = read_folder(run)
    trace = fold_events(events, folder, read_first_seeds(run), predictions=predictions, fills=fills)
    from dataclasses import replace

    return replace(trace, errors=read_errors(run, trace.phases))


def fold_events(
    events: list[Event],
    folder: RunFolder,
    predicted: Mapping[str, PredictedRows] | None = None,
    *,
    predictions: Sequence[PredictionTrace] = (),
    fills: Sequence[FillTrace] = (),
) -> RunTrace:
    """The part of a trace that the logs alone give."""
    stages, phases = read_stages(events), read_phases(events)
    comparison = read_comparison(events, predicted or {})
    return RunTrace(
        run=make_run_card(events, stages, phases, comparison, folder),
        stages=stages,
        example=read_example(events),
        funnel=read_funnel(events),
        tokenizer=read_tokenizer(events),
        phases=phases,
        watched=read_watched(events),
        comparison=comparison,
        predictions=list(predictions),
        fills=list(fills),
    )


def _read_events(run: Path) -> list[Event]:
    if not run.is_dir():
        raise InputDataError(f"{run} is no folder; give the folder of a run, for example runs/demo.")
    events = read_run(run)
    if not events and not any((run / name).is_file() for name in (RECIPE_NAME, LOG_NAME)):
        raise InputDataError(
            f"{run} is no run: it has neither a {RECIPE_NAME} nor a stage folder with a {LOG_NAME}; give the folder "
            "that `pretune run` wrote, or one of its stage folders."
        )
    return events
