"""Training on one GPU, within nine minutes: `python benchmarks/gpu.py [--sizes 100M,10M] [--seconds 15]`.

The product's own loop, feed and optimizer on packed documents in bf16, uncompiled and compiled, at about 100 and 10
million parameters: tokens per second, the share of the chip's matrix rate by its data sheet and as measured here,
memory, and the share of a step in which the processor makes the batch. `--smoke` runs a tiny model for two steps, also
on a processor: it shows that the script works, not how fast anything is.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import Any

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
import torch
from machine import render_table, say, write_result
from workload import MASK_PROB, make_pretraining_text

from pretune.compute.device import choose_compute
from pretune.data.corpus import Corpus, RowSettings
from pretune.data.pretraining import special_ids
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, initialize
from pretune.text.tokenizer import load_tokenizer
from pretune.training.guard import Guard
from pretune.training.loop import train_steps
from pretune.training.objective import MaskedObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.pieces import Pieces

# Hidden size, layers, intermediate size, tokens of an update
SHAPES = {"100M": (768, 13, 2048, 131_072), "10M": (384, 4, 1024, 131_072), "smoke": (64, 2, 128, 1024)}
PEAK_TERAFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}  # dense bf16, by the makers' data sheets
ROW_TOKENS = 512
_BUDGET_SECONDS = 480.0  # no variant begins after this
_WARMUP_STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100M,10M", help="of 100M and 10M")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("--name", default="gpu")
    parser.add_argument("--smoke", action="store_true", help="a tiny model for two steps, to see the script work")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.smoke:
        parser.error("there is no GPU here; --smoke shows on a processor that the script works")
    started = time.monotonic()
    folder, text = make_pretraining_text(options.work, 400 if options.smoke else 20_000)
    rate = measured_teraflops() if torch.cuda.is_available() else None
    found: list[dict[str, Any]] = []
    for size in ["smoke"] if options.smoke else options.sizes.split(","):
        for is_compiled in [False] if options.smoke else [False, True]:
            if time.monotonic() - started > _BUDGET_SECONDS:
                say(f"  left out for want of time: {size}, {'compiled' if is_compiled else 'uncompiled'}")
                continue
            found.append(measure(folder, size, is_compiled=is_compiled, seconds=options.seconds, teraflops=rate))
            say(render(found[-1:]))
    say(render(found))
    if not options.smoke:
        minutes = (time.monotonic() - started) / 60
        chip = torch.cuda.get_device_name()
        fields = {"gpu": chip, "text": text, "measured_teraflops": rate, "variants": found, "minutes": minutes}
        say(write_result(options.name, fields).name)


def measure(folder: Path, size: str, *, is_compiled: bool, seconds: float, teraflops: float | None) -> dict[str, Any]:
    """Updates of one model for some seconds, after the first ones, in which it is compiled."""
    hidden, layers, intermediate, tokens_per_step = SHAPES[size]
    tokenizer = load_tokenizer(folder)
    compute = choose_compute(compile="on" if is_compiled else "off")
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=hidden,
        num_layers=layers,
        num_heads=hidden // 64,
        num_kv_heads=hidden // 64,
        head_dim=64,
        intermediate_size=intermediate,
    )
    row_tokens = min(ROW_TOKENS, tokens_per_step // 8)
    settings = RowSettings(
        row_tokens=row_tokens,
        long_row_tokens=row_tokens,
        tokens_per_step=tokens_per_step,
        mask_prob=MASK_PROB,
        validation_tokens=8000,
        seed=0,
    )
    corpus = Corpus(folder, settings, special_ids(tokenizer), tokenizer.is_sentence_end)
    model = LanguageModel(config).to(compute.device)
    initialize(model, 0)
    feeding = [0.0]

    def batches(step: int) -> list[Any]:
        begun = time.perf_counter()
        made = [batch.to(compute.device) for batch in corpus.short_batches(step)]
        feeding[0] += time.perf_counter() - begun
        return made

    steps = train_steps(
        model,
        MaskedObjective(model, compute.dtype, compiled=is_compiled),
        Optimizer(model, OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=3e-3, weight_decay=0.01)),
        batches,
        rate=lambda step: min(1.0, step / 50),
        first_step=1,
        clip_norm=1.0,
        guard=Guard(),
        pieces=Pieces(),
    )
    begun = time.perf_counter()
    for _ in range(1 if size == "smoke" else _WARMUP_STEPS):
        next(steps)
    warmup_seconds = time.perf_counter() - begun
    begun, feeding[0], tokens, count = time.perf_counter(), 0.0, 0, 0
    while count == 0 or (size != "smoke" and time.perf_counter() - begun < seconds):
        tokens += next(steps).num_tokens  # reading the loss waits for the GPU
        count += 1
    elapsed = time.perf_counter() - begun
    flops = cost.train_flops_per_token(config, row_tokens, MASK_PROB) * tokens / elapsed
    peak = next((value for name, value in PEAK_TERAFLOPS.items() if name in compute.chip), None)
    result = {
        "size": size,
        "parameters": cost.count_parameters(config),
        "precision": compute.precision,
        "compiled": is_compiled,
        "row_tokens": row_tokens,
        "tokens_per_step": tokens_per_step,
        "places_filled": corpus.fill,
        "tokens_per_second": tokens / elapsed,
        "step_seconds": elapsed / count,
        "warmup_seconds": warmup_seconds,
        "feed_share": feeding[0] / elapsed,
        "model_teraflops": flops / 1e12,
        "utilisation_by_data_sheet": None if peak is None else flops / 1e12 / peak,
        "utilisation_by_measured_rate": None if teraflops is None else flops / 1e12 / teraflops,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if compute.device == "cuda" else None,
    }
    del model, steps
    gc.collect()
    if compute.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return result


def measured_teraflops() -> float:
    """The best rate of large bf16 products on this GPU, within a second or so."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    a @ b
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 10 * 2 * 8192**3 / (time.perf_counter() - begun) / 1e12)
    return best


def render(found: list[dict[str, Any]]) -> str:
    """A row a variant."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = [
        [
            f"{each['size']}, {each['precision']}, {'compiled' if each['compiled'] else 'uncompiled'}",
            f"{each['tokens_per_second']:,.0f}",
            f"{each['model_teraflops']:,.2f}",
            percent(each["utilisation_by_data_sheet"]),
            percent(each["utilisation_by_measured_rate"]),
            percent(each["feed_share"]),
        ]
        for each in found
    ]
    return render_table(["variant", "tokens/s", "TFLOP/s", "of data sheet", "of measured", "feed"], rows)


if __name__ == "__main__":
    main()
