"""The n-gram model that ours is compared with follows its paper, and every token is counted once."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

VOCAB_SIZE, ORDER, PREDICTABLE = 9, 4, 6  # tokens 4 to 8, and the end 2; 1 begins a document


@pytest.fixture(scope="module")
def script() -> Any:
    import ngram_comparison

    return ngram_comparison


def draw(count: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    chances = np.random.default_rng(0).dirichlet(np.full(VOCAB_SIZE - 4, 0.3), size=VOCAB_SIZE)
    documents = []
    for _ in range(count):
        document = [1]
        for _ in range(rng.integers(0, 12)):
            document.append(4 + int(rng.choice(VOCAB_SIZE - 4, p=chances[document[-1]])))
        documents.append([*document, 2])
    return documents


def flat(documents: list[list[int]]) -> tuple[Any, Any]:
    return np.concatenate(documents), np.concatenate([[0], np.cumsum([len(each) for each in documents])])


@pytest.fixture(scope="module")
def model(script: Any) -> Any:
    return script.KneserNey(*flat(draw(300, seed=1)), VOCAB_SIZE, PREDICTABLE, ORDER)


def test_probabilities_are_those_of_the_paper_by_hand(script: Any, model: Any) -> None:
    """Chen and Goodman (1999), equations 4 to 8, with dictionaries."""
    known = draw(300, seed=1)
    raw = {
        n: Counter(tuple(each[i : i + n]) for each in known for i in range(len(each) - n + 1))
        for n in range(1, ORDER + 1)
    }
    counts: dict[int, dict[tuple[int, ...], int]] = {ORDER: dict(raw[ORDER])}
    for n in range(1, ORDER):
        before = defaultdict(set)
        for gram in raw[n + 1]:
            before[gram[1:]].add(gram[0])
        counts[n] = {gram: raw[n][gram] if gram[0] == 1 else len(before[gram]) for gram in raw[n]}
    counts[1][(1,)] = 0
    discount = {n: script.discounts(np.array(list(counts[n].values()), dtype=np.float64)) for n in counts}

    def probability(word: int, context: tuple[int, ...]) -> float:
        lower = probability(word, context[1:]) if context else 1 / PREDICTABLE
        n = len(context) + 1
        following = {gram: count for gram, count in counts[n].items() if gram[:-1] == context}
        total = sum(following.values())
        if total == 0:
            return lower
        own = following.get((*context, word), 0)
        left = sum(discount[n][min(3, count)] for count in following.values())
        return float((own - discount[n][min(3, own)]) / total + left / total * lower)

    documents = [*draw(25, seed=2), [1, 4, 4, 4, 4, 4, 2], [1, 2]]
    found = model.probabilities(*flat(documents))
    expected = [
        probability(each[i], tuple(each[max(0, i - ORDER + 1) : i])) for each in documents for i in range(1, len(each))
    ]
    tokens, offsets = flat(documents)
    np.testing.assert_allclose(found[script.places(offsets) > 0], expected, rtol=1e-12)
    assert len(tokens) - len(documents) == len(expected)


@pytest.mark.parametrize("context", [[1], [1, 4], [1, 4, 5, 6], [1, 8, 8, 8, 8, 8]])
def test_after_any_context_they_sum_to_one(model: Any, context: list[int]) -> None:
    documents = [[*context, word] for word in (2, *range(4, VOCAB_SIZE))]
    found = model.probabilities(*flat(documents)).reshape(len(documents), -1)[:, -1]
    assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 12, 13, 40])
def test_every_token_after_the_first_counts_in_one_window(script: Any, length: int) -> None:
    windows = script.windows_of(np.arange(length), 8)
    counted = [int(token) for window, first in windows for token in window[first + 1 :]]
    assert counted == list(range(1, length))
