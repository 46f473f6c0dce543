"""Probes read what is there, and their controls what chance and untrained layers give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.data.labelled_rows import LabeledShard
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.tracing.forward import pooled_states
from pretune.tracing.probes import ProbeRows, choose_rows, describe_states, fit_probes, with_random_weights
from pretune.tracing.run_context import read_labelled


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


@pytest.fixture(scope="module")
def training(prepared_folder: Path) -> LabeledShard:
    return read_labelled(prepared_folder, "train")


@pytest.fixture(scope="module")
def validation(prepared_folder: Path) -> LabeledShard:
    return read_labelled(prepared_folder, "validation")


def test_a_word_that_tells_the_labels_apart_is_read_from_the_embedding(
    classifier: Classifier, training: LabeledShard, validation: LabeledShard
) -> None:
    rows, held_out = choose_rows(training, 2000, 10**6), choose_rows(validation, 2000, 10**6)
    probes = fit_probes(classifier, rows, held_out)
    assert probes is not None and len(probes) == 3
    assert probes[0].validation_accuracy > 0.9
    assert probes[0].random_weights_accuracy > 0.9  # a bag of words is enough
    assert all(probe.shuffled_accuracy < 0.85 for probe in probes)
    assert {probe.n for probe in probes} == {len(held_out.labels)}
    states = pooled_states(classifier.model.transformer, held_out.rows)
    for layer, probe in enumerate(probes):
        given = np.array([probe.describe(state).probabilities for state in states[layer]])
        np.testing.assert_allclose(given.sum(1), 1)
        assert given.shape[1] == 3 and not given[:, 2].any()  # a class without rows
        assert (given.argmax(1) == held_out.labels).mean() == pytest.approx(probe.validation_accuracy)
    described = describe_states(probes, list(states[:, 0]))
    assert [probe.probabilities for probe in described if probe is not None] == [
        probes[layer].describe(states[layer, 0]).probabilities for layer in range(3)
    ]


def test_rows_are_spread_and_bounded_by_rows_and_tokens(training: LabeledShard) -> None:
    assert len(choose_rows(training, 10, 10**6).labels) == 10
    few = choose_rows(training, 10**6, 300)
    assert 1 <= sum(map(len, few.rows)) <= 600
    np.testing.assert_array_equal(choose_rows(training, 10**6, 10**6).labels, training.targets.values)


def test_one_class_or_no_validation_rows_give_no_probe(classifier: Classifier) -> None:
    rows = ProbeRows(rows=[[1, 5, 2]] * 4, windows=[1] * 4, labels=np.array([0, 1, 0, 1]))
    none = ProbeRows(rows=[], windows=[], labels=np.array([], dtype=np.int64))
    one = ProbeRows(rows=[[1, 5, 2]], windows=[1], labels=np.array([1]))
    assert fit_probes(classifier, rows, none) is None
    assert fit_probes(classifier, one, rows) is None
    assert describe_states(None, [np.zeros(3, dtype=np.float32)] * 2) == [None, None]


def test_random_weights_have_the_scale_of_the_trained_ones_and_no_other_trace_of_them(classifier: Classifier) -> None:
    trained = classifier.model.transformer
    random = with_random_weights(trained)
    for (name, old), (_, new) in zip(trained.named_parameters(), random.named_parameters(), strict=True):
        if old.ndim > 1:
            assert float(new.detach().std()) == pytest.approx(float(old.detach().std()), rel=0.1), name
            both = torch.stack([old.detach().flatten(), new.detach().flatten()])
            assert abs(float(torch.corrcoef(both)[0, 1])) < 0.1
    again = with_random_weights(trained)
    torch.testing.assert_close(random.state_dict(), again.state_dict(), atol=0, rtol=0)


def test_windows_are_pooled_as_one_text(classifier: Classifier) -> None:
    transformer = classifier.model.transformer
    rows = [[1, 5, 6, 2], [1, 7, 2], [1, 8, 9, 10, 2]]
    alone, pooled = pooled_states(transformer, rows), pooled_states(transformer, rows, [2, 1])
    np.testing.assert_allclose(pooled[:, 0], (4 * alone[:, 0] + 3 * alone[:, 1]) / 7, atol=1e-6)
    np.testing.assert_array_equal(pooled[:, 1], alone[:, 2])
