"""Without labels, a pre-trained model answers with the label words; a blank text is a tie, and bad input a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.errors import ModelError, UsageError
from pretune.inference.load import load_filler
from pretune.inference.predict import predict
from pretune.inference.zero_shot import zero_shot_classifier
from pretune.model.transformer import ClozeClassifier

WORDS = ("bad=cold", "good=warm")


def test_the_answers_are_calibrated_by_a_blank_text(run_folder: Path) -> None:
    classifier, sentence = zero_shot_classifier(run_folder / "pretrain", WORDS, "{text} It was [MASK] .")
    filler = load_filler(run_folder / "pretrain")
    ids = [filler.tokenizer.encode(word)[1] for word in ("cold", "warm")]
    [found] = classifier.predict(["The film was wonderful"])
    logs = [
        torch.log(filler.predict_masked(text)[0][ids]).numpy()
        for text in ("The film was wonderful It was [MASK] .", "It was [MASK] .")
    ]
    p = np.exp(logs[0] - logs[1])
    np.testing.assert_allclose([found.probabilities[name] for name in ("bad", "good")], p / p.sum(), atol=1e-4)
    assert "It was [MASK] ." in sentence
    assert predict(classifier, ["", None])[0].is_empty


def test_it_is_calibrated_on_the_device_at_hand(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    move, answer = ClozeClassifier.to, ClozeClassifier.forward
    monkeypatch.setattr(ClozeClassifier, "to", lambda model, device: calls.append(device) or move(model, "cpu"))
    monkeypatch.setattr(ClozeClassifier, "forward", lambda *given: calls.append("answer") or answer(*given))
    monkeypatch.setattr("pretune.inference.zero_shot.device_at_hand", lambda: "cuda")
    zero_shot_classifier(run_folder / "pretrain", WORDS)
    assert calls[-2:] == ["cuda", "answer"]


def test_the_pattern_is_suggested(run_folder: Path) -> None:
    classifier, sentence = zero_shot_classifier(run_folder / "pretrain", ("negative=cold", "positive=warm"))
    assert classifier.label_names == ("negative", "positive")
    assert "suggested; --pattern changes it" in sentence


@pytest.mark.parametrize(
    ("words", "pattern", "sentence"),
    [
        ((), "{text} [MASK]", "given without --label-words"),
        (("a=cold",), None, "1 labels; expected at least two"),
        (("a=cold", "b=wonderfully"), None, "'wonderfully' for the label 'b' is"),
        (WORDS, "It was.", "has no [MASK]"),
        (WORDS, "{text} [MASK] {text_pair}", "the rows have a single text"),
    ],
)
def test_bad_input_gets_a_sentence(
    run_folder: Path, words: tuple[str, ...], pattern: str | None, sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        zero_shot_classifier(run_folder / "pretrain", words, pattern)
    assert sentence in str(caught.value)


def test_a_classifier_fills_in_no_words(run_folder: Path) -> None:
    with pytest.raises(ModelError, match="which does not fill in words"):
        zero_shot_classifier(run_folder / "finetune" / "checkpoint", WORDS)
