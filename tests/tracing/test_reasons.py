"""Reasons are about the label, compared with chance, and a flip is a prediction of the masked text."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.trace_schema import Flip, Reasons
from pretune.tracing import reasons as module
from pretune.tracing.attribution import WordMasking
from pretune.tracing.reasons import DELETED_WORDS, FLIPPED_WORDS, give_reasons
from pretune.tracing.words import TokenizedText, Word, tokenize

TEXTS = ["A wonderful film, warm and never dreadful.", "sun", "The hotel was cold 🙂 لا", "We never liked it! " * 8]


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def read(classifier: Classifier, text: str) -> TokenizedText:
    return tokenize(classifier.tokenizer, text, classifier.tokenizer.encode_with_offsets(text), 512)


def reasons_of(classifier: Classifier, text: str) -> tuple[Reasons, Flip | None]:
    found = read(classifier, text)
    given = give_reasons(classifier, found.ids, found.words, classifier.predict_logits([found.ids])[0])
    assert given is not None
    return given


@pytest.mark.parametrize("text", TEXTS)
def test_the_deletion_curves_begin_at_the_score_and_end_when_all_words_are_masked(
    classifier: Classifier, text: str
) -> None:
    found, _ = reasons_of(classifier, text)
    count = min(len(found.words), DELETED_WORDS)
    for curve in (found.deletion, found.random_deletion):
        assert len(curve) == count + 1
        assert curve[0] == pytest.approx(found.score, abs=1e-4)
        if count == len(found.words):
            assert curve[-1] == pytest.approx(found.masked_score, abs=1e-4)
    assert found.random_orders == 20
    top = int(np.argmax(found.integrated_gradients))
    assert found.score - found.deletion[1] == pytest.approx(found.occlusion[top], abs=1e-4)


def test_the_deletion_curves_show_if_masking_no_word_changes_the_score(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = WordMasking.rows

    def also_mask_the_end(self: WordMasking, masked: Iterable[Collection[int]]) -> torch.Tensor:
        found = rows(self, masked)
        found[:, -1] = self.classifier.tokenizer.hiding_id
        return found

    monkeypatch.setattr(WordMasking, "rows", also_mask_the_end)
    found, _ = reasons_of(classifier, TEXTS[0])
    for curve in (found.deletion, found.random_deletion):
        assert abs(curve[0] - found.score) > 1e-3


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_are_those_of_the_text(classifier: Classifier, text: str) -> None:
    found, _ = reasons_of(classifier, text)
    assert found.words == text.split()
    assert len(found.words) == len(found.integrated_gradients) == len(found.occlusion)
    best = int(np.argmax(found.integrated_gradients)) == int(np.argmax(found.occlusion))
    assert found.is_top_word_equal == best


def test_a_flip_is_a_prediction_and_a_single_word_if_one_does_it(classifier: Classifier) -> None:
    rng, sizes = np.random.default_rng(0), list[int]()
    vocabulary = "A wonderful film warm and never dreadful the hotel was cold soup rude waiter phone".split()
    for _ in range(10):
        text = " ".join(rng.choice(vocabulary, 6))
        found = read(classifier, text)
        logits = classifier.predict_logits([found.ids])[0]
        _, flip = reasons_of(classifier, text)
        label = int(logits.argmax())
        single = {word for word in range(len(found.words)) if label_without(classifier, found, [word])[0] != label}
        if flip is None:
            assert not single
            continue
        sizes.append(len(flip.words))
        now, probability = label_without(classifier, found, flip.words)
        assert now != label
        assert (flip.label, flip.probability) == (classifier.label_names[now], pytest.approx(probability, abs=1e-4))
        assert (len(flip.words) == 1) == bool(single)
        assert len(flip.words) <= FLIPPED_WORDS
    assert sizes


def label_without(classifier: Classifier, found: TokenizedText, words: Iterable[int]) -> tuple[int, float]:
    hidden = {position for word in words for position in found.words[word].positions}
    ids = [classifier.tokenizer.mask_id if i in hidden else token for i, token in enumerate(found.ids)]
    probabilities = torch.softmax(classifier.predict_logits([ids])[0], dim=-1)
    return int(probabilities.argmax()), float(probabilities.max())


def test_a_pair_is_found_where_no_word_flips_the_label_alone(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score that changes sign only without words 1 and 3, found although word 0 has the largest occlusion."""

    def logits(_self: WordMasking, masked: Iterable[Iterable[int]]) -> torch.Tensor:
        margins = []
        for hidden in (set(words) for words in masked):
            margins.append(5.0 - 1.0 * (0 in hidden) - 0.9 * len({1, 3} & hidden) - 4.0 * (hidden >= {1, 3}))
        return torch.tensor([[0.0, -9.0, margin] for margin in margins])

    monkeypatch.setattr(WordMasking, "logits", logits)
    words = [Word(surface=str(i), positions=(i + 1,)) for i in range(4)]
    masking = WordMasking(classifier=classifier, ids=[1, 5, 6, 7, 8, 2], words=words, first=2, second=0)
    flip = module._find_flip(masking, masking.logits([[word] for word in range(4)]))
    assert flip is not None and set(flip.words) >= {1, 3} and flip.label == "negative"
    assert not any(float(masking.logits([pair])[0, 2]) < 0 for pair in combinations(range(4), 1))


def test_nothing_flips_a_constant(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WordMasking, "logits", lambda _self, masked: torch.tensor([[0.0, 0.0, 5.0] for _ in masked]))
    words = [Word(surface=str(i), positions=(i + 1,)) for i in range(4)]
    masking = WordMasking(classifier=classifier, ids=[1, 5, 6, 7, 8, 2], words=words, first=2, second=0)
    assert module._find_flip(masking, masking.logits([[word] for word in range(4)])) is None


def test_a_long_text_has_fewer_random_orders(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONTROL_TOKENS", 8 * 14 * 30)
    found, _ = reasons_of(classifier, "film " * 14)
    assert 5 <= found.random_orders < 20


def test_no_words_no_reasons(classifier: Classifier) -> None:
    assert give_reasons(classifier, [1, 2], [], classifier.predict_logits([[1, 2]])[0]) is None
