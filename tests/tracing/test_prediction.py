"""A trace agrees with the prediction: its terms sum to the logits, and its arithmetic can be repeated."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from pretune.errors import UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.transformer import SequenceClassifier
from pretune.run_trace.prediction_checks import _rebuild_error
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.windows import MOST_WINDOWS
from pretune.trace_schema import PredictionTrace
from pretune.tracing import prediction, reasons
from pretune.tracing.prediction import ATTENTION_TOKENS, trace_prediction
from pretune.tracing.run_context import NO_CONTEXT
from pretune.tracing.words import tokenize

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
REASONED = ["A wonderful film, warm and funny.", "sun", "👩‍👩‍👧 لا [MASK] <b> never", "電話 großartig"]


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


@pytest.fixture(scope="module")
def traces(classifier: Classifier) -> list[PredictionTrace]:
    """Without the reasons, which have tests of their own and would take minutes for so many texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "give_reasons", lambda *_: None)
        return [trace_prediction(classifier, text, context=NO_CONTEXT) for text in TEXTS]


@pytest.fixture(scope="module")
def reasoned(classifier: Classifier) -> list[PredictionTrace]:
    return [trace_prediction(classifier, text, context=NO_CONTEXT) for text in REASONED]


def test_there_are_enough_and_long_enough_texts(traces: list[PredictionTrace]) -> None:
    assert len(traces) == 100
    assert sum(trace.was_cut for trace in traces) >= 3


def test_contributions_sum_to_the_logits(traces: list[PredictionTrace]) -> None:
    for trace in traces:
        assert [part.name for part in trace.contributions] == [
            "embedding", "attention_1", "feed_forward_1", "attention_2", "feed_forward_2", "bias",
        ]  # fmt: skip
        total = np.sum([part.logits for part in trace.contributions], axis=0)
        np.testing.assert_allclose(total, trace.head.logits, atol=1e-4)
        assert max(trace.contribution_error, trace.head_error, trace.prediction_error) < 1e-4


def test_a_text_with_nested_markup_is_traced_as_it_is_predicted(classifier: Classifier) -> None:
    text = "A " + "&" + "amp;" * 9 + "lt;b&gt; film, never dreadful"
    trace, found = trace_prediction(classifier, text, context=NO_CONTEXT), classifier.predict([text])[0]
    np.testing.assert_allclose(trace.decision.probabilities, list(found.probabilities.values()), atol=1e-5)
    assert [token.id for token in trace.tokens] == ids_of(classifier, text)


def test_head_arithmetic_can_be_repeated(traces: list[PredictionTrace]) -> None:
    for trace in traces:
        head, decision = trace.head, trace.decision
        logits = np.array(head.weight) @ np.array(head.pooled) + np.array(head.bias)
        np.testing.assert_allclose(logits, head.logits, atol=1e-5)
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(probabilities, decision.probabilities, atol=1e-5)
        best = sorted(probabilities, reverse=True)
        assert decision.index == int(probabilities.argmax())
        assert decision.label == trace.label_names[decision.index]
        assert decision.probability == pytest.approx(best[0], abs=1e-5)
        assert decision.margin == pytest.approx(best[0] - best[1], abs=1e-5)


def test_trace_and_predict_agree(classifier: Classifier, traces: list[PredictionTrace]) -> None:
    predicted = classifier.predict_outputs(TEXTS)
    np.testing.assert_allclose([trace.decision.probabilities for trace in traces], predicted, atol=1e-5)
    for trace, found in zip(traces, classifier.predict(TEXTS), strict=True):
        assert trace.decision.label == found.label


def test_readouts_end_at_the_logits(traces: list[PredictionTrace]) -> None:
    for trace in traces:
        assert [readout.layer for readout in trace.readouts] == [0, 1, 2]
        assert trace.readouts[-1].logits == trace.head.logits
        assert trace.readouts[-1].label == trace.decision.label


def test_tokens_are_those_of_the_text(classifier: Classifier, traces: list[PredictionTrace]) -> None:
    for text, trace in zip(TEXTS, traces, strict=True):
        tokens = trace.tokens
        assert [token.id for token in tokens] == ids_of(classifier, text)
        assert [token.position for token in tokens] == list(range(len(tokens)))
        assert len(trace.embedding.norms) == len(tokens)
        assert (tokens[0].surface, tokens[-1].surface) == ("[BOS]", "[EOS]")
        assert [token.is_special for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
        for token in tokens[1:-1]:
            assert token.surface == trace.text[token.start : token.end]
        if not trace.was_cut:
            covered = {i for token in tokens[1:-1] for i in range(token.start or 0, token.end or 0)}
            assert {i for i, character in enumerate(trace.text) if not character.isspace()} <= covered


def test_attention_is_given_for_short_texts_and_its_rows_sum_to_one(traces: list[PredictionTrace]) -> None:
    for trace in traces:
        count = len(trace.tokens)
        if count > ATTENTION_TOKENS:
            assert trace.attention is None
            continue
        assert trace.attention is not None
        assert trace.attention.shape == [2, 4, count, count]
        assert trace.attention.row_sum_error < 1e-5
        weights = np.frombuffer(base64.b64decode(trace.attention.weights), dtype=np.uint8).reshape(2, 4, count, count)
        np.testing.assert_allclose(weights.sum(-1), 255, atol=count / 2)
        of_special = (weights[..., 0] + weights[..., -1].astype(float)).mean(-1) / 255
        np.testing.assert_allclose(trace.attention.special_fraction, of_special, atol=1 / 255)


def test_more_heads_than_the_limit_leave_attention_out(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "ATTENTION_HEADS", 7)
    assert trace_prediction(classifier, "A film.", context=NO_CONTEXT).attention is None


def test_a_trace_is_json(reasoned: list[PredictionTrace]) -> None:
    for trace in reasoned:
        assert json.loads(json.dumps(asdict(trace), allow_nan=False)) == asdict(trace)


def test_the_same_text_gives_the_same_trace(classifier: Classifier, reasoned: list[PredictionTrace]) -> None:
    assert trace_prediction(classifier, REASONED[0], context=NO_CONTEXT) == reasoned[0]


def test_reasons_are_about_the_decision(reasoned: list[PredictionTrace]) -> None:
    for trace in reasoned:
        reasons, logits = trace.reasons, trace.head.logits
        assert reasons is not None
        assert reasons.label == trace.decision.label
        assert reasons.score == pytest.approx(max(logits) - sorted(logits)[-2], abs=1e-5)
        words = sorted({token.word for token in trace.tokens if token.word is not None})
        assert words == list(range(len(reasons.words)))


def test_details_of_the_caller_are_kept(classifier: Classifier) -> None:
    found = trace_prediction(
        classifier, "sun", context=NO_CONTEXT, id="x", why="wrong", true_label="neutral", row=7, slice="seen"
    )
    assert (found.id, found.why, found.true_label, found.row, found.slice) == ("x", "wrong", "neutral", 7, "seen")


@pytest.mark.parametrize("text", ["", " \n", "<p></p>", "\u200b"])
def test_no_text_is_refused(classifier: Classifier, text: str) -> None:
    with pytest.raises(UsageError, match="There is no text to trace"):
        trace_prediction(classifier, text, context=NO_CONTEXT)


@pytest.mark.slow
def test_an_endless_word_costs_no_more_than_512_tokens(classifier: Classifier) -> None:
    found = trace_prediction(classifier, "x" * 10_000, context=NO_CONTEXT)
    assert found.was_cut and len(found.tokens) == 512
    assert found.reasons is not None
    assert len(found.reasons.words) == 2  # before and after the cut
    assert max(map(len, found.reasons.words)) < 10_000


def test_a_text_of_100_000_tokens_is_cut(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "give_reasons", lambda *_: None)
    found = trace_prediction(classifier, "A dreadful film. " * 25_000, context=NO_CONTEXT)
    assert found.was_cut and len(found.tokens) == 512 and found.attention is None


def test_the_path_of_a_run_will_do(run_folder: Path) -> None:
    assert prediction.trace(run_folder, "A film.").decision.label in ("negative", "neutral", "positive")


def ids_of(classifier: Classifier, text: str) -> list[int]:
    return classifier.tokenizer.encode_truncated(clean_text(text), classifier.max_seq_len)[0]


LONG = "A wonderful film, warm and never dreadful. The hotel was cold. " * 4


@pytest.fixture(scope="module")
def windowed(classifier: Classifier) -> Classifier:
    """The same model, as one that reads long texts in windows of up to 24 tokens."""
    assert isinstance(classifier.model, SequenceClassifier)
    return replace(
        classifier,
        model=with_length(classifier.model, 24),
        labelling=replace(classifier.labelling, reads_windows=True),
    )


def with_length(model: SequenceClassifier, max_seq_len: int) -> SequenceClassifier:
    same = SequenceClassifier(replace(model.config, max_seq_len=max_seq_len), len(model.classifier.weight))
    same.load_state_dict(model.state_dict())
    return same.eval()


@pytest.fixture(scope="module")
def in_windows(windowed: Classifier) -> PredictionTrace:
    return trace_prediction(windowed, LONG, context=NO_CONTEXT)


def test_a_trace_of_several_windows_is_exact(windowed: Classifier, in_windows: PredictionTrace) -> None:
    trace = in_windows
    assert sum(token.is_special for token in trace.tokens) // 2 > 2
    assert not trace.was_cut
    assert "".join(token.surface for token in trace.tokens if not token.is_special).split() == LONG.split()
    assert max(trace.contribution_error, trace.head_error, trace.prediction_error) < 1e-4
    np.testing.assert_allclose(trace.decision.probabilities, windowed.predict_outputs([LONG])[0], atol=1e-5)
    assert trace.readouts[-1].logits == pytest.approx(trace.head.logits)
    assert trace.attention is None


def test_attributions_of_several_windows_are_those_of_the_whole_text(
    windowed: Classifier, in_windows: PredictionTrace
) -> None:
    found = in_windows.reasons
    assert found is not None
    assert found.words == LONG.split()
    assert found.deletion[0] == pytest.approx(found.score, abs=1e-4)
    assert found.is_converged
    assert sum(found.integrated_gradients) == pytest.approx(found.score - found.masked_score, abs=0.05)
    read = tokenize(
        windowed.tokenizer, LONG, windowed.tokenizer.encode_with_offsets(LONG), 24, rule=windowed.window_rule
    )
    first, second = (windowed.label_names.index(name) for name in (found.label, found.runner_up))
    for word in (0, 7, len(read.words) - 1):
        windows, start = [list(window) for window in read.windows], 0
        for window in windows:
            for place in range(len(window)):
                if start + place in read.words[word].positions:
                    window[place] = windowed.tokenizer.mask_id
            start += len(window)
        logits = windowed.predict_windows(windows)
        assert found.score - float(logits[first] - logits[second]) == pytest.approx(found.occlusion[word], abs=1e-4)


def test_very_long_texts_have_no_reasons(windowed: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "MOST_TOKENS", 60)
    assert trace_prediction(windowed, LONG, context=NO_CONTEXT).reasons is None


def test_of_a_very_long_text_the_windows_that_are_read_are_traced(
    windowed: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "give_reasons", lambda *_: None)
    text = LONG * 30
    trace = trace_prediction(windowed, text, context=NO_CONTEXT)
    assert trace.was_cut
    assert sum(token.is_special for token in trace.tokens) // 2 == MOST_WINDOWS
    assert trace.prediction_error < 1e-4
    assert _rebuild_error(trace) == 0
    assert _rebuild_error(replace(trace, was_cut=False)) > 0
