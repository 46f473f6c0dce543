"""The commands that make the page of a run: as one file, and live."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.cli.output import to_stderr, to_stdout
from pretune.cli.render import describe_report
from pretune.errors import EXIT_DONE, InputDataError, UsageError
from pretune.runtime.events import read_run
from pretune.runtime.manifest import RECIPE_NAME, REPORT_NAME

if TYPE_CHECKING:
    from pretune.trace_schema import PredictionTrace

Arguments = argparse.Namespace


def report(arguments: Arguments) -> int:
    """Write the page of a run as one file."""
    from pretune.page.report import refuse_other_file, write_report
    from pretune.pipeline import read_trace

    run = run_folder(arguments.run)
    target = Path(arguments.out) if arguments.out is not None else run / REPORT_NAME
    refuse_other_file(target)
    if arguments.redact and arguments.with_model:
        raise UsageError("--with-model cannot be redacted: the words of your texts are in its vocabulary; omit one.")
    trace = read_trace(run, to_stderr)
    num_bytes = write_report(trace, target, redact=arguments.redact, model=_packed(run, arguments))
    has_excerpts = not (arguments.redact or trace.run.is_synthetic)
    to_stdout(describe_report(target, num_bytes, run, has_excerpts=has_excerpts))
    return EXIT_DONE


def _packed(run: Path, arguments: Arguments) -> bytes | None:
    if not arguments.with_model:
        return None
    from pretune.exporting.browser_model import pack_model

    return pack_model(run)


def write_page_with(prediction: PredictionTrace, run: Path, target: Path) -> int:
    """Write the page of a run with one more prediction as its first one; returns its size in bytes."""
    from pretune.page.report import write_report
    from pretune.run_trace.build import build_run_trace

    kept = build_run_trace(run)
    # Built again, since the quiz and the checks name predictions by their places.
    trace = build_run_trace(run, predictions=[prediction, *kept.predictions], fills=kept.fills)
    return write_report(trace, target, option="--html")


def watch(arguments: Arguments) -> int:
    """Serve the page of a run until Ctrl-C."""
    run = run_folder(arguments.run)
    from pretune.live.server import LiveServer, open_in_browser, watch

    def announce(server: LiveServer) -> None:
        to_stdout(f"The page of {run} is live at {server.address}")
        sys.stdout.flush()
        if arguments.browser:
            open_in_browser(server.address)
        if not arguments.quiet:
            to_stderr("Ctrl-C ends it.")

    is_busy = watch(run, port=arguments.port, announce=announce)
    if is_busy:
        sys.stdout.flush()
        os._exit(EXIT_DONE)  # a long text is being traced, and nobody waits for it any more
    return EXIT_DONE


def run_folder(path: str) -> Path:
    """The folder of a run or of a stage. Raises InputDataError if it has neither logs nor a recipe."""
    run = Path(path)
    if not (run / RECIPE_NAME).is_file() and not read_run(run):
        found = "has no logs" if run.is_dir() else "is a file" if run.exists() else "does not exist"
        raise InputDataError(f"{run} {found}; expected a run or a stage folder, or a copy of its logs.")
    return run
