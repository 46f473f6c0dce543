"""Questions in, a conversation on two streams out: each question is asked, answered line by line, and explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TextIO

from rich.text import Text

from pretune.learning.answers import Answer, read_answer
from pretune.terminal import Lines, Page, clean, heading, page_for, paragraph, show
from pretune.trace_schema import Question

Part = Literal["quiz", "practice", "test"]
TITLES: dict[Part, str] = {"quiz": "QUIZ", "practice": "PRACTICE", "test": "TEST"}
# What may be typed besides an answer, and what it does; the letters of a part.
_KEYS: dict[Part, dict[str, str]] = {
    "quiz": {"h": "a hint", "q": "quit"},
    "practice": {"h": "a hint", "s": "the solution", "q": "quit"},
    "test": {"q": "quit"},
}


@dataclass
class Session:
    """One part of the quiz of a run: what was asked so far, and how it was answered."""

    part: Part
    questions: Sequence[Question]
    note: str
    source: TextIO
    target: TextIO
    results: list[tuple[Question, Answer]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page: Page = page_for(self.target)

    def run(self) -> None:
        """Ask every question, until the last one, `q`, or the end of the input.

        In the test nothing is explained before the end. In practice a wrong answer may be tried again; the first one
        counts.
        """
        self._show(heading(TITLES[self.part], self.note, self.page))
        self._show(paragraph(_describe_keys(self.part), self.page, style="dim"))
        for number, question in enumerate(self.questions, 1):
            self._show(_ask(question, f"{number} of {len(self.questions)}", self.page))
            if not self._answer(question):
                return

    def _answer(self, question: Question) -> bool:
        """Read lines until the question is done; False to quit."""
        first: Answer | None = None
        hints = 0
        while True:
            typed = self._read()
            if typed is None or typed == "q":
                if first is not None:
                    self.results.append((question, first))
                return False
            if typed == "h" and "h" in _KEYS[self.part]:
                self._show(_hint(question, hints, self.page))
                hints += 1
            elif typed == "s" and "s" in _KEYS[self.part]:
                self._show(_solution(question, self.page))
                self.results.append((question, first or Answer(False, None)))
                return True
            elif (answer := self._judge(question, typed)) is not None:
                first = first or answer
                if self._explain(question, answer):
                    self.results.append((question, first))
                    return True

    def _judge(self, question: Question, typed: str) -> Answer | None:
        try:
            return read_answer(question, typed)
        except ValueError as error:
            keys = ", ".join(f"{key} for {what}" for key, what in _KEYS[self.part].items())
            self._show(paragraph(f"{error} Or type {keys}.", self.page, indent=3))
            return None

    def _explain(self, question: Question, answer: Answer) -> bool:
        """Say what was right; whether the question is done."""
        if self.part == "test":
            return True
        if self.part == "practice" and not answer.is_right:
            lines = _mistake(answer, self.page)
            self._show([*lines, *paragraph("Try again, or type s for the solution.", self.page, indent=3)])
            return False
        self._show(_mistake(answer, self.page) if not answer.is_right else [_mark("Right.", "green")])
        self._show(_reasons(question, self.page))
        if self.part == "practice" or question.kind == "number":
            self._show(_solution(question, self.page))
        return True

    def _read(self) -> str | None:
        """The next line, without blanks and in lower case; None at the end of the input."""
        self.target.write(" > ")
        self.target.flush()
        line = self.source.readline()
        if not line:
            self.target.write("\n")
            return None
        typed = clean(line)
        if not self.source.isatty():
            self._show([Text(typed)])  # a pipe is not echoed by a terminal
        return typed.lower()

    def _show(self, lines: Lines) -> None:
        show(lines, self.target, self.page)


def _describe_keys(part: Part) -> str:
    keys = ", ".join(f"{key} for {what}" for key, what in _KEYS[part].items())
    late = " Answers are explained at the end." if part == "test" else ""
    return f"Type the number of an answer, or the number that is asked for, then Enter; {keys}.{late}"


def _ask(question: Question, place: str, page: Page) -> Lines:
    lines = [
        Text(""),
        Text().append(f" {place}", style="bold").append(f" · {question.level} · {question.concept}", "dim"),
    ]
    lines += paragraph(clean(question.prompt), page, indent=1)
    if question.kind == "choice":
        for number, option in enumerate(question.options, 1):
            lines += paragraph(clean(option.text), page, indent=1, first=f"{number}  ")
    else:
        unit = f", in {question.unit}" if question.unit else ""
        near = f"; within {question.tolerance:.3g} counts as right" if question.tolerance else ""
        lines += paragraph(f"Type a number{unit}{near}.", page, indent=1, style="dim")
    return lines


def _hint(question: Question, given: int, page: Page) -> Lines:
    if given >= len(question.hints):
        return paragraph("There is no further hint.", page, indent=3)
    return paragraph(clean(question.hints[given]), page, indent=3, first="Hint: ")


def _mark(word: str, style: str) -> Text:
    return Text("   ").append(word, style=f"bold {style}")


def _mistake(answer: Answer, page: Page) -> Lines:
    """What is wrong with an answer: the reason of this run, and the mistake behind it."""
    lines: Lines = [
        _mark("Not this one." if answer.option is not None and answer.option.value is None else "No.", "red")
    ]
    if answer.option is not None:
        lines += paragraph(clean(answer.option.why), page, indent=3)
        if answer.option.misconception:
            lines += paragraph(f"This answer {answer.option.misconception}.", page, indent=3, style="dim")
    return lines


def _reasons(question: Question, page: Page) -> Lines:
    """Why each option of a choice is right or wrong."""
    lines: Lines = []
    if question.kind == "choice":
        for number, option in enumerate(question.options, 1):
            sign = "✓" if option.is_right else " "
            lines += paragraph(clean(option.why), page, indent=3, first=f"{sign} {number}  ")
    return lines


def _solution(question: Question, page: Page) -> Lines:
    lines: Lines = []
    right = [number for number, option in enumerate(question.options, 1) if option.is_right]
    if question.kind == "choice" and right:
        lines += paragraph(f"The answer is {right[0]}.", page, indent=3)
    for number, step in enumerate(question.solution, 1):
        lines += paragraph(clean(step), page, indent=3, first=f"{number}. ")
    return lines


def explain_result(question: Question, answer: Answer, number: int, page: Page) -> Lines:
    """A question of the test after its end: what was asked, what was wrong, and the solution."""
    lines = [Text(""), *paragraph(clean(question.prompt), page, first=f" {number}. ")]
    return lines + _mistake(answer, page) + _solution(question, page)
