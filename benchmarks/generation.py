"""Generation speed in tokens per second: our generator and transformers' `generate`, with the same weights, by turns.

python benchmarks/generation.py [--sizes 5M 135M] [--turns N] [--tokens N] [--threads N]

The weights are random. Both take the most probable token, batch 1, fp32, and must write the same tokens. Each turn
times both, in alternating order, and the ratio is the median over turns. CPU seconds of the process are measured too:
next to other busy processes they say more than the clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import median, render_table, say, write_result  # next to this file
from tokenizers import Tokenizer as Backend
from tokenizers import models

from pretune.inference.generate import Sampling, TextGenerator
from pretune.model.config import ModelConfig, mini
from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.text.tokenizer.special_tokens import SpecialTokens
from pretune.text.tokenizer.tokenizer import Tokenizer

PROMPT_TOKENS = 32
_SMOLLM2 = ModelConfig(
    vocab_size=49152,
    hidden_size=576,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    intermediate_size=1536,
    max_seq_len=8192,
    rope_theta=100_000.0,
)
SHAPES = {"5M": mini(8192), "135M": _SMOLLM2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="of each continuation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="generation")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sizes = [_measure(size, arguments.turns, arguments.tokens) for size in arguments.sizes]
    say(render(sizes))
    say(str(write_result(arguments.name, {"threads": arguments.threads, "sizes": sizes})))


def _measure(size: str, turns: int, tokens: int) -> dict[str, Any]:
    """Seconds of both for the same continuation, turn by turn."""
    ours, theirs = _both(SHAPES[size])
    ids = torch.randint(10, 1000, (PROMPT_TOKENS,), generator=torch.Generator().manual_seed(0)).tolist()
    sampling = Sampling(max_tokens=tokens, temperature=0.0)
    prompt = torch.tensor([ids])

    def by_pretune() -> list[int]:
        return list(ours.continue_ids(ids, sampling, frozenset()))

    @torch.inference_mode()
    def by_transformers() -> list[int]:
        found = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, do_sample=False, eos_token_id=None
        )
        return list(found[0, PROMPT_TOKENS:].tolist())

    is_same = by_pretune() == by_transformers()  # also the first call of both, which is slower
    timed: dict[str, list[dict[str, float]]] = {"pretune": [], "transformers": []}
    for turn in range(turns):
        both = [("pretune", by_pretune), ("transformers", by_transformers)]
        for name, generate in both[:: 1 if turn % 2 else -1]:
            timed[name].append(_time(generate))
        wall = [timed[name][-1]["wall_seconds"] for name in timed]
        say(f"  {size}, turn {turn + 1}: {tokens / wall[0]:.1f} and {tokens / wall[1]:.1f} tokens per second")
    return {
        "size": size,
        "parameters": sum(parameter.numel() for parameter in ours.model.parameters()),
        "prompt_tokens": PROMPT_TOKENS,
        "tokens": tokens,
        "same_tokens": is_same,
        "tokens_per_second": {
            name: median([tokens / each["wall_seconds"] for each in found]) for name, found in timed.items()
        },
        "ratio": {kind: _ratio(timed, kind) for kind in ("wall_seconds", "cpu_seconds")},
        "by_turn": timed,
    }


def _ratio(timed: dict[str, list[dict[str, float]]], kind: str) -> float:
    """The median over turns of their seconds divided by ours."""
    pairs = zip(timed["transformers"], timed["pretune"], strict=True)
    return median([theirs[kind] / ours[kind] for theirs, ours in pairs])


def _time(generate: Callable[[], list[int]]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    generate()
    return {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def _both(shape: ModelConfig) -> tuple[TextGenerator, Any]:
    """The same random weights in our generator and in transformers' model, which loads them from our folder."""
    from transformers import LlamaForCausalLM

    model, rng = LanguageModel(replace(shape, objective="causal")), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.05, generator=rng)
    words = {f"w{number}": number for number in range(shape.vocab_size)}
    backend = Backend(models.WordLevel(words, unk_token="w0"))
    special = SpecialTokens(pad=0, bos=-1, eos=-1, mask=-1, unk=-1, all=frozenset())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")
        save_model_folder(Path(folder) / "model", model, Path(folder))
        reference = LlamaForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32).eval()
    return TextGenerator(model, Tokenizer(backend, special)), reference


def render(sizes: list[dict[str, Any]]) -> str:
    """Tokens per second and ratios."""
    rows = [
        [
            f"{each['size']} ({each['parameters'] / 1e6:.1f}M)",
            f"{each['tokens_per_second']['pretune']:.1f}",
            f"{each['tokens_per_second']['transformers']:.1f}",
            f"{each['ratio']['wall_seconds']:.2f}x",
            f"{each['ratio']['cpu_seconds']:.2f}x",
            "yes" if each["same_tokens"] else "no",
        ]
        for each in sizes
    ]
    header = ["parameters", "ours, tokens/s", "transformers", "ratio", "ratio of CPU time", "same tokens"]
    return render_table(header, rows)


if __name__ == "__main__":
    main()
