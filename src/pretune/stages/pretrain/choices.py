"""The settings of pre-training, a corpus and a machine in; the choices that were left open out: size, rows, rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pretune.compute.device import Compute, available_bytes, gains_from_compiling, prepare_to_compile
from pretune.data.hybrid_rows import HybridRows
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.errors import OutOfResourcesError
from pretune.model import cost
from pretune.model.config import PRESETS, ModelConfig, name_shape
from pretune.runtime.launch import read_launch
from pretune.settings import PretrainConfig
from pretune.training.budget import Budget, Shape
from pretune.training.optimizer import OptimizerConfig

DEFAULT_MINUTES = 10.0
_COMPILING_PAYS_MINUTES = 4.0  # compiling takes about half a minute; a shorter budget does not earn it back
_COMPILING_PAYS_TOKENS = 4e6
_PEAK_RATES = {"muon": 0.02, "adamw": 2e-3}
_OTHER_RATE = 3e-3  # for embeddings and norms, which AdamW updates
# To go on from a model wider than our own small ones, which has read far more than it is going to read.
_WIDE_BASE_RATES, _WIDE_BASE_OTHER_RATE = {"muon": 2e-3, "adamw": 2e-4}, 2e-4
_MICRO_BATCH_TOKENS = {"cpu": 16_384, "cuda": 65_536}  # large products keep a GPU busy, and it has the memory
_GPU_STEP_TOKENS = 32_768  # smaller updates finish before the next kernels are launched
_INFINITE = float("inf")
_TOKENS_UP_TO = (("tiny", 6e6), ("micro", 15e6), ("mini", 300e6), ("small", _INFINITE))
# On a GPU: 20 tokens for each weight (arXiv:2203.15556) at 40 % of an H200's rate in bf16, rounded; not measured.
_GPU_TOKENS_UP_TO = (("small", 600e6), ("medium", 2e9), ("large", _INFINITE))
_GPU_MINUTES_UP_TO = (("small", 10), ("medium", 60), ("large", _INFINITE))
_MINUTES_UP_TO = (("tiny", 2), ("micro", 10), ("mini", 120), ("small", _INFINITE))  # on two cores that compute in bf16


def budget_of(config: PretrainConfig) -> Budget:
    """The given budget, or ten minutes."""
    if config.minutes is None and config.tokens is None and config.epochs is None:
        return Budget(minutes=DEFAULT_MINUTES)
    return Budget(minutes=config.minutes, tokens=config.tokens, epochs=config.epochs)


def row_settings(
    config: PretrainConfig,
    budget: Budget,
    device: str = "cpu",
    *,
    base: ModelConfig | None = None,
    begun: Mapping[str, Any] | None = None,
) -> RowSettings:
    """How rows are built. The validation rows are so few that evaluations take a few per cent of the budget.

    `base` is the model that training starts from. `begun` is the summary of the run that is resumed, perhaps on another
    device: its masks were drawn for each micro-batch, and it was evaluated on its validation rows.
    """
    begun = begun or {}
    return RowSettings(
        row_tokens=config.row_tokens,
        long_row_tokens=config.long_row_tokens if config.long_fraction > 0 else config.row_tokens,
        tokens_per_step=config.tokens_per_step,
        mask_prob=config.mask_prob,
        mask_weights=config.mask_weights,
        has_neighbours=bool(config.neighbour_weight),
        validation_tokens=begun.get("validation_tokens") or _validation_tokens(budget, device, base),
        seed=config.seed,
        micro_batch_tokens=begun.get("micro_batch_tokens") or _MICRO_BATCH_TOKENS[device],
        objective=config.objective if config.objective != "auto" else "masked",
        causal_share=config.causal_share or 0.0,
    )


def _validation_tokens(budget: Budget, device: str, base: ModelConfig | None) -> int:
    most = 64_000.0
    if base is not None:
        most = min(most, cost.evaluation_tokens(base, device))
    if budget.minutes is not None:
        most = min(most, 8_000 + 4_000 * budget.minutes)
    elif budget.tokens is not None:
        most = min(most, max(8_000, budget.tokens / 100))
    return int(most)


def predicted_fraction(config: PretrainConfig) -> float:
    """The fraction of the tokens of a step that are predicted: the cost of the head."""
    causal = {"causal": 1.0, "hybrid": config.causal_share or 0.0}.get(config.objective, 0.0)
    return causal + (1 - causal) * config.mask_prob


def most_predicted_fraction(config: PretrainConfig, tokens_at_once: int, corpus: Corpus | None = None) -> float:
    """The most tokens that a micro-batch predicts, as a fraction of the `tokens_at_once` of the largest one.

    The causal micro-batches of a hybrid predict all of their tokens. Before there is a corpus, they are expected to
    have the causal part of a step.
    """
    if config.objective != "hybrid":
        return predicted_fraction(config)
    causal = (config.causal_share or 0.0) * config.tokens_per_step
    if corpus is not None:
        kinds = [rows for rows in (corpus.short, corpus.long) if isinstance(rows, HybridRows)]
        causal = max(rows.causal.rows_per_batch * rows.table.row_tokens for rows in kinds)
    return max(config.mask_prob, min(1.0, causal / tokens_at_once))


def shape_of(config: PretrainConfig, corpus: Corpus, *, has_base: bool = False) -> Shape:
    """How the run is divided; a corpus without long documents has no long rows, and a base has its size."""
    return Shape(
        warmup_fraction=config.warmup_fraction,
        decay_fraction=config.decay_fraction,
        long_fraction=config.long_fraction if corpus.long is not None else 0.0,
        tokens_per_step=corpus.tokens_per_step,
        evaluations=config.evaluations,
        faster="--tokens-per-step" if has_base else Shape.faster,
    )


def is_worth_compiling(budget: Budget, tokens_per_epoch: int) -> bool:
    """Whether a run is long enough to earn back the time of compiling."""
    if budget.minutes is not None:
        return budget.minutes >= _COMPILING_PAYS_MINUTES
    return budget_tokens(budget, tokens_per_epoch) >= _COMPILING_PAYS_TOKENS


def budget_tokens(budget: Budget, tokens_per_epoch: int) -> float:
    """The tokens of a budget in tokens or epochs."""
    return budget.tokens or (budget.epochs or 1.0) * tokens_per_epoch


def choose_size(size: str, budget: Budget, tokens_per_epoch: int, compute: Compute) -> str:
    """The given size; for `auto`, the largest that sees enough tokens to beat the next smaller one."""
    if size != "auto":
        return size
    if budget.minutes is None:
        tokens = budget_tokens(budget, tokens_per_epoch)
        chosen = next(name for name, limit in _TOKENS_UP_TO if tokens < limit)
        if chosen == "small" and compute.device == "cuda":
            return next(name for name, limit in _GPU_TOKENS_UP_TO if tokens < limit)
        return chosen
    if compute.device == "cuda":
        return next(name for name, limit in _GPU_MINUTES_UP_TO if budget.minutes < limit)
    slowness = 1 if compute.precision == "bf16" else 4  # a chip without bf16 is about four times slower
    return next(name for name, limit in _MINUTES_UP_TO if budget.minutes < limit * slowness)


def optimizer_config(config: PretrainConfig, compute: Compute, base: ModelConfig | None = None) -> OptimizerConfig:
    """Rates and decay; the default peak rate of the matrices depends on the optimizer.

    From a base it is the same, so that the rate rises to its full height again (arXiv:2403.08763), unless the base is a
    public model of another scale, which such a rate would ruin (both: docs/experiments.md). Muon computes in the
    precision of the model.
    """
    rates, other_rate = _PEAK_RATES, _OTHER_RATE
    if base is not None and cost.is_wide(base):
        rates, other_rate = _WIDE_BASE_RATES, _WIDE_BASE_OTHER_RATE
    return OptimizerConfig(
        kind=config.optimizer,
        matrix_rate=config.learning_rate or rates[config.optimizer],
        other_rate=other_rate,
        weight_decay=0.01,
        precision=compute.precision,
    )


def check_memory(
    model: ModelConfig, config: PretrainConfig, corpus: Corpus, device: str, *, has_base: bool = False
) -> None:
    """Raise OutOfResourcesError, with settings that would fit, if model and micro-batch do not fit into memory.

    A GPU reports when its memory is full, and the micro-batch is then split, so on a GPU a single row must fit. Linux
    overcommits main memory and kills the process that uses it, so on a CPU the whole micro-batch must fit.
    """
    available, longest = available_bytes(device), longest_row(config, corpus)
    tokens_at_once = corpus.micro_batch_tokens if device == "cpu" else longest
    predicted = most_predicted_fraction(config, tokens_at_once, corpus)
    needed = cost.train_memory_bytes(model, tokens_at_once, longest, predicted, device=device)
    if available is None or needed <= available:
        return

    def fits(shape: ModelConfig, tokens: int) -> bool:
        return cost.train_memory_bytes(shape, tokens, longest, predicted, device=device) <= available

    presets = {} if has_base else PRESETS  # a base has its size
    sizes = [f"--size {name}" for name, preset in presets.items() if fits(preset(model.vocab_size), tokens_at_once)]
    processes = corpus.rank_slice.size
    halves = [
        tokens_at_once >> shift for shift in range(1, tokens_at_once.bit_length()) if tokens_at_once >> shift >= longest
    ]
    # As one micro-batch, which the processes divide.
    steps = [f"--tokens-per-step {processes * tokens}" for tokens in halves if fits(model, tokens)]
    would = " or ".join([*sizes[-1:], *steps[:1]])
    each = " for each process" if read_launch().local_size > 1 else ""
    raise OutOfResourcesError(
        f"{name_shape(model)} with {tokens_at_once:,} tokens at once, in rows of up to {longest:,}, needs about "
        f"{needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are free{each}; "
        + (f"{would} would fit." if would else f"no smaller size or step would fit, so {_free_memory(processes)}.")
    )


def _free_memory(processes: int) -> str:
    return "free some memory" if processes == 1 else "start fewer processes on a machine, or free some memory"


def longest_row(config: PretrainConfig, corpus: Corpus) -> int:
    """Length of the longest rows of a run, in tokens."""
    return config.row_tokens if corpus.long is None else corpus.long.table.row_tokens


def describe_compute(
    compute: Compute, config: PretrainConfig, model: ModelConfig, *, wants_compiling: bool
) -> list[str]:
    """Sentences on the device of the run, and on anything that would make it faster."""
    sentences = [f"Training on {compute.describe()}."]
    gains = wants_compiling and gains_from_compiling(compute.device, compute.precision)
    is_missed = config.compile == "auto" and gains and not compute.is_compiled
    if is_missed and (reason := prepare_to_compile(compute.device)) is not None:
        sentences.append(f"Training is not compiled and therefore slower: {reason}.")
    if compute.device == "cuda" and config.tokens_per_step < _GPU_STEP_TOKENS:
        sentences.append(
            f"An update of {config.tokens_per_step:,} tokens is too small to keep a GPU busy; if the budget allows, "
            f"--tokens-per-step {_GPU_STEP_TOKENS} or more and --row-tokens 256 or more process more tokens a second."
        )
    if cost.is_slow(model, compute.device) and (
        config.optimizer == "muon" or config.tokens_per_step > cost.SLOW_STEP_TOKENS
    ):
        sentences.append(
            "A model of this size is slow without a GPU: an update of Muon takes it longer than the rows, and "
            f"{config.tokens_per_step:,} tokens take it a minute; --optimizer adamw --tokens-per-step "
            f"{cost.SLOW_STEP_TOKENS} make more of a short budget."
        )
    return sentences
