"""A trace agrees with the prediction: its terms sum to the logits, and its arithmetic can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.tracing.prediction import trace_prediction

WORDS = [
    "sun", "film", "hotel", "🙂", "👩‍👩‍👧", "großartig", "never", "dreadful,", "電話", "لا", "[MASK]", "<b>", "\t",
    "\n", "x́", "east!", "3.14", "",
]  # fmt: skip


def make_texts() -> list[str]:
    """100 texts: one word, no letter, emoji, and up to far more than 600 tokens."""
    rng = np.random.default_rng(0)
    lengths = [*range(40), *rng.integers(1, 60, 50).tolist(), 100, 150, 200, 300, 400, 600, 700]
    texts = [" ".join(["A", *rng.choice(WORDS, size=length)]) for length in lengths]
    return [*texts, "-", "🙂", "🙂" * 150]


TEXTS = make_texts()


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


@pytest.fixture(scope="module")
def traces(classifier: Classifier) -> list[dict[str, Any]]:
    return [trace_prediction(classifier, text) for text in TEXTS]


def test_there_are_enough_and_long_enough_texts(traces: list[dict[str, Any]]) -> None:
    assert len(traces) == 100
    assert sum(trace["layers"]["tokenization"]["was_cut"] for trace in traces) >= 3


def test_contributions_sum_to_the_logits(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        parts = trace["layers"]["transformer"]["contributions"]
        assert [part["name"] for part in parts] == [
            "embedding", "attention_1", "feed_forward_1", "attention_2", "feed_forward_2", "bias",
        ]  # fmt: skip
        total = np.sum([part["logits"] for part in parts], axis=0)
        np.testing.assert_allclose(total, trace["layers"]["head"]["logits"], atol=1e-4)
        assert max(trace["checks"].values()) < 1e-4


def test_a_text_with_nested_markup_is_traced_as_it_is_predicted(classifier: Classifier) -> None:
    text = "A " + "&" + "amp;" * 9 + "lt;b&gt; film, never dreadful"
    trace, prediction = trace_prediction(classifier, text), classifier.predict([text])[0]
    found = trace["layers"]["decision"]["probabilities"]
    np.testing.assert_allclose(found, list(prediction.probabilities.values()), atol=1e-5)
    assert [t["id"] for t in trace["layers"]["tokenization"]["tokens"]] == classifier.encode(text)[0]


def test_head_arithmetic_can_be_repeated(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        head, decision = trace["layers"]["head"], trace["layers"]["decision"]
        logits = np.array(head["weight"]) @ np.array(head["pooled"]) + np.array(head["bias"])
        np.testing.assert_allclose(logits, head["logits"], atol=1e-5)
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(probabilities, decision["probabilities"], atol=1e-5)
        best = sorted(probabilities, reverse=True)
        assert decision["label"] == trace["label_names"][int(probabilities.argmax())]
        assert decision["probability"] == pytest.approx(best[0], abs=1e-5)
        assert decision["margin"] == pytest.approx(best[0] - best[1], abs=1e-5)


def test_trace_and_predict_agree(classifier: Classifier, traces: list[dict[str, Any]]) -> None:
    predicted = classifier.predict_probabilities(TEXTS)
    traced = np.array([trace["layers"]["decision"]["probabilities"] for trace in traces])
    np.testing.assert_allclose(traced, predicted, atol=1e-5)
    for trace, prediction in zip(traces, classifier.predict(TEXTS), strict=True):
        assert trace["layers"]["decision"]["label"] == prediction.label


def test_readouts_end_at_the_logits(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        readouts = trace["layers"]["transformer"]["readouts"]
        assert [readout["layer"] for readout in readouts] == [0, 1, 2]
        assert readouts[-1]["logits"] == trace["layers"]["head"]["logits"]
        assert readouts[-1]["label"] == trace["layers"]["decision"]["label"]


def test_tokens_are_those_of_the_text(classifier: Classifier, traces: list[dict[str, Any]]) -> None:
    for text, trace in zip(TEXTS, traces, strict=True):
        tokens = trace["layers"]["tokenization"]["tokens"]
        assert [token["id"] for token in tokens] == classifier.encode(text)[0]
        assert [token["position"] for token in tokens] == list(range(len(tokens)))
        assert len(trace["layers"]["embedding"]["norms"]) == len(tokens)
        assert (tokens[0]["surface"], tokens[-1]["surface"]) == ("[BOS]", "[EOS]")
        for token in tokens[1:-1]:
            assert token["surface"] == trace["text"][token["start"] : token["end"]]
        if not trace["layers"]["tokenization"]["was_cut"]:
            covered = {i for token in tokens[1:-1] for i in range(token["start"], token["end"])}
            assert {i for i, character in enumerate(trace["text"]) if not character.isspace()} <= covered


def test_a_trace_is_json(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        assert json.loads(json.dumps(trace, allow_nan=False)) == trace
