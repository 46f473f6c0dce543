"""A session line by line: what is typed, what is shown, and what counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pretune.learning.session import Part, Session

Hold = Callable[..., tuple[Session, str]]


def right(session: Session) -> list[bool]:
    return [answer.is_right for _, answer in session.results]


def test_a_quiz_gives_one_try_and_then_every_reason(hold: Hold) -> None:
    session, shown = hold("quiz", "3", "59,919")
    assert right(session) == [False, True]
    assert "Not this one." in shown and "This answer takes the last." in shown
    assert all(reason in shown for reason in ("1  It is lower.", "2  It is the highest.", "Right.", "60,000 - 81"))


def test_text_from_the_run_cannot_colour_the_terminal(hold: Hold) -> None:
    assert "\x1b" not in hold("quiz", "3", "81")[1]


def test_hints_come_one_by_one(hold: Hold) -> None:
    shown = hold("quiz", "h", "h", "h", "2", "q")[1]
    places = [shown.index(words) for words in ("Hint: Read the accuracy.", "Hint: Not the loss.", "no further hint")]
    assert places == sorted(places)


def test_in_practice_a_wrong_answer_may_be_tried_again_and_the_first_counts(hold: Hold) -> None:
    session, shown = hold("practice", "1", "2", "59919")
    assert right(session) == [False, True]
    assert shown.count("Try again") == 1 and "Epoch 2 has the highest accuracy." in shown


def test_in_practice_the_solution_is_shown_when_asked_for(hold: Hold) -> None:
    session, shown = hold("practice", "s", "s")
    assert right(session) == [False, False]
    assert "The answer is 2." in shown and "60,000 - 81" in shown


def test_the_test_explains_nothing_before_its_end(hold: Hold) -> None:
    session, shown = hold("test", "3", "81")
    assert right(session) == [False, False]
    assert not [words for words in ("highest", "Hint", "60,000", "Right.", "No.") if words in shown]


@pytest.mark.parametrize("part", ["quiz", "test"])
def test_a_key_that_a_part_does_not_have_is_answered_with_those_it_has(hold: Hold, part: Part) -> None:
    session, shown = hold(part, "s", "q")
    assert "Expected the number of an answer, from 1 to 3. Or type" in shown and session.results == []


@pytest.mark.parametrize("typed", [["q"], [], ["Q"], ["x", "7", ""]])
def test_q_and_the_end_of_the_input_end_the_session(hold: Hold, typed: list[str]) -> None:
    session, _ = hold("practice", *typed)
    assert session.results == []


def test_an_answer_that_was_tried_counts_if_the_session_ends(hold: Hold) -> None:
    assert right(hold("practice", "1", "q")[0]) == [False]


def test_what_a_pipe_types_is_shown(hold: Hold) -> None:
    shown = hold("quiz", "2", "5\x1b[31m")[1]
    assert " > 2\n" in shown and " > 5\n" in shown
