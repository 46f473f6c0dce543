"""Features of words: their shapes, and numbers that are the same for the same word among the same neighbours."""

from __future__ import annotations

import numpy as np

from pretune.scoring.tag_features import TagFeatures, word_outline, word_shape


def test_shapes() -> None:
    assert [word_shape(word) for word in ("McKay-7", "1996", "Élan", "U.N.", "")] == [
        "XxXxx-d",
        "dddd",
        "Xxxx",
        "X.X.",
        "",
    ]
    assert [word_outline(word) for word in ("McKay-77", "1996", "OECD")] == ["XxXx-d", "d", "X"]


def test_features_depend_on_the_word_and_two_neighbours_on_each_side() -> None:
    rows = [["a", "b", "c", "D", "e", "f"], ["x", "b", "c", "D", "e", "f"], ["a", "b"]]
    features = TagFeatures.of_rows(rows)
    encoded = features.encode(rows)
    assert encoded.min() > 0  # all of training is known
    assert encoded.max() == features.num_features - 1
    first, second = encoded[:6], encoded[6:12]
    assert [np.array_equal(a, b) for a, b in zip(first, second, strict=True)] == [False, False, False, True, True, True]
    assert not np.array_equal(encoded[1], encoded[13])  # "b" before the end of its row


def test_rows_are_encoded_alone_as_among_others() -> None:
    rows = [["The", "EU"], [], ["rejects", "a", "German", "call"]]
    features = TagFeatures.of_rows(rows)
    together = features.encode(rows)
    assert np.array_equal(together, np.concatenate([features.encode([row]) for row in rows]))


def test_what_did_not_occur_is_unknown() -> None:
    features = TagFeatures.of_rows([["one", "two"]])
    found = features.encode([["Neverseen", "two"]])
    assert (found[0] == 0).sum() > (found[1] == 0).sum() > 0
    assert features.encode([]).shape[0] == 0


def test_a_limit_drops_the_rarest_first() -> None:
    rows = [["often", "said"]] * 3 + [["once", "heard"]]
    features = TagFeatures.of_rows(rows)
    before = features.num_features
    assert features.limit(before) == 1
    assert features.limit(before - 1) == 2
    encoded = features.encode(rows)
    assert features.num_features < before
    assert (encoded[0] > 0).all()
    assert (encoded[-1] == 0).any()
