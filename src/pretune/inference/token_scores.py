"""The log-probability of tokens under a language model, in fp32; the head runs only where a token is predicted."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.inference.classify import TOKENS_PER_BATCH, TOKENS_PER_GPU_BATCH
from pretune.inference.sampling import refuse_damage
from pretune.model.foreign_language_model import ForeignLanguageModel
from pretune.model.transformer import LanguageModel
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer

_LOGITS_AT_ONCE = 1 << 23  # 32 MB, whatever the size of the vocabulary


@torch.inference_mode()
def log_probabilities(
    model: LanguageModel | ForeignLanguageModel,
    input_ids: Int[Tensor, "B T"],
    document_ids: Int[Tensor, "B T"],
    positions: Int[Tensor, "M"],
    targets: Int[Tensor, "M"],
    *,
    is_causal: bool,
) -> Float[Tensor, "M"]:
    """The log-probability of each target at its position of the flattened batch. Raises ModelError if one is not a
    finite number."""
    device = model.lm_head.weight.device
    rows = torch.ones(len(input_ids), dtype=torch.bool, device=device) if is_causal else None
    hidden = model.transformer(input_ids.to(device), document_ids.to(device), rows, positions=positions.to(device))
    chunk = max(1, _LOGITS_AT_ONCE // model.config.vocab_size)
    values = []
    for part, wanted in zip(hidden.split(chunk), targets.to(device).split(chunk), strict=True):
        logits = model.lm_head(part).float()
        values.append(logits.gather(1, wanted[:, None])[:, 0] - torch.logsumexp(logits, dim=1))
    found = torch.cat(values) if values else hidden.new_zeros(0)
    refuse_damage(float(found.sum()))
    return found


def frame_ids_of(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that stand for no text; that of an unknown word does."""
    return tokenizer.all_special_ids - {tokenizer.unk_id}


def first_ids_of(model: LanguageModel | ForeignLanguageModel, tokenizer: Tokenizer) -> list[int]:
    """What stands before the first token, so that it is predicted too; empty if the model has no such token.

    A tokenizer that adds nothing by itself, as most of Llama's kin, leaves it to the config.
    """
    config = model.config
    choices = (tokenizer.bos_id, config.bos_token_id, tokenizer.eos_id, config.eos_token_id)
    return [token_id for token_id in choices if token_id != NONE and token_id in frame_ids_of(tokenizer)][:1]


def tokens_per_batch(model: LanguageModel | ForeignLanguageModel) -> int:
    """Tokens that are computed at once, padding included."""
    return TOKENS_PER_GPU_BATCH if model.lm_head.weight.device.type == "cuda" else TOKENS_PER_BATCH
