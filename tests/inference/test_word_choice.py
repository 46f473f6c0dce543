"""Words are chosen for a label if the model expects them for its rows and not for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.errors import InputDataError
from pretune.inference import word_choice
from pretune.inference.load import load_filler
from pretune.inference.word_choice import choose_label_words, mask_log_probabilities
from pretune.text.cloze.label_words import single_token
from pretune.text.tokenizer.tokenizer import Tokenizer

PLANTED = [("great", "good"), ("bad",)]


@pytest.fixture(scope="module")
def tokenizer(train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    return train_tokenizer(["it was great and good , not terrible or bad for the sports news of Tuesday ."] * 50)


def test_the_words_of_one_label_are_found(
    run_folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_filler(run_folder / "pretrain").model
    draw, labels = np.random.default_rng(0), np.arange(20) % 2
    log_p = draw.normal(-5.0, 0.1, (20, tokenizer.vocab_size)).astype(np.float32)
    for label, words in enumerate(PLANTED):
        for word in words:
            log_p[labels == label, single_token(word, tokenizer)] += 1.0
    monkeypatch.setattr(word_choice, "mask_log_probabilities", lambda _model, rows: log_p[[row[0] for row in rows]])
    rows = [[number] for number in range(20)]
    found = choose_label_words(model, tokenizer, rows, labels, ("p", "n"))
    assert [set(words[: len(planted)]) for words, planted in zip(found.words, PLANTED, strict=True)] == [
        set(planted) for planted in PLANTED
    ]
    ids = [token for of_label in found.ids for token in of_label]
    assert len(set(ids)) == len(ids)
    assert [single_token(word, tokenizer) for words in found.words for word in words] == ids
    with pytest.raises(InputDataError, match="The label 'x' has no training row"):
        choose_label_words(model, tokenizer, rows, labels, ("p", "n", "x"))


def test_log_probabilities_are_those_of_a_filled_in_word(run_folder: Path) -> None:
    filler = load_filler(run_folder / "pretrain")
    texts = ["A wonderful [MASK].", "The sun rises in the [MASK] and never in the west, of course."]
    found = mask_log_probabilities(filler.model, [filler.encode(text) for text in texts])
    for row, text in zip(found, texts, strict=True):
        expected = filler.predict_masked(text)[0]
        torch.testing.assert_close(torch.from_numpy(row).exp(), expected, atol=1e-5, rtol=1e-4)
