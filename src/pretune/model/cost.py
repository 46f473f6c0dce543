"""A configuration goes in, predicted parameters, floating-point operations and memory come out; no torch."""

from __future__ import annotations

from pretune.model.config import ModelConfig

_BYTES = 4
LIBRARY_BYTES = 500_000_000  # of memory, whatever is computed
_LARGE = 30_000_000  # parameters
_WIDE = 512  # hidden units
SLOW_STEP_TOKENS = 1024  # for an update of a slow model, which reads some 100 tokens a second on two cores
_CPU_EVALUATION_FLOPS, _GPU_EVALUATION_FLOPS = 1.5e12, 3e15  # a quarter of a minute on two cores; seconds


def count_block_parameters(config: ModelConfig) -> int:
    """Weights of all layers without the embeddings, which every token passes through."""
    heads = config.num_heads + config.num_kv_heads
    attention = 2 * config.hidden_size * config.head_dim * heads
    feed_forward = 3 * config.hidden_size * config.intermediate_size
    return config.num_layers * (attention + feed_forward + 2 * config.hidden_size)


def count_parameters(config: ModelConfig) -> int:
    """All weights of a language model; tied embeddings count once."""
    head = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    return count_backbone_parameters(config) + head


def count_backbone_parameters(config: ModelConfig) -> int:
    """Weights of the embeddings, all layers and the last norm, without a head."""
    return count_block_parameters(config) + config.vocab_size * config.hidden_size + config.hidden_size


def is_wide(config: ModelConfig) -> bool:
    """Whether a model is wider than our own small ones, so that it takes lower rates: most public models."""
    return config.hidden_size > _WIDE


def evaluation_tokens(config: ModelConfig, device: str) -> int:
    """The most tokens that an evaluation can read without taking long."""
    flops = _CPU_EVALUATION_FLOPS if device == "cpu" else _GPU_EVALUATION_FLOPS
    return int(flops / (2 * count_parameters(config)))


def is_slow(config: ModelConfig, device: str) -> bool:
    """Whether an update of a usual size takes a minute or more: a large model without a GPU."""
    return device == "cpu" and count_parameters(config) > _LARGE


def train_flops_per_token(config: ModelConfig, seen_tokens: float, predicted_fraction: float) -> float:
    """Operations for one training token: 6 per weight that it uses (arXiv:2001.08361), and 12 per layer and hidden unit
    for each of the `seen_tokens` it attends to: those of its row, or of its document only if attention skips the rest.

    Only positions that predict a token use the head and the feed-forward half of the last layer.
    """
    attention = 12 * config.num_layers * config.num_heads * config.head_dim * seen_tokens
    head = 6 * config.vocab_size * config.hidden_size * predicted_fraction
    last_half = config.hidden_size * (config.num_heads * config.head_dim + 3 * config.intermediate_size)
    return 6 * (count_block_parameters(config) - (1 - predicted_fraction) * last_half) + attention + head


def trained_bytes(device: str) -> int:
    """For each weight that is trained: itself, its gradient and two moments, in single precision.

    On a CPU, both of its lanes have a gradient when they end, beside that of earlier micro-batches: three, not one.
    Measured with 50 million weights and few tokens: 24.0 bytes a weight, and 28.3 with a second micro-batch.
    """
    return (6 if device == "cpu" else 4) * _BYTES


def train_memory_bytes(
    config: ModelConfig,
    tokens_per_batch: int,
    row_tokens: int,
    predicted_fraction: float,
    *,
    device: str = "cpu",
    by_spans: bool = False,
) -> int:
    """Weights, gradients and moments, the activations of a micro-batch for its backward pass, and `LIBRARY_BYTES`.

    `by_spans`: in bf16 with a GPU's varlen attention, which keeps no scores; derived from the code, not measured.
    """
    state = trained_bytes(device) * count_parameters(config)
    hidden, inner = config.hidden_size, config.intermediate_size
    per_layer = _BYTES * (10 * hidden + 5 * inner + 3 * config.num_heads * row_tokens)
    if by_spans:  # two residuals in fp32; two norms, query, key, value, heads, gate, up and their product in bf16
        per_layer = 2 * _BYTES * hidden + 2 * (6 * hidden + 3 * inner)
    activations = tokens_per_batch * config.num_layers * per_layer
    logits = 3 * _BYTES * round(tokens_per_batch * predicted_fraction) * config.vocab_size
    return state + activations + logits + LIBRARY_BYTES


def checkpoint_bytes(config: ModelConfig, optimizer: str = "adamw") -> int:
    """A training checkpoint on disk: weights and two moments per weight, or one for the matrices that Muon updates."""
    norms = config.num_layers * 2 * config.hidden_size  # not matrices
    matrices = count_block_parameters(config) - norms if optimizer == "muon" else 0
    return _BYTES * (3 * count_parameters(config) - matrices)
