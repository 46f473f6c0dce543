"""Texts that are longer than the model reads: the middle cut out, or windows, at an equal number of training tokens.

python benchmarks/long_texts.py OUT.jsonl --base FOLDER --reviews FILE.jsonl.zst [--rows N] [--held-out N]
    [--row-tokens N] [--tokens N] [--seeds N] [--arms cut windows-1 ...]

`windows-N` trains on at most N windows of a text in each epoch, drawn anew. Each model is measured on the held-out
texts cut, and in windows. A line is appended for each arm and seed; those that are there already, from the same base,
reviews and options, are left out.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from machine import describe_machine  # beside this file

from pretune.data.batch import Batch
from pretune.data.labelled_rows import LabelledBatches, load_labeled
from pretune.data.special_ids import special_ids
from pretune.data.targets import Targets
from pretune.model.base_folder import read_base_folder
from pretune.model.folder import load_model_folder
from pretune.model.transformer import SequenceClassifier, initialize
from pretune.runtime.manifest import hash_file
from pretune.runtime.randomness import derive_seed, generator
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle, load_tokenizer
from pretune.text.tokenizer.windows import WindowRule
from pretune.training.finetuning_trial import predict_outputs
from pretune.training.guard import Guard
from pretune.training.loop import train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TaskObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig

BATCH_ROWS, RATE, WEIGHT_DECAY, MASK_AUGMENT, WARMUP = 16, 1e-3, 0.05, 0.1, 0.06
WAYS = ("cut", "windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--reviews", type=Path, required=True, help="lines with text and label, 0 or 1")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--held-out", type=int, default=2000)
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=2_000_000, help="of training, in each arm")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--arms", nargs="+", default=["cut", "windows-1", "windows-2", "windows-64"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = describe_settings(given)
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    done = [json.loads(line) for line in lines]
    tokenizer = load_tokenizer(given.base)
    with tempfile.TemporaryDirectory() as name:
        labels = write_shards(Path(name), given, tokenizer)
        for seed, arm in itertools.product(range(given.seeds), given.arms):
            key = {"arm": arm, "seed": seed, "settings": settings}
            if any(key.items() <= line.items() for line in done):
                continue
            line = {**key, **run_arm(Path(name), labels, given, tokenizer, arm, seed), "machine": describe_machine()}
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            sys.stdout.write(json.dumps(line) + "\n")


def describe_settings(given: argparse.Namespace) -> dict[str, Any]:
    """What a line depends on besides its arm and seed; the base and the reviews by their contents."""
    found = {name: getattr(given, name) for name in ("rows", "held_out", "row_tokens", "tokens")}
    return {**found, "base": read_base_folder(given.base).fingerprint[:12], "reviews": hash_file(given.reviews)[:12]}


def write_shards(folder: Path, given: argparse.Namespace, tokenizer: Tokenizer) -> dict[str, np.ndarray[Any, Any]]:
    """The shards `train-cut`, `train-windows` and so on; returns the labels of `train` and `test`."""
    reviews = list(read_reviews(given.reviews))
    chosen = generator(0, "reviews").permutation(len(reviews))
    labels = {}
    for split, rows in (("train", chosen[: given.rows]), ("test", chosen[-given.held_out :])):
        encoded = tokenizer.encode_batch([clean_text(reviews[row]["text"]) for row in rows])
        for way in WAYS:
            with ShardWriter(folder, f"{split}-{way}", tokenizer.vocab_size) as writer:
                for ids in encoded:
                    writer.add(cut_middle(ids, given.row_tokens) if way == "cut" else ids)
        labels[split] = np.array([int(reviews[row]["label"]) for row in rows])
        too_long = np.mean([len(ids) > given.row_tokens for ids in encoded])
        sys.stdout.write(
            f"{split}: {np.mean([len(ids) for ids in encoded]):.0f} tokens a row, {too_long:.0%} too long\n"
        )
    return labels


def read_reviews(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            yield json.loads(line)


def run_arm(
    folder: Path,
    labels: dict[str, np.ndarray[Any, Any]],
    given: argparse.Namespace,
    tokenizer: Tokenizer,
    arm: str,
    seed: int,
) -> dict[str, Any]:
    """Train until the tokens are used up, and measure."""
    rule, special = WindowRule.of(tokenizer, given.row_tokens), special_ids(tokenizer)
    train = LabelledBatches(
        load_labeled(folder, f"train-{'cut' if arm == 'cut' else 'windows'}", Targets.of_rows(labels["train"])),
        special,
        batch_size=BATCH_ROWS,
        seed=seed,
        mask_augment=MASK_AUGMENT,
        window_rule=None if arm == "cut" else rule,
        train_windows=None if arm == "cut" else int(arm.removeprefix("windows-")),
    )
    loaded = load_model_folder(given.base)
    model = SequenceClassifier(loaded.config, 2)
    initialize(model, derive_seed(seed, "classifier"))
    model.transformer.load_state_dict(loaded.model.transformer.state_dict())
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    begin = time.perf_counter()
    updates = train_on(model, objective, train, given.tokens)
    seconds = round(time.perf_counter() - begin, 1)
    found: dict[str, Any] = {"updates": updates, "train_seconds": seconds}
    for way in WAYS:
        test = LabelledBatches(
            load_labeled(folder, f"test-{way}", Targets.of_rows(labels["test"])),
            special,
            batch_size=32,
            seed=0,
            window_rule=rule if way == "windows" else None,
        )
        logits, true = predict_outputs(objective, test, "cpu"), labels["test"]
        right = logits.argmax(1) == true
        is_long = test.data.lengths > given.row_tokens if way == "windows" else test.data.lengths == given.row_tokens
        margin = (logits[:, 1] - logits[:, 0]) * np.where(true == 1, 1, -1)
        found[f"read_{way}"] = {
            "accuracy": round(float(right.mean()), 4),
            "accuracy_of_long": round(float(right[is_long].mean()), 4),
            "loss": round(float(np.logaddexp(0, -margin).mean()), 4),
        }
    return found


def train_on(model: SequenceClassifier, objective: TaskObjective, train: LabelledBatches, tokens: int) -> int:
    """Train until `tokens` are read; returns the number of updates."""
    optimizer = Optimizer(
        model, OptimizerConfig(kind="adamw", matrix_rate=RATE, other_rate=RATE, weight_decay=WEIGHT_DECAY)
    )
    read, batches = 0, iterate(train)

    def rate(_step: int) -> float:
        """A fraction of the peak rate."""
        done = read / tokens
        return min(done / WARMUP + 0.1, 1.0, (1 - done) / (1 - WARMUP))

    def next_batch(_step: int) -> list[Batch]:
        return [next(batches)]

    steps = train_steps(
        model,
        objective,
        optimizer,
        next_batch,
        rate=rate,
        first_step=1,
        clip_norm=1.0,
        guard=Guard(watches_spikes=False),
        microbatch_split=MicrobatchSplit(),
    )
    for result in steps:
        read += result.num_tokens
        if read >= tokens:
            return result.step
    return 0


def iterate(train: LabelledBatches) -> Iterator[Batch]:
    for epoch in itertools.count():
        for index, rows in enumerate(train.epoch(epoch)):
            yield train.training_batch(rows, epoch, index)


if __name__ == "__main__":
    main()
