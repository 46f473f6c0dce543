"""A linear probe is scikit-learn's logistic regression on mean vectors, and becomes the head of a classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pretune.data.padding import pad_rows
from pretune.model.config import ModelConfig
from pretune.model.transformer import SequenceClassifier, Transformer
from pretune.training.linear_probe import fit_linear_probe, pooled_vectors

CONFIG = ModelConfig(
    vocab_size=100, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=96
)


@pytest.fixture
def transformer() -> Transformer:
    model, rng = Transformer(CONFIG), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.2, generator=rng)
    return model


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_head_from_the_probe_predicts_as_scikit_learn_does(transformer: Transformer, num_classes: int) -> None:
    draw = np.random.default_rng(0)
    rows = [draw.integers(4, 100, size=draw.integers(3, 12)).tolist() for _ in range(60)]
    labels = draw.integers(0, num_classes, size=60)
    vectors = pooled_vectors(transformer, rows)
    probe = fit_linear_probe(vectors, labels, num_classes)
    assert probe is not None
    expected = LogisticRegression(max_iter=1000).fit(vectors.astype(np.float64), labels)
    model = SequenceClassifier(CONFIG, num_classes)
    model.transformer.load_state_dict(transformer.state_dict())
    probe.copy_into(model.classifier)
    with torch.no_grad():
        found = torch.softmax(model(*pad_rows(rows, 0)), dim=-1).numpy()
    np.testing.assert_allclose(found, expected.predict_proba(vectors), atol=2e-3)


def test_a_class_without_rows_is_hardly_predicted() -> None:
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(20, 8)).astype(np.float32), np.arange(20) % 2 * 2
    probe = fit_linear_probe(vectors, labels, 3)
    assert probe is not None
    assert set((vectors @ probe.weight.T + probe.bias).argmax(axis=1)) <= {0, 2}


def test_one_class_has_no_probe() -> None:
    assert fit_linear_probe(np.zeros((4, 8), dtype=np.float32), np.ones(4, dtype=np.int64), 2) is None
