from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pretune.learning.score import describe_score
from pretune.learning.session import Session
from pretune.terminal import to_text

Hold = Callable[..., tuple[Session, str]]


def score(session: Session) -> str:
    return to_text(describe_score(session, "runs/my demo"), session.page)


def test_the_score_names_what_to_look_at_again(hold: Hold) -> None:
    shown = score(hold("quiz", "3", "59919")[0])
    assert "1 of 2 right." in shown
    assert "the epoch that is kept: section 3, Training trace (pretune show 'runs/my demo')" in " ".join(shown.split())
    assert "cleaning" not in shown


def test_a_question_about_concepts_has_no_place_to_look_at(hold: Hold) -> None:
    session, _ = hold("quiz", "3", "59919")
    session.results[0] = dataclasses.replace(session.results[0][0], expression=None), session.results[0][1]
    assert "- the epoch that is kept\n" in score(session) and "section" not in score(session)


def test_all_right_leaves_nothing_to_look_at(hold: Hold) -> None:
    shown = score(hold("quiz", "2", "59919")[0])
    assert "2 of 2 right." in shown and "Look again" not in shown


def test_a_session_that_ended_early_says_how_far_it_came(hold: Hold) -> None:
    assert "1 of 1 right; 1 of 2 questions were not answered." in score(hold("quiz", "2", "q")[0])
    assert "No question was answered." in score(hold("quiz")[0])


def test_the_test_explains_its_wrong_answers_at_the_end(hold: Hold) -> None:
    shown = score(hold("test", "2", "81")[0])
    assert "So many were dropped." in shown and "60,000 - 81 = 59,919." in shown
    assert "It is the highest." not in shown
