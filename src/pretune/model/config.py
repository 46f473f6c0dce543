"""A vocabulary size goes in, the geometry of a model comes out: one preset per size; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

ObjectiveName = Literal["masked", "causal", "hybrid"]  # hybrid: both, by one set of weights
PREDICTED: dict[ObjectiveName, str] = {  # what a model of each objective predicts, in sentences
    "masked": "missing words",
    "causal": "the next token",
    "hybrid": "missing words and the next token",
}


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Rotary positions stretched to a longer context: all frequencies divided by `factor` (linear), or only the slow
    ones, with a smooth change between the wavelengths that two other factors give (Llama 3.1, arXiv:2407.21783)."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_seq_len: int = 8192  # of the context before the stretching, in tokens


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The geometry of a transformer, the ids of its special tokens, and what it was trained to predict.

    A bidirectional model is transformers' EuroBERT, a causal one is Llama, with the same weights and names on disk.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_seq_len: int = 512
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    pad_token_id: int = 0
    bos_token_id: int = 1
    eos_token_id: int = 2
    mask_token_id: int = 3
    tie_word_embeddings: bool = True
    rope_scaling: RopeScaling | None = None
    objective: ObjectiveName = "masked"

    @property
    def can_fill(self) -> bool:
        """Whether the model was trained to predict missing words."""
        return self.objective != "causal"

    @property
    def can_generate(self) -> bool:
        """Whether the model was trained to predict the next token."""
        return self.objective != "masked"


@dataclass(frozen=True, kw_only=True)
class ForeignConfig(ModelConfig):
    """The geometry of an encoder that transformers computes, of which `fields` is the whole `config.json`."""

    fields: Mapping[str, Any]
    has_segments: bool = False  # whether its tokens are told apart by first and second text

    @property
    def model_type(self) -> str:
        """The architecture by transformers' name, such as bert."""
        return str(self.fields["model_type"])


def longest_row_of(fields: Mapping[str, Any], tokenizer_fields: Mapping[str, Any] | None = None) -> int | None:
    """The most tokens that a model reads, from its `config.json` and `tokenizer_config.json`; None if unknown.

    RoBERTa and its kin number positions from the padding id on, so some of their positions cannot be used. Raises
    ValueError or TypeError for a value that is not a number.
    """
    positions = fields.get("max_position_embeddings")
    longest = None if positions is None or int(positions) <= 0 else int(positions)
    if longest is not None and fields.get("model_type") in _POSITIONS_AFTER_PADDING:
        longest -= max(1, int(fields.get("pad_token_id") or 0)) + 1  # in MPNet it is 1, whatever the config says
    limit = (tokenizer_fields or {}).get("model_max_length")
    if isinstance(limit, int) and 0 < limit < _UNLIMITED:
        longest = limit if longest is None else min(limit, longest)
    return longest


_UNLIMITED = 1_000_000  # transformers writes 10^30 where it does not know
_POSITIONS_AFTER_PADDING = (
    "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "data2vec-text", "ibert",
    "longformer", "mpnet", "xmod",
)  # fmt: skip


def tiny(vocab_size: int) -> ModelConfig:
    """2 layers of 128: seconds to minutes on two cores."""
    return _preset(vocab_size, hidden_size=128, num_layers=2, intermediate_size=352)


def micro(vocab_size: int) -> ModelConfig:
    """2 layers of 256: minutes to an hour on two cores."""
    return _preset(vocab_size, hidden_size=256, num_layers=2, intermediate_size=688)


def mini(vocab_size: int) -> ModelConfig:
    """4 layers of 256: an hour or more on two cores, or less if the chip multiplies in bf16."""
    return _preset(vocab_size, hidden_size=256, num_layers=4, intermediate_size=688)


def small(vocab_size: int) -> ModelConfig:
    """8 layers of 384: hours on two cores, minutes on a GPU."""
    return _preset(vocab_size, hidden_size=384, num_layers=8, intermediate_size=1024)


def medium(vocab_size: int) -> ModelConfig:
    """8 layers of 512: an hour on a GPU."""
    return _preset(vocab_size, hidden_size=512, num_layers=8, intermediate_size=1376)


def large(vocab_size: int) -> ModelConfig:
    """12 layers of 768, about 100 million parameters, as BERT-base: hours on a GPU."""
    return _preset(vocab_size, hidden_size=768, num_layers=12, intermediate_size=2048)


PRESETS = {"tiny": tiny, "micro": micro, "mini": mini, "small": small, "medium": medium, "large": large}


def name_shape(config: ModelConfig) -> str:
    """The name of the preset of this geometry, otherwise layers x width, such as 12x768."""
    for name, preset in PRESETS.items():
        known = preset(config.vocab_size)
        if all(getattr(config, field) == getattr(known, field) for field in _GEOMETRY):
            return name
    return f"{config.num_layers}x{config.hidden_size}"


_GEOMETRY = ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "intermediate_size")


def _preset(vocab_size: int, *, hidden_size: int, num_layers: int, intermediate_size: int) -> ModelConfig:
    num_heads = hidden_size // 64
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=64,
        intermediate_size=intermediate_size,
    )


def with_special_tokens(config: ModelConfig, *, pad: int, bos: int, eos: int, mask: int) -> ModelConfig:
    """The same geometry for a tokenizer whose special tokens have other ids."""
    return replace(config, pad_token_id=pad, bos_token_id=bos, eos_token_id=eos, mask_token_id=mask)
