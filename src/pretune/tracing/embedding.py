"""The embedding layer of one text: vector lengths, nearest neighbours, and a plane through its tokens.

Every dimension is standardised over the vocabulary first: otherwise a few dimensions with large values decide nearly
every distance (Timkey and van Schijndel, 2021, arXiv:2109.04404).

V vocabulary, D hidden, N tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.inference.classify import Classifier
from pretune.trace_schema import Embedding, Neighbours, Pca, PcaPoint, Token, WordGuess

NEIGHBOURS = 5
FREQUENT_TOKENS = 200  # around the tokens of the text, in the plane
_UNUSED = re.compile(r"\[unused\d+\]")  # tokens of BERT that no text has; their vectors were hardly trained
_ROWS_AT_A_TIME = 128  # of a product with the whole vocabulary


@torch.inference_mode()
def describe_embedding(
    classifier: Classifier,
    tokens: Sequence[Token],
    embedding: Float[Tensor, "T D"],
    counts: npt.NDArray[np.int64] | None,
) -> Embedding:
    """Norms of all tokens, and neighbours and plane of those that are not special.

    A neighbour's `probability` is its cosine. `counts` decide which tokens are frequent; without them, those with the
    smallest ids are taken, which in most vocabularies were the first to be made, except [unused0] and its like.
    """
    table = standardize(classifier.model.transformer.embed_tokens.weight, classifier.tokenizer.first_ordinary_id)
    return Embedding(
        norms=embedding.norm(dim=-1).tolist(),
        neighbours=_neighbours(classifier, tokens, table),
        pca=_plane(classifier, tokens, table, counts),
    )


def standardize(table: Float[Tensor, "V D"], first_ordinary: int) -> Float[Tensor, "V D"]:
    """Each dimension with mean 0 and deviation 1 over the tokens that stand for text."""
    ordinary = table[first_ordinary:]
    return (table - ordinary.mean(0)) / ordinary.std(0).clamp(min=1e-12)


def nearest_tokens(
    table: Float[Tensor, "V D"], ids: Sequence[int], first_ordinary: int, last: int, count: int
) -> list[list[tuple[int, float]]]:
    """For each id, the other ordinary ids with the largest cosine, and that cosine; ids from `last` on are unused."""
    units = torch.nn.functional.normalize(table[:last], dim=-1)
    found: list[list[tuple[int, float]]] = []
    for chunk in torch.tensor(list(ids), dtype=torch.long, device=table.device).split(_ROWS_AT_A_TIME):
        cosines = units[chunk] @ units.T
        cosines[:, :first_ordinary] = -2.0
        cosines[torch.arange(len(chunk)), chunk] = -2.0
        best = cosines.topk(min(count, max(0, last - first_ordinary - 1)), dim=-1)
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            found.append(list(zip(indices, values, strict=True)))
    return found


def _neighbours(classifier: Classifier, tokens: Sequence[Token], table: Tensor) -> list[Neighbours]:
    tokenizer = classifier.tokenizer
    own = [(token.position, token.id) for token in tokens if token.id is not None and not token.is_special]
    ids = list(dict.fromkeys(token_id for _, token_id in own))
    nearest = nearest_tokens(table, ids, tokenizer.first_ordinary_id, tokenizer.vocab_size, NEIGHBOURS)
    words_of = {
        token_id: [
            WordGuess(word=surface.strip() or surface, probability=cosine)
            for surface, (_, cosine) in zip(tokenizer.surfaces([i for i, _ in pairs]), pairs, strict=True)
        ]
        for token_id, pairs in zip(ids, nearest, strict=True)
    }
    return [Neighbours(position=position, words=words_of[token_id]) for position, token_id in own]


def _plane(
    classifier: Classifier, tokens: Sequence[Token], table: Tensor, counts: npt.NDArray[np.int64] | None
) -> Pca | None:
    """The two directions in which the tokens of the text and frequent ones differ most; None for under 3 tokens."""
    tokenizer = classifier.tokenizer
    shown = [token for token in tokens if not token.is_special]
    own = list(dict.fromkeys(token.id for token in shown))
    surfaces = tokenizer.surfaces(range(tokenizer.vocab_size))
    frequent = [i for i in frequent_tokens(tokenizer.first_ordinary_id, surfaces, counts) if i not in own]
    ids = own + frequent
    if not own or len(ids) < 3:
        return None
    coordinates, variance = principal_plane(table[torch.tensor(ids, device=table.device)].double().cpu().numpy())
    place = dict(zip(ids, coordinates.tolist(), strict=True))
    points = [PcaPoint(surface=t.surface, x=place[t.id][0], y=place[t.id][1], position=t.position) for t in shown]
    points += [PcaPoint(surface=surfaces[i], x=place[i][0], y=place[i][1], position=None) for i in frequent]
    kind = "most frequent tokens of the training text" if counts is not None else "first tokens of the vocabulary"
    if counts is None and any(map(_UNUSED.fullmatch, surfaces)):
        kind += " that are in use"
    return Pca(
        points=points,
        variance=variance,
        fitted_on=f"the {len(own)} different tokens of this text and {len(frequent)} of the {kind}, "
        "each dimension standardised over the vocabulary",
    )


def frequent_tokens(first_ordinary: int, surfaces: Sequence[str], counts: npt.NDArray[np.int64] | None) -> list[int]:
    """The ids of the FREQUENT_TOKENS tokens that occur most often, the most frequent first.

    Without `counts`, the first ones whose surface is not that of an unused token.
    """
    if counts is None:
        ordinary = range(first_ordinary, len(surfaces))
        return list(islice((i for i in ordinary if not _UNUSED.fullmatch(surfaces[i])), FREQUENT_TOKENS))
    order = np.argsort(-counts[first_ordinary : len(surfaces)], kind="stable")[:FREQUENT_TOKENS] + first_ordinary
    return [int(i) for i in order if counts[i] > 0]


def principal_plane(vectors: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Coordinates (N, 2) along the first two principal components, and the fraction of the variance of each.

    The sign of a component is arbitrary; here, its largest weight is positive.
    """
    centred = vectors - vectors.mean(0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    first = components[:2]
    largest = np.abs(first).argmax(1)
    first = first * np.sign(first[np.arange(len(first)), largest])[:, None]
    coordinates = np.zeros((len(vectors), 2))
    coordinates[:, : len(first)] = centred @ first.T
    total = float((singular**2).sum())
    variance = [float(s) ** 2 / total if total > 0 else 0.0 for s in singular[:2]]
    return coordinates, [*variance, *[0.0] * (2 - len(variance))]
