"""A script that trains a small model in several processes and writes their results to a folder.

`python ranks.py FOLDER TOKENIZER SIZE`: imports everything once, computes nothing, and forks SIZE processes that
communicate by gloo.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pretune.compute.ranks import Ranks, join_ranks
from pretune.data.batch import Attention, Batch
from pretune.errors import InputDataError
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel, SequenceClassifier, initialize
from pretune.tasks.registry import task_named
from pretune.training.checkpoint import TrainingState, list_steps
from pretune.training.distributed_checkpoint import roll_back_together, save_together
from pretune.training.guard import Guard
from pretune.training.loop import StepResult, accumulate, evaluate_rows, total_weight, train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import LossSum, Objective, TaskObjective, TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.parallel import Parallel

STEPS, MICRO_BATCHES = 4, 5  # of which the first of two processes computes three
CONFIG = ModelConfig(
    vocab_size=301, hidden_size=36, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=18, intermediate_size=49
)


def batch_of(index: int) -> Batch:
    """Rows of 12 tokens with two documents and padding; the number of labels depends on the index."""
    rng = torch.Generator().manual_seed(index)
    ids = torch.randint(4, 301, (4, 12), generator=rng)
    documents = torch.tensor([[0] * 6 + [1] * 4 + [-1] * 2] * 4)
    real = (documents >= 0).flatten().nonzero()[:, 0]
    positions = real[torch.randperm(len(real), generator=rng)[: 4 + 3 * (index % 5)]].sort().values
    labels = ids.flatten()[positions]
    ids.view(-1)[positions] = 3
    return Batch(
        input_ids=ids, labels=labels, positions=positions, attention=Attention(document_ids=documents), num_tokens=40
    )


def step_of(step: int, rank: int, size: int) -> list[Batch]:
    """The micro-batches of a step that one process computes."""
    return [batch_of(step * MICRO_BATCHES + index) for index in range(rank, MICRO_BATCHES, size)]


def begin(
    ranks: Ranks, kind: str, *, compiled: bool = False, is_bad: Callable[[], bool] = lambda: False
) -> tuple[Parallel, Optimizer, Objective, Iterator[StepResult]]:
    """Updates of a model whose initial weights only the first process has; `is_bad` makes a loss NaN."""
    model = LanguageModel(CONFIG)
    initialize(model, seed=ranks.rank)
    parallel = Parallel(model, ranks)
    parallel.spread(lambda model: initialize(model, seed=0))
    masked = TokenObjective(model, torch.float32, compiled=compiled)

    def corrupted(batch: Batch) -> LossSum:
        sums = masked(batch)
        return replace(sums, loss=sums.loss * math.nan) if is_bad() else sums

    objective = parallel.wrap(corrupted)
    optimizer = Optimizer(model, OptimizerConfig(kind=kind, matrix_rate=0.02, other_rate=3e-3, weight_decay=0.01))
    steps = train_steps(
        model,
        objective,
        optimizer,
        lambda step: step_of(step, ranks.rank, ranks.size),
        rate=lambda _: 1.0,
        first_step=1,
        clip_norm=1.0,
        guard=Guard(),
        microbatch_split=MicrobatchSplit(),
        parallel=parallel,
    )
    return parallel, optimizer, objective, steps


def train(ranks: Ranks, kind: str, compiled: bool = False) -> tuple[Parallel, Optimizer, dict[str, Any]]:
    """Some updates, and an evaluation."""
    parallel, optimizer, objective, steps = begin(ranks, kind, compiled=compiled)
    found: dict[str, Any] = {"steps": [vars(next(steps)) for _ in range(STEPS)]}
    batches = [batch_of(1000 + i) for i in range(3)]
    rows = evaluate_rows(objective, batches, parallel)
    found["evaluation"] = [rows.loss, rows.accuracy, rows.count]
    found.update(row_losses=rows.row_losses.tolist(), row_corrects=rows.row_corrects.tolist())
    return parallel, optimizer, found


def roll_back(ranks: Ranks, folder: Path, tokenizer_folder: Path) -> dict[str, Any]:
    """An update that is bad in the second process only; then a rollback to an earlier checkpoint."""
    is_bad = [False]
    parallel, optimizer, _, steps = begin(ranks, "muon", is_bad=lambda: is_bad[0])

    def save(step: int) -> dict[str, torch.Tensor]:
        state = TrainingState(step=step, guard=Guard(losses=[float(step)]))
        save_together(parallel, folder, optimizer, state, tokenizer_folder, keep=lambda _: True)
        return {name: tensor.clone() for name, tensor in state_of(parallel, optimizer).items()}

    def equals(tensors: dict[str, torch.Tensor]) -> bool:
        now = state_of(parallel, optimizer)
        return all(torch.equal(now[name], tensor) for name, tensor in tensors.items())

    next(steps)
    kept = save(1)
    is_bad[0] = ranks.rank == 1
    refusal = next(steps).refusal
    is_bad[0] = False
    found = {"refusal": None if refusal is None else refusal.reason, "is_kept_after_refusal": equals(kept)}
    next(steps)
    save(3)
    found["is_kept_after_update"] = equals(kept)
    state = roll_back_together(parallel, folder, optimizer, until=2, made_from={}, report=lambda _: None)
    assert state is not None
    ranks.answer(lambda: None, "listing the checkpoints")
    found |= {"is_kept_after_rollback": equals(kept), "left": list_steps(folder), "guard": vars(state.guard)}
    return {**found, "num_updates": optimizer.num_updates}


def state_of(parallel: Parallel, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimizer of a model."""
    return {**parallel.model.state_dict(), **optimizer.state()}


def work(folder: Path, tokenizer_folder: Path) -> None:
    """The work of every process."""
    torch.set_num_threads(1)
    ranks = join_ranks()
    ranks.open_group("cpu", hang_seconds=60)
    results: dict[str, Any] = {}
    for kind in ("muon", "adamw"):
        parallel, optimizer, found = train(ranks, kind)
        if ranks.is_first:
            shared = {name: tensor.clone().contiguous() for name, tensor in state_of(parallel, optimizer).items()}
            save_file(shared, folder / f"{kind}.safetensors")
        results[kind] = found
    results["rollback"] = roll_back(ranks, folder / "checkpoints", tokenizer_folder)
    results["traffic"] = [traffic(parallel, count) for count in (1, 3)]
    results["answer"] = ranks.answer(lambda: {"rank": ranks.rank}, "a question")
    results["refusal"] = refusal(ranks)
    for kind, dtype in GRADIENTS:
        gradients = first_gradient(ranks, kind, dtype)
        if ranks.is_first:
            save_file(gradients, folder / f"gradient-{kind}-{dtype}.safetensors")
    (folder / f"results-{ranks.rank}.json").write_text(json.dumps(results), encoding="utf-8")
    ranks.close_group()


def traffic(parallel: Parallel, count: int) -> int:
    """How many times gradients are exchanged in a step of `count` micro-batches."""
    objective = parallel.wrap(TokenObjective(parallel.model, torch.float32, compiled=False))  # type: ignore[arg-type]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for index in range(count):
            with parallel.accumulating(is_last=index == count - 1):
                objective(batch_of(index)).loss.backward()
    names = [event.name for event in profile.events()]
    return sum("c10d::allreduce" in name for name in names)


def refusal(ranks: Ranks) -> str:
    """The message of an error that only the first process raises."""

    def refuse() -> None:
        raise InputDataError("There is too little text.")

    try:
        ranks.answer(refuse, "a refusal")
    except InputDataError as error:
        return str(error)
    return "none"


GRADIENTS = [(kind, dtype) for kind in ("masked", "labelled", "last") for dtype in (torch.float32, torch.bfloat16)]


def first_gradient(ranks: Ranks, kind: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The gradient of one update of random weights: of masked prediction, of labelled texts, or of a last text that
    only the first process gets."""
    model: LanguageModel | SequenceClassifier = (
        LanguageModel(CONFIG) if kind == "masked" else SequenceClassifier(CONFIG, 3)
    )
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.1, generator=rng)
    parallel = Parallel(model, ranks)
    if isinstance(model, LanguageModel):
        objective = parallel.wrap(TokenObjective(model, dtype, compiled=False))
        batches = step_of(1, ranks.rank, ranks.size)
    else:
        objective = parallel.wrap(TaskObjective(model, task_named("classification").losses, dtype, compiled=False))
        rows = 1 if kind == "last" else 5
        texts = Batch(
            input_ids=torch.randint(4, 301, (rows, 8), generator=rng),
            labels=torch.randint(0, 3, (rows,), generator=rng),
            attention=Attention(document_ids=torch.zeros(rows, 8, dtype=torch.long)),
        )
        batches = [texts.part(ranks.rank, ranks.size)]
    [weight] = parallel.sum([total_weight(batches)], "the labels of an update")
    accumulate(objective, batches, weight, parallel, MicrobatchSplit())
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def main() -> None:
    """Fork the processes and wait for them; the exit code is 1 if one failed."""
    folder, tokenizer_folder, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            try:
                work(folder, tokenizer_folder)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(1 if any(codes) else 0)


if __name__ == "__main__":
    main()
