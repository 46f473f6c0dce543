"""A template makes a question of one kind from any run that meets its precondition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from pretune.run_trace.expression import evaluate, pointers
from pretune.trace_schema import Json, Level, Option, Question, RunTrace

FEWEST_WRONG = 2  # wrong options that a choice needs
SHOWN_CHARACTERS = 240  # of a text in a prompt


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An option of a choice: `holds` computes whether what it claims is true of the run; None in a concept question.

    Options with an `order`, such as steps, are shown in it, others at random.
    """

    text: str
    why: str
    holds: Json = None
    misconception: str | None = None
    order: int | None = None


@dataclass(frozen=True)
class WrongNumber:
    """A wrong answer that a known mistake leads to; `value` is an expression."""

    value: Json
    why: str
    misconception: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a template writes: a choice (right and wrong claims), or a number (an expression and wrong numbers)."""

    prompt: str
    hints: Sequence[str]
    solution: Sequence[str]
    right: Claim | None = None
    wrong: Sequence[Claim] = ()
    number: Json = None
    tolerance: float = 0.0
    unit: str | None = None
    wrong_numbers: Sequence[WrongNumber] = ()
    mistakes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Template:
    """`requires` says whether the answer of this run lies beyond noise; `make` may be called only then."""

    id: str
    level: Level
    concept: str
    section: str
    requires: Callable[[RunTrace], bool]
    make: Callable[[RunTrace, Random], Draft]
    is_about_run: bool = True


def finish(template: Template, draft: Draft, document: Json, rng: Random) -> Question | None:
    """The question of a draft, with its answer computed from the document; None if too few wrong options are wrong.

    A wrong option whose claim happens to hold in this run, and a wrong number that is near enough to the answer to
    count as right, are left out.
    """
    found = _number(draft, document) if draft.right is None else _choice(draft, document, rng)
    if found is None:
        return None
    options, expression, answer = found
    misconceptions = [option.misconception for option in options if option.misconception and not option.is_right]
    return Question(
        id=template.id,
        template=template.id,
        level=template.level,
        concept=template.concept,
        kind="number" if draft.right is None else "choice",
        prompt=draft.prompt,
        options=options,
        answer=answer,
        tolerance=None if answer is None else draft.tolerance,
        unit=draft.unit,
        expression=expression,
        pointers=pointers(expression),
        hints=list(draft.hints),
        solution=list(draft.solution),
        mistakes=list(dict.fromkeys([*misconceptions, *draft.mistakes])),
        section=template.section,
    )


def _choice(draft: Draft, document: Json, rng: Random) -> tuple[list[Option], Json, None] | None:
    right = draft.right
    assert right is not None
    is_about_run = right.holds is not None
    if is_about_run and evaluate(right.holds, document) is not True:
        return None
    wrong = [each for each in draft.wrong if not is_about_run or evaluate(each.holds, document) is False]
    claims = list({each.text: each for each in (*wrong, right)}.values())
    if len(claims) <= FEWEST_WRONG:
        return None
    rng.shuffle(claims)
    claims.sort(key=lambda each: each.order or 0)
    options = [
        Option(
            text=each.text,
            value=None,
            is_right=each is right,
            why=each.why,
            misconception=None if each is right else each.misconception,
        )
        for each in claims
    ]
    return options, ["list", *(each.holds for each in claims)] if is_about_run else None, None


def _number(draft: Draft, document: Json) -> tuple[list[Option], Json, float]:
    answer = float(evaluate(draft.number, document))
    options: list[Option] = []
    for wrong in draft.wrong_numbers:
        value = float(evaluate(wrong.value, document))
        others = [answer, *(option.value for option in options if option.value is not None)]
        if all(abs(value - other) > max(2 * draft.tolerance, 1e-9) for other in others):
            options.append(
                Option(
                    text=plain_number(value),
                    value=value,
                    is_right=False,
                    why=wrong.why,
                    misconception=wrong.misconception,
                )
            )
    return options, draft.number, answer


def plain_number(value: float) -> str:
    """A number as a reader would type it: whole from 1000 on, else at most three decimals or digits."""
    if 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}".rstrip("0").rstrip(".")


def excerpt(text: str) -> str:
    """A text of the user in quotation marks, cut if it is long."""
    cut = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1].rstrip() + "…"
    return f"“{cut}”"


def at(*parts: str | int) -> list[str]:
    """The expression that reads a place of the document: at("phases", "pretrain", "plan")."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return ["at", "".join(f"/{part}" for part in escaped)]


def scale(value: Json, factor: float = 100) -> Json:
    """An expression times a number: a fraction in percent, if none is given."""
    return ["mul", factor, value]
