"""What a learner typed in, what it means out: an answer that is right or wrong and why, or a sentence to try again."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pretune.trace_schema import Option, Question

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_TINY = 1e-9  # so that an answer at the edge of its tolerance is not lost to rounding


@dataclass(frozen=True)
class Answer:
    """A typed answer: whether it is right, and the option that it is, or that explains the mistake."""

    is_right: bool
    option: Option | None


def read_answer(question: Question, typed: str) -> Answer:
    """Judge what was typed.

    Raises:
        ValueError: it is no answer to this kind of question; the message says what was expected
    """
    return _read_choice(question, typed) if question.kind == "choice" else _read_number(question, typed)


def _read_choice(question: Question, typed: str) -> Answer:
    count = len(question.options)
    number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) <= 3 else 0
    if not 1 <= number <= count:
        raise ValueError(f"Expected the number of an answer, from 1 to {count}.")
    option = question.options[number - 1]
    return Answer(option.is_right, option)


def _read_number(question: Question, typed: str) -> Answer:
    value = parse_number(typed)
    tolerance = (question.tolerance or 0.0) + _TINY
    if question.answer is not None and abs(value - question.answer) <= tolerance:
        return Answer(True, None)
    near = [
        option for option in question.options if option.value is not None and abs(value - option.value) <= tolerance
    ]
    return Answer(False, near[0] if near else None)


def parse_number(typed: str) -> float:
    """A number as people type it: 59,919, 0.42, 0,42, 12 %, a true minus sign.

    A comma before exactly three digits separates thousands, but not after a zero; any other single comma is a decimal
    one.

    Raises:
        ValueError: it is no finite number
    """
    text = typed.replace("\u2212", "-").rstrip("% ").replace(" ", "").replace("_", "")
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("Expected a number, such as 42 or 0.5.")
    return value
