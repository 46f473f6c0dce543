"""LoRA steps of pretune beside those of PEFT, by turns: `python benchmarks/lora.py NAME [--rank N] [--rounds N]`.

Both train the same corrections of one Llama of 5 million parameters on the same rows, with AdamW: PEFT on
transformers' model, in a plain loop. A turn is some steps of one, then of the other, in one process. Wall time says
what a user waits, on a quiet machine; the CPU time of the process says nearly the same on a busy one. First it is
checked that both have the same loss before the first step, up to rounding.
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
from machine import matrix_gflops, median, render_table, say, write_result

from pretune.compute.cpu_threads import lanes_for
from pretune.compute.malloc import keep_freed_memory
from pretune.data.batch import Attention, Batch
from pretune.model.config import mini
from pretune.model.folder import save_model_folder
from pretune.model.lora import TARGETS, LoraConfig, add_lora
from pretune.model.transformer import LanguageModel, initialize
from pretune.training.loop import accumulate, clear_gradients
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import alone
from pretune.training.threaded_objective import ThreadedObjective

VOCABULARY, ROWS, LENGTH = 8192, 32, 128
SUPERVISED = 0.7  # of the positions; the loss counts the others not
RATE = 1e-3
Step = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="in a turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    model, rows = base_model(), draw_rows()
    with tempfile.TemporaryDirectory() as folder:
        rank = arguments.rank
        steps = {"pretune": our_step(model, rows, rank), "peft": their_step(model, rows, rank, folder)}
        first = {name: step() for name, step in steps.items()}
        if abs(first["pretune"] - first["peft"]) > 1e-3:
            raise SystemExit(f"The losses before the first step differ: {first}")
        figures = measure(steps, arguments.rounds, arguments.steps)
    path = write_result(
        arguments.name,
        {
            "rank": arguments.rank,
            "targets": list(TARGETS),
            "rows": ROWS,
            "row_tokens": LENGTH,
            "supervised_fraction": SUPERVISED,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "steps_in_a_turn": arguments.steps,
            "peft_version": peft_version(),
            "matrix_gflops": round(matrix_gflops()),
            "first_losses": first,
            "contenders": figures,
            "speed_up": {
                kind: figures["peft"][kind] / figures["pretune"][kind] for kind in ("wall_seconds", "cpu_seconds")
            },
        },
    )
    say(describe(figures))
    say(str(path))


def base_model() -> LanguageModel:
    """The base, with weights that are all at work."""
    model = LanguageModel(replace(mini(VOCABULARY), objective="causal", max_seq_len=LENGTH))
    initialize(model, 0)
    with torch.no_grad():
        for block in model.transformer.blocks:
            for matrix in (block.out_proj, block.down_proj):
                matrix.weight.normal_(0.0, 0.02)
    return model


def draw_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (ROWS, LENGTH), and which of them are learned; the first one of a row never is."""
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(4, VOCABULARY, (ROWS, LENGTH), generator=rng)
    is_learned = torch.rand(ROWS, LENGTH, generator=rng) < SUPERVISED
    is_learned[:, 0] = False
    return ids, is_learned


def our_step(base: LanguageModel, rows: tuple[torch.Tensor, torch.Tensor], rank: int) -> Step:
    """A step as `finetune --adapter lora` makes it."""
    ids, is_learned = rows
    model = LanguageModel(base.config)
    model.load_state_dict(base.state_dict())
    add_lora(model, LoraConfig(rank=rank, alpha=2.0 * rank), seed=0)
    targets = is_learned.flatten().nonzero()[:, 0]
    batch = Batch(
        input_ids=ids,
        labels=ids.flatten()[targets],
        positions=targets - 1,
        attention=Attention(document_ids=torch.zeros_like(ids), is_causal=torch.ones(ROWS, dtype=torch.bool)),
        num_tokens=ids.numel(),
    )
    objective = ThreadedObjective(TokenObjective(model, torch.float32, compiled=False), model, lanes_for("cpu"))
    parallel, split = alone(model), MicrobatchSplit()
    config = OptimizerConfig(kind="adamw", matrix_rate=RATE, other_rate=RATE, weight_decay=0.0, betas=(0.9, 0.999))
    optimizer = Optimizer(model, config)

    def step() -> float:
        loss, _ = accumulate(objective, [batch], batch.weight, parallel, split)
        parallel.clip(1.0)
        optimizer.step(1.0)
        clear_gradients(parallel)
        return float(loss)

    return step


def their_step(base: LanguageModel, rows: tuple[torch.Tensor, torch.Tensor], rank: int, folder: str) -> Step:
    """A step of a plain loop around PEFT's model."""
    import peft
    import transformers

    tokenizer, target = Path(folder) / "tokenizer", Path(folder) / "base"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_model_folder(target, base, tokenizer)
    ids, is_learned = rows
    labels = ids.masked_fill(~is_learned, -100)
    lora = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(target), lora).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0, fused=True)

    def step() -> float:
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def peft_version() -> str:
    from importlib.metadata import version

    return version("peft")


def measure(steps: dict[str, Step], rounds: int, count: int) -> dict[str, Any]:
    """Seconds of a step, the median over the turns but the first, in wall time and in CPU time."""
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                step()
            turns[name].append(((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count))
    return {
        name: {
            "wall_seconds": median([wall for wall, _ in found[1:]]),
            "cpu_seconds": median([cpu for _, cpu in found[1:]]),
            "turns": found[1:],
        }
        for name, found in turns.items()
    }


def describe(figures: dict[str, Any]) -> str:
    tokens = ROWS * LENGTH
    rows = [
        [name, f"{found['wall_seconds']:.3f}", f"{found['cpu_seconds']:.3f}", f"{tokens / found['wall_seconds']:,.0f}"]
        for name, found in figures.items()
    ]
    return render_table(["", "s per step", "CPU s per step", "tokens/s"], rows)


if __name__ == "__main__":
    main()
