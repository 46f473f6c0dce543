"""Predictions keep their order and do not depend on the other texts of the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.data.padding import pad_rows
from pretune.inference.classify import Classifier
from pretune.inference.load import classifier_of, load_classifier
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.text.tokenizer.windows import MOST_WINDOWS

TEXTS = ["A wonderful film.", "", "🙂 " * 20, "The hotel was dreadful. " * 200, "x", "Großartig!", "[MASK] [PAD]"] * 4


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def test_probabilities_keep_order_and_ignore_the_batch(classifier: Classifier) -> None:
    together = classifier.predict_outputs(TEXTS)
    alone = np.concatenate([classifier.predict_outputs([text]) for text in TEXTS])
    assert together.shape == (len(TEXTS), 3)
    assert together.dtype == np.float64
    np.testing.assert_allclose(together.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert len({tuple(row) for row in np.round(together, 4).tolist()}) > 3  # random weights, but texts do differ


def test_predictions_name_the_most_probable_label(classifier: Classifier) -> None:
    texts = [text for text in TEXTS if text.strip()]
    for prediction, row in zip(classifier.predict(texts), classifier.predict_outputs(texts), strict=True):
        assert prediction.label == classifier.label_names[int(row.argmax())]
        assert prediction.probability == max(prediction.probabilities.values())
        assert list(prediction.probabilities) == list(classifier.label_names)


def test_no_texts_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.predict_outputs([]).shape == (0, 3)


def test_long_texts_are_cut_in_the_middle(classifier: Classifier) -> None:
    text = " ".join(f"The sun rises in the east on day {day}." for day in range(300))
    ids, was_cut = classifier.tokenizer.encode_truncated(text, 512)
    assert was_cut
    assert (ids[0], ids[-1]) == (classifier.tokenizer.bos_id, classifier.tokenizer.eos_id)
    expected = torch.softmax(classifier.predict_logits([ids]), dim=-1).numpy()
    np.testing.assert_allclose(classifier.predict_outputs([text]), expected, atol=1e-5)


@pytest.fixture
def windowed(run_folder: Path, tmp_path: Path) -> Classifier:
    """The same model, saved and loaded as one that reads long texts in windows of up to 40 tokens."""
    loaded = load_model_folder(run_folder / "finetune" / "checkpoint")
    loaded.model.config = replace(loaded.config, max_seq_len=40)
    assert loaded.labelling is not None
    labelling = replace(loaded.labelling, reads_windows=True)
    save_model_folder(tmp_path / "model", loaded.model, loaded.tokenizer_path, labelling)
    return classifier_of(load_model_folder(tmp_path / "model"))


def test_a_long_text_is_the_mean_over_its_windows(classifier: Classifier, windowed: Classifier) -> None:
    text = "The hotel was dreadful. The sun rises in the east. " * 12
    rule = windowed.window_rule
    assert rule is not None
    windows = rule.windows(windowed.tokenizer.encode(text))
    assert len(windows) > 3
    states = [
        windowed.model.transformer(torch.tensor([ids]), torch.zeros(1, len(ids), dtype=torch.long)) for ids in windows
    ]
    expected = windowed.model.classifier(torch.cat([each[0] for each in states]).mean(0))
    torch.testing.assert_close(windowed.predict_windows(windows), expected, atol=1e-5, rtol=1e-5)
    padded = pad_rows(windows, windowed.config.pad_token_id)
    [together] = windowed.model(*padded, windows=torch.tensor([len(windows)]))
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-5)
    found = windowed.predict_outputs([text])[0]
    np.testing.assert_allclose(found, torch.softmax(expected.double(), -1).detach().numpy(), atol=1e-6)
    assert np.abs(found - classifier.predict_outputs([text])[0]).max() > 1e-4


def test_windows_do_not_depend_on_the_other_texts(classifier: Classifier, windowed: Classifier) -> None:
    together = windowed.predict_outputs(TEXTS)
    alone = np.concatenate([windowed.predict_outputs([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    short = [text for text in TEXTS if len(classifier.tokenizer.encode(text)) <= 40]
    assert 0 < len(short) < len(TEXTS)
    assert (windowed.predict_outputs(short) == classifier.predict_outputs(short)).all()  # bit by bit


def test_a_text_of_a_hundred_thousand_tokens_is_predicted(windowed: Classifier) -> None:
    text = "The hotel was dreadful. " * 20_000
    assert len(windowed.tokenizer.encode(text)) > 100_000
    assert windowed.window_rule is not None
    assert len(windowed.window_rule.spans(windowed.tokenizer.encode(text))) == MOST_WINDOWS
    [prediction] = windowed.predict([text])
    assert prediction.label in windowed.label_names
