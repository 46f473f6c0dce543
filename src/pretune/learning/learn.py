"""`pretune learn`: the folder of a run in, its quiz, practice or test in the terminal out."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from pretune.errors import InputDataError, InterruptedByUserError
from pretune.learning.score import describe_score
from pretune.learning.session import Part, Session
from pretune.run_trace.build import build_run_trace
from pretune.terminal import clean, show
from pretune.trace_schema import Question, RunTrace


def learn(run: Path, part: Part, source: TextIO, target: TextIO) -> None:
    """Ask the questions of one part of a run's quiz on two streams, then show the score.

    Raises:
        InputDataError: the folder is no run, or the run has not come far enough for questions
        InterruptedByUserError: Ctrl-C was pressed; the score so far has been shown
    """
    trace = build_run_trace(run)
    session = Session(part, _questions(trace, part, run), _note(trace), source, target)
    try:
        session.run()
    except KeyboardInterrupt:
        target.write("\n")
        show(describe_score(session, str(run)), target, session.page)
        raise InterruptedByUserError(
            f"Stopped after {len(session.results)} of {len(session.questions)} questions. No answers are stored: the "
            "same "
            "command asks the same questions again."
        ) from None
    show(describe_score(session, str(run)), target, session.page)


def _questions(trace: RunTrace, part: Part, run: Path) -> list[Question]:
    questions: list[Question] = [] if trace.quiz is None else getattr(trace.quiz, part)
    if not questions:
        raise InputDataError(
            f"{run} shows nothing to ask about yet: questions are made when the last stage of a run has finished. Run "
            "the same command again to finish it, then learn from it."
        )
    return questions


def _note(trace: RunTrace) -> str:
    synthetic = ", synthetic data" if trace.run.is_synthetic else ""
    return f"run {clean(trace.run.name, 40)}{synthetic}"
