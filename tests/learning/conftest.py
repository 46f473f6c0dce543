"""Questions of both kinds, and a session on streams that a test fills and reads."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from pretune.learning.session import Part, Session
from pretune.trace_schema import Option, Question


@pytest.fixture
def choice() -> Question:
    """Which epoch was kept: the second of three options is right."""
    options = [("Epoch 1", "It is lower.", "takes the first"), ("Epoch 2", "It is the highest.", None)]
    options += [("Epoch 3", "It is \x1b[31mlower.", "takes the last")]
    return Question(
        id="quiz-1",
        template="Q-BEST",
        level="easy",
        concept="the epoch that is kept",
        kind="choice",
        prompt="Which epoch is kept?",
        options=[
            Option(text=text, value=None, is_right=mistake is None, why=why, misconception=mistake)
            for text, why, mistake in options
        ],
        answer=None,
        tolerance=None,
        unit=None,
        expression=["list", ["eq", ["at", "/best"], 0]],
        pointers=[],
        hints=["Read the accuracy.", "Not the loss."],
        solution=["Epoch 2 has the highest accuracy."],
        mistakes=[],
        section="training",
    )


@pytest.fixture
def number() -> Question:
    """59,919 within 10, where 81 is a known mistake."""
    return Question(
        id="quiz-2",
        template="Q-FUNNEL",
        level="hard",
        concept="cleaning",
        kind="number",
        prompt="How many are left?",
        options=[
            Option(text="81", value=81.0, is_right=False, why="So many were dropped.", misconception="takes the rest")
        ],
        answer=59919.0,
        tolerance=10.0,
        unit="documents",
        expression=["at", "/n"],
        pointers=["/n"],
        hints=["Subtract."],
        solution=["60,000 - 81 = 59,919."],
        mistakes=[],
        section="flow",
    )


class Keyboard(io.StringIO):
    """Lines as typed, then the end of the input, or Ctrl-C if it is among the lines."""

    def readline(self, _size: int | None = -1, /) -> str:
        line = super().readline()
        if line.strip() == "^C":
            raise KeyboardInterrupt
        return line


@pytest.fixture
def hold(choice: Question, number: Question) -> Callable[..., tuple[Session, str]]:
    """Hold a session over both questions with these lines typed; returns it with what it showed."""

    def run(part: Part, *typed: str) -> tuple[Session, str]:
        target = io.StringIO()
        session = Session(part, [choice, number], "run demo", Keyboard("".join(f"{line}\n" for line in typed)), target)
        session.run()
        return session, target.getvalue()

    return run
