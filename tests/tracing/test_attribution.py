"""Integrated gradients against known answers and finite differences; occlusion against predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.tracing import attribution
from pretune.tracing.attribution import WordMasking, integrate_gradients, occlude, rank_correlation, sum_by_word
from pretune.tracing.forward import classify_embeddings
from pretune.tracing.words import Word, tokenize

TEXT = "A wonderful film, warm and never dreadful."


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def make_masking(classifier: Classifier, text: str = TEXT) -> WordMasking:
    tokenizer = classifier.tokenizer
    read = tokenize(tokenizer, text, tokenizer.encode_with_offsets(text), classifier.max_seq_len)
    return WordMasking(classifier=classifier, ids=read.ids, words=read.words, first=2, second=0)


def scores_of(masking: WordMasking) -> tuple[float, float]:
    score, masked_score = masking.scores([[], range(len(masking.words))])
    return float(score), float(masked_score)


def test_a_row_without_masks_is_the_text(classifier: Classifier) -> None:
    masking = make_masking(classifier)
    assert masking.rows([[]])[0].tolist() == masking.ids
    logits = classifier.predict_logits([masking.ids])[0]
    assert masking.scores([[]])[0] == pytest.approx(float(logits[2] - logits[0]), abs=1e-5)


def test_masking_all_words_leaves_the_special_tokens(classifier: Classifier) -> None:
    masking, tokenizer = make_masking(classifier), classifier.tokenizer
    [row] = masking.rows([range(len(masking.words))]).tolist()
    assert row == [tokenizer.bos_id, *[tokenizer.mask_id] * (len(masking.ids) - 2), tokenizer.eos_id]


def test_gradients_of_a_linear_score_are_its_weights(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    masking = make_masking(classifier)
    weight = torch.randn(len(masking.ids), 64, generator=torch.Generator().manual_seed(1))

    def linear(_model: object, x: Tensor, *_: object) -> Tensor:
        score = (x * weight).sum((1, 2))
        return torch.stack([0 * score, 0 * score, score], dim=1)

    monkeypatch.setattr(attribution, "classify_embeddings", linear)
    table = classifier.model.transformer.embed_tokens.weight.detach()
    end, start = table[masking.ids], table[masking.rows([range(len(masking.words))])[0]]
    by_token = ((end - start) * weight).sum(-1).double().numpy()
    found = integrate_gradients(masking, float((end * weight).sum()), float((start * weight).sum()))
    np.testing.assert_allclose(found.words, sum_by_word(by_token, masking.words), rtol=1e-4, atol=1e-4)
    assert found.is_converged and found.steps == 64 and abs(found.error) < 1e-3


def test_gradients_agree_with_finite_differences(classifier: Classifier) -> None:
    masking = make_masking(classifier)
    score, masked_score = scores_of(masking)
    found = integrate_gradients(masking, score, masked_score)
    table = classifier.model.transformer.embed_tokens.weight.detach()
    end, start = table[masking.ids], table[masking.rows([range(len(masking.words))])[0]]
    by_token = np.zeros(len(masking.ids))
    width = 2e-2
    for position in range(len(masking.ids)):
        change = torch.zeros_like(end)
        change[position] = (end - start)[position]
        fractions = (torch.arange(found.steps) + 0.5) / found.steps
        points = start + fractions[:, None, None] * (end - start)
        with torch.no_grad():
            logits = classify_embeddings(
                classifier.model, torch.cat([points + width * change, points - width * change])
            ).double()
        above, below = (logits[:, 2] - logits[:, 0]).chunk(2)
        by_token[position] = float(((above - below) / (2 * width)).mean())
    np.testing.assert_allclose(found.words, sum_by_word(by_token, masking.words), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("text", [TEXT, "sun", "🙂 لا [MASK]", "A film. " * 12])
def test_the_sum_is_the_difference_of_the_scores_and_the_error(classifier: Classifier, text: str) -> None:
    masking = make_masking(classifier, text)
    score, masked_score = scores_of(masking)
    found = integrate_gradients(masking, score, masked_score)
    assert found.words.sum() == pytest.approx(score - masked_score + found.error, abs=1e-6)
    assert found.is_converged == (abs(found.error) <= max(0.02 * abs(score - masked_score), 0.01))
    assert found.is_converged or found.steps == 512


def test_steps_double_until_the_error_is_small(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    masking = make_masking(classifier)
    score, masked_score = scores_of(masking)
    assert integrate_gradients(masking, score + 100, masked_score).steps == 512
    assert not integrate_gradients(masking, score + 100, masked_score).is_converged
    monkeypatch.setattr(attribution, "TOKEN_STEPS", 128 * len(masking.ids))
    assert integrate_gradients(masking, score + 100, masked_score).steps == 128


@pytest.mark.parametrize("scale", [0.001, 1000.0])
def test_the_unit_of_a_number_does_not_decide_whether_its_gradients_converge(
    classifier: Classifier, scale: float
) -> None:
    """With an absolute tolerance in the units of the file, those of a rate between 0 and 0.05 always did."""
    masking = make_masking(classifier)
    for score, masked_score in (scores_of(masking), (0.0, 0.0)):
        plain = integrate_gradients(masking, score, masked_score)
        found = integrate_gradients(replace(masking, scale=scale), scale * score, scale * masked_score)
        assert (found.is_converged, found.steps) == (plain.is_converged, plain.steps)


@pytest.mark.slow
def test_a_text_of_512_tokens_is_integrated_once(classifier: Classifier) -> None:
    masking = make_masking(classifier, "dreadful film " * 400)
    assert len(masking.ids) == 512
    assert integrate_gradients(masking, 1e6, 0.0).steps == 64


def test_occlusion_is_a_prediction_without_the_word(classifier: Classifier) -> None:
    masking = make_masking(classifier)
    score, _ = scores_of(masking)
    found = occlude(masking, score)
    for number, word in enumerate(masking.words):
        ids = [classifier.tokenizer.mask_id if i in word.positions else token for i, token in enumerate(masking.ids)]
        logits = classifier.predict_logits([ids])[0]
        assert found[number] == pytest.approx(score - float(logits[2] - logits[0]), abs=1e-4)


def test_attributions_do_not_need_gradients_to_be_on(classifier: Classifier) -> None:
    masking = make_masking(classifier)
    score, masked_score = scores_of(masking)
    with torch.inference_mode():
        inside = integrate_gradients(masking, score, masked_score)
    np.testing.assert_allclose(inside.words, integrate_gradients(masking, score, masked_score).words, atol=1e-6)


def test_subwords_are_added_up() -> None:
    words = [Word(surface="a", positions=(1, 2)), Word(surface="b", positions=(4,))]
    assert sum_by_word(np.array([9.0, 1, 2, 9, 5]), words).tolist() == [3, 5]


@pytest.mark.parametrize("seed", range(5))
def test_the_rank_correlation_is_spearmans(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, 20).astype(float), rng.normal(size=20)
    assert rank_correlation(first, second) == pytest.approx(float(spearmanr(first, second).statistic))


def test_no_rank_correlation_without_different_values() -> None:
    assert rank_correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None
