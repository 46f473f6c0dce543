"""A language model read as a classifier: the logits of the label words at the [MASK] of each row.

All weights are those of the language model, so that the folder of a fine-tuned one is a masked language model, and
another program that fills in the [MASK] finds the same words (pattern-exploiting training, arXiv:2001.07676).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, Linear, Transformer


class ClozeHead:
    """The head of a language model at the label words only; used like a linear layer, it has no weights of its own.

    The logit of a class is the mean of the logits of its words, so that a frequent word does not drown the others.
    """

    def __init__(self, lm_head: Linear, words: Tensor, word_means: Tensor, bias: Tensor) -> None:
        self._lm_head, self._words, self._word_means, self.bias = lm_head, words, word_means, bias

    @property
    def out_features(self) -> int:
        """The number of classes."""
        return len(self.bias)

    @property
    def weight(self) -> Float[Tensor, "C D"]:
        """The weight of each class: the mean of the head's rows for its words."""
        return self._word_means @ self._lm_head.weight[self._words].float()

    def __call__(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N C"]:
        return hidden.float() @ self.weight.T + self.bias


class ClozeClassifier(nn.Module):
    """A transformer that classifies a text by the word that it predicts at the only [MASK] of its row.

    `word_ids` are the token ids of the words of each class. The weights and their names are those of `LanguageModel`; a
    tied head stays tied. `bias` (C,) is zero unless the answers were calibrated; it is not trained.
    """

    words: Tensor  # (W,) token ids of all words, those of one class next to each other
    word_means: Tensor  # (C, W) the mean over the words of each class
    bias: Tensor

    def __init__(self, config: ModelConfig, word_ids: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.embed_tokens.weight
        means = torch.block_diag(*[torch.full((1, len(ids)), 1 / len(ids)) for ids in word_ids])
        flat = torch.tensor([token for ids in word_ids for token in ids], dtype=torch.long)
        self.register_buffer("words", flat, persistent=False)
        self.register_buffer("word_means", means, persistent=False)
        self.register_buffer("bias", torch.zeros(len(word_ids)), persistent=False)

    @classmethod
    def of_language_model(cls, model: LanguageModel, word_ids: Sequence[Sequence[int]]) -> ClozeClassifier:
        """A cloze classifier with a copy of the weights of a language model."""
        made = cls(model.config, word_ids)
        made.load_state_dict(model.state_dict())
        return made.to(model.lm_head.weight.device)

    def to_language_model(self) -> LanguageModel:
        """The language model with a copy of these weights."""
        model = LanguageModel(self.config)
        model.load_state_dict(self.state_dict())
        return model.to(self.lm_head.weight.device)

    @property
    def classifier(self) -> ClozeHead:
        """The head, which takes the vector at the [MASK]."""
        return ClozeHead(self.lm_head, self.words, self.word_means, self.bias)

    def forward(
        self, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "B C"]:
        positions = mask_positions(input_ids, self.config.mask_token_id)
        return self.classifier(self.transformer(input_ids, document_ids, dtype=dtype, positions=positions))


def mask_positions(input_ids: Int[Tensor, "B T"], mask_id: int) -> Int[Tensor, "B"]:
    """The place of the only [MASK] of each row in the flattened batch. Raises ValueError if a row has none or two."""
    is_mask = input_ids == mask_id
    if not bool((is_mask.sum(1) == 1).all()):
        raise ValueError("expected one mask token in each row")
    return is_mask.flatten().nonzero()[:, 0]
