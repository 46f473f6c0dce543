"""From a text to the trace of its prediction - tokens, embedding, transformer, head and decision - as JSON data.

Everything is computed in fp32, as in a prediction, for one text at a time. Contributions are exact because the blocks
are pre-norm: with x the final residual stream, sigma_t the root mean square of x at position t and g the weight of the
final norm, a class has logit = bias + sum over all terms of mean_t w . (g * term_t / sigma_t), where the terms are the
embedding and the output of each attention and feed-forward layer.

T sequence, D hidden, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pretune.data.padding import pad_rows
from pretune.errors import UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.transformer import Block, SequenceClassifier, attention_bias, mean_over_text, rotary_tables
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.tokenizer import BOS, EOS, cut_middle

JsonObject = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ResidualTerms:
    """The terms whose sum is the residual stream of a text."""

    embedding: Float[Tensor, "T D"]
    attention: list[Float[Tensor, "T D"]]  # the output of attention, layer by layer
    feed_forward: list[Float[Tensor, "T D"]]  # the output of the feed-forward layers

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


def trace(model: Path | str, text: str) -> dict[str, Any]:
    """The trace of a model's decision about a text; see `trace_prediction`.

    Raises ModelNotFoundError, CorruptModelError or ModelError if there is no classifier at the path.
    """
    return trace_prediction(load_classifier(model), text)


@torch.inference_mode()
def trace_prediction(classifier: Classifier, text: str) -> JsonObject:
    """The trace of the model's decision about one text, as JSON values.

    Read-outs use the final norm at the scale of each layer; contributions use the final scale and sum to the logits.
    Raises UsageError if there is no text, or if none is left after cleaning.
    """
    if not clean_text(text):
        raise UsageError("There is no text to trace: it is blank, or blank after cleaning; give one with words.")
    ids, was_cut = classifier.encode(text)
    text = clean_text(text)  # once, as in a prediction, although deeply nested markup may remain
    model, names = classifier.model, classifier.label_names
    terms = split_residual_stream(model, ids)
    streams = terms.after_layers()
    readouts = [_read_out(model, stream) for stream in streams]
    pooled, logits = readouts[-1]
    contributions = _contributions(model, terms, streams[-1])
    probabilities = torch.softmax(logits, dim=-1)
    weight, bias = model.classifier.weight, model.classifier.bias
    return {
        "text": text,
        "model": str(classifier.path),
        "label_names": list(names),
        "layers": {
            "tokenization": {"tokens": _describe_tokens(classifier, text), "was_cut": was_cut},
            "embedding": {"norms": terms.embedding.norm(dim=-1).tolist()},
            "transformer": {
                "readouts": [_describe_readout(layer, scores, names) for layer, (_, scores) in enumerate(readouts)],
                "contributions": [{"name": name, "logits": term.tolist()} for name, term in contributions],
            },
            "head": {
                "pooled": pooled.tolist(),
                "weight": weight.tolist(),
                "bias": bias.tolist(),
                "logits": logits.tolist(),
            },
            "decision": _describe_decision(probabilities, names),
        },
        "checks": {
            "contribution_error": float((sum(term for _, term in contributions) - logits).abs().max()),
            "head_error": float((weight.double() @ pooled.double() + bias.double() - logits.double()).abs().max()),
            "prediction_error": float((classifier.predict_logits([ids])[0] - logits).abs().max()),
        },
    }


def split_residual_stream(model: SequenceClassifier, ids: list[int]) -> ResidualTerms:
    """Run the blocks of the model on one text and keep the output of each layer."""
    transformer = model.transformer
    device = model.classifier.weight.device
    input_ids, document_ids = (tensor.to(device) for tensor in pad_rows([ids], model.config.pad_token_id))
    cos, sin = rotary_tables(model.config, len(ids), device)
    bias = attention_bias(document_ids, None, torch.float32)
    embedding = x = transformer.embed_tokens(input_ids)
    attention, feed_forward = [], []
    for block in transformer.blocks:
        assert isinstance(block, Block)
        added = block.out_proj(block.attention_half(x, cos, sin, bias))
        attention.append(added[0])
        x = x + added
        added = block.feed_forward(x, torch.float32)
        feed_forward.append(added[0])
        x = x + added
    return ResidualTerms(embedding=embedding[0], attention=attention, feed_forward=feed_forward)


def _read_out(model: SequenceClassifier, stream: Float[Tensor, "T D"]) -> tuple[Tensor, Tensor]:
    """Pooled vector (D,) and class scores (C,), as if the model ended at this layer."""
    document_ids = torch.zeros(1, len(stream), dtype=torch.long, device=stream.device)
    pooled = mean_over_text(model.transformer.final_norm(stream)[None], document_ids)
    return pooled[0], model.classifier(pooled)[0]


def _contributions(
    model: SequenceClassifier, terms: ResidualTerms, final: Float[Tensor, "T D"]
) -> list[tuple[str, Float[Tensor, " C"]]]:
    """The contribution of each term to the class scores at the scale of the final norm, in double precision."""
    norm = model.transformer.final_norm
    scale = norm.weight.double() * torch.rsqrt(final.double().square().mean(-1, keepdim=True) + norm.eps)
    weight = model.classifier.weight.double()
    named = [(name, weight @ (term.double() * scale).mean(0)) for name, term in terms.named()]
    return [*named, ("bias", model.classifier.bias.double())]


def _describe_tokens(classifier: Classifier, text: str) -> list[JsonObject]:
    """The tokens that the model read, each with its characters text[start:end]; special tokens have none."""
    tokenizer = classifier.tokenizer
    encoded = tokenizer.encode_with_offsets(text)
    special = {tokenizer.bos_id: BOS, tokenizer.eos_id: EOS}
    tokens = []
    for position, index in enumerate(cut_middle(list(range(len(encoded.ids))), classifier.max_seq_len)):
        token_id, (start, end) = encoded.ids[index], encoded.offsets[index]
        is_special = token_id in special
        tokens.append(
            {
                "position": position,
                "id": token_id,
                "surface": special[token_id] if is_special else text[start:end],
                "start": None if is_special else start,
                "end": None if is_special else end,
            }
        )
    return tokens


def _describe_readout(layer: int, logits: Float[Tensor, " C"], names: tuple[str, ...]) -> JsonObject:
    return {
        "layer": layer,
        "logits": logits.tolist(),
        "probabilities": torch.softmax(logits, dim=-1).tolist(),
        "label": names[int(logits.argmax())],
    }


def _describe_decision(probabilities: Float[Tensor, " C"], names: tuple[str, ...]) -> JsonObject:
    """The most probable class, and its lead over the second as a difference of probabilities."""
    best = probabilities.topk(min(2, len(names)))
    return {
        "probabilities": probabilities.tolist(),
        "label": names[int(best.indices[0])],
        "probability": float(best.values[0]),
        "margin": float(best.values[0] - best.values[-1]) if len(names) > 1 else 1.0,
    }
