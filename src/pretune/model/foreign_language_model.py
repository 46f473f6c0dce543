"""A masked language model of transformers (BERT, RoBERTa, ...): its encoder, and the head that names hidden words.

The architectures have heads of their own kinds, under names of their own. So the head is taken as the library computes
it: as the whole model, in which the encoder is replaced by the vectors that are already there.

N positions, D hidden, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pretune.errors import CorruptModelError, ModelError, shorten_error
from pretune.model.config import ForeignConfig
from pretune.model.foreign_encoder import (
    UNUSED,
    ForeignEncoder,
    check_files,
    from_auto_model,
    quietly,
    transformers_config,
)
from pretune.model.weights import weights_file


class ForeignLanguageModel(nn.Module):
    """An encoder with its head for words, with the interface of `LanguageModel` for positions that were chosen."""

    def __init__(self, config: ForeignConfig, model: nn.Module) -> None:
        """`model` is one of transformers' classes ...ForMaskedLM."""
        super().__init__()
        self.config = config
        prefix = str(model.base_model_prefix)
        self.transformer = ForeignEncoder(config, getattr(model, prefix))
        self.lm_head = _WordHead(model, prefix)


class _WordHead(nn.Module):
    """Vectors in, logits of the vocabulary out."""

    def __init__(self, model: nn.Module, prefix: str) -> None:
        super().__init__()
        self.given = _GivenVectors()
        if isinstance(embeddings := getattr(getattr(model, prefix), "embeddings", None), nn.Module):
            self.given.embeddings = embeddings  # which some heads look at, such as that of DeBERTa-v3
        setattr(model, prefix, self.given)
        self.model: Any = model.eval()

    @property
    def weight(self) -> Tensor:
        """The matrix of the words."""
        matrix: Tensor = self.model.get_output_embeddings().weight
        return matrix

    def forward(self, hidden: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        self.given.vectors = hidden[None]
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        logits: Tensor = self.model(input_ids=ids).logits[0]
        return logits


class _GivenVectors(nn.Module):
    """Stands in for an encoder: whatever comes in, the given vectors come out."""

    vectors: Tensor

    def forward(self, *_args: Any, **_given: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self.vectors)


def load_foreign_language_model(folder: Path, config: ForeignConfig) -> ForeignLanguageModel:
    """The masked language model in a folder, in fp32.

    Raises ModelError if the folder has no head for words, CorruptModelError if its weights are damaged.
    """
    file = weights_file(folder)
    with quietly():
        try:
            check_files(folder, config, head="ForMaskedLM")
            model, report = from_auto_model(
                "from_pretrained",
                str(folder),
                head="ForMaskedLM",
                config=transformers_config(config.fields),
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ModelError:
            raise
        except Exception as error:  # of many classes, by what is wrong with which file
            raise CorruptModelError(
                f"{file} cannot be loaded ({shorten_error(error)}); restore it from a copy."
            ) from error
    missing = [name for name in sorted(report["missing_keys"]) if not any(part in name for part in UNUSED)]
    if missing or report["mismatched_keys"]:
        raise ModelError(
            f"{folder} has an encoder of type {config.model_type} without its head for words"
            f"{f' ({missing[0]} is missing)' if missing else ''}; give the folder of a masked language model, such as "
            "BertForMaskedLM, or a model that pretune pre-trained."
        )
    return ForeignLanguageModel(config, model)
