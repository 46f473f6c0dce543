"""What a notebook shows: tables whose every text is escaped, and no script."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pretune.page.notebook import (
    decided,
    html_of_prediction,
    html_of_predictions,
    html_of_run,
    html_of_training,
)
from pretune.run_trace.codec import from_json
from pretune.trace_schema import Entity, PredictionTrace, RunTrace, StackedDecision, WordLabel

ATTACK = '<img src=x onerror="alert(1)">'


def cells(html: str) -> list[str]:
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", html)]


def test_a_run_shows_headline_phases_verdicts_and_what_is_missing(trace: RunTrace) -> None:
    html = html_of_run(trace)
    assert "Pre-training helped." in html
    assert "Synthetic data." in html
    assert cells(html) == ["fine-tuning", "1", "0.5", "0.25", "0.75", "kept", "Fell."]
    assert "&lt;/script&gt;&lt;img" in html
    assert "There is no quiz." in html
    assert "<script" not in html
    assert "<img" not in html


def test_epochs_of_which_little_was_read_differ(trace: RunTrace) -> None:
    assert trace.phases.finetune is not None
    [row] = trace.phases.finetune.evaluations
    evaluations = [replace(row, epoch=epoch) for epoch in (0.0, 0.002, 0.004)]
    phases = replace(trace.phases, finetune=replace(trace.phases.finetune, evaluations=evaluations))
    assert cells(html_of_run(replace(trace, phases=phases)))[1::7] == ["0", "0.002", "0.004"]


def test_a_training_shows_its_rows() -> None:
    html = html_of_training([{"epoch": 1.0, "loss": 0.5, "accuracy": None}])
    assert cells(html) == ["1", "-", "0.5", "-"]


def test_predictions_stand_beside_what_was_expected() -> None:
    html = html_of_predictions(
        [((ATTACK,), "bad", 0.75), (("",), None, None)], ["good", None], ["accuracy 0.000 (n = 1)"]
    )
    assert cells(html) == ["&lt;img src=x onerror=&quot;alert(1)&quot;&gt;", "bad", "0.75", "good", "", "-", "-", "-"]
    assert "<p>accuracy 0.000 (n = 1)</p>" in html


def test_predictions_for_pairs_show_both_texts() -> None:
    html = html_of_predictions([(("a", ATTACK), "b", 0.5)], None, [])
    assert cells(html) == ["a", "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;", "b", "0.5"]
    assert "text_pair" in html


def test_a_figure_stands_right_and_a_word_left() -> None:
    html = html_of_predictions([(("a",), "b", 0.5)], None, [])
    assert re.findall(r'<td style="text-align:(\w+)"', html) == ["left", "left", "right"]


def prediction(**fields: Any) -> PredictionTrace:
    """As much of a traced prediction as a notebook shows."""
    decision = {
        "probabilities": [0.6, 0.4],
        "label": "good",
        "index": 0,
        "probability": 0.6,
        "margin": 0.2,
        "flip": None,
    }
    reasons = {
        "label": "good", "runner_up": "bad", "score": 0.4, "masked_score": 0.1, "words": ["fine", ATTACK],
        "integrated_gradients": [0.1, 0.2], "steps": 64, "completeness_error": 0.0, "is_converged": True,
        "occlusion": [0.1, 0.3], "rank_correlation": 1.0, "is_top_word_equal": True, "deletion": [0.4],
        "random_deletion": [0.4], "random_orders": 1,
    }  # fmt: skip
    given = {
        "id": "typed", "why": "typed", "text": f"fine {ATTACK}", "label_names": ["good", "bad"], "tokens": [],
        "was_cut": False, "embedding": {}, "head": {}, "decision": decision, "reasons": reasons,
        "contribution_error": 0.0, "head_error": 0.0, "prediction_error": 0.0,
    }  # fmt: skip
    return replace(from_json(PredictionTrace, given), **fields)


STACK = StackedDecision(probabilities=[0.1, 0.9], label="bad", index=1, probability=0.9, parts=[], ngrams=[])


def test_a_prediction_shows_label_probabilities_and_reasons() -> None:
    html = html_of_prediction(prediction())
    assert "<bdi>good</bdi></b>, probability 0.600, lead 0.200" in html
    assert cells(html)[:4] == ["good", "0.6", "bad", "0.4"]
    assert "Reasons for <bdi>good</bdi> rather than <bdi>bad</bdi>" in html
    assert "<img" not in html
    assert decided(prediction()) == "good, probability 0.600"


def test_a_prediction_with_a_stack_shows_what_the_stack_decides() -> None:
    html = html_of_prediction(prediction(stack=STACK))
    assert "<bdi>bad</bdi></b>, probability 0.900, lead 0.800" in html
    assert cells(html)[:4] == ["bad", "0.9", "good", "0.1"]
    assert "Reasons of the network alone for <bdi>good</bdi>" in html
    assert decided(prediction(stack=STACK)) == "bad, probability 0.900"


def test_a_prediction_of_another_task_has_no_single_probability() -> None:
    number = replace(STACK, label="3.5", probabilities=[], probability=0.0)
    assert decided(prediction(task="regression", stack=number)) == "3.5"
    word = WordLabel(start=0, end=3, position=1, label="B-person")
    found = prediction(task="tokens", text="Ann left.", word=word, entities=[Entity(start=0, end=3, type="person")])
    assert decided(found) == "Ann (person)"
    assert decided(replace(found, entities=[], stack=STACK)) == "no entity"
    assert "Labels of the word <bdi>Ann</bdi>" in html_of_prediction(found)
