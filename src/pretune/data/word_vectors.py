"""Initial embeddings from the text itself: which tokens stand near which, factorised; seconds that save many steps.

Positive pointwise mutual information and a truncated singular value decomposition (Levy and Goldberg 2014); context
counts smoothed to the power 0.75 (Levy, Goldberg and Dagan 2015). Randomised decomposition: arXiv:0909.4061.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pretune.data.shards import TokenShard
from pretune.runtime.randomness import generator
from pretune.text.tokenizer import Tokenizer

WINDOW = 5
MAX_TOKENS = 20_000_000
MAX_WORDS = 8192  # a dense table of this many squared counts; rarer tokens keep their random vectors
_OVERSAMPLING, _POWER_ITERATIONS = 16, 2
FloatArray = npt.NDArray[np.float32]


def build_word_vectors(
    shard: TokenShard, tokenizer: Tokenizer, hidden_size: int, seed: int, deviation: float
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Ids of the commonest tokens that stand beside others, and a vector for each (N, D) of the given deviation.

    At most the first 20 million tokens are read.
    """
    count = min(shard.num_tokens, MAX_TOKENS)
    tokens = np.asarray(shard.tokens[:count], dtype=np.int64)
    documents = np.repeat(np.arange(len(shard), dtype=np.int32), shard.lengths)[:count]
    frequency = np.bincount(tokens, minlength=tokenizer.vocab_size)
    frequency[: tokenizer.first_ordinary_id] = 0
    ids = np.argsort(-frequency, kind="stable")[: min(MAX_WORDS, int((frequency > 0).sum()))]
    place = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
    place[ids] = np.arange(len(ids))
    information = mutual_information(count_neighbours(place[tokens], documents, len(ids)))
    has_neighbours = information.any(axis=1)
    vectors = factorise(information, hidden_size, seed)[has_neighbours]
    vectors *= deviation * np.sqrt(hidden_size) / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return ids[has_neighbours], vectors


def count_neighbours(places: npt.NDArray[np.int64], documents: npt.NDArray[np.int32], size: int) -> FloatArray:
    """Symmetric counts (N, N) of tokens within `WINDOW` in one document, nearer ones weighing more; -1 is skipped."""
    counts = np.zeros(size * size, dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        left, right = places[:-distance], places[distance:]
        valid = (documents[:-distance] == documents[distance:]) & (left >= 0) & (right >= 0)
        pairs = np.bincount(left[valid] * size + right[valid], minlength=size * size)
        counts += pairs.astype(np.float32) * ((WINDOW + 1 - distance) / WINDOW)
    table = counts.reshape(size, size)
    return table + table.T


def mutual_information(counts: FloatArray) -> FloatArray:
    """max(0, log p(a, b) / (p(a) p'(b))) with the context distribution p' smoothed."""
    totals = counts.sum(axis=1)
    context = totals**0.75
    context /= max(float(context.sum()), 1e-12)
    expected = np.maximum(totals, 1e-12)[:, None] * np.maximum(context, 1e-12)[None, :]
    information = np.zeros_like(counts)
    np.log(counts / expected, out=information, where=counts > 0)
    return np.maximum(information, 0, out=information)


def factorise(matrix: FloatArray, rank: int, seed: int) -> FloatArray:
    """U * sqrt(S) of the leading singular vectors (N, rank); zero columns where the matrix has fewer."""
    width = min(rank + _OVERSAMPLING, matrix.shape[0])
    probe = generator(seed, "word vectors").standard_normal((matrix.shape[1], width)).astype(np.float32)
    basis = np.linalg.qr(matrix @ probe)[0]
    for _ in range(_POWER_ITERATIONS):
        basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ basis)[0])[0]
    left, values, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    vectors = np.zeros((matrix.shape[0], rank), dtype=np.float32)
    kept = min(rank, width)
    vectors[:, :kept] = (basis @ left[:, :kept]) * np.sqrt(values[:kept])
    return vectors
