"""Initial embeddings from token counts of the text: which tokens occur near each other, and in the same documents.

They take seconds and save many training steps. Near: positive pointwise mutual information and a truncated singular
value decomposition (Levy and Goldberg 2014); context counts smoothed to the power 0.75 (Levy, Goldberg and Dagan 2015).
In one document: latent semantic analysis (Deerwester et al. 1990). Words with the same neighbours can replace each
other ("good" and "bad" are close); documents separate them, since they are about different things.
Randomised decomposition: arXiv:0909.4061.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from pretune.runtime.randomness import generator
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer

WINDOW = 5
MAX_TOKENS = 10_000_000
MAX_DOCUMENT_TOKENS = 8_000_000  # counting documents needs less text than counting neighbours
MAX_WORDS = 8192  # the table of counts is this number squared; rarer tokens keep random vectors
_OVERSAMPLING, _POWER_ITERATIONS = 16, 2
FloatArray = npt.NDArray[np.float32]


def build_word_vectors(
    shard: TokenShard, tokenizer: Tokenizer, hidden_size: int, seed: int, deviation: float
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Ids (N,) of the most frequent tokens that have neighbours, and their vectors (N, D) with the given deviation.

    Reads at most the first 10 million tokens.
    """
    count = min(shard.num_tokens, MAX_TOKENS)
    tokens = np.asarray(shard.tokens[:count], dtype=np.int64)
    documents = documents_of(shard.offsets, count)
    frequency = np.bincount(tokens, minlength=tokenizer.vocab_size)
    frequency[: tokenizer.first_ordinary_id] = 0
    ids = np.argsort(-frequency, kind="stable")[: min(MAX_WORDS, int((frequency > 0).sum()))]
    place = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
    place[ids] = np.arange(len(ids))
    places = place[tokens]
    information = mutual_information(count_neighbours(places, documents, len(ids)))
    has_neighbours = information.any(axis=1)
    near = _unit(factorise(information, hidden_size, seed))
    weights = document_weights(places[:MAX_DOCUMENT_TOKENS], documents[:MAX_DOCUMENT_TOKENS], len(ids))
    together = _unit(factorise(weights, hidden_size, seed))
    vectors = _unit(factorise(np.concatenate([near, together], axis=1), hidden_size, seed))[has_neighbours]
    return ids[has_neighbours], vectors * np.float32(deviation * np.sqrt(hidden_size))


def documents_of(offsets: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int32]:
    """The document number of each of the first `count` tokens, for documents that begin at `offsets`."""
    ends = np.minimum(
        offsets[: np.searchsorted(offsets, count) + 1], count
    )  # not of all documents: there may be billions
    return np.repeat(np.arange(len(ends) - 1, dtype=np.int32), np.diff(ends))


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def count_neighbours(places: npt.NDArray[np.int64], documents: npt.NDArray[np.int32], size: int) -> FloatArray:
    """Symmetric counts (N, N) of tokens within `WINDOW` in one document, weighted by nearness; -1 is skipped."""
    counts = np.zeros(size * size, dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        left, right = places[:-distance], places[distance:]
        valid = (documents[:-distance] == documents[distance:]) & (left >= 0) & (right >= 0)
        pairs = np.bincount(left[valid] * size + right[valid], minlength=size * size)
        counts += pairs.astype(np.float32) * ((WINDOW + 1 - distance) / WINDOW)
    table = counts.reshape(size, size)
    return table + table.T


def mutual_information(counts: FloatArray) -> FloatArray:
    """max(0, log p(a, b) / (p(a) p'(b))) with a smoothed context distribution p'."""
    totals = counts.sum(axis=1)
    context = totals**0.75
    context /= max(float(context.sum()), 1e-12)
    expected = np.maximum(totals, 1e-12)[:, None] * np.maximum(context, 1e-12)[None, :]
    information = np.zeros_like(counts)
    np.log(counts / expected, out=information, where=counts > 0)
    return np.maximum(information, 0, out=information)


def document_weights(places: npt.NDArray[np.int64], documents: npt.NDArray[np.int32], size: int) -> sparse.csr_array:
    """Tokens by documents (N, documents): log(1 + count) times inverse document frequency; -1 is skipped.

    Documents are scaled to length one, so that long ones do not dominate; a token is divided by the root of its length,
    which lowers frequent tokens as `mutual_information` does.
    """
    known = places >= 0
    shape = (size, int(documents.max(initial=0)) + 1)
    ones = np.ones(int(known.sum()), dtype=np.float32)
    weights = sparse.coo_array((ones, (places[known], documents[known])), shape=shape).tocsr()
    document_frequency = np.diff(weights.indptr)
    weights.data = np.log1p(weights.data)
    weights.data *= np.repeat(np.log((1 + shape[1]) / (1 + document_frequency)), document_frequency).astype(np.float32)
    of_document = np.sqrt(np.bincount(weights.indices, weights.data**2, minlength=shape[1]))
    weights.data /= np.maximum(of_document, 1e-6).astype(np.float32)[weights.indices]
    token = np.repeat(np.arange(size), document_frequency)
    of_token = np.sqrt(np.bincount(token, weights.data**2, minlength=size))
    weights.data /= np.sqrt(np.maximum(of_token, 1e-6)).astype(np.float32)[token]
    return weights


def factorise(matrix: FloatArray | sparse.csr_array, rank: int, seed: int) -> FloatArray:
    """U * sqrt(S) of the leading singular vectors (N, rank); zero columns if the matrix has fewer."""
    width = min(rank + _OVERSAMPLING, *matrix.shape)
    probe = generator(seed, "word vectors").standard_normal((matrix.shape[1], width)).astype(np.float32)
    transposed = matrix.T if isinstance(matrix, np.ndarray) else matrix.T.tocsr()
    basis = _orthonormal(_product(matrix, torch.from_numpy(probe)))
    for _ in range(_POWER_ITERATIONS):
        basis = _orthonormal(_product(matrix, _orthonormal(_product(transposed, basis))))
    # The left factor of basis.T @ matrix, from the small triangular factor of its transpose
    triangle = torch.linalg.qr(_product(transposed, basis)).R
    left, values, _ = torch.linalg.svd(triangle.T)
    vectors = torch.zeros(matrix.shape[0], rank)
    kept = min(rank, len(values))
    vectors[:, :kept] = (basis @ left[:, :kept]) * values[:kept].sqrt()
    return vectors.numpy()


def _product(matrix: FloatArray | sparse.csr_array, columns: torch.Tensor) -> torch.Tensor:
    if isinstance(matrix, np.ndarray):
        return torch.from_numpy(matrix) @ columns
    return torch.from_numpy(matrix @ columns.numpy())


def _orthonormal(columns: torch.Tensor) -> torch.Tensor:
    return torch.linalg.qr(columns).Q
