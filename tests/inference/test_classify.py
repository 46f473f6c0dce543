"""Predictions keep their order and do not depend on the other texts of the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier

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
    ids, was_cut = classifier.encode("The sun rises in the east. " * 300)
    assert was_cut
    assert len(ids) == 512
    assert (ids[0], ids[-1]) == (classifier.tokenizer.bos_id, classifier.tokenizer.eos_id)
