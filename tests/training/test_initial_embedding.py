"""Word vectors equal a small direct computation of the same definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretune.text.token_shards import ShardWriter, TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.initial_embedding import (
    WINDOW,
    build_word_vectors,
    count_neighbours,
    document_weights,
    documents_of,
    factorise,
    mutual_information,
)


def count_directly(places: list[int], documents: list[int], size: int) -> np.ndarray:
    counts = np.zeros((size, size))
    for i, one in enumerate(places):
        for j, other in enumerate(places):
            distance = abs(i - j)
            if 0 < distance <= WINDOW and documents[i] == documents[j] and min(one, other) >= 0:
                counts[one, other] += (WINDOW + 1 - distance) / WINDOW
    return counts


@pytest.mark.parametrize("length", [0, 1, 4, 60])
def test_neighbours_are_counted_within_documents(length: int) -> None:
    rng = np.random.default_rng(length)
    places, documents = rng.integers(-1, 6, size=length), np.sort(rng.integers(0, 5, size=length))
    found = count_neighbours(places, documents.astype(np.int32), 6)
    np.testing.assert_allclose(found, count_directly(places.tolist(), documents.tolist(), 6), rtol=1e-6)
    np.testing.assert_array_equal(found, found.T)


def test_mutual_information_is_as_defined() -> None:
    counts = np.random.default_rng(0).integers(0, 9, size=(7, 7)).astype(np.float32)
    counts += counts.T
    counts[3] = counts[:, 3] = 0
    found = mutual_information(counts)
    total = counts.sum()
    context = counts.sum(0) ** 0.75 / (counts.sum(0) ** 0.75).sum()
    for a in range(7):
        for b in range(7):
            joint, one = counts[a, b] / total, counts[a].sum() / total
            expected = max(0.0, np.log(joint / (one * context[b]))) if joint else 0.0
            assert found[a, b] == pytest.approx(expected, abs=1e-5)


def test_rare_tokens_have_larger_document_weights() -> None:
    places = np.array([0, 0, 1, -1, 0, 2, 0, 2, 2])
    documents = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2], dtype=np.int32)
    counts = np.array([[2, 1, 1], [1, 0, 0], [0, 1, 2]])
    expected = np.log1p(counts) * np.log((1 + 3) / (1 + (counts > 0).sum(axis=1)))[:, None]
    expected /= np.maximum(np.linalg.norm(expected, axis=0, keepdims=True), 1e-6)
    expected /= np.sqrt(np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-6))
    np.testing.assert_allclose(document_weights(places, documents, 3).toarray(), expected, rtol=1e-5)


def test_words_of_the_same_documents_get_similar_vectors() -> None:
    """Words 0 to 4 of one topic and 5 to 9 of another never meet; 10 and 11 are everywhere."""
    rng = np.random.default_rng(0)
    rows = [np.concatenate([rng.choice(5, 3) + 5 * (i % 2), [10, 11]]) for i in range(60)]
    documents = np.repeat(np.arange(60, dtype=np.int32), 5)
    vectors = factorise(document_weights(np.concatenate(rows), documents, 12), 4, seed=0)[:10]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    assert alike[:5, :5].mean() > alike[:5, 5:].mean() + 0.5
    assert alike[5:, 5:].mean() > alike[5:, :5].mean() + 0.5


def test_vectors_are_the_leading_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((40, 6))
    matrix = (basis @ basis.T).astype(np.float32)  # of rank 6, symmetric: vectors @ vectors.T is the matrix itself
    vectors = factorise(matrix, 8, seed=0)
    assert vectors.shape == (40, 8)
    np.testing.assert_allclose(vectors @ vectors.T, matrix, atol=1e-3)
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0)[:6], np.sqrt(values[:6]), rtol=1e-3)
    np.testing.assert_array_equal(vectors, factorise(matrix, 8, seed=0))


def test_a_small_matrix_leaves_zero_columns() -> None:
    vectors = factorise(np.eye(3, dtype=np.float32), 5, seed=0)
    assert vectors.shape == (3, 5)
    assert (vectors[:, 3:] == 0).all()


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 9])
def test_every_token_has_its_document(count: int) -> None:
    offsets = np.array([0, 4, 4, 5, 9])
    assert documents_of(offsets, count).tolist() == [0, 0, 0, 0, 2, 3, 3, 3, 3][:count]


def test_documents_after_the_first_tokens_take_no_memory() -> None:
    assert documents_of(np.array([0, 3, 10**15, 10**16]), 5).tolist() == [0, 0, 0, 1, 1]


@pytest.fixture
def shard(tmp_path: Path, tokenizer_folder: Path) -> tuple[TokenShard, Tokenizer]:
    tokenizer = load_tokenizer(tokenizer_folder)
    texts = ["The food was good and warm.", "The food was great and warm.", "We bought a phone in May."] * 10
    with ShardWriter(tmp_path, "train", tokenizer.vocab_size) as writer:
        for text in texts:
            writer.add(tokenizer.encode(text))
    return TokenShard(tmp_path, "train"), tokenizer


def test_tokens_with_similar_neighbours_get_similar_vectors(shard: tuple[TokenShard, Tokenizer]) -> None:
    tokens, tokenizer = shard
    ids, vectors = build_word_vectors(tokens, tokenizer, 32, seed=0, deviation=0.02)
    assert vectors.shape == (len(ids), 32)
    assert vectors.dtype == np.float32
    assert len(set(ids.tolist())) == len(ids)
    assert (ids >= tokenizer.first_ordinary_id).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 0.02 * np.sqrt(32), rtol=1e-3)
    of = {token: vectors[i] / np.linalg.norm(vectors[i]) for i, token in enumerate(ids.tolist())}
    food = tokenizer.encode("The food was good")[2:4]
    phone = tokenizer.encode("bought a phone")[-2]
    assert of[food[0]] @ of[food[1]] > of[food[0]] @ of[phone]


def test_vectors_are_a_function_of_text_and_seed(shard: tuple[TokenShard, Tokenizer]) -> None:
    tokens, tokenizer = shard
    one, again = (build_word_vectors(tokens, tokenizer, 16, seed=3, deviation=0.02) for _ in range(2))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
