"""Fine-tuning: ours and Trainer by turns on the same labelled texts, in rows per second, so in time per epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contenders import Contender, rounds
from machine import median, render_table, say
from workload import make_task

MAX_SEQ_LEN = 128  # run_glue's default
_ROWS = 8_000


def measure(
    work: Path, base: Path, *, repeats: int, seconds: float, has_bf16: bool, quick: bool, size: str = "5M"
) -> dict[str, Any]:
    """Evaluation and saving are apart, for all; rows are shuffled, so that a turn sees a fair sample of them."""
    folder, words = make_task(work, base, _ROWS, MAX_SEQ_LEN)
    spec = {"task": "finetune", "folder": str(folder), "size": size, "max_seq_len": MAX_SEQ_LEN}
    tuned = {
        "per_device_train_batch_size": 32,
        "train_sampling_strategy": "group_by_length",
        "logging_strategy": "no",
        "skip_memory_metrics": True,
        "bf16": has_bf16,
    }
    specs = {
        "ours": ("ours.py", spec),
        "trainer-default": ("peers.py", {**spec, "pad_to_max": True}),
        "trainer-dynamic": ("peers.py", {**spec, "arguments": {"per_device_train_batch_size": 32}}),
        "trainer-tuned": ("peers.py", {**spec, "arguments": tuned}),
    }
    if not quick:
        compiled = {**tuned, "torch_compile": True}
        specs["trainer-compiled"] = ("peers.py", {**spec, "pad_to_multiple_of": 32, "arguments": compiled})
    contenders = []
    for name, (script, given) in specs.items():
        say(f"  starting {name}")
        contenders.append(Contender(name, script, given, {"OMP_WAIT_POLICY": "PASSIVE"}))
    for repeat, contender in rounds(contenders, repeats, seconds):
        turn = contender.turns[-1]
        say(f"  round {repeat + 1}, {contender.name}: {turn['rows'] / turn['seconds']:,.1f} rows/s")
    for contender in contenders:
        contender.stop()
    rates = {c.name: median([turn["rows"] / turn["seconds"] for turn in c.turns]) for c in contenders}
    tuned_names = [name for name in rates if name not in ("ours", "trainer-default")]
    best = max(tuned_names, key=lambda name: rates[name])
    return {
        "size": size,
        "rows": words,
        "max_seq_len": MAX_SEQ_LEN,
        "contenders": [
            {
                "name": c.name,
                "rows_per_second": rates[c.name],
                "tokens_per_second": median([turn["tokens"] / turn["seconds"] for turn in c.turns]),
                "peak_memory_bytes": c.end["peak_memory_bytes"],
                "settings": c.spec.get("arguments", {}),
                **c.ready,
            }
            for c in contenders
        ],
        "over_default": rates["ours"] / rates["trainer-default"],
        "over_best_tuned": rates["ours"] / rates[best],
        "best_tuned": best,
    }


def render(result: dict[str, Any]) -> str:
    """A table, and the ratios under it."""
    rows = [
        [
            each["name"],
            f"{each['rows_per_second']:,.0f}",
            f"{each['tokens_per_second']:,.0f}",
            f"{each['peak_memory_bytes'] / 1e9:.2f} GB",
        ]
        for each in result["contenders"]
    ]
    return (
        f"Fine-tuning, {result['size']} parameters, {result['rows']}, at most {result['max_seq_len']} tokens\n"
        + render_table(["contender", "rows/s", "tokens/s", "peak memory"], rows)
        + f"ours: {result['over_default']:.2f}x Trainer's default, {result['over_best_tuned']:.2f}x the best tuned one "
        f"({result['best_tuned']})\n"
    )
