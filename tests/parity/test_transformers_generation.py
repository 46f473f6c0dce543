"""Continuations are those of transformers: greedy token by token, alone and padded on the left; and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.inference.generate import Sampling, TextGenerator
from pretune.inference.load import load_generator
from pretune.inference.sampling import most_probable, penalized

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

NEW = 12
WORDS = (
    "The sun rises in the east A wonderful film warm and funny We never liked the food and the waiter was rude".split()
)
PROMPTS = [" ".join(WORDS[start : start + 1 + start % 7]) for start in range(20)]
GREEDY = Sampling(temperature=0.0, max_tokens=NEW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> Path:
    return save_language_model(tmp_path_factory.mktemp("causal") / "model", "causal")


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def reference(request: pytest.FixtureRequest, folder: Path) -> Any:
    return transformers.LlamaForCausalLM.from_pretrained(folder, attn_implementation=request.param).eval()


def continued_by_transformers(reference: Any, generator: TextGenerator, rows: list[list[int]]) -> list[list[int]]:
    """Greedy continuations of rows that are padded on the left, up to the end of a text."""
    longest, pad = max(map(len, rows)), generator.tokenizer.pad_id
    input_ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    never = sorted(generator.tokenizer.all_special_ids - generator.stop_ids)
    found = reference.generate(
        input_ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, suppress_tokens=never
    )
    new = [row[longest:].tolist() for row in found]
    ends = [min([i for i, token in enumerate(row) if token in generator.stop_ids] or [len(row)]) for row in new]
    return [row[:end] for row, end in zip(new, ends, strict=True)]


def test_greedy_in_a_batch(reference: Any, folder: Path) -> None:
    generator = load_generator(folder)
    rows = [generator.encode(prompt) for prompt in PROMPTS]
    found = [list(each.token_ids) for each in generator.generate(PROMPTS, GREEDY)]
    assert found == continued_by_transformers(reference, generator, rows)
    assert len(set(map(len, rows))) > 3 and len({tuple(row) for row in found}) > 10


@pytest.mark.slow
def test_greedy_token_by_token(reference: Any, folder: Path) -> None:
    generator = load_generator(folder)
    for row in map(generator.encode, PROMPTS):
        assert [list(generator.continue_ids(row, GREEDY))] == continued_by_transformers(reference, generator, [row])


def test_an_ordinary_token_with_id_0_is_taken(unpadded_model: Path) -> None:
    """The tokenizer of Llama 3 has no token for padding, and its first one is "!"."""
    reference = transformers.LlamaForCausalLM.from_pretrained(unpadded_model).eval()
    generator, prompts = load_generator(unpadded_model), [f"{prompt}!" for prompt in PROMPTS]
    found = [list(each.token_ids) for each in generator.generate(prompts, GREEDY)]
    assert found == continued_by_transformers(reference, generator, [generator.encode(prompt) for prompt in prompts])
    assert any(0 in row for row in found)


def test_drawing_has_the_probabilities_of_transformers() -> None:
    processors = transformers.generation.logits_process
    rng = torch.Generator().manual_seed(0)
    logits, seen = torch.randn(300, generator=rng) * 2, [5, 17, 17, 250]
    sampling = Sampling(temperature=1.4, top_k=40, top_p=0.8, repetition_penalty=1.3)
    theirs = processors.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([seen]), logits[None])
    for warper in (
        processors.TemperatureLogitsWarper(1.4),
        processors.TopKLogitsWarper(40),
        processors.TopPLogitsWarper(0.8),
    ):
        theirs = warper(torch.tensor([seen]), theirs)
    ids, probabilities = most_probable(penalized(logits, seen, 1.3), sampling)
    ours = torch.zeros(300).index_copy(0, ids, probabilities)
    torch.testing.assert_close(ours, torch.softmax(theirs[0], 0))
    assert 1 < len(ids) < 40
