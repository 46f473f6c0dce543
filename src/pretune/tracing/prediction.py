"""From a text to the trace of its prediction: tokens, embedding, transformer layers, head, decision, and reasons.

Everything is computed in fp32, as in a prediction, for one text at a time.

T sequence, D hidden, C classes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pretune.errors import UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.config import ForeignConfig
from pretune.text.clean.normalize import clean_text
from pretune.trace_schema import (
    Attention,
    Contribution,
    Decision,
    Flip,
    Head,
    PredictionTrace,
    Readout,
)
from pretune.tracing.embedding import describe_embedding
from pretune.tracing.forward import take_apart
from pretune.tracing.probes import FittedProbe, describe_states
from pretune.tracing.reasons import give_reasons
from pretune.tracing.run_context import RunContext, read_run_context
from pretune.tracing.words import tokenize

ATTENTION_TOKENS, ATTENTION_HEADS = 64, 48  # at most, over all layers; larger attention is left out


def trace(model: Path | str, text: str) -> PredictionTrace:
    """The trace of a model's decision about a text; see `trace_prediction`.

    Raises ModelNotFoundError, CorruptModelError or ModelError if there is no classifier at the path.
    """
    return trace_prediction(load_classifier(model), text)


def trace_prediction(
    classifier: Classifier,
    text: str,
    *,
    context: RunContext | None = None,
    id: str = "typed",
    why: str = "typed",
    true_label: str | None = None,
    row: int | None = None,
    slice: str | None = None,
) -> PredictionTrace:
    """The trace of the model's decision about one text.

    `context` has what the run adds; if it is not given, it is read from the run that the classifier is part of, which
    takes a few seconds the first time. Read-outs use the final norm at the scale of each layer; contributions use the
    final scale and sum to the logits.

    Limits: a text of more tokens than the model reads, 512 at most, is cut in the middle as in a prediction. Attention
    is left out for more than 64 tokens or 48 heads in all. The reasons of a text of 512 tokens cost about as much as
    predicting a thousand such texts, in batches of a fixed size; its integral ends after 64 steps. Raises UsageError if
    there is no text, or if none is left after cleaning.
    """
    cleaned = clean_text(text)
    if not cleaned:
        raise UsageError("There is no text to trace: it is blank, or blank after cleaning; give one with words.")
    context = read_run_context(classifier) if context is None else context
    tokenizer, model, names = classifier.tokenizer, classifier.text_model, classifier.label_names
    encoded = tokenizer.encode_with_offsets(cleaned)
    read = tokenize(tokenizer, cleaned, encoded, classifier.max_seq_len, context.counts)
    taken = take_apart(model, read.ids, keep_attention=_keeps_attention(classifier, len(read.ids)))
    pooled, logits = taken.readouts[-1]
    added = taken.contributions
    weight, bias = model.classifier.weight.detach(), model.classifier.bias.detach()
    found = give_reasons(classifier, read.ids, read.words, logits)
    reasons, flip = (None, None) if found is None else found
    return PredictionTrace(
        id=id,
        why=why,
        text=cleaned,
        true_label=true_label,
        row=row,
        slice=slice,
        label_names=list(names),
        tokens=read.tokens,
        was_cut=read.was_cut,
        embedding=describe_embedding(classifier, read.tokens, taken.embedding, context.counts),
        readouts=_describe_readouts(taken.readouts, names, context.probes),
        contributions=[Contribution(name=name, logits=term.tolist()) for name, term in added],
        contributions_note=None if added else _no_contributions(classifier),
        attention=_describe_attention(taken.attention_weights, read.special_positions),
        head=Head(pooled=pooled.tolist(), weight=weight.tolist(), bias=bias.tolist(), logits=logits.tolist()),
        decision=_describe_decision(torch.softmax(logits, dim=-1), names, flip),
        reasons=reasons,
        contribution_error=float((sum(term for _, term in added) - logits).abs().max()) if added else 0.0,
        head_error=float((weight.double() @ pooled.double() + bias.double() - logits.double()).abs().max()),
        prediction_error=float((classifier.predict_logits([read.ids])[0] - logits).abs().max()),
    )


def _keeps_attention(classifier: Classifier, num_tokens: int) -> bool:
    config = classifier.config
    return num_tokens <= ATTENTION_TOKENS and config.num_layers * config.num_heads <= ATTENTION_HEADS


def _no_contributions(classifier: Classifier) -> str:
    kind = classifier.config.model_type if isinstance(classifier.config, ForeignConfig) else "foreign"
    return (
        f"What each part adds to the logits is not shown: it is exact only for pretune's own transformer, whose parts "
        f"add to one sum that is normalized once. This {kind} encoder normalizes between its parts, so its logits do "
        "not divide into contributions. Read-outs and attributions need no such sum."
    )


def _describe_attention(attention: Sequence[Tensor], special: Sequence[int]) -> Attention | None:
    if not attention:
        return None
    weights = torch.stack(list(attention))
    return Attention(
        shape=list(weights.shape),
        weights=base64.b64encode((weights * 255).round().to(torch.uint8).cpu().numpy().tobytes()).decode("ascii"),
        special_fraction=weights[..., list(special)].sum(-1).mean(-1).tolist(),
        row_sum_error=float((weights.double().sum(-1) - 1).abs().max()),
    )


def _describe_readouts(
    readouts: Sequence[tuple[Tensor, Tensor]], names: tuple[str, ...], probes: Sequence[FittedProbe] | None
) -> list[Readout]:
    probed = describe_states(probes, [pooled.cpu().numpy() for pooled, _ in readouts])
    return [
        Readout(
            layer=layer,
            logits=logits.tolist(),
            probabilities=torch.softmax(logits, dim=-1).tolist(),
            label=names[int(logits.argmax())],
            probe=probe,
        )
        for layer, ((_, logits), probe) in enumerate(zip(readouts, probed, strict=True))
    ]


def _describe_decision(probabilities: Float[Tensor, " C"], names: tuple[str, ...], flip: Flip | None) -> Decision:
    """The most probable class, its lead over the second as a difference of probabilities, and what flips it."""
    best = probabilities.topk(min(2, len(names)))
    index = int(best.indices[0])
    return Decision(
        probabilities=probabilities.tolist(),
        label=names[index],
        index=index,
        probability=float(best.values[0]),
        margin=float(best.values[0] - best.values[-1]) if len(names) > 1 else 1.0,
        flip=flip,
    )
