"""A model of pairs that can be kept scores as its features times its weights do, and explains what it adds up."""

from __future__ import annotations

import numpy as np
import pytest

from pretune.scoring.pair_features import PairRows, ScoredPairs, name_pair_features
from pretune.scoring.pair_model import OVERLAP, PairModel, train_pair_classifier, train_pair_scores

PAIRS = [
    ("A dog runs in the park.", "a dog is running in a park"),
    ("The cat sleeps.", "The cat doesn't sleep."),
    ("Nobody sings", "a woman sings a song"),
    ("The cat sleeps.", "The cat sleeps."),
    ("7 boys play", "8 boys play"),
    ("7 boys play", "7 girls play"),
] * 3
OTHERS = [("a cat runs", "the dog sleeps in the park"), ("", "quite unknown"), ("The cat sleeps.", "The cat sleeps.")]


@pytest.mark.parametrize("most", [None, 10])
def test_scores_are_those_of_the_features(most: int | None) -> None:
    vocabulary, features = name_pair_features(PAIRS, OTHERS, most=most)
    random = np.random.default_rng(0)
    weights = random.normal(size=(features[0].shape[1], 3)).astype(np.float32)
    model = PairModel(vocabulary, weights, random.normal(size=3))
    for pairs, table in zip((PAIRS, OTHERS), features, strict=True):
        assert model.score(pairs) == pytest.approx(table @ weights + model.bias, abs=1e-4)
    assert len(vocabulary.ngrams) == 10 if most else len(vocabulary.ngrams) > 10
    assert model.score([]).shape == (0, 3)


def test_an_explanation_adds_up_to_the_scores() -> None:
    labels = np.array([0, 1, 1, 0, 1, 1] * 3)
    rows = PairRows(pairs=PAIRS, labels=labels)
    model, chosen = train_pair_classifier(rows, rows, 2)
    assert "C" in chosen
    assert (model.score(PAIRS).argmax(axis=1) == labels).mean() > 0.9
    for pair in (*PAIRS[:6], *OTHERS):
        names, added = model.explain(pair)
        assert names[0] == OVERLAP
        assert added.sum(axis=0) + model.bias == pytest.approx(model.score([pair])[0])
    names, _ = model.explain(("The cat sleeps.", "a dog"))
    assert {"first: cat", "second: dog"} <= set(names)
    names, _ = model.explain(PAIRS[4])
    assert {"both: boys", "both: play"} <= set(names)
    assert {"7 → 8", "only first: 7", "only second: 8"} <= set(names)


def test_arrays_keep_the_model() -> None:
    rows = ScoredPairs(pairs=PAIRS, scores=np.linspace(1, 5, len(PAIRS)))
    model, _ = train_pair_scores(rows, rows)
    loaded = PairModel.from_tensors(model.to_tensors())
    assert np.array_equal(loaded.score([*PAIRS, *OTHERS]), model.score([*PAIRS, *OTHERS]))
    with pytest.raises(ValueError, match="do not belong together"):
        PairModel.from_tensors({**model.to_tensors(), "weights": model.weights[1:]})
