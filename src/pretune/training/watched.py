"""A few held-out sentences with one whole word hidden, predicted again at every evaluation: watching it learn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pretune.model.transformer import LanguageModel
from pretune.runtime.randomness import generator
from pretune.text.tokenizer import Tokenizer

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MIN_WORDS, _MAX_WORDS, _MIN_LETTERS = 4, 25, 3


@dataclass(frozen=True, kw_only=True)
class HiddenWord:
    """A sentence, the place of one of its tokens, and the word that the token stands for."""

    text: str
    masked_text: str
    true_word: str
    ids: tuple[int, ...]
    position: int
    is_in_training: bool = False  # whether the training text holds this sentence, so that finding the word is recall


class TrainingTokens:
    """The token stream of the training text, searched for whole sentences."""

    def __init__(self, tokens: npt.NDArray[np.unsignedinteger], first_ordinary: int) -> None:
        self.tokens, self.first_ordinary = tokens, first_ordinary
        self._counts = np.bincount(tokens)

    def holds(self, ids: Sequence[int]) -> bool:
        """Whether the ordinary tokens of a sentence stand in the text one after another.

        The first is left out: it is another one at the beginning of a document than after a blank.
        """
        wanted = np.array([each for each in ids if each >= self.first_ordinary][1:], dtype=self.tokens.dtype)
        if not len(wanted):
            return True
        rarest = min(range(len(wanted)), key=lambda i: self._counts[wanted[i]] if wanted[i] < len(self._counts) else 0)
        starts = np.flatnonzero(self.tokens == wanted[rarest]) - rarest
        starts = starts[(starts >= 0) & (starts + len(wanted) <= len(self.tokens))]
        for offset, each in enumerate(wanted):
            starts = starts[self.tokens[starts + offset] == each]
        return bool(len(starts))


def hide_words(
    texts: Iterable[str], tokenizer: Tokenizer, count: int, seed: int, training: TrainingTokens | None = None
) -> list[HiddenWord]:
    """One sentence each of `count` texts, chosen by `seed`, with one of its whole-word tokens hidden.

    Sentences that `training` holds are left out: finding their words would be recall.
    """
    pool = list(texts)
    found: list[HiddenWord] = []
    for index in generator(seed, "watched").permutation(len(pool)):
        sentences = [s for s in _SENTENCE.split(pool[index]) if _MIN_WORDS <= len(s.split()) <= _MAX_WORDS]
        if not sentences:
            continue
        sentence = sentences[generator(seed, "watched", int(index)).integers(len(sentences))]
        hidden = hide_word(sentence, tokenizer, seed)
        if hidden is None or hidden.text in {other.text for other in found}:
            continue
        if training is None or not training.holds(hidden.ids):
            found.append(hidden)
        if len(found) == count:
            break
    return found


def hide_word(text: str, tokenizer: Tokenizer, seed: int, word: str | None = None) -> HiddenWord | None:
    """Hide one whole word that is a single token: `word`, or one chosen by `seed`; None where there is no such word."""
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


@torch.no_grad()
def predict_hidden(
    model: LanguageModel, words: Sequence[HiddenWord], tokenizer: Tokenizer, top: int = 5
) -> list[dict[str, Any]]:
    """For each hidden word: the most probable words, and probability and rank of the true one."""
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
