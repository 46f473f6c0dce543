"""A language model read as a classifier: the logits of the label words at the [MASK] of each row.

All weights are those of the language model, so that the folder of a fine-tuned one is a masked language model, and
another program that fills in the [MASK] finds the same words (pattern-exploiting training, arXiv:2001.07676).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel


class ClozeClassifier(LanguageModel):
    """A language model with the token ids of the words of each class.

    The logit of a class is the mean of the logits of its words: a frequent word does not drown the others, and the head
    stays linear. A tied head stays tied. `offsets` (C,) are added; they are zero unless the answers are calibrated.
    """

    word_means: Tensor  # (C, W) the mean over the words of each class
    words: Tensor  # (W,) token ids of all words, those of one class next to each other
    offsets: Tensor  # (C,)

    def __init__(self, config: ModelConfig, word_ids: Sequence[Sequence[int]]) -> None:
        super().__init__(config)
        self.word_ids = tuple(tuple(ids) for ids in word_ids)
        flat = [token for ids in self.word_ids for token in ids]
        means = torch.block_diag(*[torch.full((1, len(ids)), 1 / len(ids)) for ids in self.word_ids])
        self.register_buffer("words", torch.tensor(flat, dtype=torch.long), persistent=False)
        self.register_buffer("word_means", means, persistent=False)
        self.register_buffer("offsets", torch.zeros(len(self.word_ids)), persistent=False)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.word_ids)

    def class_weight(self) -> Float[Tensor, "C D"]:
        """The weight of each class: the mean of the head's rows for its words."""
        return self.word_means @ self.lm_head.weight[self.words].float()

    def class_logits(self, hidden: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """The logits of the classes from the vectors at the [MASK], in fp32."""
        return hidden.float() @ self.class_weight().T + self.offsets

    def classify(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        positions: Int[Tensor, "B"] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "B C"]:
        """The logits of the classes; `positions` are those of the [MASK] in the flattened batch, if known."""
        if positions is None:
            positions = mask_positions(input_ids, self.config.mask_token_id)
        return self.class_logits(self.transformer(input_ids, document_ids, dtype=dtype, positions=positions))


def mask_positions(input_ids: Int[Tensor, "B T"], mask_id: int) -> Int[Tensor, "B"]:
    """The place of the only [MASK] of each row in the flattened batch. Raises ValueError if a row has none or two."""
    is_mask = input_ids == mask_id
    if not bool((is_mask.sum(1) == 1).all()):
        raise ValueError("expected one mask token in each row")
    return is_mask.flatten().nonzero()[:, 0]
