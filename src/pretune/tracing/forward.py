"""The forward pass taken apart: the terms of the residual stream, attention weights, read-outs, contributions.

All in fp32 and without padding effects, as in a prediction. Contributions are exact because the blocks are pre-norm:
with x the final residual stream, sigma_t the root mean square of x at position t and g the weight of the final norm, a
class has logit = bias + sum over all terms of mean_t w . (g * term_t / sigma_t), where the terms are the embedding and
the output of each attention and feed-forward layer.

B batch, T sequence, D hidden, H heads, C classes, L layers, N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.compute.cpu_threads import lanes_for
from pretune.data.padding import group_by_length, pad_rows
from pretune.inference.classify import TOKENS_PER_BATCH, Classifier
from pretune.model.foreign_encoder import ForeignEncoder
from pretune.model.transformer import (
    Backbone,
    Block,
    SequenceClassifier,
    Transformer,
    attention_bias,
    mean_over_text,
    rotary_tables,
    rotate,
)


@dataclass(frozen=True, kw_only=True)
class ResidualTerms:
    """The terms whose sum is the residual stream of a text, and, if kept, the attention weights of each layer."""

    embedding: Float[Tensor, "T D"]
    attention: list[Float[Tensor, "T D"]]  # the output of attention, layer by layer
    feed_forward: list[Float[Tensor, "T D"]]  # the output of the feed-forward layers
    attention_weights: list[Float[Tensor, "H T T"]] = field(default_factory=list)

    def named(self) -> list[tuple[str, Float[Tensor, "T D"]]]:
        """The terms in the order in which they are added: embedding, attention_1, feed_forward_1, ..."""
        named = [("embedding", self.embedding)]
        for layer, (attention, feed_forward) in enumerate(zip(self.attention, self.feed_forward, strict=True), 1):
            named += [(f"attention_{layer}", attention), (f"feed_forward_{layer}", feed_forward)]
        return named

    def after_layers(self) -> list[Float[Tensor, "T D"]]:
        """The residual stream after the embedding and after each layer, added up as the model does."""
        x = self.embedding
        streams = [x]
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            x = x + attention
            x = x + feed_forward
            streams.append(x)
        return streams


@dataclass(frozen=True, kw_only=True)
class TakenApart:
    """One text through a classifier: the vectors of its tokens, what can be read out after the embedding and after each
    layer (pooled vector and logits), and, if they exist, what each part adds to the logits and attention weights."""

    embedding: Float[Tensor, "T E"]
    readouts: list[tuple[Tensor, Tensor]]
    contributions: list[tuple[str, Tensor]]
    attention_weights: list[Float[Tensor, "H T T"]]


@torch.inference_mode()
def take_apart(model: SequenceClassifier, ids: Sequence[int], *, keep_attention: bool = False) -> TakenApart:
    """The forward pass of a text, taken apart as far as the network allows.

    The parts of our own transformer add to one stream that is normalized once, at the end, so their contributions are
    exact. Encoders of transformers normalize it after each part, or in ways of their own, so they have none.
    """
    if isinstance(model.transformer, Transformer):
        terms = split_residual_stream(model.transformer, ids, keep_attention=keep_attention)
        streams = terms.after_layers()
        return TakenApart(
            embedding=terms.embedding,
            readouts=[read_out(model, stream) for stream in streams],
            contributions=contributions(model, terms, streams[-1]),
            attention_weights=terms.attention_weights,
        )
    encoder = model.transformer
    padded = pad_rows([ids], encoder.config.pad_token_id)
    input_ids, document_ids = (tensor.to(encoder.embed_tokens.weight.device) for tensor in padded)
    return TakenApart(
        embedding=encoder.embed_tokens(input_ids)[0],
        readouts=[read_out(model, state[0]) for state in encoder.states(input_ids, document_ids)],
        contributions=[],
        attention_weights=encoder.attention_weights(input_ids, document_ids) if keep_attention else [],
    )


@torch.inference_mode()
def split_residual_stream(
    transformer: Transformer, ids: Sequence[int], *, keep_attention: bool = False
) -> ResidualTerms:
    """Run the blocks on one text and keep the output of each layer; `keep_attention` also keeps L x H x T x T floats.

    The model itself never makes the attention weights available, so they are computed from the same queries and keys.
    """
    device = transformer.embed_tokens.weight.device
    input_ids, document_ids = (tensor.to(device) for tensor in pad_rows([ids], transformer.config.pad_token_id))
    cos, sin = rotary_tables(transformer.config, len(ids), device)
    bias = attention_bias(document_ids, None, torch.float32)
    embedding = x = transformer.embed_tokens(input_ids)
    attention, feed_forward, weights = [], [], []
    for block in transformer.blocks:
        assert isinstance(block, Block)
        if keep_attention:
            weights.append(attention_weights(block, x, cos, sin)[0])
        added = block.out_proj(block.attention_half(x, cos, sin, bias))
        attention.append(added[0])
        x = x + added
        added = block.feed_forward(x, torch.float32)
        feed_forward.append(added[0])
        x = x + added
    return ResidualTerms(
        embedding=embedding[0], attention=attention, feed_forward=feed_forward, attention_weights=weights
    )


def attention_weights(block: Block, x: Float[Tensor, "B T D"], cos: Tensor, sin: Tensor) -> Float[Tensor, "B H T T"]:
    """The attention weights of one layer for texts without padding; each row sums to 1."""
    c = block.config
    b, t, _ = x.shape
    q_size, kv_size = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    q, k, _ = block.qkv_proj(block.attention_norm(x)).split([q_size, kv_size, kv_size], dim=-1)
    q = rotate(q.view(b, t, c.num_heads, c.head_dim), cos, sin).transpose(1, 2)
    k = rotate(k.view(b, t, c.num_kv_heads, c.head_dim), cos, sin).transpose(1, 2)
    k = k.repeat_interleave(c.num_heads // c.num_kv_heads, dim=1)
    return torch.softmax((q @ k.transpose(-1, -2) * c.head_dim**-0.5).float(), dim=-1)


def classify_embeddings(model: SequenceClassifier, embeddings: Float[Tensor, "B T D"]) -> Float[Tensor, "B C"]:
    """The logits of texts of equal length, given the vectors that the embedding table would give; differentiable."""
    b, t, _ = embeddings.shape
    if isinstance(model.transformer, ForeignEncoder):
        document_ids = torch.zeros(b, t, dtype=torch.long, device=embeddings.device)
        return model.classifier(mean_over_text(model.transformer.from_embeddings(embeddings), document_ids))
    cos, sin = rotary_tables(model.config, t, embeddings.device)
    document_ids = torch.zeros(b, t, dtype=torch.long, device=embeddings.device)
    bias = attention_bias(document_ids, None, torch.float32)
    x = embeddings
    for block in model.transformer.blocks:
        x = block(x, cos, sin, bias)
    return model.classifier(mean_over_text(model.transformer.final_norm(x), document_ids))


@torch.inference_mode()
def read_out(model: SequenceClassifier, stream: Float[Tensor, "T D"]) -> tuple[Tensor, Tensor]:
    """Pooled vector (D,) and logits (C,), as if the model ended at this layer.

    The states of an encoder of transformers have passed their norm already.
    """
    document_ids = torch.zeros(1, len(stream), dtype=torch.long, device=stream.device)
    if isinstance(model.transformer, Transformer):
        stream = model.transformer.final_norm(stream)
    pooled = mean_over_text(stream[None], document_ids)
    return pooled[0], model.classifier(pooled)[0]


@torch.inference_mode()
def contributions(
    model: SequenceClassifier, terms: ResidualTerms, final: Float[Tensor, "T D"]
) -> list[tuple[str, Float[Tensor, " C"]]]:
    """The contribution of each term to the logits at the scale of the final norm, in double precision."""
    assert isinstance(model.transformer, Transformer)
    norm = model.transformer.final_norm
    scale = norm.weight.double() * torch.rsqrt(final.double().square().mean(-1, keepdim=True) + norm.eps)
    weight = model.classifier.weight.double()
    named = [(name, weight @ (term.double() * scale).mean(0)) for name, term in terms.named()]
    return [*named, ("bias", model.classifier.bias.double())]


@torch.inference_mode()
def pooled_states(transformer: Backbone, rows: Sequence[Sequence[int]]) -> Float[np.ndarray, "L N D"]:
    """The mean vector of each text after the embedding (0) and after each layer, through the final norm.

    In batches of TOKENS_PER_BATCH tokens, so memory is bounded whatever the number of texts.
    """
    config, device = transformer.config, transformer.embed_tokens.weight.device
    states = np.empty((config.num_layers + 1, len(rows), config.hidden_size), dtype=np.float32)

    def pool(indices: list[int]) -> None:
        padded = pad_rows([rows[index] for index in indices], config.pad_token_id)
        input_ids, document_ids = (tensor.to(device) for tensor in padded)
        if isinstance(transformer, ForeignEncoder):
            for layer, state in enumerate(transformer.states(input_ids, document_ids)):
                states[layer, indices] = mean_over_text(state, document_ids).cpu().numpy()
            return
        cos, sin = rotary_tables(config, input_ids.shape[1], device)
        bias = attention_bias(document_ids, None, torch.float32)
        x = transformer.embed_tokens(input_ids)
        states[0, indices] = mean_over_text(transformer.final_norm(x), document_ids).cpu().numpy()
        for layer, block in enumerate(transformer.blocks, 1):
            x = block(x, cos, sin, bias)
            states[layer, indices] = mean_over_text(transformer.final_norm(x), document_ids).cpu().numpy()

    groups = group_by_length([len(row) for row in rows], TOKENS_PER_BATCH)
    if isinstance(transformer, ForeignEncoder):  # it keeps the states of its layers in one place for all threads
        for group in groups:
            pool(group)
    else:
        lanes_for(device.type).map(pool, groups)
    return states


@torch.inference_mode()
def logits_of_rows(classifier: Classifier, rows: Int[Tensor, "N T"]) -> Float[Tensor, "N C"]:
    """Logits, on the CPU, of rows of equal length, in batches of TOKENS_PER_BATCH tokens."""
    device = classifier.model.classifier.weight.device

    def classify(batch: Int[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        ids = batch.to(device)
        return classifier.model(ids, torch.zeros_like(ids)).cpu()

    batches = rows.split(max(1, TOKENS_PER_BATCH // rows.shape[1]))
    return torch.cat(lanes_for(device.type).map(classify, batches))
