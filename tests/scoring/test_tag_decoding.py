"""The decoded tags are the best valid ones, as trying all of them finds, and give the entities that seqeval finds."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.tag_decoding import decode_tags, find_entities
from pretune.scoring.tag_entities import entities_of

NAMES = ["O", "B-0", "I-0", "B-1", "I-1"]
Array = npt.NDArray[np.float64]


def log_softmax(random: np.random.Generator, num_words: int) -> Array:
    logits = random.normal(size=(num_words, len(NAMES))) * 2
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def is_valid(tags: tuple[int, ...]) -> bool:
    return all(tag in (0, 1, 3) or (place > 0 and tags[place - 1] in (tag - 1, tag)) for place, tag in enumerate(tags))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 10_000))
def test_the_best_valid_tags_are_found(lengths: list[int], seed: int) -> None:
    offsets = np.cumsum([0, *lengths])
    scores = log_softmax(np.random.default_rng(seed), int(offsets[-1]))
    found = decode_tags(scores, offsets)
    for start, end in pairwise(offsets):
        row = scores[start:end]
        every = [tags for tags in product(range(5), repeat=int(end - start)) if is_valid(tags)]
        best = max(every, key=lambda tags: row[np.arange(len(tags)), list(tags)].sum())
        assert tuple(found[start:end]) == best


def test_a_continuation_without_a_beginning_is_no_entity() -> None:
    """The first word is best as I-0; alone, the best valid tag is O, and before an I-0 it is B-0."""
    scores = np.log([[0.2, 0.1, 0.65, 0.025, 0.025], [0.9, 0.04, 0.02, 0.02, 0.02]])
    assert decode_tags(scores, np.array([0, 2])).tolist() == [0, 0]
    scores = np.log([[0.2, 0.1, 0.65, 0.025, 0.025], [0.02, 0.02, 0.92, 0.02, 0.02]])
    assert decode_tags(scores, np.array([0, 2])).tolist() == [1, 2]


def test_nothing_to_decode() -> None:
    assert decode_tags(np.empty((0, 5)), np.array([0])).tolist() == []
    assert decode_tags(np.empty((0, 5)), np.array([0, 0, 0])).tolist() == []
    assert find_entities(np.empty((0, 5)), np.empty(0, dtype=np.int64), np.array([0, 0])) == [[]]


def test_the_probability_of_an_entity_counts_the_word_after_it() -> None:
    probabilities = np.array([[0.1, 0.6, 0.1, 0.1, 0.1], [0.2, 0.1, 0.5, 0.1, 0.1], [0.5, 0.1, 0.3, 0.05, 0.05]])
    [[found]] = find_entities(np.log(probabilities), np.array([1, 2, 0]), np.array([0, 3]))
    assert found[:3] == (0, 2, 0)
    assert found.probability == pytest.approx(0.6 * 0.5 * (1 - 0.3))
    [[last]] = find_entities(np.log(probabilities[:2]), np.array([1, 2]), np.array([0, 2]))
    assert last.probability == pytest.approx(0.6 * 0.5)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=4), st.integers(0, 10_000))
def test_the_entities_are_those_of_seqeval(lengths: list[int], seed: int) -> None:
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    offsets = np.cumsum([0, *lengths])
    scores = log_softmax(np.random.default_rng(seed), int(offsets[-1]))
    tags = decode_tags(scores, offsets)
    found = find_entities(scores, tags, offsets)
    for row, start, end in zip(found, offsets[:-1], offsets[1:], strict=True):
        own = [NAMES[tag] for tag in tags[start:end]]
        assert [(str(each.type), each.first, each.last - 1) for each in row] == seqeval.get_entities(own)
        assert [each[:3] for each in row] == entities_of(tags[start:end])
        assert all(0 <= each.probability <= 1 for each in row)
