"""A recipe in; the time, memory and disk that its run will take out, from its settings, its files and the chip.

These are estimates to decide by. Pre-training measures its own pace when it starts and logs the result as `estimate`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from pretune.recipe import Recipe, name_of_text
from pretune.run_trace import formats
from pretune.runtime.launch import read_launch
from pretune.text.raw.text_stream import STDIN
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files
from pretune.text.sources.hub import PREFIX as HUB_PREFIX
from pretune.text.sources.public_data import data_set_of

if TYPE_CHECKING:
    from pretune.compute.device import Compute
    from pretune.model.config import ModelConfig
    from pretune.settings import PretrainConfig
    from pretune.training.budget import Budget
    from pretune.training.trial_plan import PlannedTrial

# Measured on two cores. Text from a pipe counts as nothing.
_TEXT_BYTES_PER_SECOND = 4e6  # reading, cleaning, training the tokenizer, encoding
_BUILTIN_BYTES_PER_DOCUMENT = 230
_BUILTIN_LABEL_BYTES = 2.4e6
_BYTES_PER_TOKEN = 4.2
_TOKENS_PER_ROW = 40  # in a labelled text
# Bytes of text for each byte of a file. Two manuals in PDF have 0.25, and pages with figures less; manuals in HTML have
# 0.35; a letter in docx has 0.6, a long one without pictures up to 1.9, and with pictures far less.
_TEXT_FACTOR = {
    **dict.fromkeys((".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".zip", ".zst", ".zstd", ".tzst"), 3.0),
    **dict.fromkeys((".html", ".htm", ".xhtml"), 0.35),
    ".parquet": 2.5,
    ".docx": 0.5,
    ".pdf": 0.2,
}
_EFFICIENCY = 0.4  # in training, as a fraction of the chip's matrix rate
_LONG_CONTROL_SECONDS = 600.0  # from here on, the sentences mention --without-control
_CHECKPOINTS_PER_TRIAL = 2  # kept until its stage ends, each with the best weights so far


@dataclass(frozen=True, kw_only=True)
class RunEstimate:
    """Seconds of each part of a run, and the most memory and disk it needs at once."""

    starting_seconds: float
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
        return self.starting_seconds + parts


def estimate_run(recipe: Recipe) -> RunEstimate:
    """The estimate for a run of this recipe from its beginning."""
    from pretune.compute.device import choose_compute
    from pretune.model import cost
    from pretune.model.config import PRESETS
    from pretune.stages.pretrain import estimate
    from pretune.stages.pretrain.base_model import fit_to_base, open_base
    from pretune.stages.pretrain.choices import budget_of, choose_size, row_settings
    from pretune.training.forecast import STARTING_SECONDS

    text_bytes, label_bytes = _text_bytes(recipe), _label_bytes(recipe)
    base = None if recipe.base is None else open_base(Path(recipe.base), recipe.pretrain)
    config, budget = fit_to_base(recipe.pretrain, base), budget_of(recipe.pretrain)
    tokens_per_epoch = max(1, round(text_bytes / _BYTES_PER_TOKEN))
    compute = choose_compute(precision=config.precision, compile="off")
    if base is not None:
        model = base.config
    else:
        size = choose_size(config.size, budget, tokens_per_epoch, compute)
        model = PRESETS[size](recipe.preprocess.vocab_size or 8192)
    rate = _EFFICIENCY * _matrix_rate(compute.device, compute.precision)
    pretrain_seconds, pretrain_disk = _pretraining(config, budget, model, compute, rate, tokens_per_epoch)
    task_tokens = label_bytes / _BYTES_PER_TOKEN
    pass_seconds = task_tokens * 6 * cost.count_block_parameters(model) / rate
    task_trials = _task_trials(recipe, task_tokens, from_scratch=False) if recipe.has_labels else []
    control_trials = (
        _task_trials(recipe, task_tokens, from_scratch=True) if recipe.has_labels and recipe.control else []
    )
    task_seconds, control_seconds = (
        pass_seconds * sum(_rows_read(trial, recipe) for trial in trials) / _num_rows(task_tokens)
        for trials in (task_trials, control_trials)
    )
    is_self_trained = bool(task_trials) and recipe.finetune.self_train
    if is_self_trained:
        student_rows = _rows_of_student(recipe, tokens_per_epoch) + 2 * _num_rows(task_tokens)
        task_seconds += pass_seconds * student_rows / _num_rows(task_tokens)
    weights = 4 * cost.count_parameters(model)
    trial_disk = _CHECKPOINTS_PER_TRIAL * (cost.checkpoint_bytes(model) + weights)
    micro_batch_tokens = row_settings(config, budget, compute.device).micro_batch_tokens
    training_bytes = estimate.memory_bytes(config, model, compute, min(config.tokens_per_step, micro_batch_tokens))
    before_bytes = cost.LIBRARY_BYTES + weights + estimate.vector_bytes(config, model, tokens_per_epoch)
    return RunEstimate(
        starting_seconds=STARTING_SECONDS * (2 + bool(task_trials) + bool(control_trials)),
        text_seconds=text_bytes / _TEXT_BYTES_PER_SECOND,
        pretrain_seconds=pretrain_seconds,
        task_seconds=task_seconds,
        control_seconds=control_seconds,
        memory_bytes=max(training_bytes, before_bytes),
        # The trials of a stage are removed when it ends; its model stays.
        disk_bytes=text_bytes * (2 / 3 + 2 / _BYTES_PER_TOKEN)
        + pretrain_disk
        + (len(task_trials) + is_self_trained) * trial_disk
        + (bool(task_trials) + bool(control_trials)) * weights,
    )


def _pretraining(
    config: PretrainConfig, budget: Budget, model: ModelConfig, compute: Compute, rate: float, tokens_per_epoch: int
) -> tuple[float, float]:
    """Seconds and bytes on disk of pre-training, on a chip that trains with `rate` operations per second."""
    from pretune.model import cost
    from pretune.stages.pretrain import estimate
    from pretune.stages.pretrain.choices import budget_tokens, predicted_fraction, row_settings
    from pretune.training.budget import Pace
    from pretune.training.schedule import plan_steps

    token_seconds = cost.train_flops_per_token(model, float(config.row_tokens), predicted_fraction(config)) / rate
    step_seconds = config.tokens_per_step * token_seconds
    validation_tokens = min(row_settings(config, budget, compute.device).validation_tokens, tokens_per_epoch)
    pace = Pace(
        short_step_seconds=step_seconds,
        long_step_seconds=step_seconds,
        evaluation_seconds=validation_tokens * token_seconds / 3,  # the forward pass is a third of training
    )
    if budget.minutes is not None:
        steps = 60 * budget.minutes / step_seconds
    else:
        steps = budget_tokens(budget, tokens_per_epoch) / config.tokens_per_step
    plan = plan_steps(
        max(1, round(steps)),
        warmup_fraction=config.warmup_fraction,
        decay_fraction=config.decay_fraction,
        long_fraction=config.long_fraction,
        tokens_per_step=config.tokens_per_step,
    )
    disk = estimate.disk_bytes(config, model, plan, pace, tokenizer=0)
    if budget.minutes is not None:
        return 60 * budget.minutes, disk
    before = estimate.seconds_before_plan(config, model, compute, pace, tokens_per_epoch, has_long_rows=False)
    return before + estimate.seconds_of_plan(plan, pace, config), disk


def _task_trials(recipe: Recipe, task_tokens: float, *, from_scratch: bool) -> list[PlannedTrial]:
    """The trials of a fine-tuning on labelled rows of about so many tokens."""
    import numpy as np

    from pretune.training.trial_plan import RATES, plan_trials

    config = recipe.finetune
    return plan_trials(
        rates=config.learning_rates or RATES,
        search_rows=config.search_rows,
        epochs=config.epochs,
        seeds=config.seeds,
        first_seed=config.seed,
        from_scratch=from_scratch,
        lengths=np.full(_num_rows(task_tokens), _TOKENS_PER_ROW),
        updates=config.updates,
        batch_size=config.batch_size,
    )


def _rows_read(trial: PlannedTrial, recipe: Recipe) -> int:
    """The rows from which a trial learns; it may end within an epoch, of which it has read so many batches."""
    of_epochs = trial.epochs * trial.num_rows
    return of_epochs if trial.updates is None else min(of_epochs, trial.updates * recipe.finetune.batch_size)


def _rows_of_student(recipe: Recipe, corpus_tokens: int) -> int:
    """The sentences that are labelled, in a third of the time of training, and the two thirds that are learned from."""
    return min(recipe.finetune.self_train_sentences, corpus_tokens // _TOKENS_PER_ROW)


def _num_rows(task_tokens: float) -> int:
    return max(1, round(task_tokens / _TOKENS_PER_ROW))


def _text_bytes(recipe: Recipe) -> float:
    if recipe.is_builtin:
        return recipe.collect.builtin_documents * _BUILTIN_BYTES_PER_DOCUMENT + _BUILTIN_LABEL_BYTES
    named = {path: name_of_text(path) for path in recipe.corpus}
    paths = [path for path, name in named.items() if name is None and path != STDIN]
    # The files that stage 1 will read; `find_files` leaves out hidden ones, pictures, and what pretune wrote.
    files = (Path(file.path) for file in find_files(paths, Findings()))
    return sum(map(_bytes_in_file, files)) + sum(map(_public_bytes, named.values())) + _label_bytes(recipe)


def _public_bytes(name: str | None) -> float:
    """Bytes of text in a public data set; 0 if not known before the download."""
    data_set = None if name is None or name.startswith(HUB_PREFIX) else data_set_of(name)
    if data_set is None:
        return 0.0
    return (data_set.size_bytes or 0) * _TEXT_FACTOR.get(PurePath(data_set.file_name).suffix, 1.0)


def _label_bytes(recipe: Recipe) -> float:
    if recipe.is_builtin:
        return _BUILTIN_LABEL_BYTES
    return 0.0 if recipe.labels is None else _bytes_in_file(Path(recipe.labels))


def _bytes_in_file(file: Path) -> float:
    return file.stat().st_size * _TEXT_FACTOR.get(file.suffix.lower(), 1.0)


def _matrix_rate(device: str, precision: str) -> float:
    """Operations per second in matrix products, measured for some hundredths of a second."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if device == "cuda":
        return _fastest_product(4096, dtype, device, tries=6, clock=time.perf_counter)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # CPU time of one thread, which other load does not change
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


def describe(run: RunEstimate, folder: Path) -> list[str]:
    """The estimate in sentences, with a warning if the disk is too small for it."""
    parts = [f"pre-training {_duration(run.pretrain_seconds)}"]
    if run.text_seconds >= 1:
        parts.insert(0, f"text {_duration(run.text_seconds)}")
    if run.task_seconds:
        parts.append(f"the task at most {_duration(run.task_seconds)}")
    if run.control_seconds:
        parts.append(f"its control from scratch at most {_duration(run.control_seconds)}")
    lines = [
        f"Expected: about {_duration(run.seconds)} in total ({', '.join(parts)}), "
        f"{formats.size(run.memory_bytes)} of memory, {formats.size(run.disk_bytes)} of disk."
    ]
    if (processes := read_launch().size) > 1:
        lines.append(f"This is for one process; {processes} share the updates of pre-training.")
    if run.control_seconds > max(_LONG_CONTROL_SECONDS, run.pretrain_seconds):
        lines.append(
            "The control shows whether pre-training helped. --without-control skips it; running the same command "
            "without that option adds it later."
        )
    free = shutil.disk_usage(_nearest_folder(folder)).free
    if free < run.disk_bytes:
        lines.append(
            f"Only {formats.size(free)} of disk space is free at {folder}: make room, or choose another --out."
        )
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
