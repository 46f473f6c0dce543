"""Numbers as targets: how a file writes them, which rows have none, and whether numbers are measures or classes."""

from __future__ import annotations

import math
import numbers
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.label_text import is_missing
from pretune.text.reading_report import join_names, shorten

MANY_NUMBERS = 20  # different numbers; with more of them, a single row of one means that they are a measurement
MAX_WORDS_FRACTION = 0.1  # of the cells; with more words among the numbers, all are names of classes
_MISSING = frozenset(("", "na", "n/a", "nan", "none", "null", "-", "?"))
_INFINITE = frozenset(("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"))
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_GROUPED_BY_COMMA = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_GROUPED_BY_POINT = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?")
_WITH_COMMA = re.compile(r"[-+]?\d+,\d+")
_PADDED = re.compile(r"0\d")
_BLANK_BETWEEN_GROUPS = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f](?=\d{3}(?!\d))")


@dataclass(frozen=True)
class NumberForm:
    """How a file writes numbers: the decimal sign, the sign between groups of three digits, and a percent sign."""

    decimal: str = "."
    group: str = ""
    is_percent: bool = False

    @property
    def example(self) -> str:
        """A number in this form, from which `detect_number_form` finds it again."""
        return f"1{self.group}250{self.decimal}5{'%' if self.is_percent else ''}"

    @property
    def sentence(self) -> str | None:
        """What was decided where another reading is possible; None for plain numbers."""
        parts = []
        if self.decimal == ",":
            parts.append("a comma is read as the decimal sign, so that 2,5 is 2.5")
        if self.group:
            sign = "comma" if self.group == "," else "point"
            parts.append(f"a {sign} between groups of three digits is left out, so that 1{self.group}250 is 1250")
        if self.is_percent:
            parts.append("the percent sign is left out, so that 45 % is 45")
        return f"Numbers: {'; '.join(parts)}." if parts else None


PLAIN = NumberForm()


def detect_number_form(cells: Iterable[Any]) -> NumberForm:
    """How the numbers of a column are written, decided from all cells that are text."""
    texts = [_strip(cell) for cell in cells if isinstance(cell, str)]
    is_percent = any(text.endswith("%") for text in texts)
    texts = [text.removesuffix("%").rstrip() for text in texts]
    with_comma = [text for text in texts if "," in text]
    if with_comma and all(_GROUPED_BY_COMMA.fullmatch(text) for text in with_comma):
        return NumberForm(group=",", is_percent=is_percent)
    with_point = [text for text in texts if "." in text]
    has_groups = bool(with_point) and all(_GROUPED_BY_POINT.fullmatch(text) for text in with_point)
    if with_comma and all(_WITH_COMMA.fullmatch(text) or _GROUPED_BY_POINT.fullmatch(text) for text in with_comma):
        # A point in a column with decimal commas must stand between groups.
        if has_groups or not with_point:
            return NumberForm(decimal=",", group="." if has_groups else "", is_percent=is_percent)
    elif has_groups and any(text.count(".") > 1 for text in with_point):
        return NumberForm(decimal=",", group=".", is_percent=is_percent)
    return NumberForm(is_percent=is_percent)


def number_of(cell: Any, form: NumberForm = PLAIN) -> float | None:
    """The number in a cell: NaN for a missing one, infinity for an infinite one, None for a word."""
    if not isinstance(cell, str):
        if is_missing(cell):
            return math.nan
        is_number = isinstance(cell, numbers.Real) and not isinstance(cell, bool)
        return float(cell) if is_number else None
    text = _strip(cell)
    if text.casefold() in _MISSING:
        return math.nan
    if text.casefold() in _INFINITE:
        return math.inf
    if text.endswith("%") != form.is_percent:
        return None
    text = text.removesuffix("%").rstrip()
    if form.group and form.group in text:
        grouped = _GROUPED_BY_COMMA if form.group == "," else _GROUPED_BY_POINT
        if not grouped.fullmatch(text):
            return None
        text = text.replace(form.group, "")
    if form.decimal == ",":
        text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def read_scores(
    cells: Sequence[Any], lines: Sequence[int], path: str, preferred: NumberForm | None = None
) -> tuple[list[float | None], NumberForm]:
    """The target of every row, None for one that is missing or not finite, and how the numbers are written.

    The `preferred` form, that of a training file, is taken if it reads every cell: 3,125 alone may be either of two
    numbers. Raises InputDataError, with the line, for a word among the numbers.
    """
    form = detect_number_form(cells)
    if preferred is not None and all(number_of(cell, preferred) is not None for cell in cells):
        form = preferred
    found = [number_of(cell, form) for cell in cells]
    for cell, number, line in zip(cells, found, lines, strict=True):
        if number is None:
            raise InputDataError(_sentence_about_word(path, line, cell, found, form))
    return [number if number is not None and math.isfinite(number) else None for number in found], form


def _sentence_about_word(path: str, line: int, cell: Any, found: Sequence[float | None], form: NumberForm) -> str:
    """Why a cell is refused; `found` are the numbers of all cells. A few words among numbers are no classes."""
    shown = shorten(str(cell), 60)
    if isinstance(cell, str) and form.is_percent and number_of(cell, NumberForm(form.decimal, form.group)) is not None:
        return (
            f"{path}, line {line}: the label {shown!r} has no percent sign, but other labels have one; "
            "write all of them with it, or none."
        )
    num_numbers = sum(number is not None and math.isfinite(number) for number in found)
    has_many_words = found.count(None) > MAX_WORDS_FRACTION * len(found)
    ways = "leave it empty, or choose --task classification" if has_many_words else "or leave it empty"
    return (
        f"{path}, line {line}: the label {shown!r} is not a number, but {num_numbers:,} of {len(found):,} labels are; "
        f"expected a number in each row: correct it, {ways}."
    )


def are_measures(counts: Counter[str]) -> bool:
    """Whether labels are numbers that measure something: fractions, or too many different ones for classes.

    A few words among very many different numbers do not make them classes. A word for a missing value counts as
    neither.
    """
    form = detect_number_form(counts)
    found = {label: number_of(label, form) for label in counts}
    present = {label: number for label, number in found.items() if number is not None and math.isfinite(number)}
    num_words = sum(counts[label] for label, number in found.items() if number is None)
    if not present or num_words > MAX_WORDS_FRACTION * counts.total():
        return False
    rarest = min(counts[label] for label in present)
    if len(present) > MANY_NUMBERS and (rarest == 1 or have_decimal_commas(counts)):
        return True
    # A few frequent values with a comma, such as 1,2, may be anything, two numbers of classes for example.
    has_fractions = form.decimal == "." and any(not number.is_integer() for number in present.values())
    return has_fractions and len(present) > 2 and not num_words


def have_decimal_commas(counts: Counter[str]) -> bool:
    """Whether the commas in labels are decimal signs of a measurement, rather than signs between numbers of classes.

    The numbers of two classes come from the same set, differ, and are often sorted; those around a decimal sign do not.
    0,05 and 7,7 are scores, and so are 8,25 if nothing else is 25, numbers below zero, and those with few different
    fractions.
    """
    form = detect_number_form(counts)
    if form.decimal != "," or len(counts) <= MANY_NUMBERS:
        return False
    parts = [_strip(label).removesuffix("%").rstrip().partition(",") for label in counts]
    known = {before for before, _, _ in parts}
    joined = [(before, after) for before, sign, after in parts if sign]
    befores, afters = ({pair[place] for pair in joined} for place in range(2))
    is_padded = any(map(_PADDED.match, afters)) and not any(map(_PADDED.match, known))
    if form.group or is_padded or any(before.startswith("-") for before in befores):
        return True
    if all(int(before) < int(after) for before, after in joined):
        return False
    num_alike = sum(before == after for before, after in joined)
    num_new = sum(after not in known for _, after in joined)
    # A few may be slips.
    is_odd = num_alike > 0.05 * len(joined) or num_alike + num_new > 0.5 * len(joined)
    return is_odd or len(afters) < len(befores) / 3


def describe_measures(counts: Counter[str]) -> str:
    """The number of different values with some of them, for a sentence."""
    form = detect_number_form(counts)
    found = ((number_of(label, form), label) for label in counts)
    by_value = sorted((number, label) for number, label in found if number is not None and math.isfinite(number))
    return f"{len(by_value):,} different numbers ({join_names((label for _, label in by_value), 5)})"


def _strip(cell: str) -> str:
    return _BLANK_BETWEEN_GROUPS.sub("", cell.strip().replace("\u2212", "-"))
