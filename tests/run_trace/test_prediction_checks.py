"""Each invariant of a traced prediction fails where its numbers do not add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pretune.run_trace.prediction_checks import check_predictions, softmax
from pretune.trace_schema import PredictionTrace, RunTrace

Change = Callable[[PredictionTrace], PredictionTrace]


def on(part: str, **values: Any) -> Change:
    """A change of a part of a prediction, such as its head."""
    return lambda p: replace(p, **{part: replace(getattr(p, part), **values)})


def on_token(index: int, **values: Any) -> Change:
    def change(p: PredictionTrace) -> PredictionTrace:
        tokens = list(p.tokens)
        tokens[index] = replace(tokens[index], **values)
        return replace(p, tokens=tokens)

    return change


BREAKS: list[tuple[str, Change]] = [
    ("I01", on_token(2, surface=" soap")),
    ("I01", lambda p: replace(p, text=p.text + " More.")),
    ("I01", lambda p: replace(p, tokens=[t for t in p.tokens if t.position != 3])),
    ("I02", on_token(1, id=8192)),
    ("I02", on_token(1, id=-1)),
    ("I02", on_token(0, is_special=False)),
    ("I03", on("attention", row_sum_error=0.01)),
    ("I04", lambda p: replace(p, prediction_error=0.01)),
    ("I05", on("head", bias=[0.11, -0.1])),
    ("I06", on("decision", probabilities=[0.9, 0.1])),
    ("I07", on("decision", label="positive")),
    ("I07", on("decision", index=1, label="positive")),
    ("I08", lambda p: replace(p, contributions=p.contributions[:1])),
    ("I09", on("reasons", integrated_gradients=[0.1, 0.2, 0.0, 9.0])),
    ("I10", on("reasons", runner_up="negative", label="positive")),
    ("I11", on("reasons", deletion=[0.0, 0.7])),
]


def failing(trace: RunTrace) -> list[str]:
    return [check.id for check in check_predictions(trace) if not check.is_ok]


def test_a_sound_prediction_fails_none(traced: RunTrace) -> None:
    assert failing(traced) == []
    assert [check.id for check in check_predictions(traced)] == [f"I{number:02}" for number in range(1, 12)]
    in_browser = [check.id for check in check_predictions(traced) if check.in_browser]
    assert in_browser == ["I05", "I06", "I07", "I09"]


@pytest.mark.parametrize(("id", "change"), BREAKS)
def test_numbers_that_do_not_add_up_are_found(traced: RunTrace, id: str, change: Change) -> None:
    broken = replace(traced, predictions=[traced.predictions[0], change(traced.predictions[0])])
    assert id in failing(broken)
    check = next(check for check in check_predictions(broken) if check.id == id)
    assert check.pointers == ["/predictions/1"]


def test_an_unconverged_integral_is_sound_if_it_says_so(traced: RunTrace) -> None:
    reasons = traced.predictions[0].reasons
    assert reasons is not None
    missed = replace(reasons, integrated_gradients=[5.0, 0.0, 0.0, 0.0], is_converged=False)
    error = 5.0 - (reasons.score - reasons.masked_score)
    flagged = replace(traced.predictions[0], reasons=replace(missed, completeness_error=error))
    assert failing(replace(traced, predictions=[flagged])) == []
    silent = replace(traced.predictions[0], reasons=missed)
    assert failing(replace(traced, predictions=[silent])) == ["I09"]


def test_the_middle_of_a_cut_text_may_be_lost(traced: RunTrace) -> None:
    prediction = traced.predictions[0]
    cut = replace(prediction, tokens=[t for t in prediction.tokens if t.position not in (2, 3)])
    assert "I01" in failing(replace(traced, predictions=[cut]))
    assert "I01" not in failing(replace(traced, predictions=[replace(cut, was_cut=True)]))


def test_both_texts_in_the_sentence_of_a_cloze_may_lose_their_middle(traced: RunTrace) -> None:
    prediction = replace(traced.predictions[0], was_cut=True)
    cut = replace(prediction, tokens=[t for t in prediction.tokens if t.position not in (1, 3)])
    assert "I01" in failing(replace(traced, predictions=[cut]))
    assert "I01" not in failing(replace(traced, predictions=[replace(cut, read_position=2)]))
    thrice = replace(cut, read_position=2, text=cut.text + " More.")
    assert "I01" in failing(replace(traced, predictions=[thrice]))


@pytest.mark.parametrize("mask", ["[MASK]", "<mask>"])
def test_the_mask_of_a_cloze_is_part_of_its_text(traced: RunTrace, mask: str) -> None:
    prediction = traced.predictions[0]
    [*tokens, end] = prediction.tokens
    shown = replace(end, surface=mask)
    cloze = replace(prediction, text=f"{prediction.text} [MASK]", tokens=[*tokens, shown, replace(end, position=7)])
    assert "I01" not in failing(replace(traced, predictions=[cloze]))
    without = replace(cloze, tokens=prediction.tokens[1:6])
    assert "I01" in failing(replace(traced, predictions=[without]))


def test_without_predictions_there_is_nothing_to_check(traced: RunTrace) -> None:
    assert check_predictions(replace(traced, predictions=[])) == []
    without = replace(traced.predictions[0], reasons=None)
    assert "I09" not in [check.id for check in check_predictions(replace(traced, predictions=[without]))]


def test_softmax_of_large_logits_does_not_overflow() -> None:
    assert softmax([1000.0, 1000.0]) == [0.5, 0.5]
    assert math.isclose(sum(softmax([1.0, 2.0, 3.0])), 1.0)
