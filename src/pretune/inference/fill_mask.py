"""From a text with [MASK] to the words that a pre-trained model predicts there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pretune.data.padding import pad_rows
from pretune.errors import UsageError
from pretune.inference.classify import MAX_SEQ_LEN
from pretune.model.transformer import LanguageModel
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.tokenizer import Tokenizer

MASK = "[MASK]"


@dataclass(frozen=True, kw_only=True)
class WordPrediction:
    """A word, or a subword, for a masked position, with its probability."""

    word: str
    probability: float
    token_id: int


@dataclass(frozen=True, kw_only=True)
class MaskFiller:
    """A pre-trained language model with its tokenizer."""

    path: Path
    model: LanguageModel
    tokenizer: Tokenizer

    def fill(self, text: str, top: int = 5) -> list[list[WordPrediction]]:
        """For each [MASK] in the text, in order, the `top` most probable words, best first.

        Probabilities are over the whole vocabulary; special tokens are not listed. Raises UsageError if there is no
        [MASK], if the text is too long, or if `top` is below one.
        """
        if top < 1:
            raise UsageError(f"The number of words is {top}; expected at least 1.")
        return [self.best_words(probabilities, top) for probabilities in self.predict_masked(text)]

    def best_words(self, probabilities: Float[Tensor, " V"], top: int) -> list[WordPrediction]:
        """The `top` most probable tokens that are not special, best first."""
        special = self.special_ids
        best = torch.topk(probabilities, min(top + len(special), len(probabilities)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ordinary = [(token_id, p) for token_id, p in pairs if token_id not in special]
        return [self._describe(token_id, p) for token_id, p in ordinary[:top]]

    @property
    def special_ids(self) -> set[int]:
        """The ids that are never a guess."""
        return set(self.tokenizer.all_special_ids)

    @torch.inference_mode()
    def predict_masked(self, text: str) -> Float[Tensor, "M V"]:
        """Probabilities over the vocabulary at each [MASK], in fp32. Raises UsageError as `fill` does."""
        ids = self.encode(text)
        positions = torch.tensor([index for index, token_id in enumerate(ids) if token_id == self.tokenizer.mask_id])
        if not len(positions):
            raise UsageError(f'The text has no {MASK}; put it in place of a word, as in "The {MASK} is red."')
        device = self.model.lm_head.weight.device
        input_ids, document_ids = pad_rows([ids], self.tokenizer.pad_id)
        logits = self.model(input_ids.to(device), document_ids.to(device), positions.to(device))
        return torch.softmax(logits, dim=-1).cpu()

    def encode(self, text: str) -> list[int]:
        """Token ids of the cleaned text, with [MASK] as the mask token. Raises UsageError if the text is too long."""
        cleaned = clean_text(text)  # as in training
        if cleaned.count(MASK) != text.count(MASK):
            raise UsageError(f"A {MASK} is inside markup, which is removed; put it between words.")
        text = cleaned
        ids = self.tokenizer.encode_for_fill(text).ids
        limit = min(MAX_SEQ_LEN, self.model.config.max_seq_len)
        if len(ids) > limit:
            raise UsageError(f"The text has {len(ids)} tokens; expected at most {limit}. Shorten it around {MASK}.")
        return ids

    def _describe(self, token_id: int, probability: float) -> WordPrediction:
        return WordPrediction(
            word=self.tokenizer.decode([token_id]).strip(), probability=probability, token_id=token_id
        )
