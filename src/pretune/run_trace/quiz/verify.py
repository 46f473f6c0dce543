"""A question and the document of its run in; out whether the answer, and what every option claims, re-derive."""

from __future__ import annotations

import math

from pretune.run_trace.expression import evaluate
from pretune.trace_schema import Json, Question


def verify(question: Question, document: Json) -> bool:
    """Whether exactly the right option holds in the document, or the number is its answer and no wrong number is.

    A question about concepts has no expression: it needs exactly one right option.
    """
    try:
        return (
            _is_number_right(question, document) if question.kind == "number" else _is_choice_right(question, document)
        )
    except ValueError:  # the expression has no value for this document
        return False


def _is_choice_right(question: Question, document: Json) -> bool:
    marks = [option.is_right for option in question.options]
    if sum(marks) != 1 or len(marks) < 2:
        return False
    return question.expression is None or bool(evaluate(question.expression, document) == marks)


def _is_number_right(question: Question, document: Json) -> bool:
    value, answer, tolerance = evaluate(question.expression, document), question.answer, question.tolerance
    if answer is None or tolerance is None or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not math.isfinite(answer) or abs(value - answer) > tolerance / 10:
        return False
    return all(
        not option.is_right and option.value is not None and abs(option.value - answer) > tolerance
        for option in question.options
    )
