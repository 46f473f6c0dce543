"""Traces of several labels, numbers, pairs and entities: their sums hold, and they decide as a prediction does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.errors import UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.transformer import SequenceClassifier, TokenClassifier
from pretune.run_trace.codec import as_written
from pretune.run_trace.prediction_checks import check_predictions
from pretune.scoring.stack import Stack
from pretune.scoring.stacked_model import StackedModel
from pretune.text.labels.labelling import Labelling
from pretune.text.labels.word_windows import read_words
from pretune.trace_schema import PredictionTrace, RunCard, RunTrace
from pretune.tracing.prediction import trace_prediction
from pretune.tracing.run_context import NO_CONTEXT

TEXT, SECOND = "A wonderful film, warm and never dreadful.", "The hotel was cold, and the film was not."
NAMES = {"multilabel": ("joy", "love", "anger"), "regression": ("score",), "tokens": ("LOC", "PER")}
OUTPUTS = {**NAMES, "tokens": ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")}
DECISIONS: dict[str, dict[str, Any]] = {
    "multilabel": {"thresholds": [0.3, 0.5, 0.7]},
    "regression": {"mean": 3.5, "deviation": 0.25},
    "tokens": {},
}


@pytest.fixture(scope="module")
def trained(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def make(trained: Classifier, task: str, *, has_pairs: bool = False) -> Classifier:
    """The trained encoder with a random head for a task."""
    kind = TokenClassifier if task == "tokens" else SequenceClassifier
    model = kind(trained.model.config, len(OUTPUTS[task]))
    model.transformer.load_state_dict(trained.model.transformer.state_dict())
    torch.manual_seed(3)
    torch.nn.init.normal_(model.classifier.weight, std=0.3)
    torch.nn.init.normal_(model.classifier.bias, std=0.3)
    labelling = Labelling(
        names=NAMES[task],
        task=task,  # type: ignore[arg-type]
        output_names=OUTPUTS[task],
        decision=DECISIONS[task],
        columns={"text_column": "a", "label_column": "c"} | ({"text_pair_column": "b"} if has_pairs else {}),
    )
    return replace(trained, model=model.eval(), labelling=labelling)


def trace(classifier: Classifier, *texts: str) -> PredictionTrace:
    return as_written(trace_prediction(classifier, *texts, context=NO_CONTEXT))


def failing(run_card: RunCard, *predictions: PredictionTrace) -> list[str]:
    from pretune.trace_schema import Phases

    phases = Phases(pretrain=None, finetune=None, scratch=None)
    document = RunTrace(run=run_card, stages=[], phases=phases, predictions=list(predictions))
    return [check.id for check in check_predictions(document) if not check.is_ok]


@pytest.fixture
def card() -> RunCard:
    return RunCard(
        id="r-1", name="demo", started=None, status="finished", seed=0, is_synthetic=True, task=None, headline="",
        headline_figure=None, detail="", command="", versions={}, hardware=None, seconds=None, peak_memory_bytes=None,
    )  # fmt: skip


def summed(found: PredictionTrace) -> Sequence[float]:
    return [sum(each.logits[k] for each in found.contributions) for k in range(len(found.head.logits))]


def test_labels_are_those_that_reach_their_thresholds_and_the_checks_hold(trained: Classifier, card: RunCard) -> None:
    classifier = make(trained, "multilabel")
    found = trace(classifier, TEXT)
    [predicted] = classifier.predict([TEXT])
    assert found.decision.labels == list(predicted.labels)  # type: ignore[attr-defined]
    assert found.decision.label == predicted.label
    assert found.decision.probabilities == pytest.approx(list(predicted.probabilities.values()), abs=1e-5)
    assert summed(found) == pytest.approx(found.head.logits, abs=1e-4)
    assert failing(card, found) == []


def test_a_label_that_does_not_reach_its_threshold_fails_the_check(trained: Classifier, card: RunCard) -> None:
    found = trace(make(trained, "multilabel"), TEXT)
    wrong = replace(found, decision=replace(found.decision, labels=[*found.decision.labels, "x"]))
    assert failing(card, wrong) == ["I07"]
    softmax = [0.5, 0.3, 0.2]
    assert "I06" in failing(card, replace(found, decision=replace(found.decision, probabilities=softmax)))


def test_the_reasons_of_a_label_explain_its_logit_above_the_threshold(trained: Classifier) -> None:
    found = trace(make(trained, "multilabel"), TEXT)
    reasons, level = found.reasons, found.decision.thresholds[found.decision.index]
    assert reasons is not None and reasons.runner_up is None
    lead = found.head.logits[found.decision.index] - math.log(level / (1 - level))
    assert reasons.score == pytest.approx(lead, abs=1e-4)
    assert lead == max(
        logit - math.log(t / (1 - t)) for logit, t in zip(found.head.logits, found.decision.thresholds, strict=True)
    )
    change = reasons.score - reasons.masked_score
    assert sum(reasons.integrated_gradients) == pytest.approx(change + reasons.completeness_error, abs=1e-3)


def test_a_number_and_its_reasons_are_in_the_units_of_the_file(trained: Classifier, card: RunCard) -> None:
    classifier = make(trained, "regression")
    found = trace(classifier, TEXT)
    [predicted] = classifier.predict([TEXT])
    assert found.decision.score == pytest.approx(predicted.score, abs=1e-5)  # type: ignore[attr-defined]
    assert found.decision.score == pytest.approx(3.5 + 0.25 * found.head.logits[0], abs=1e-4)
    assert found.decision.probabilities == [] and found.decision.flip is None
    assert found.reasons is not None
    assert found.reasons.score == pytest.approx(found.decision.score, abs=1e-4)
    change = found.reasons.score - found.reasons.masked_score
    tolerance = max(0.02 * abs(change), 0.01 * 0.25)
    assert sum(found.reasons.integrated_gradients) == pytest.approx(change, abs=tolerance + 1e-3)
    assert failing(card, found) == []
    off = replace(found, decision=replace(found.decision, score=(found.decision.score or 0) + 0.1))
    assert "I06" in failing(card, off)


@pytest.mark.parametrize("deviation", [0.005, 98_765.43])
def test_the_reasons_of_a_number_are_checked_in_units_of_its_deviation(
    trained: Classifier, card: RunCard, deviation: float
) -> None:
    """Their tolerances were those of logits, so that everything passed in a small unit."""
    classifier = make(trained, "regression")
    labelling = replace(classifier.labelling, decision={"mean": 4 * deviation, "deviation": deviation})
    found = trace(replace(classifier, labelling=labelling), TEXT)
    assert failing(card, found) == []
    reasons = found.reasons
    assert reasons is not None
    [first, *others], [unmasked, *masked] = reasons.integrated_gradients, reasons.deletion
    missed: dict[str, Any] = {
        "integrated_gradients": [first + deviation, *others],
        "completeness_error": reasons.completeness_error + deviation,
        "is_converged": True,
    }
    for id, changed in (
        ("I09", missed),
        ("I10", {"score": reasons.score + 0.1 * deviation}),
        ("I11", {"deletion": [unmasked + 0.1 * deviation, *masked]}),
    ):
        assert id in failing(card, replace(found, reasons=replace(reasons, **changed)))
    assert found.decision.score is not None
    moved = replace(found.decision, score=found.decision.score + 0.1 * deviation)
    assert "I06" in failing(card, replace(found, decision=moved))


def test_a_pair_is_read_as_a_prediction_reads_it_and_its_tokens_know_their_text(
    trained: Classifier, card: RunCard
) -> None:
    classifier = make(trained, "regression", has_pairs=True)
    found = trace(classifier, TEXT, SECOND)
    [predicted] = classifier.predict([(TEXT, SECOND)])
    assert found.decision.score == pytest.approx(predicted.score, abs=1e-5)  # type: ignore[attr-defined]
    for text, is_second in ((TEXT, False), (SECOND, True)):
        tokens = [token for token in found.tokens if token.in_pair == is_second and not token.is_special]
        assert "".join(text[token.start : token.end] for token in tokens).replace(" ", "") == text.replace(" ", "")
    words = [TEXT.split(), SECOND.split()]
    assert found.reasons is not None and found.reasons.words == [*words[0], *words[1]]
    assert failing(card, found) == []


def test_long_pairs_are_cut_as_in_a_prediction(trained: Classifier, card: RunCard) -> None:
    classifier = make(trained, "regression", has_pairs=True)
    long = " ".join(["warm", "cold", "never"] * 120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.tracing.prediction.give_reasons", lambda *_: None)
        found = trace(classifier, long, SECOND + " " + long)
    [predicted] = classifier.predict([(long, SECOND + " " + long)])
    assert found.was_cut and len(found.tokens) == classifier.max_seq_len
    assert found.decision.score == pytest.approx(predicted.score, abs=1e-5)  # type: ignore[attr-defined]
    assert failing(card, found) == []


def test_the_number_of_texts_must_be_that_of_the_model(trained: Classifier) -> None:
    with pytest.raises(UsageError, match="give two"):
        trace(make(trained, "regression", has_pairs=True), TEXT)
    with pytest.raises(UsageError, match="give one"):
        trace(make(trained, "regression"), TEXT, SECOND)
    with pytest.raises(UsageError, match="no text"):
        trace(make(trained, "regression", has_pairs=True), TEXT, " ")


@pytest.mark.parametrize("bias", [0.0, 8.0])  # of "no entity": with entities, and without
def test_a_long_text_is_traced_in_the_window_that_labels_the_word(
    trained: Classifier, card: RunCard, bias: float
) -> None:
    classifier = make(trained, "tokens")
    with torch.no_grad():
        classifier.model.classifier.bias[0] += bias
    long = " ".join(f"{word} {number}" for number in range(60) for word in ("warm", "cold", "never", "the hotel"))
    rows = read_words(classifier.tokenizer, [long], "blanks", classifier.max_seq_len)
    assert len(rows.rows) > 2
    every = torch.cat(
        [classifier.predict_logits([ids])[0][places] for ids, places in zip(rows.rows, rows.positions, strict=True)]
    )
    [predicted] = classifier.predict([long])
    given = predicted.entities  # type: ignore[attr-defined]
    assert bool(given) == (bias == 0)
    starts = [start for start, _ in rows.words[0]]
    place = starts.index(given[0].start) if given else int(every.softmax(-1)[:, 0].argmin())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.tracing.prediction.give_reasons", lambda *_: None)
        found = trace(classifier, long)
    assert found.was_cut and found.text in long and len(found.text) < len(long)
    start, end = rows.words[0][place]
    assert found.word is not None and found.text[found.word.start : found.word.end] == long[start:end]
    assert found.head.logits == pytest.approx(every[place].tolist(), abs=1e-4)
    assert found.prediction_error < 1e-4
    shift = start - found.word.start
    assert [(each.start + shift, each.end + shift) for each in found.entities] == [
        (each.start, each.end) for each in given if shift <= each.start and each.end <= shift + len(found.text)
    ]
    assert failing(card, found) == []


def test_entities_are_traced_at_the_first_token_of_a_word(trained: Classifier, card: RunCard) -> None:
    classifier = make(trained, "tokens")
    found = trace(classifier, TEXT)
    [predicted] = classifier.predict([TEXT])
    given = [(each.start, each.end, each.type) for each in predicted.entities]  # type: ignore[attr-defined]
    assert [(each.start, each.end, each.type) for each in found.entities] == given
    assert found.word is not None
    ids = [token.id for token in found.tokens]
    logits = classifier.predict_logits([ids])[0, found.word.position]
    assert found.head.logits == pytest.approx(logits.tolist(), abs=1e-4)
    assert summed(found) == pytest.approx(found.head.logits, abs=1e-4)
    assert found.label_names[found.decision.index] == found.word.label == found.decision.label
    if given:
        assert found.tokens[found.word.position].end > given[0][0]
    assert failing(card, found) == []


def test_the_entities_of_a_stack_are_those_that_are_returned(trained: Classifier, card: RunCard) -> None:
    alone = make(trained, "tokens")
    every_word = np.where(np.array(OUTPUTS["tokens"]) == "B-PER", 50.0, 0.0)
    stacked = replace(alone, stacked=StackedModel(partners=(), stack=Stack(np.ones(1), every_word)))
    found = trace(stacked, TEXT)
    [predicted] = stacked.predict([TEXT])
    given = [(each.start, each.end, each.type) for each in predicted.entities]  # type: ignore[attr-defined]
    assert [(each.start, each.end, each.type) for each in found.entities] == given
    assert given != [(each.start, each.end, each.type) for each in trace(alone, TEXT).entities]
    assert found.word is not None and (found.word.start, found.stack and found.stack.label) == (0, "B-PER")
    assert failing(card, found) == []
