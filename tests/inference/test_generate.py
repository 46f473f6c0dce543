"""Continuations: with the cache as without it, alone as in a batch, the same for the same seed, in whole characters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretune.errors import ModelError, UsageError
from pretune.inference.generate import Sampling, TextGenerator
from pretune.inference.load import load_generator

GREEDY = Sampling(temperature=0.0, max_tokens=12)
PROMPTS = ["The sun rises in", "A", "The waiter was rude and the hotel was", "Das Buch"]


def without_cache(generator: TextGenerator, ids: list[int], count: int) -> list[int]:
    """Greedy continuation with a full forward pass for each token."""
    never = sorted(generator.tokenizer.all_special_ids - generator.stop_ids)
    new: list[int] = []
    while len(new) < count:
        row = torch.tensor([[*ids, *new]])
        with torch.no_grad():
            logits = generator.model(row, torch.zeros_like(row), is_causal=torch.ones(1, dtype=torch.bool))[0, -1]
        logits[never] = -torch.inf
        if (token := int(logits.argmax())) in generator.stop_ids:
            break
        new.append(token)
    return new


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_cache_changes_nothing(generator: TextGenerator, prompt: str) -> None:
    ids = generator.encode(prompt)
    assert list(generator.continue_ids(ids, GREEDY)) == without_cache(generator, ids, 12)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(max_tokens=8, seed=3, repetition_penalty=1.3)])
def test_a_batch_is_each_prompt_alone(generator: TextGenerator, sampling: Sampling) -> None:
    for row, found in enumerate(generator.generate(PROMPTS, sampling)):
        filled = ["A"] * row + [PROMPTS[row]]  # its row number chooses its random numbers
        assert found == generator.generate(filled, sampling)[row]
    first = generator.generate(PROMPTS[:1], sampling)[0]
    assert "".join(generator.stream(PROMPTS[0], sampling)) == first.text
    assert tuple(generator.continue_ids(generator.encode(PROMPTS[0]), sampling)) == first.token_ids


def test_a_seed_is_a_text(generator: TextGenerator) -> None:
    texts = ["".join(generator.stream("The sun", Sampling(seed=seed, max_tokens=12))) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    twice = generator.generate(["The sun", "The sun"], Sampling(seed=1, max_tokens=12))
    assert twice[0].text == texts[0] != twice[1].text


def test_it_stops_at_the_end_of_a_text(generator: TextGenerator) -> None:
    ids = generator.encode("The sun rises in")
    free = list(generator.continue_ids(ids, GREEDY))
    stop = frozenset([free[5]])
    assert list(generator.continue_ids(ids, GREEDY, stop)) == free[: free.index(free[5])]
    stopping = TextGenerator(generator.model, generator.tokenizer, stop_ids=stop)
    [found] = stopping.generate(["The sun rises in"], GREEDY)
    assert found.ending == "end of text" and list(found.token_ids) == free[: free.index(free[5])]


def test_it_stops_where_the_context_is_full(generator: TextGenerator) -> None:
    long = "The sun. " * 15
    num_prompt = len(generator.encode(long))
    short, full = generator.generate(["The sun", long], Sampling(max_tokens=40, top_k=0, temperature=5.0))
    assert full.ending == "context" and num_prompt + len(full.token_ids) == generator.max_seq_len
    assert short.ending == "max_tokens" and len(short.token_ids) == 40
    assert len(list(generator.continue_ids(generator.encode(long), Sampling(max_tokens=999)))) == len(full.token_ids)


def test_special_tokens_are_never_taken(generator: TextGenerator) -> None:
    hot = Sampling(temperature=100.0, top_k=0, max_tokens=20)
    taken = {token for found in generator.generate(["A"] * 20, hot) for token in found.token_ids}
    assert len(taken) > 200 and not taken & generator.tokenizer.all_special_ids


def test_prompts_that_cannot_be_continued_are_refused(generator: TextGenerator) -> None:
    with pytest.raises(UsageError, match=r"has 121 tokens, and the model reads 64"):
        generator.stream("The sun. " * 40)
    for blank in ("", " \n"):
        with pytest.raises(UsageError, match="prompt is empty"):
            generator.stream(blank)
    with pytest.raises(UsageError, match="no tokens"):
        generator.continue_ids([], GREEDY)
    with pytest.raises(UsageError, match="put it in"):
        generator.generate("The sun")


def test_a_long_prompt_is_read_in_parts(generator: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generator.generate(PROMPTS, GREEDY)
    monkeypatch.setattr("pretune.inference.generate.POSITIONS_AT_ONCE", 3)
    assert generator.generate(PROMPTS, GREEDY) == whole


def test_a_model_is_loaded_by_its_objective(tmp_path: Path, save_language_model: Callable[[Path, str], Path]) -> None:
    texts = []
    for objective in ("causal", "hybrid"):
        folder = save_language_model(tmp_path / objective, objective)
        texts.append("".join(load_generator(folder).stream("The sun rises in", GREEDY)))
    assert texts[0] == texts[1] != ""
    masked = save_language_model(tmp_path / "masked", "masked")
    with pytest.raises(ModelError, match=r"loss on an English sentence is \d+\.\d nats.* --objective causal"):
        load_generator(masked)


def test_a_classifier_does_not_generate(run_folder: Path) -> None:
    with pytest.raises(ModelError, match="has a classifier, which does not continue a text"):
        load_generator(run_folder / "finetune")
