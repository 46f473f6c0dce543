"""What a run will take in time, memory and disk, worked out before it starts from its settings, its files and the chip.

These are estimates to decide by. What pre-training really takes is measured at its start and logged as `estimate`.
"""

from __future__ import annotations

import glob
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pretune.recipe import Recipe, name_of_text
from pretune.text.raw.text_stream import STDIN
from pretune.text.sources.hub import PREFIX as HUB_PREFIX
from pretune.text.sources.public_data import data_set_of

# Measured on two cores; text that is read from a pipe counts as nothing.
_TEXT_BYTES_PER_SECOND = 4e6  # reading, cleaning, training the tokenizer, encoding
_BUILTIN_BYTES_PER_DOCUMENT = 230
_BUILTIN_LABEL_BYTES = 2.4e6
_BYTES_PER_TOKEN = 4.2
# How much longer a file is unpacked.
_PACKED = {".gz": 3.0, ".tgz": 3.0, ".zip": 3.0, ".zst": 3.0, ".zstd": 3.0, ".parquet": 2.5}
_EFFICIENCY = 0.4  # of the chip's matrix rate, in training
_TOKENS_PER_ROW = 40  # of a labelled text
LONG_CONTROL_SECONDS = 600.0  # from which on it is said how to do without
_STARTING_SECONDS = 15.0  # loading libraries, and the little that every stage takes


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Seconds by part of the run, and the most memory and disk it needs at once."""

    text_seconds: float
    pretrain_seconds: float
    task_seconds: float  # at most
    control_seconds: float  # at most
    memory_bytes: float
    disk_bytes: float

    @property
    def seconds(self) -> float:
        """The whole run."""
        parts = self.text_seconds + self.pretrain_seconds + self.task_seconds + self.control_seconds
        return _STARTING_SECONDS + parts


def expect(recipe: Recipe) -> Expectation:
    """What a run of this recipe takes when nothing of it is done yet."""
    from pretune.compute.device import choose_compute
    from pretune.model import cost
    from pretune.model.config import PRESETS
    from pretune.stages.pretrain.choices import budget_of, choose_size

    text_bytes, label_bytes = _text_bytes(recipe), _label_bytes(recipe)
    config, budget = recipe.pretrain, budget_of(recipe.pretrain)
    tokens_per_epoch = max(1, round(text_bytes / _BYTES_PER_TOKEN))
    compute = choose_compute(precision=config.precision, compile="off")
    size = choose_size(config.size, budget, tokens_per_epoch, compute)
    model = PRESETS[size](recipe.preprocess.vocab_size or 8192)
    rate = _EFFICIENCY * _matrix_rate(compute.device, compute.precision)
    if budget.minutes is not None:
        pretrain_seconds = 60 * budget.minutes
    else:
        tokens = budget.tokens or (budget.epochs or 1.0) * tokens_per_epoch
        flops = cost.train_flops_per_token(model, float(config.row_tokens), config.mask_prob)
        pretrain_seconds = tokens * flops / rate
    task_tokens = label_bytes / _BYTES_PER_TOKEN
    pass_seconds = task_tokens * 6 * cost.count_block_parameters(model) / rate

    def task_seconds(*, from_scratch: bool) -> float:
        is_wanted = recipe.has_labels and (recipe.control or not from_scratch)
        return pass_seconds * _task_passes(recipe, task_tokens, from_scratch=from_scratch) if is_wanted else 0.0

    return Expectation(
        text_seconds=text_bytes / _TEXT_BYTES_PER_SECOND,
        pretrain_seconds=pretrain_seconds,
        task_seconds=task_seconds(from_scratch=False),
        control_seconds=task_seconds(from_scratch=True),
        memory_bytes=cost.train_memory_bytes(model, config.tokens_per_step, config.row_tokens, config.mask_prob),
        disk_bytes=text_bytes * (2 / 3 + 2 / _BYTES_PER_TOKEN) + 8 * cost.checkpoint_bytes(model),
    )


def _task_passes(recipe: Recipe, task_tokens: float, *, from_scratch: bool) -> float:
    """Passes over the labelled rows at most: the rate search and every seed."""
    import numpy as np

    from pretune.training.trial_plan import plan_trials

    config = recipe.finetune
    num_rows = max(1, round(task_tokens / _TOKENS_PER_ROW))
    lengths = np.full(num_rows, _TOKENS_PER_ROW)
    trials = plan_trials(
        rates=config.learning_rates,
        search_rows=config.search_rows,
        epochs=config.epochs,
        seeds=config.seeds,
        first_seed=config.seed,
        from_scratch=from_scratch,
        lengths=lengths,
    )
    return sum(trial.epochs * trial.num_rows for trial in trials) / num_rows


def _text_bytes(recipe: Recipe) -> float:
    if recipe.is_builtin:
        return recipe.collect.builtin_documents * _BUILTIN_BYTES_PER_DOCUMENT + _BUILTIN_LABEL_BYTES
    return sum(map(_corpus_bytes, recipe.corpus)) + _label_bytes(recipe)


def _corpus_bytes(path: str) -> float:
    """Text behind a word of the corpus; of some the size is known only when it is there."""
    name = name_of_text(path)
    if name is None:
        return sum(map(_unpacked_bytes, _files(path)))
    data_set = None if name.startswith(HUB_PREFIX) else data_set_of(name)
    if data_set is None:
        return 0.0
    return (data_set.size_bytes or 0) * _PACKED.get(PurePath(data_set.file_name).suffix, 1.0)


def _label_bytes(recipe: Recipe) -> float:
    if recipe.is_builtin:
        return _BUILTIN_LABEL_BYTES
    return 0.0 if recipe.labels is None else _unpacked_bytes(Path(recipe.labels))


def _files(path: str) -> Iterable[Path]:
    if path == STDIN:
        return
    found = Path(path)
    for each in [found] if found.exists() else map(Path, glob.glob(path, recursive=True)):
        yield from (file for file in each.rglob("*") if file.is_file()) if each.is_dir() else [each]


def _unpacked_bytes(file: Path) -> float:
    return file.stat().st_size * _PACKED.get(file.suffix.lower(), 1.0)


def _matrix_rate(device: str, precision: str) -> float:
    """Operations per second in matrix products on an idle machine, tried out for some hundredths of a second."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device == "cuda":
        return _fastest_product(4096, dtype, device, tries=6, clock=time.perf_counter)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the processor time of one thread, which a neighbour's load does not change
    try:
        return threads * _fastest_product(384, dtype, device, tries=20, clock=time.thread_time)
    finally:
        torch.set_num_threads(threads)


def _fastest_product(size: int, dtype: Any, device: str, *, tries: int, clock: Callable[[], float]) -> float:
    import torch

    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(tries):
        start = clock()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, clock() - start)
    return 2 * size**3 / best


def describe(expectation: Expectation, folder: Path) -> list[str]:
    """The expectation as sentences, with a warning where the disk is too small for it."""
    e = expectation
    parts = [f"pre-training {_duration(e.pretrain_seconds)}"]
    if e.text_seconds >= 1:
        parts.insert(0, f"text {_duration(e.text_seconds)}")
    if e.task_seconds:
        parts.append(f"the task at most {_duration(e.task_seconds)}")
    if e.control_seconds:
        parts.append(f"its control from scratch at most {_duration(e.control_seconds)}")
    lines = [
        f"Expected: about {_duration(e.seconds)} in all ({', '.join(parts)}), "
        f"{e.memory_bytes / 1e9:.1f} GB of memory, {_size(e.disk_bytes)} of disk."
    ]
    if e.control_seconds > max(LONG_CONTROL_SECONDS, e.pretrain_seconds):
        lines.append(
            "The control tells whether pre-training helped; --without-control leaves it out, and the same command "
            "without that option makes up for it later."
        )
    free = shutil.disk_usage(_nearest_folder(folder)).free
    if free < e.disk_bytes:
        lines.append(f"Only {_size(free)} of disk are free at {folder}: make room, or choose another --out.")
    return lines


def _nearest_folder(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
