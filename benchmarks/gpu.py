"""Training on one GPU, within nine minutes: `python benchmarks/gpu.py [--sizes 100M,10M,10M-small-updates]`.

The product's own loop, feed and optimizer on packed documents in bf16, at about 100 and 10 million parameters. For
every variant: tokens per second; the share of the chip's matrix rate by its data sheet and as measured here; memory;
the share of the time in which the GPU computes; and the share in which it waits for a batch, or for a verdict about an
update. At the end the operations that take the most time. `--smoke` runs a tiny model for some steps, also on a
processor: it shows that the script works, not how fast anything is.

Model operations of a token: 6 for every weight that it meets, and 12 x layers x heads x head size for every token that
it sees, which are those of its own document in its row. Head and last feed-forward layer count only where a prediction
is due. The optimizer does not count, and neither does padding.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
import torch
from gpu_marks import Marks, busy_seconds, marked_steps
from machine import render_table, say, write_result
from workload import MASK_PROB, make_pretraining_text

from pretune.compute import device
from pretune.compute.device import choose_compute, device_at_hand
from pretune.data.batch import Batch
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, initialize
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training import loop, objective
from pretune.training.loop import StepResult
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig

PEAK_TERAFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0}  # dense bf16, by the makers' data sheets
_BUDGET_SECONDS = 450.0  # no variant begins after this
_WARMUP_STEPS = 4
_PROFILED_STEPS = 3
_TOP = 12
_MICRO_BATCH_TOKENS = 65_536  # as the product on a GPU


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model of some size and the updates it is trained in; `variants` are tried in this order."""

    hidden: int
    layers: int
    intermediate: int
    row_tokens: int
    step_tokens: int
    variants: tuple[str, ...]


SHAPES = {
    "100M": Shape(
        hidden=768,
        layers=13,
        intermediate=2048,
        row_tokens=512,
        step_tokens=131_072,
        variants=("compiled", "uncompiled", "compiled, any order"),
    ),
    "10M": Shape(
        hidden=384,
        layers=4,
        intermediate=1024,
        row_tokens=512,
        step_tokens=131_072,
        variants=("compiled", "uncompiled"),
    ),
    "10M-small-updates": Shape(  # what small budgets want, and what a GPU is too large for
        hidden=384,
        layers=4,
        intermediate=1024,
        row_tokens=64,
        step_tokens=4096,
        variants=("compiled",),
    ),
    "smoke": Shape(hidden=64, layers=2, intermediate=128, row_tokens=64, step_tokens=1024, variants=("uncompiled",)),
}


def main() -> None:
    options = read_options()
    started = time.monotonic()
    folder, text = make_pretraining_text(options.work, 400 if options.smoke else 20_000)
    rate = measured_teraflops() if torch.cuda.is_available() else None
    found: list[dict[str, Any]] = []
    wanted = [(size, variant) for size in options.sizes.split(",") for variant in SHAPES[size].variants]
    for size, variant in wanted:
        if time.monotonic() - started > _BUDGET_SECONDS:
            say(f"  left out for want of time: {size}, {variant}")
            continue
        try:
            found.append(measure(folder, size, variant, options.seconds, rate))
        except Exception as error:  # one variant that does not run must not cost the others
            if options.smoke:
                raise
            traceback.print_exc()
            found.append({"size": size, "variant": variant, "failed": f"{type(error).__name__}: {error}"[:500]})
        say(render(found[-1:]))
        forget_everything()
    for each in found:
        say(render_operations(each))
    say(render(found))
    if not options.smoke:
        minutes = (time.monotonic() - started) / 60
        chip = torch.cuda.get_device_name()
        fields = {"gpu": chip, "text": text, "measured_teraflops": rate, "variants": found, "minutes": minutes}
        say(write_result(options.name, fields).name)


def read_options() -> argparse.Namespace:
    """The command line; ends with a sentence where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100M,10M,10M-small-updates", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    parser.add_argument("--name", default="gpu")
    parser.add_argument("--smoke", action="store_true", help="a tiny model for some steps, to see the script work")
    options = parser.parse_args()
    if options.smoke:
        options.sizes, options.seconds = "smoke", 0.0
    if unknown := set(options.sizes.split(",")) - SHAPES.keys():
        parser.error(f"--sizes names {', '.join(sorted(unknown))}; expected some of {', '.join(SHAPES)}")
    if not torch.cuda.is_available() and not options.smoke:
        parser.error("there is no GPU here; --smoke shows on a processor that the script works")
    return options


class Training:
    """A model of some shape in training, one variant of it."""

    def __init__(self, folder: Path, shape: Shape, variant: str) -> None:
        self.compute = choose_compute(compile="on" if "compiled" in variant.split(", ") else "off")
        loop.in_fixed_order = device.in_fixed_order if "any order" not in variant else lambda _: nullcontext()
        objective.compile_options = device.compile_options if "any order" not in variant else in_any_order
        tokenizer = load_tokenizer(folder)
        self.config = config_of(shape, tokenizer.vocab_size)
        settings = RowSettings(
            row_tokens=shape.row_tokens,
            long_row_tokens=shape.row_tokens,
            tokens_per_step=shape.step_tokens,
            mask_prob=MASK_PROB,
            validation_tokens=8000,
            seed=0,
            micro_batch_tokens=_MICRO_BATCH_TOKENS,
        )
        self.corpus = Corpus(folder, settings, special_ids(tokenizer), tokenizer.is_sentence_end)
        self.model = LanguageModel(self.config).to(self.compute.device)
        initialize(self.model, 0)
        self.marks = Marks(self.compute.device)
        self.steps = marked_steps(
            self.model,
            TokenObjective(self.model, self.compute.dtype, compiled=self.compute.is_compiled),
            Optimizer(self.model, optimizer_config(self.compute.precision)),
            self.corpus.short_batches,
            self.marks,
        )

    def run(self, seconds: float, count: int) -> tuple[list[StepResult], float]:
        """Updates for some seconds, `count` at least, and how long they took."""
        begun, results = time.perf_counter(), list[StepResult]()
        while len(results) < count or time.perf_counter() - begun < seconds:
            results.append(next(self.steps))
        self.marks.wait()
        return results, time.perf_counter() - begun


def in_any_order(_device: str) -> dict[str, bool]:
    """What the product would tell torch.compile if the same bits did not matter."""
    return {"triton.cudagraphs": False}


def config_of(shape: Shape, vocab_size: int) -> ModelConfig:
    heads = max(1, shape.hidden // 64)
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        num_layers=shape.layers,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=64,
        intermediate_size=shape.intermediate,
    )


def optimizer_config(precision: str) -> OptimizerConfig:
    return OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=3e-3, weight_decay=0.01, precision=precision)


def measure(folder: Path, size: str, variant: str, seconds: float, teraflops: float | None) -> dict[str, Any]:
    """One variant for some seconds, after the first updates, in which it is compiled; then some updates profiled."""
    shape = SHAPES[size]
    training = Training(folder, shape, variant)
    _, warmup_seconds = training.run(0.0, _WARMUP_STEPS)
    training.marks.forget()
    results, elapsed = training.run(seconds, 2)
    waits = training.marks.shares(elapsed)
    tokens = sum(result.num_tokens for result in results)
    seen = mean_seen(training.corpus.short_batches(1))
    flops = cost.train_flops_per_token(training.config, seen, MASK_PROB) * tokens / elapsed
    compute = training.compute
    peak = next((value for name, value in PEAK_TERAFLOPS.items() if name in compute.chip), None)
    memory = torch.cuda.max_memory_allocated() if compute.device == "cuda" else None
    operations = busy_seconds(training.steps, _PROFILED_STEPS, compute.device)
    step_seconds = elapsed / len(results)
    return {
        "size": size,
        "variant": variant,
        "parameters": cost.count_parameters(training.config),
        "vocabulary": training.config.vocab_size,
        "precision": compute.precision,
        "row_tokens": shape.row_tokens,
        "tokens_per_step": shape.step_tokens,
        "seen_tokens": seen,
        "places_filled": training.corpus.fill,
        "tokens_per_second": tokens / elapsed,
        "step_seconds": step_seconds,
        "steps": len(results),
        "loss": results[-1].loss,
        "warmup_seconds": warmup_seconds,
        "model_teraflops": flops / 1e12,
        "utilisation_by_data_sheet": None if peak is None else flops / 1e12 / peak,
        "utilisation_by_measured_rate": None if teraflops is None else flops / 1e12 / teraflops,
        "busy_share": sum(operations.values()) / step_seconds,
        **waits,
        "synchronisations": count_synchronisations(training),
        "peak_gpu_bytes": memory,
        "operations_ms": {name: 1000 * value for name, value in list(operations.items())[:_TOP]},
    }


def mean_seen(batches: list[Batch]) -> float:
    """How many tokens a token sees in the mean, itself included: the others of its document in its row."""
    squares = total = 0
    for batch in batches:
        for row in batch.attention.document_ids:
            _, lengths = row[row >= 0].unique_consecutive(return_counts=True)
            squares, total = squares + int(lengths.square().sum()), total + int(lengths.sum())
    return squares / total


def count_synchronisations(training: Training) -> list[str]:
    """Where the processor waits for the GPU in one update, as far as torch can tell."""
    if training.compute.device != "cuda":
        return []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            next(training.steps)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told = [each for each in caught if "synchroniz" in str(each.message)]
    return [f"{Path(each.filename).name}:{each.lineno}" for each in told]


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


def forget_everything() -> None:
    """Free what a variant held, also what was compiled for it."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    if device_at_hand() == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def render(found: list[dict[str, Any]]) -> str:
    """A row a variant."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    rows = []
    for each in found:
        name = f"{each['size']}, {each['variant']}"
        if "failed" in each:
            rows.append([name, "failed", *["-"] * 7])
            continue
        memory = each["peak_gpu_bytes"]
        rows.append(
            [
                name,
                f"{each['tokens_per_second']:,.0f}",
                f"{each['model_teraflops']:,.2f}",
                percent(each["utilisation_by_data_sheet"]),
                percent(each["utilisation_by_measured_rate"]),
                percent(each["busy_share"]),
                percent(each["feed_share"]),
                percent(each["verdict_share"]),
                "-" if memory is None else f"{memory / 1e9:.1f}",
            ]
        )
    heads = ["variant", "tokens/s", "TFLOP/s", "of data sheet", "of measured", "busy", "waits: feed", "verdict", "GB"]
    return render_table(heads, rows)


def render_operations(each: dict[str, Any]) -> str:
    """The longest operations of an update of one variant."""
    if "failed" in each:
        return f"\n{each['size']}, {each['variant']}: {each['failed']}"
    rows = [[name[:90], f"{value:.2f}"] for name, value in each["operations_ms"].items()]
    waits = ", ".join(each["synchronisations"]) or "nowhere that torch sees"
    head = f"\n{each['size']}, {each['variant']}: {1000 * each['step_seconds']:.1f} ms an update"
    return f"{head}; the processor waits for the GPU: {waits}\n" + render_table(["operation", "ms an update"], rows)


if __name__ == "__main__":
    main()
