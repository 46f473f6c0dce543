"""Probes: held-out sentences with one whole word hidden, predicted again at every evaluation to show progress."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.passages import find_passages
from pretune.model.transformer import LanguageModel
from pretune.runtime.randomness import generator
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MIN_WORDS, _MAX_WORDS, _MIN_LETTERS = 4, 25, 3


@dataclass(frozen=True, kw_only=True)
class HiddenWord:
    """A sentence, the position of one of its tokens, and the whole word that this token is."""

    text: str
    masked_text: str
    true_word: str
    ids: tuple[int, ...]
    position: int
    is_in_training: bool = False  # the training text contains this sentence, so predicting the word may be recall


def hide_words(texts: Iterable[str], tokenizer: Tokenizer, count: int, seed: int) -> list[HiddenWord]:
    """One sentence from each of `count` texts, chosen by `seed`, with one whole-word token hidden."""
    pool = list(texts)
    found: list[HiddenWord] = []
    for index in generator(seed, "watched").permutation(len(pool)):
        sentences = [s for s in _SENTENCE.split(pool[index]) if _MIN_WORDS <= len(s.split()) <= _MAX_WORDS]
        if not sentences:
            continue
        sentence = sentences[generator(seed, "watched", int(index)).integers(len(sentences))]
        hidden = hide_word(sentence, tokenizer, seed)
        if hidden is not None and hidden.text not in {other.text for other in found}:
            found.append(hidden)
        if len(found) == count:
            break
    return found


def hide_word(text: str, tokenizer: Tokenizer, seed: int, word: str | None = None) -> HiddenWord | None:
    """Hide one whole word that is a single token: `word`, or one chosen by `seed`; None if there is none."""
    encoded = tokenizer.encode_with_offsets(text)
    candidates = []
    for position, (start, end) in enumerate(encoded.offsets):
        surface = text[start:end].strip()
        starts_alone = start == 0 or text[start].isspace() or text[start - 1].isspace()
        is_whole = end == len(text) or not (text[end].isalnum() or text[end] in "'’-")
        if surface.isalpha() and starts_alone and is_whole and len(surface) >= _MIN_LETTERS:
            candidates.append((position, surface))
    if word is not None:
        candidates = [(position, surface) for position, surface in candidates if surface == word]
    if not candidates:
        return None
    position, surface = candidates[generator(seed, "hidden word", text).integers(len(candidates))]
    end = encoded.offsets[position][1]
    return HiddenWord(
        text=text,
        masked_text=text[: end - len(surface)] + "[MASK]" + text[end:],
        true_word=surface,
        ids=tuple(encoded.ids),
        position=position,
    )


def choose_unseen(
    candidates: Sequence[HiddenWord], count: int, training: TokenShard, tokenizer: Tokenizer
) -> list[HiddenWord]:
    """The first `count` sentences whose words do not occur in sequence in the training text, ignoring case: predicting
    a word of others would be recall. If all sentences occur, the first `count` of them."""
    surfaces = [surface.strip().lower() for surface in tokenizer.surfaces(range(tokenizer.vocab_size))]
    # Special tokens match no other token, so no passage extends into the next document.
    kinds = [f"{i}" if i < tokenizer.first_ordinary_id else f" {surface}" for i, surface in enumerate(surfaces)]
    classes = np.unique(kinds, return_inverse=True)[1].astype(np.int64)
    occurs = find_passages([_inner_ids(word.text, tokenizer) for word in candidates], training.tokens, classes)
    marked = [replace(word, is_in_training=bool(known)) for word, known in zip(candidates, occurs, strict=True)]
    return [word for word in marked if not word.is_in_training][:count] or marked[:count]


def _inner_ids(text: str, tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """The tokens after the first word and up to the last letter. They are the same anywhere in a text; the first word's
    tokens depend on a space before it, and the final mark is missing inside a longer sentence."""
    after = len(text) - len(text.lstrip()) + len(text.split(maxsplit=1)[0])
    last = max((place for place, letter in enumerate(text) if letter.isalnum()), default=-1)
    encoded = tokenizer.encode_with_offsets(text)
    inner = [i for i, (start, end) in zip(encoded.ids, encoded.offsets, strict=True) if end > after and start <= last]
    return np.array(inner, dtype=np.int64)


@torch.no_grad()
def predict_hidden(
    model: LanguageModel, words: Sequence[HiddenWord], tokenizer: Tokenizer, top: int = 5
) -> list[dict[str, Any]]:
    """For each hidden word: the most probable words, and the probability and rank of the true one."""
    device = model.lm_head.weight.device
    rows = []
    for word in words:
        ids = torch.tensor([word.ids], device=device)
        true_id = int(ids[0, word.position])
        ids[0, word.position] = tokenizer.mask_id
        logits = model(ids, torch.zeros_like(ids), positions=torch.tensor([word.position], device=device))
        probabilities = torch.softmax(logits[0].float(), dim=-1)
        best = probabilities.topk(top)
        rows.append(
            {
                "masked_text": word.masked_text,
                "true_word": word.true_word,
                "is_in_training": word.is_in_training,
                "probability": float(probabilities[true_id]),
                "rank": int((probabilities > probabilities[true_id]).sum()) + 1,
                "predictions": [
                    {"word": tokenizer.surfaces([int(i)])[0].strip(), "probability": float(p)}
                    for p, i in zip(best.values, best.indices, strict=True)
                ],
            }
        )
    return rows
