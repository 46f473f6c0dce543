"""A vocabulary grows: new rows of the embedding for tokens that a model has never seen.

A new row is the mean of the others plus a little noise, so that the model first gives a new token an ordinary
probability (Hewitt 2021, nlp.stanford.edu/~johnhew/vocab-expansion.html), and two new tokens can become different.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import torch
from torch import Tensor

from pretune.model.transformer import LanguageModel
from pretune.runtime.randomness import derive_seed

_NOISE = 0.1  # of the deviation of the known tokens, in each dimension


@torch.no_grad()
def with_added_tokens(model: LanguageModel, added: Collection[int], vocab_size: int, seed: int) -> LanguageModel:
    """The model with at least `vocab_size` tokens, of which those with the ids `added` have new rows.

    It is the same model if no token is added and the vocabulary is large enough. Many published models have more rows
    than tokens; an added token may then have the id of a row that was never trained, which is replaced.
    """
    size = max(vocab_size, model.config.vocab_size)
    if not added and size == model.config.vocab_size:
        return model
    grown = LanguageModel(replace(model.config, vocab_size=size))
    state = dict(model.state_dict())
    rng = torch.Generator().manual_seed(derive_seed(seed, "added tokens"))
    is_new = torch.zeros(size, dtype=torch.bool)
    is_new[model.config.vocab_size :] = True
    is_new[sorted(added)] = True
    known = ~is_new[: model.config.vocab_size]
    names = ["transformer.embed_tokens.weight"] + ([] if model.config.tie_word_embeddings else ["lm_head.weight"])
    for name in names:
        state[name] = _grown(state[name].cpu(), known, is_new, rng)
    if model.config.tie_word_embeddings:
        state["lm_head.weight"] = state[names[0]]
    grown.load_state_dict(state)
    return grown.to(model.lm_head.weight.device).eval()


def _grown(table: Tensor, known: Tensor, is_new: Tensor, rng: torch.Generator) -> Tensor:
    """A table (V, D) with the rows that `is_new` (V',) says drawn around the mean of the `known` (V,) ones."""
    rows = table[known].float()
    grown = torch.empty(len(is_new), table.shape[1])
    grown[: len(table)] = table
    noise = torch.empty(int(is_new.sum()), table.shape[1]).normal_(generator=rng)
    grown[is_new] = rows.mean(0) + _NOISE * rows.std(0) * noise
    return grown


def train_only_rows(model: LanguageModel, token_ids: Collection[int]) -> None:
    """Let these rows of the embedding be trained if it is frozen, and those of the head if that is frozen, too.

    The gradient of every other row is zero, and AdamW without decay leaves a weight whose gradient was always zero
    exactly as it is.
    """
    if not token_ids:
        return
    tables = {id(each): each for each in (model.transformer.embed_tokens.weight, model.lm_head.weight)}
    for weight in tables.values():
        if not weight.requires_grad:
            weight.requires_grad_(True)
            weight.register_hook(_keep_rows(token_ids, model.config.vocab_size))


def _keep_rows(token_ids: Collection[int], vocab_size: int) -> Callable[[Tensor], Tensor]:
    """A function that sets the other rows of a gradient (V, D) to zero."""
    is_kept = torch.zeros(vocab_size, 1)
    is_kept[sorted(token_ids)] = 1.0

    def keep(gradient: Tensor) -> Tensor:
        nonlocal is_kept
        is_kept = is_kept.to(gradient.device)  # the model may be moved to a GPU later; a copy only the first time
        return gradient * is_kept

    return keep
