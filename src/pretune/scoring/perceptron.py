"""Training of the linear tagger: an averaged perceptron over rows of words with their tags.

Shapes: T words of all rows together, S features per word, K tags (IOB2, see `tag_entities`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pretune.scoring.tag_entities import IntArray, TagBaseline, TaggedRows, entity_f1
from pretune.scoring.tag_features import IdArray, TagFeatures
from pretune.scoring.tagger import Tagger, TagWeights, allowed_pairs

FloatArray = npt.NDArray[np.float64]

_MAX_EPOCHS = 20
_MIN_EPOCHS = 3
_MAX_WORDS_SEEN = 2_500_000  # a budget for all epochs: about a minute on one core
_PATIENCE = 3  # epochs without a better F1 on validation
_MAX_WEIGHTS = 60_000_000  # half a gigabyte for each of two tables


def predict_tagger(
    train: TaggedRows, validation: TaggedRows, test_words: Sequence[Sequence[str]], num_types: int, *, seed: int = 0
) -> TagBaseline:
    """Train the tagger, and tag the test rows with it."""
    tagger, chosen = train_tagger(train, validation, num_types, seed=seed)
    return TagBaseline(
        name="averaged perceptron on word shapes and neighbours",
        kind="tagger",
        tags=list(tagger.iter_tags(test_words)),
        chosen=chosen,
    )


def train_tagger(
    train: TaggedRows, validation: TaggedRows, num_types: int, *, seed: int = 0
) -> tuple[Tagger, dict[str, float | str]]:
    """The tagger of the epoch that has the highest entity F1 on the validation rows, and what was chosen.

    The structured perceptron of Collins 2002 ("Discriminative training methods for hidden Markov models"), its weights
    averaged over all updates. The tag of the word before counts through weights of pairs of tags; pairs that IOB2
    excludes are never predicted. `seed` decides the order of the rows.
    """
    num_tags = 2 * num_types + 1
    features = TagFeatures.of_rows(train.words)
    min_count = features.limit(_MAX_WEIGHTS // num_tags)
    perceptron = Perceptron(features.num_features, num_types)
    encoded, checked = features.encode(train.words), list(features.iter_rows(validation.words))
    best: tuple[float, int, Tagger] | None = None
    for epoch in range(1, _count_epochs(len(encoded)) + 1):
        perceptron.train_epoch(encoded, train, np.random.default_rng((seed, epoch)))
        weights = perceptron.average()
        figure = entity_f1(validation.tags, map(weights.decode, checked))
        if best is None or figure > best[0]:
            best = figure, epoch, Tagger(features, weights)
        elif epoch - best[1] >= _PATIENCE:
            break
    assert best is not None
    figure, epoch, tagger = best
    return tagger, {"epochs": epoch, "min_count": min_count, "validation_score": figure}


def _count_epochs(num_words: int) -> int:
    return int(np.clip(_MAX_WORDS_SEEN // max(num_words, 1), _MIN_EPOCHS, _MAX_EPOCHS))


class Perceptron:
    """The weights while they are trained, and the sums from which their averages follow.

    A change at update u of n counts for (n - u) / n in the average; the sums of u times each change give it without
    adding up all weights after every row (Daumé 2006, "Practical structured learning techniques", figure 2.3).
    """

    def __init__(self, num_features: int, num_types: int) -> None:
        num_tags = 2 * num_types + 1
        self._weights = TagWeights(np.zeros((num_features, num_tags)), *allowed_pairs(num_types))
        self._sums = TagWeights(np.zeros((num_features, num_tags)), np.zeros((num_tags, num_tags)), np.zeros(num_tags))
        self._num_rows = 0

    def train_epoch(self, features: IdArray, rows: TaggedRows, random: np.random.Generator) -> None:
        ends = np.cumsum([len(words) for words in rows.words])
        for index in random.permutation(len(ends)):
            true = np.asarray(rows.tags[index], dtype=np.int64)
            self._learn(features[ends[index] - len(true) : ends[index]], true)

    def average(self) -> TagWeights:
        now, sums, n = self._weights, self._sums, max(self._num_rows, 1)
        return TagWeights(
            now.emission - sums.emission / n,
            now.transition - sums.transition / n,
            now.initial - sums.initial / n,
        )

    def _learn(self, features: IdArray, true: IntArray) -> None:
        found = self._weights.decode(features)
        if not np.array_equal(found, true):
            wrong = np.flatnonzero(found != true)
            changed = np.union1d(wrong, wrong + 1)  # pairs of tags with a wrong one
            for weights, change in ((self._weights, 1.0), (self._sums, float(self._num_rows))):
                for tags, amount in ((true, change), (found, -change)):
                    np.add.at(weights.emission, (features[wrong], tags[wrong, None]), amount)
                    weights.emission[0] = 0.0  # what is unknown has no weight
                    second = changed[(changed > 0) & (changed < len(tags))]
                    np.add.at(weights.transition, (tags[second - 1], tags[second]), amount)
                    weights.initial[tags[0]] += amount
        self._num_rows += 1
