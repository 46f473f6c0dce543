"""The answers of a session in, its end out: the score, and what to look at again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.text import Text

from pretune.learning.answers import Answer
from pretune.learning.session import Session, explain_result
from pretune.terminal import Lines, Page, heading, paragraph
from pretune.trace_schema import Question

# Where a section of the page is, and the verb that shows the same figures in the terminal.
_PLACES = {
    "flow": ("section 2, Data flow", "show"),
    "training": ("section 3, Training trace", "show"),
    "help": ("section 4, Did pre-training help?", "show"),
    "prediction": ("section 5, One prediction", "report"),
    "errors": ("section 6, Errors and calibration", "report"),
}


def describe_score(session: Session, run: str) -> Lines:
    """The score of a session, by level, and for every missed question where to look again."""
    page, results = session.page, session.results
    missed = [(number, *result) for number, result in enumerate(results, 1) if not result[1].is_right]
    lines = heading("RESULT", session.note, page)
    lines += paragraph(_sentence(results, len(session.questions)), page, style="bold")
    if len(results) > 3:
        lines += paragraph(_by_level(results), page, style="dim")
    if session.part == "test":
        for number, question, answer in missed:
            lines += explain_result(question, answer, number, page)
    return lines + _look_again([question for _, question, _ in missed], run, page)


def _sentence(results: Sequence[tuple[Question, Answer]], count: int) -> str:
    right = sum(answer.is_right for _, answer in results)
    if not results:
        return "No question was answered."
    if len(results) < count:
        return f"{right} of {len(results)} right; {count - len(results)} of {count} questions were not answered."
    return f"{right} of {count} right."


def _by_level(results: Sequence[tuple[Question, Answer]]) -> str:
    parts = []
    for level in ("easy", "medium", "hard"):
        of_level = [answer.is_right for question, answer in results if question.level == level]
        if of_level:
            parts.append(f"{level} {sum(of_level)} of {len(of_level)}")
    return " · ".join(parts)


def _look_again(missed: Sequence[Question], run: str, page: Page) -> Lines:
    if not missed:
        return []
    lines: Lines = [Text(""), Text(" Look again at", style="bold")]
    for question in missed:
        words, found = question.concept, _PLACES.get(question.section)
        if found is not None and question.expression is not None:  # no figure answers a question about concepts
            words += f": {found[0]} (pretune {found[1]} {shlex.quote(run)})"
        lines += paragraph(words, page, indent=1, first="- ")
    return lines
