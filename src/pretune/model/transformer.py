"""The whole model: rotary positions, attention, feed-forward, block, backbone, and the heads.

A pre-norm transformer with RMSNorm (arXiv:1910.07467), rotary positions (arXiv:2104.09864), SwiGLU (arXiv:2002.05202),
no biases and tied embeddings. Token ids and document ids go in; positions attend only within their document.

B batch, T sequence, D hidden, H heads, K head dim, V vocabulary, C classes, M masked positions, *N any of them.
S positions so far, in a cache.
A text may be several windows, which are rows of the batch one after another; R texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pretune.compute.varlen import Spans, attend_spans, can_attend
from pretune.model.config import ForeignConfig, ModelConfig, RopeScaling
from pretune.model.foreign_encoder import ForeignEncoder
from pretune.model.key_value_cache import CachedPositions, KeyValueCache

INITIAL_DEVIATION = 0.02

AttentionMask = Tensor | Spans  # an additive bias (B, 1, T, T), or the same as spans for a GPU's varlen kernel
AttentionHalf = Callable[[Tensor, Tensor, Tensor, AttentionMask], Tensor]
FeedForwardHalf = Callable[[Tensor, Tensor], Tensor]


class Linear(nn.Linear):
    """A linear layer without bias that computes in the dtype of its input; its weights stay in fp32."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Float[Tensor, "*B in"]) -> Float[Tensor, "*B out"]:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, computed in fp32."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotary_tables(config: ModelConfig, seq_len: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position times frequency, each (T, K); the two halves of K are equal."""
    exponent = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    frequency = config.rope_theta**-exponent
    if config.rope_scaling is not None:
        frequency = stretched(frequency, config.rope_scaling)
    angle = torch.outer(torch.arange(seq_len, device=device, dtype=torch.float32), frequency)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def stretched(frequency: Float[Tensor, "F"], scaling: RopeScaling) -> Float[Tensor, "F"]:
    """Rotary frequencies for a longer context.

    Llama 3.1 divides those whose waves are longer than the original context over `low_freq_factor`, keeps those that
    are shorter than it over `high_freq_factor`, and goes from one to the other in between.
    """
    slow = frequency / scaling.factor
    if scaling.kind == "linear":
        return slow
    turns = scaling.original_seq_len * frequency / (2 * torch.pi)  # within the original context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return torch.lerp(slow, frequency, kept.clamp(0.0, 1.0))


def rotate(x: Float[Tensor, "B T H K"], cos: Float[Tensor, "*R T K"], sin: Float[Tensor, "*R T K"]) -> Tensor:
    """Turn each pair (x_i, x_{i+K/2}) by the angle of its position, from tables for all rows or for each row."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cos.unsqueeze(-2) + turned * sin.unsqueeze(-2)).to(x.dtype)


def attention_bias(
    document_ids: Int[Tensor, "B T"], is_causal: Bool[Tensor, "B"] | None, dtype: torch.dtype
) -> Float[Tensor, "B 1 T T"]:
    """0 where attention is allowed, and a very negative number where it is not: other documents, and later positions
    in causal rows.

    Padding has its own document id (-1), so it attends only to padding, and no row of scores is empty.
    """
    visible = document_ids[:, :, None] == document_ids[:, None, :]
    if is_causal is not None:
        position = torch.arange(document_ids.shape[1], device=document_ids.device)
        past = position[:, None] >= position[None, :]
        visible = visible & (past[None] | ~is_causal[:, None, None])
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -1e9)[:, None]


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x)).

    It is computed in two halves, so that the last layer can run the feed-forward half at the requested positions only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        q_size, kv_size = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.attention_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.qkv_proj = Linear(config.hidden_size, q_size + 2 * kv_size)
        self.out_proj = Linear(q_size, config.hidden_size)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(
        self, x: Float[Tensor, "B T D"], cos: Tensor, sin: Tensor, mask: AttentionMask
    ) -> Float[Tensor, "B T D"]:
        return self.feed_forward_half(x, self.attention_half(x, cos, sin, mask))

    def attention_half(
        self, x: Float[Tensor, "B T D"], cos: Tensor, sin: Tensor, mask: AttentionMask
    ) -> Float[Tensor, "B T HK"]:
        """The half in which positions see each other: every head's weighted mean of values.

        The dtype of `mask` is the precision of the computation.
        """
        c = self.config
        b, t, _ = x.shape
        h = self.attention_norm(x).to(mask.dtype)
        q, k, v = self.qkv_proj(h).split(
            [c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim, c.num_kv_heads * c.head_dim], dim=-1
        )
        q = rotate(q.view(b, t, c.num_heads, c.head_dim), cos, sin)
        k = rotate(k.view(b, t, c.num_kv_heads, c.head_dim), cos, sin)
        v = v.view(b, t, c.num_kv_heads, c.head_dim)
        if isinstance(mask, Spans):
            return attend_spans(q, k, v, mask).flatten(2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, K)
        if c.num_kv_heads != c.num_heads:
            k = k.repeat_interleave(c.num_heads // c.num_kv_heads, dim=1)
            v = v.repeat_interleave(c.num_heads // c.num_kv_heads, dim=1)
        return attend(q, k, v, mask).transpose(1, 2).reshape(b, t, c.num_heads * c.head_dim)

    def attend_to_cache(
        self, x: Float[Tensor, "B T D"], at: CachedPositions, cached: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "B T HK"]:
        """`attention_half` for new positions, which see all earlier ones; their keys and values join those cached."""
        c, (keys, values) = self.config, cached
        b, t, _ = x.shape
        h = self.attention_norm(x).to(keys.dtype)
        heads = self.qkv_proj(h).view(b, t, c.num_heads + 2 * c.num_kv_heads, c.head_dim)
        turning, v = heads.split([c.num_heads + c.num_kv_heads, c.num_kv_heads], dim=2)
        q, k = rotate(turning, at.cos, at.sin).transpose(1, 2).split([c.num_heads, c.num_kv_heads], dim=1)
        keys.narrow(2, at.start, t).copy_(k)
        values.narrow(2, at.start, t).copy_(v.transpose(1, 2))
        found = F.scaled_dot_product_attention(
            q,
            keys.narrow(2, 0, at.end),
            values.narrow(2, 0, at.end),
            attn_mask=at.bias,
            enable_gqa=c.num_kv_heads != c.num_heads,
        )
        return found.transpose(1, 2).reshape(b, t, c.num_heads * c.head_dim)

    def feed_forward_half(self, x: Float[Tensor, "*N D"], heads: Float[Tensor, "*N HK"]) -> Float[Tensor, "*N D"]:
        """The half in which positions are independent: add the heads to the residual stream, then feed-forward."""
        x = x + self.out_proj(heads)
        return x + self.feed_forward(x, heads.dtype)

    def feed_forward(self, x: Float[Tensor, "*N D"], dtype: torch.dtype) -> Float[Tensor, "*N D"]:
        """The feed-forward layer's contribution to the residual stream."""
        gate, up = self.gate_up_proj(self.feed_forward_norm(x).to(dtype)).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Float[Tensor, "B 1 T T"]) -> Float[Tensor, "B H T K"]:
    """Softmax attention. Plain products on CPUs: the backward pass of torch's fused kernel takes 27 % of a step."""
    if q.device.type != "cpu" and len(q):  # not every fused kernel accepts a batch without rows
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5)
    return torch.softmax(scores.float() + bias.float(), dim=-1).to(v.dtype) @ v


class Transformer(nn.Module):
    """Token ids go in, contextual vectors come out, after the final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        is_causal: Bool[Tensor, "B"] | None = None,
        dtype: torch.dtype = torch.float32,
        positions: Int[Tensor, "M"] | None = None,
        layers: Sequence[tuple[AttentionHalf, FeedForwardHalf]] | None = None,
        spans: Spans | None = None,
    ) -> Float[Tensor, "*N D"]:
        """Vectors at all positions (B, T, D), or at the given ones of the flattened batch (M, D).

        `document_ids` is -1 at padding; `dtype` is the precision of the matrix products. With `positions`, the last
        layer skips the other positions as far as it can: the result is the same, with 60 % less work in that layer for
        a fifth of the positions. `layers` are the two halves of each block, compiled. `spans` express the same mask as
        `document_ids` and `is_causal`, and are used instead if the GPU has a kernel for them.
        """
        cos, sin = rotary_tables(self.config, input_ids.shape[1], input_ids.device)
        if spans is not None and can_attend(input_ids.device, dtype, self.config.head_dim):
            mask: AttentionMask = spans._replace(dtype=dtype)
        else:
            mask = attention_bias(document_ids, is_causal, dtype)
        x = self.embed_tokens(input_ids)
        halves = layers or [
            (cast(AttentionHalf, block.attention_half), cast(FeedForwardHalf, block.feed_forward_half))
            for block in self.blocks
        ]
        for number, (attention_half, feed_forward_half) in enumerate(halves, 1):
            heads = attention_half(x, cos, sin, mask)
            if positions is not None and number == len(halves):
                x, heads = x.flatten(0, 1)[positions], heads.flatten(0, 1)[positions]
            x = feed_forward_half(x, heads)
        return self.final_norm(x)

    def new_cache(
        self, max_seq_len: int, padding: Sequence[int] = (0,), dtype: torch.dtype = torch.float32
    ) -> KeyValueCache:
        """An empty cache for `max_seq_len` positions of each row, of which the first `padding[b]` are padding."""
        return KeyValueCache(self.config, rotary_tables(self.config, max_seq_len, self.device), padding, dtype)

    @property
    def device(self) -> torch.device:
        return self.embed_tokens.weight.device

    def read_on(self, input_ids: Int[Tensor, "B T"], cache: KeyValueCache) -> Float[Tensor, "B D"]:
        """The vectors at the last of some positions, which follow those in the cache and join them; causal."""
        at, x = cache.begin(input_ids.shape[1]), self.embed_tokens(input_ids)
        for block, cached in zip(self.blocks, cache.layers, strict=True):
            block = cast(Block, block)
            heads = block.attend_to_cache(x, at, cached)
            if cached is cache.layers[-1]:
                x, heads = x[:, -1:], heads[:, -1:]
            x = block.feed_forward_half(x, heads)
        cache.end(at)
        return self.final_norm(x[:, -1])


class LanguageModel(nn.Module):
    """A transformer that predicts tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.embed_tokens.weight

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        positions: Int[Tensor, "M"] | None = None,
        is_causal: Bool[Tensor, "B"] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "*M V"]:
        """Logits at the given positions of the flattened batch (M, V), or at all of them (B, T, V)."""
        return self.lm_head(self.transformer(input_ids, document_ids, is_causal, dtype, positions).to(dtype))

    def next_logits(self, input_ids: Int[Tensor, "B T"], cache: KeyValueCache) -> Float[Tensor, "B V"]:
        """Logits of the token after some tokens, which follow those in the cache and join them."""
        return self.lm_head(self.transformer.read_on(input_ids, cache).to(cache.dtype))


Backbone = Transformer | ForeignEncoder


def backbone_of(config: ModelConfig) -> Backbone:
    """The network between token ids and vectors, with random weights: ours, or an encoder of transformers."""
    return ForeignEncoder(config) if isinstance(config, ForeignConfig) else Transformer(config)


class EncoderModel(nn.Module):
    """A network without a head, as many public models are published: a base for fine-tuning."""

    def __init__(self, config: ModelConfig, transformer: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.transformer: Backbone = backbone_of(config) if transformer is None else transformer


class SequenceClassifier(nn.Module):
    """A transformer that classifies a text: the mean over its positions without padding, then one linear layer."""

    def __init__(self, config: ModelConfig, num_classes: int, transformer: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.transformer: Backbone = backbone_of(config) if transformer is None else transformer
        self.classifier = nn.Linear(config.hidden_size, num_classes)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        dtype: torch.dtype = torch.float32,
        windows: Int[Tensor, "R"] | None = None,
    ) -> Float[Tensor, "R C"]:
        """`windows` has the number of rows of each text; without it, every row is a text."""
        hidden = self.transformer(input_ids, document_ids, dtype=dtype)
        return self.classifier(mean_over_text(hidden, document_ids, windows))


class TokenClassifier(nn.Module):
    """A transformer that labels tokens: one linear layer at every position."""

    def __init__(self, config: ModelConfig, num_outputs: int, transformer: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.transformer: Backbone = backbone_of(config) if transformer is None else transformer
        self.classifier = nn.Linear(config.hidden_size, num_outputs)

    def forward(
        self, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "B T K"]:
        return self.classifier(self.transformer(input_ids, document_ids, dtype=dtype).float())


class ClozeHead:
    """The head of a language model at the label words only; used like a linear layer, it has no weights of its own.

    The logit of a class is the mean of the logits of its words, so that a frequent word does not drown the others.
    """

    def __init__(self, lm_head: Linear, words: Tensor, word_means: Tensor, bias: Tensor) -> None:
        self._lm_head, self._words, self._word_means, self.bias = lm_head, words, word_means, bias

    @property
    def out_features(self) -> int:
        """The number of classes."""
        return len(self.bias)

    @property
    def weight(self) -> Float[Tensor, "C D"]:
        """The weight of each class: the mean of the head's rows for its words."""
        return self._word_means @ self._lm_head.weight[self._words].float()

    def __call__(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N C"]:
        return hidden.float() @ self.weight.T + self.bias


class ClozeClassifier(nn.Module):
    """A transformer that classifies a text by the word that it predicts at the only [MASK] of its row.

    This is pattern-exploiting training (arXiv:2001.07676). `word_ids` are the token ids of the words of each class. The
    weights and their names are those of `LanguageModel`; a tied head stays tied. `bias` (C,) is zero unless the answers
    were calibrated; it is not trained.
    """

    words: Tensor  # (W,) token ids of all words, those of one class next to each other
    word_means: Tensor  # (C, W) the mean over the words of each class
    bias: Tensor

    def __init__(self, config: ModelConfig, word_ids: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.embed_tokens.weight
        means = torch.block_diag(*[torch.full((1, len(ids)), 1 / len(ids)) for ids in word_ids])
        flat = torch.tensor([token for ids in word_ids for token in ids], dtype=torch.long)
        self.register_buffer("words", flat, persistent=False)
        self.register_buffer("word_means", means, persistent=False)
        self.register_buffer("bias", torch.zeros(len(word_ids)), persistent=False)

    @classmethod
    def of_language_model(cls, model: LanguageModel, word_ids: Sequence[Sequence[int]]) -> ClozeClassifier:
        """A cloze classifier with a copy of the weights of a language model."""
        made = cls(model.config, word_ids)
        made.load_state_dict(model.state_dict())
        return made.to(model.lm_head.weight.device)

    def to_language_model(self) -> LanguageModel:
        """The language model with a copy of these weights."""
        model = LanguageModel(self.config)
        model.load_state_dict(self.state_dict())
        return model.to(self.lm_head.weight.device)

    @property
    def classifier(self) -> ClozeHead:
        """The head, which takes the vector at the [MASK]."""
        return ClozeHead(self.lm_head, self.words, self.word_means, self.bias)

    def forward(
        self, input_ids: Int[Tensor, "B T"], document_ids: Int[Tensor, "B T"], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "B C"]:
        positions = mask_positions(input_ids, self.config.mask_token_id)
        return self.classifier(self.transformer(input_ids, document_ids, dtype=dtype, positions=positions))


def mask_positions(input_ids: Int[Tensor, "B T"], mask_id: int) -> Int[Tensor, "B"]:
    """The place of the only [MASK] of each row in the flattened batch. Raises ValueError if a row has none or two."""
    is_mask = input_ids == mask_id
    if not bool((is_mask.sum(1) == 1).all()):
        raise ValueError("expected one mask token in each row")
    return is_mask.flatten().nonzero()[:, 0]


TaskModel = SequenceClassifier | TokenClassifier | ClozeClassifier


def mean_over_text(
    hidden: Float[Tensor, "B T D"], document_ids: Int[Tensor, "B T"], windows: Int[Tensor, "R"] | None = None
) -> Float[Tensor, "R D"]:
    """The mean over the positions of each text that are not padding, in fp32; see `sum_over_windows`."""
    is_real = (document_ids >= 0)[..., None]
    sums, counts = (hidden.float() * is_real).sum(1), is_real.sum(1)
    if windows is not None:
        sums, counts = sum_over_windows(sums, windows), sum_over_windows(counts.float(), windows)
    return sums / counts.clamp(min=1)


def sum_over_windows(values: Float[Tensor, "B D"], windows: Int[Tensor, "R"]) -> Float[Tensor, "R D"]:
    """The sums over the windows of each text, of which `windows` has the number; the windows of a text are adjacent.

    A product with zeros and ones: unlike `index_add`, it adds in a fixed order on a GPU, and the sum over a single
    window is that window, bit by bit.
    """
    texts = torch.arange(len(windows), device=values.device)
    text_of_row = texts.repeat_interleave(windows, output_size=len(values))
    return (texts[:, None] == text_of_row).to(values.dtype) @ values


def initialize(model: nn.Module, seed: int) -> None:
    """Draw all weights: zero for projections into the residual stream, else normal; the same on every device.

    Zero output projections make every block the identity at first (modded-nanogpt, arXiv:1901.09321).
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.endswith(("out_proj.weight", "down_proj.weight")):
                parameter.zero_()
            else:
                parameter.copy_(torch.empty(parameter.shape).normal_(0.0, INITIAL_DEVIATION, generator=rng))
