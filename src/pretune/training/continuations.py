"""Beginnings of sentences, continued again at every evaluation of a causal model to show progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pretune.model.transformer import LanguageModel
from pretune.text.tokenizer.tokenizer import Tokenizer

NUM_TOKENS = 12


def continue_prompts(
    model: LanguageModel, prompts: Sequence[str], tokenizer: Tokenizer, num_tokens: int = NUM_TOKENS
) -> list[dict[str, Any]]:
    """Each prompt, and the text with which the model continues it: always the most probable next token."""
    return [
        {"prompt": prompt, "text": _decode_after(tokenizer, *_continue(model, prompt, tokenizer, num_tokens))}
        for prompt in prompts
    ]


@torch.no_grad()
def _continue(model: LanguageModel, prompt: str, tokenizer: Tokenizer, num_tokens: int) -> tuple[list[int], list[int]]:
    """The ids of the prompt, and those after it, up to the end of the text or at most `num_tokens`."""
    device = model.lm_head.weight.device
    ids = list(tokenizer.encode(prompt))
    while len(ids) > 1 and ids[-1] in tokenizer.all_special_ids:
        ids.pop()  # the end of a text
    never = torch.tensor(sorted(tokenizer.all_special_ids - {tokenizer.end_id}), dtype=torch.long, device=device)
    is_causal = torch.ones(1, dtype=torch.bool, device=device)
    found = list[int]()
    while len(found) < num_tokens and len(ids) + len(found) < model.config.max_seq_len:
        row = torch.tensor([ids + found], device=device)
        last = torch.tensor([row.shape[1] - 1], device=device)
        logits = model(row, torch.zeros_like(row), positions=last, is_causal=is_causal)[0]
        token = int(logits.index_fill(0, never, -torch.inf).argmax())
        if token == tokenizer.end_id:
            break
        found.append(token)
    return ids, found


def _decode_after(tokenizer: Tokenizer, prompt: list[int], found: list[int]) -> str:
    """The text of `found`, with the blank that separates it from the prompt if there is one."""
    before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *found])
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(found)
