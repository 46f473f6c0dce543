"""Pre-training: ours and Hugging Face's Trainer by turns, in real tokens per second, at several sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contenders import Contender, rounds
from machine import median, render_table, say
from workload import SIZES

ROW_TOKENS, TOKENS_PER_STEP = 64, 4096
_ROWS = TOKENS_PER_STEP // ROW_TOKENS
_TUNED = {
    "per_device_train_batch_size": _ROWS,
    "torch_compile": True,
    "logging_strategy": "no",
    "skip_memory_metrics": True,
}
_OURS = ("ours", "ours-eager")


def contender_specs(
    folder: Path, size: str, *, has_bf16: bool, everything: bool
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Worker and settings by name.

    `trainer-default` is run_mlm as it comes: rows of 8 in a batch, fp32, uncompiled. The tuned ones have our rows per
    step, compiled code, bf16 where the chip multiplies in it, and no logging; they differ in attention and in how
    batches are fed.
    """
    base = {"task": "pretrain", "folder": str(folder), "size": size, "row_tokens": ROW_TOKENS}
    tuned = {**_TUNED, "bf16": has_bf16}
    specs = {
        "ours": ("ours.py", {**base, "tokens_per_step": TOKENS_PER_STEP}),
        "ours-eager": ("ours.py", {**base, "tokens_per_step": TOKENS_PER_STEP, "compile": "off"}),
        "trainer-default": ("peers.py", base),
        "trainer-same-batch": ("peers.py", {**base, "arguments": {"per_device_train_batch_size": _ROWS}}),
        "trainer-tuned": ("peers.py", {**base, "arguments": tuned}),
        "trainer-tuned-products": ("peers.py", {**base, "attention": "eager", "arguments": tuned}),
        "trainer-tuned-workers": ("peers.py", {**base, "arguments": {**tuned, "dataloader_num_workers": 1}}),
    }
    if not everything:
        specs = {name: specs[name] for name in ("ours", "ours-eager", "trainer-default", "trainer-tuned-products")}
    return specs


def measure_size(
    folder: Path, size: str, *, repeats: int, seconds: float, has_bf16: bool, everything: bool
) -> dict[str, Any]:
    """All contenders at one size. The chip's matrix rate is measured between their turns, in a worker of its own."""
    specs = contender_specs(folder, size, has_bf16=has_bf16, everything=everything)
    probe = Contender("matrix rate", "probe.py", {"dtype": "bfloat16" if has_bf16 else "float32"})
    contenders = []
    for name, (script, spec) in specs.items():
        say(f"  {size}: starting {name}")
        contenders.append(Contender(name, script, spec, {"OMP_WAIT_POLICY": "PASSIVE"}))
    for repeat, contender in rounds([probe, *contenders], repeats, seconds):
        if contender is not probe:
            turn = contender.turns[-1]
            say(f"  {size}: round {repeat + 1}, {contender.name}: {turn['tokens'] / turn['seconds']:,.0f} tokens/s")
    for contender in (probe, *contenders):
        contender.stop()
    gflops = median([turn["gflops"] for turn in probe.turns])
    return {
        "size": size,
        "preset": SIZES[size],
        "row_tokens": ROW_TOKENS,
        "tokens_per_step": TOKENS_PER_STEP,
        "matrix_gflops": gflops,
        "contenders": [_describe(contender, gflops) for contender in contenders],
        **_ratios(contenders),
    }


def _rates(contender: Contender) -> list[float]:
    return [turn["tokens"] / turn["seconds"] for turn in contender.turns]


def _describe(contender: Contender, gflops: float) -> dict[str, Any]:
    rate = median(_rates(contender))
    return {
        "name": contender.name,
        "tokens_per_second": rate,
        "tokens_per_second_by_turn": _rates(contender),
        "share_of_matrix_rate": rate * contender.ready["flops_per_token"] / (gflops * 1e9),
        "peak_memory_bytes": contender.end["peak_memory_bytes"],
        "start_seconds": contender.ready["start_seconds"],
        "settings": contender.spec.get("arguments", {}),
        **contender.ready,
    }


def _ratios(contenders: list[Contender]) -> dict[str, Any]:
    """Ours over theirs, turn by turn, so that a slow minute of the machine counts for both; medians of the ratios."""
    by_name = {contender.name: _rates(contender) for contender in contenders}
    tuned = [name for name in by_name if name.startswith("trainer-") and name != "trainer-default"]
    best = max(tuned, key=lambda name: median(by_name[name]))

    def ratio(name: str, other: str) -> float:
        return median([a / b for a, b in zip(by_name[name], by_name[other], strict=True)])

    return {
        "best_tuned": best,
        "ratios": {
            name: {"over_default": ratio(name, "trainer-default"), "over_best_tuned": ratio(name, best)}
            for name in _OURS
        },
    }


def render(results: list[dict[str, Any]]) -> str:
    """One table a size, and the ratios under it."""
    blocks = []
    for result in results:
        rows = [
            [
                each["name"],
                f"{each['parameters'] / 1e6:.2f} M",
                f"{each['tokens_per_second']:,.0f}",
                f"{min(each['tokens_per_second_by_turn']):,.0f}-{max(each['tokens_per_second_by_turn']):,.0f}",
                f"{each['share_of_matrix_rate']:.0%}",
                f"{each['peak_memory_bytes'] / 1e9:.2f} GB",
                f"{each['first_step_seconds']:.1f} s",
            ]
            for each in result["contenders"]
        ]
        header = ["contender", "parameters", "tokens/s", "range", "of matrix rate", "peak memory", "first step"]
        title = (
            f"Pre-training, {result['size']} parameters, rows of {result['row_tokens']}; "
            f"matrix products in this run: {result['matrix_gflops']:.0f} GFLOP/s"
        )
        lines = [title, render_table(header, rows).rstrip("\n")]
        for name, ratio in result["ratios"].items():
            lines.append(
                f"{name}: {ratio['over_default']:.2f}x Trainer's default, {ratio['over_best_tuned']:.2f}x the best "
                f"tuned one ({result['best_tuned']})"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
