"""Worker: the product's own training, in turns. Started by contenders.py with one argument, a JSON object."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
import torch
from contenders import Turns
from workload import MASK_PROB, model_config

from pretune.compute.device import choose_compute
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.data.special_ids import special_ids
from pretune.model import cost
from pretune.model.transformer import LanguageModel, initialize
from pretune.tasks.registry import task_named
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.training.guard import Guard
from pretune.training.loop import train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TokenObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.threaded_objective import in_lanes

_WARMUP_STEPS = 2


def pretrain(spec: dict[str, Any]) -> None:
    """Masked prediction with the product's defaults; `compile` is auto, on or off."""
    if spec.get("threads"):
        torch.set_num_threads(spec["threads"])
    folder = Path(spec["folder"])
    tokenizer = load_tokenizer(folder)
    compute = choose_compute(compile=spec.get("compile", "auto"))
    config = model_config(spec["size"], tokenizer)
    model = LanguageModel(config).to(compute.device)
    initialize(model, 0)
    settings = RowSettings(
        row_tokens=spec["row_tokens"],
        long_row_tokens=spec["row_tokens"],
        tokens_per_step=spec["tokens_per_step"],
        mask_prob=MASK_PROB,
        validation_tokens=8000,
        seed=0,
    )
    corpus = Corpus(folder, settings, special_ids(tokenizer), tokenizer.is_sentence_end)
    steps = train_steps(
        model,
        in_lanes(TokenObjective(model, compute.dtype, compiled=compute.is_compiled), model, compute),
        Optimizer(model, OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=3e-3, weight_decay=0.01)),
        lambda step: [batch.to(compute.device) for batch in corpus.short_batches(step)],
        rate=lambda step: min(1.0, step / 50),
        first_step=1,
        clip_norm=1.0,
        guard=Guard(),
        microbatch_split=MicrobatchSplit(),
    )
    started = time.perf_counter()
    next(steps)
    first_step_seconds = time.perf_counter() - started
    for _ in range(_WARMUP_STEPS):
        next(steps)
    turns = Turns()
    going = turns.ready(
        parameters=cost.count_parameters(config),
        flops_per_token=cost.train_flops_per_token(config, spec["row_tokens"], MASK_PROB),
        first_step_seconds=first_step_seconds,
        precision=compute.precision,
        compiled=compute.is_compiled,
        threads=torch.get_num_threads(),
        places_filled=corpus.fill,
    )
    while going:
        result = next(steps)
        going = turns.count(tokens=result.num_tokens, steps=1)


def finetune(spec: dict[str, Any]) -> None:
    """Classification with the settings of the finetune stage: rows of like length together, 32 in an update."""
    import numpy as np

    from pretune.compute.cpu_threads import lanes_for
    from pretune.data.labelled_rows import LabeledShard, LabelledBatches
    from pretune.model.transformer import SequenceClassifier
    from pretune.text.token_shards import TokenShard
    from pretune.training.objective import TaskObjective
    from pretune.training.threaded_objective import ThreadedObjective

    folder = Path(spec["folder"])
    tokenizer = load_tokenizer(folder)
    compute = choose_compute(compile="off")
    labels = np.load(folder / "labels.npy")
    rows = LabelledBatches(
        LabeledShard(shard=TokenShard(folder, "task"), all_labels=labels, rows=np.arange(len(labels))),
        special_ids(tokenizer),
        batch_size=32,
        seed=0,
        mask_augment=0.1,
    )
    model = SequenceClassifier(model_config(spec["size"], tokenizer), int(labels.max()) + 1).to(compute.device)
    initialize(model, 0)

    epochs: dict[int, list[Any]] = {}

    def batches(step: int) -> list[Any]:
        epoch, place = divmod(step - 1, rows.batches_per_epoch)
        if epoch not in epochs:
            epochs[epoch] = rows.epoch(epoch)
        return [rows.training_batch(epochs[epoch][place], epoch, place).to(compute.device)]

    steps = train_steps(
        model,
        ThreadedObjective(
            TaskObjective(model, task_named("classification").losses, compute.dtype, compiled=False),
            model,
            lanes_for(compute.device),
        ),
        Optimizer(model, OptimizerConfig(kind="adamw", matrix_rate=5e-4, other_rate=5e-4, weight_decay=0.05)),
        batches,
        rate=lambda step: 1.0,
        first_step=1,
        clip_norm=1.0,
        guard=Guard(),
        microbatch_split=MicrobatchSplit(),
    )
    for _ in range(_WARMUP_STEPS):
        next(steps)
    turns = Turns()
    going = turns.ready(parameters=sum(p.numel() for p in model.parameters()), precision=compute.precision)
    while going:
        result = next(steps)
        going = turns.count(tokens=result.num_tokens, rows=result.num_labels, steps=1)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    {"pretrain": pretrain, "finetune": finetune}[given["task"]](given)
