"""Where the time of a training step goes: `python benchmarks/profile_step.py PREPROCESSED --size mini --row-tokens 64`.

Runs the product's own step on a preprocess folder, times its parts by the clock, then profiles some steps operation by
operation. The parts are milliseconds per update by the clock; the operations are summed over the lanes, so with two of
them an update has twice as many milliseconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
from machine import matrix_gflops
from torch import nn
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from pretune.compute.device import choose_compute
from pretune.data.batch import Batch
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.config import PRESETS
from pretune.model.transformer import LanguageModel, initialize
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.loop import backward, total_weight
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.threaded_objective import in_lanes

_KINDS = (  # the first that occurs in an operation's name says what it is
    ("matrix products", ("aten::mm", "aten::bmm", "aten::addmm", "aten::linear", "mkl", "onednn", "extern")),
    ("compiled loops", ("cpp_fused", "graph_")),
    ("embedding", ("embedding", "index_put", "index_add", "aten::index", "gather", "scatter")),
    ("softmax and loss", ("softmax", "nll", "cross_entropy", "argmax")),
    ("copies and casts", ("copy_", "clone", "contiguous", "_to_copy", "cat", "fill_", "zero_", "empty", "resize")),
)


class Step:
    """One training step of the product on real rows, in its parts."""

    def __init__(
        self, folder: Path, size: str, row_tokens: int, tokens_per_step: int, *, compiled: bool, one_lane: bool
    ) -> None:
        tokenizer = load_tokenizer(folder)
        settings = RowSettings(
            row_tokens=row_tokens,
            long_row_tokens=row_tokens,
            tokens_per_step=tokens_per_step,
            mask_prob=0.2,
            validation_tokens=8000,
            seed=0,
        )
        self.corpus = Corpus(folder, settings, special_ids(tokenizer), tokenizer.is_sentence_end)
        self.config = PRESETS[size](tokenizer.vocab_size)
        compute = choose_compute(compile="on" if compiled else "off")
        self.model = LanguageModel(self.config)
        initialize(self.model, 0)
        objective = TokenObjective(self.model, compute.dtype, compiled=compiled)
        self.objective = objective if one_lane else in_lanes(objective, self.model, compute)
        rates = OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=3e-3, weight_decay=0.01)
        self.optimizer = Optimizer(self.model, rates)
        self.parameters = list(self.model.parameters())
        self.index = 0

    def feed(self) -> list[Batch]:
        self.index += 1
        return self.corpus.short_batches(self.index)

    def forward(self, batch: Batch) -> None:
        self.objective(batch)

    def gradient(self, batches: list[Batch]) -> None:
        for batch in batches:
            backward(self.objective, batch, total_weight(batches))

    def clip(self) -> None:
        float(nn.utils.clip_grad_norm_(self.parameters, 1.0))

    def update(self) -> None:
        self.optimizer.step(0.5)
        for parameter in self.parameters:
            parameter.grad = None

    def run(self) -> int:
        batches = self.feed()
        self.gradient(batches)
        self.clip()
        self.update()
        return sum(batch.num_tokens for batch in batches)


def time_parts(step: Step, count: int) -> dict[str, float]:
    """Median milliseconds of each part; `forward` alone is run apart and lies within `forward and backward`."""
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, action: Any) -> Any:
        start = time.perf_counter()
        result = action()
        seconds[name].append(time.perf_counter() - start)
        return result

    for _ in range(count):
        start = time.perf_counter()
        batches = timed("feed", step.feed)
        timed("forward and backward", lambda: step.gradient(batches))  # noqa: B023  called at once
        timed("clip", step.clip)
        timed("optimizer", step.update)
        seconds["step"].append(time.perf_counter() - start)
        timed("forward alone", lambda: [step.forward(batch) for batch in batches])  # noqa: B023
    return {name: 1000 * sorted(values)[len(values) // 2] for name, values in seconds.items()}


def profile_operations(step: Step, count: int) -> list[dict[str, Any]]:
    """Self time per update of every operation, by its name and the shapes of its inputs."""
    of_all_lanes = _ExperimentalConfig(profile_all_threads=True)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, experimental_config=of_all_lanes) as found:
        for _ in range(count):
            step.run()
    rows = [
        {
            "name": event.key,
            "shapes": str([shape for shape in event.input_shapes if shape])[:90],
            "calls": event.count / count,
            "milliseconds": event.self_cpu_time_total / 1000 / count,
        }
        for event in found.key_averages(group_by_input_shape=True)
    ]
    return sorted(rows, key=lambda row: -row["milliseconds"])


def kind_of(name: str) -> str:
    lowered = name.lower()
    return next((kind for kind, words in _KINDS if any(word in lowered for word in words)), "element-wise and the rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="mini", choices=sorted(PRESETS))
    parser.add_argument("--row-tokens", type=int, default=64)
    parser.add_argument("--tokens-per-step", type=int, default=4096)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--one-lane", action="store_true", help="two threads in every operation instead of two lanes")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.compiled:
        import torch._inductor.config as inductor

        inductor.cpp.enable_kernel_profile = True
    step = Step(
        options.folder,
        options.size,
        options.row_tokens,
        options.tokens_per_step,
        compiled=options.compiled,
        one_lane=options.one_lane,
    )
    start = time.perf_counter()
    step.run()
    first = time.perf_counter() - start
    tokens = step.run()
    parts = time_parts(step, options.steps)
    operations = profile_operations(step, max(2, options.steps // 2))
    kinds: dict[str, float] = defaultdict(float)
    for row in operations:
        kinds[kind_of(row["name"])] += row["milliseconds"]
    rate = matrix_gflops()
    flops = cost.train_flops_per_token(step.config, options.row_tokens, 0.2)
    result = {
        "size": options.size,
        "parameters": cost.count_parameters(step.config),
        "row_tokens": options.row_tokens,
        "compiled": options.compiled,
        "one_lane": options.one_lane,
        "tokens_per_step": tokens,
        "tokens_per_second": 1000 * tokens / parts["step"],
        "first_step_seconds": first,
        "parts": parts,
        "kinds": dict(kinds),
        "matrix_gflops": rate,
        "share_of_matrix_rate": flops * tokens / parts["step"] * 1000 / (rate * 1e9),
        "operations": operations[: options.top],
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    write = sys.stdout.write
    words = "compiled" if result["compiled"] else "eager"
    write(
        f"{result['size']}, {result['parameters'] / 1e6:.2f} M, rows of {result['row_tokens']}, {words}: "
        f"{result['tokens_per_second']:,.0f} tokens/s, {result['share_of_matrix_rate']:.0%} of "
        f"{result['matrix_gflops']:.0f} GFLOP/s, first step {result['first_step_seconds']:.1f} s\n"
    )
    for name, value in result["parts"].items():
        write(f"  {name:<24}{value:9.1f} ms\n")
    total = sum(result["kinds"].values())
    for name, value in sorted(result["kinds"].items(), key=lambda pair: -pair[1]):
        write(f"  {name:<28}{value:9.1f} ms  {value / total:5.1%}\n")
    for row in result["operations"]:
        write(f"    {row['milliseconds']:8.2f} ms {row['calls']:6.1f}x  {row['name'][:60]:<60} {row['shapes']}\n")


if __name__ == "__main__":
    main()
