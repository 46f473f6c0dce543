"""A prompt is continued greedily, as full logits say, to the end of the text or the number of tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.training.continuations import continue_prompts

PROMPT = "The sun rises in the"


@pytest.fixture
def model(run_folder: Path) -> LanguageModel:
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint").model
    assert isinstance(loaded, LanguageModel)
    return loaded


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


def test_each_token_is_the_most_probable_after_those_before(model: LanguageModel, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(PROMPT)[:-1]
    prompt = len(ids)
    for _ in range(5):
        row = torch.tensor([ids])
        logits = model(row, torch.zeros_like(row), is_causal=torch.tensor([True]))[0, -1]
        logits[[tokenizer.pad_id, tokenizer.bos_id, tokenizer.mask_id]] = -torch.inf
        ids.append(int(logits.argmax()))
    assert tokenizer.eos_id not in ids[prompt:]
    [found] = continue_prompts(model, [PROMPT], tokenizer, num_tokens=5)
    assert found["prompt"] + found["text"] == tokenizer.decode(ids)


class Scripted(LanguageModel):
    """Predicts the given tokens one after another, and always finds a special token the most probable."""

    script: list[int]

    def forward(self, *_: Any, **__: Any) -> Any:
        logits = torch.zeros(1, self.config.vocab_size)
        logits[0, self.config.mask_token_id] = 9.0
        logits[0, self.script.pop(0)] = 5.0
        return logits


@pytest.mark.parametrize(("num_tokens", "context", "words"), [(9, 512, 3), (2, 512, 2), (9, 7, 1)])
def test_it_ends_with_the_text_the_tokens_or_the_context(
    model: LanguageModel, tokenizer: Tokenizer, num_tokens: int, context: int, words: int
) -> None:
    prompt = tokenizer.encode(PROMPT)[:-1]
    scripted = Scripted(replace(model.config, max_seq_len=context - 6 + len(prompt)))
    ids = tokenizer.encode("east was cold.")[1:4]
    scripted.script = [*ids, tokenizer.eos_id, ids[0]]
    [found] = continue_prompts(scripted, [PROMPT], tokenizer, num_tokens)
    assert found == {"prompt": PROMPT, "text": tokenizer.decode([*prompt, *ids[:words]])[len(PROMPT) :]}
