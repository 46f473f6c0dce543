"""The tagger learns from words, shapes, neighbours and the tag before, and cannot learn from shuffled tags."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from pretune.scoring.perceptron import Perceptron, predict_tagger, train_tagger
from pretune.scoring.tag_entities import TaggedRows, entity_f1
from pretune.scoring.tagger import NEIGHBOURS, Tagger, TagWeights, WordAt, allowed_pairs

LOC, PER, PER_INSIDE = 1, 3, 4


def draw_rows(num_rows: int, seed: int) -> TaggedRows:
    """Made-up names: capitals after "in" are places; two capitals in a row are a person; common words are neither."""
    random = np.random.default_rng(seed)

    def name() -> str:
        return "".join(random.choice(list("abcdefghij"), size=6)).capitalize()

    words, tags = [], []
    for _ in range(num_rows):
        if random.random() < 0.5:
            words.append(["they", "met", "in", name(), "at", "noon"])
            tags.append([0, 0, 0, LOC, 0, 0])
        else:
            words.append(["then", name(), name(), "said", "so"])
            tags.append([0, PER, PER_INSIDE, 0, 0])
    return TaggedRows(words=words, tags=tags)


def test_unseen_names_are_found_by_shape_and_neighbours() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((150, 40, 60)))
    found = predict_tagger(train, validation, test.words, 2)
    assert entity_f1(test.tags, found.tags) == 1.0
    assert found.chosen["validation_score"] == 1.0
    again = predict_tagger(train, validation, test.words, 2)
    assert all(np.array_equal(a, b) for a, b in zip(found.tags, again.tags, strict=True))


def test_shuffled_tags_teach_nothing() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((150, 40, 60)))
    random = np.random.default_rng(0)
    shuffled = [random.permutation([0, 0, 0, LOC, PER, 0][: len(words)]).tolist() for words in train.words]
    found = predict_tagger(TaggedRows(words=train.words, tags=shuffled), validation, test.words, 2)
    assert entity_f1(test.tags, found.tags) < 0.4


def test_empty_rows_and_no_entities() -> None:
    rows = TaggedRows(words=[[], ["a", "b"]], tags=[[], [0, 0]])
    found = predict_tagger(rows, rows, [["b", "a"], []], 1)
    assert [tags.tolist() for tags in found.tags] == [[0, 0], []]
    assert predict_tagger(TaggedRows(words=[], tags=[]), rows, [["a"]], 1).tags[0].tolist() == [0]


def test_decoding_finds_the_best_of_all_allowed_tags() -> None:
    random = np.random.default_rng(1)
    transition, initial = allowed_pairs(2)
    weights = TagWeights(random.normal(size=(8, 5)), transition + random.normal(size=(5, 5)), initial)
    features = random.integers(8, size=(4, 3)).astype(np.int32)
    scores = weights.emission[features].sum(axis=1)

    def score(tags: tuple[int, ...]) -> float:
        pairs = sum(weights.transition[a, b] for a, b in itertools.pairwise(tags))
        return float(initial[tags[0]] + pairs + scores[range(4), tags].sum())

    best = max(itertools.product(range(5), repeat=4), key=score)
    assert tuple(weights.decode(features)) == best
    assert all(b - 1 in (a, a - 1) for a, b in itertools.pairwise((0, *best)) if b in (2, 4))


def test_a_score_is_what_the_best_tags_lose_if_a_word_has_this_tag() -> None:
    random = np.random.default_rng(1)
    transition, initial = allowed_pairs(2)
    weights = TagWeights(random.normal(size=(8, 5)), transition + random.normal(size=(5, 5)), initial)
    features = random.integers(8, size=(4, 3)).astype(np.int32)
    scores = weights.emission[features].sum(axis=1)
    best = np.full((4, 5), -np.inf)
    for tags in itertools.product(range(5), repeat=4):
        pairs = sum(weights.transition[a, b] for a, b in itertools.pairwise(tags))
        places = (np.arange(4), list(tags))
        best[places] = np.maximum(best[places], initial[tags[0]] + pairs + scores[places].sum())
    found = weights.max_marginals(features)
    is_valid = np.isfinite(best)
    assert found[is_valid] == pytest.approx(best[is_valid])
    assert (~is_valid)[0].tolist() == [False, False, True, False, True]
    assert found[0, 2] == found[0, 4] == found[0, [0, 1, 3]].min()
    assert found.argmax(axis=1).tolist() == weights.decode(features).tolist()
    assert weights.max_marginals(features[:0]).shape == (0, 5)


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return train_tagger(draw_rows(150, 0), draw_rows(40, 1), 2)[0]


def test_scores_of_rows_are_those_of_their_words(tagger: Tagger) -> None:
    rows = draw_rows(5, 3).words
    scores = tagger.score([*rows, []])
    assert scores.argmax(axis=1).tolist() == [tag for tags in tagger.iter_tags(rows) for tag in tags.tolist()]
    assert (scores.max(axis=1) == 0).all()
    assert np.array_equal(tagger.score([WordAt(rows[1], 2)])[0], scores[len(rows[0]) + 2])
    assert tagger.score([]).shape == (0, 5)


def test_rows_are_encoded_some_at_a_time(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*draw_rows(20, 3).words, [], draw_rows(1, 4).words[0]]
    whole, sizes = tagger.score(rows), list[int]()
    encode = tagger.features.encode
    monkeypatch.setattr("pretune.scoring.tag_features._WORDS_AT_ONCE", 12)
    monkeypatch.setattr(tagger.features, "encode", lambda some: sizes.append(sum(map(len, some))) or encode(some))
    assert np.array_equal(tagger.score(rows), whole)
    assert max(sizes) <= 12 and sum(sizes) == len(whole)


def test_what_features_add_sums_to_the_score(tagger: Tagger) -> None:
    word = WordAt(["they", "met", "in", "Zabcde", "at", "noon"], 3)
    names, added = tagger.explain(word)
    assert added.sum(axis=0) == pytest.approx(tagger.score([word])[0])
    assert names[-1] == NEIGHBOURS
    assert 'before: lower "in"' in names
    assert not any('word "Zabcde"' in name for name in names)  # it was in no training row


def test_files_keep_the_tagger(tagger: Tagger) -> None:
    rows = draw_rows(20, 3).words
    smaller = tagger.keep_largest(10_000)
    loaded = Tagger.from_tensors(smaller.to_tensors())
    assert np.array_equal(loaded.score(rows), smaller.score(rows))
    assert smaller.score(rows) == pytest.approx(tagger.score(rows), abs=1e-4)
    assert tagger.keep_largest(40).features.num_features == 41  # and the unknown one
    with pytest.raises(ValueError, match="do not belong together"):
        Tagger.from_tensors({**smaller.to_tensors(), "initial": np.zeros(3)})


def test_the_average_is_that_of_the_weights_after_each_row() -> None:
    rows = draw_rows(12, 0)
    random = np.random.default_rng(0)
    features = random.integers(1, 40, size=(sum(map(len, rows.words)), 6)).astype(np.int32)
    perceptron, seen = Perceptron(40, 2), []
    learn = perceptron._learn

    def learn_and_note(row: np.ndarray, true: np.ndarray) -> None:
        learn(row, true)
        seen.append((perceptron._weights.emission.copy(), perceptron._weights.transition.copy()))

    perceptron._learn = learn_and_note  # type: ignore[method-assign]
    for epoch in range(2):
        perceptron.train_epoch(features, rows, np.random.default_rng(epoch))
    assert np.abs(seen[-1][0]).max() > 0
    average = perceptron.average()
    assert average.emission == pytest.approx(np.mean([emission for emission, _ in seen], axis=0))
    allowed = np.isfinite(average.transition)
    assert average.transition[allowed] == pytest.approx(np.mean([pairs[allowed] for _, pairs in seen], axis=0))


@pytest.mark.slow
def test_conll_2003_is_no_straw_man(real_data: Path) -> None:
    """0.90 on the development part was measured with all training rows; here it is a third of them."""
    train, development = (read_tags(real_data / f"entities/conll2003_{name}.jsonl.zst") for name in ("train", "dev"))
    held_out, kept = slice(None, None, 12), range(1, len(train.words), 3)
    found = predict_tagger(
        TaggedRows(words=[train.words[i] for i in kept], tags=[train.tags[i] for i in kept]),
        TaggedRows(words=train.words[held_out], tags=train.tags[held_out]),
        development.words,
        4,
    )
    assert entity_f1(development.tags, found.tags) > 0.84


def read_tags(path: Path) -> TaggedRows:
    """Rows of tokens with IOB1 tags: an I-x after another type begins an entity."""
    import json

    import zstandard

    numbers = {name: 1 + 2 * x for x, name in enumerate(("LOC", "MISC", "ORG", "PER"))}
    words, tags = [], []
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            row = [0]
            for tag in record["tags"]:
                first = numbers[tag[2:]] if tag != "O" else 0
                row.append(first + 1 if tag[0] == "I" and row[-1] in (first, first + 1) else first)
            words.append(record["tokens"])
            tags.append(row[1:])
    return TaggedRows(words=words, tags=tags)
