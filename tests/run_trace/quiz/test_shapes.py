"""The size of a head is asked for only where there is one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pretune.run_trace.quiz.shapes import TEMPLATES
from pretune.trace_schema import RunTrace, WordLabel

HEAD = next(each for each in TEMPLATES if each.id == "Q-HEAD")


def test_a_cloze_has_no_head_to_ask_about(make_trace: Callable[..., RunTrace]) -> None:
    trace = make_trace()
    (prediction,) = trace.predictions
    cloze = dataclasses.replace(prediction, read_position=3)
    word = WordLabel(start=0, end=3, position=1, label="O")
    entity = dataclasses.replace(prediction, read_position=1, word=word)
    assert HEAD.requires(trace)
    assert not HEAD.requires(dataclasses.replace(trace, predictions=[cloze]))
    assert HEAD.requires(dataclasses.replace(trace, predictions=[entity]))
