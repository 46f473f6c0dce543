"""From a text to the trace of its prediction: tokens, embedding, transformer layers, head, decision, and reasons.

Everything is computed in fp32, as in a prediction, for one text at a time.

T sequence, D hidden, C classes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.errors import UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import ModelPlace, load_classifier
from pretune.model.config import ForeignConfig
from pretune.text.clean.normalize import clean_text
from pretune.trace_schema import (
    Attention,
    Contribution,
    Head,
    PredictionTrace,
    Readout,
)
from pretune.tracing.decision import decide, read_probabilities, write_decision
from pretune.tracing.embedding import describe_embedding
from pretune.tracing.forward import take_apart
from pretune.tracing.probes import FittedProbe, describe_states
from pretune.tracing.reasons import give_reasons
from pretune.tracing.run_context import RunContext, read_run_context
from pretune.tracing.stack import describe_stack
from pretune.tracing.traced_word import choose_word, describe_word, find_entities, read_row
from pretune.tracing.words import TokenizedText, tokenize, tokenize_pair

ATTENTION_TOKENS, ATTENTION_HEADS = 64, 48  # at most, over all layers; larger attention is left out


def trace(model: ModelPlace, text: str, text_pair: str | None = None, *, stack: bool = True) -> PredictionTrace:
    """The trace of a model's decision about a text, or a pair of texts; see `trace_prediction`. Without
    `stack`, linear models that are stacked on it are not used.

    Raises ModelNotFoundError, CorruptModelError or ModelError if there is no fine-tuned model at the path.
    """
    return trace_prediction(load_classifier(model, stack=stack), text, text_pair)


def trace_prediction(
    classifier: Classifier,
    text: str,
    text_pair: str | None = None,
    *,
    context: RunContext | None = None,
    id: str = "typed",
    why: str = "typed",
    true_label: str | None = None,
    row: int | None = None,
    slice: str | None = None,
) -> PredictionTrace:
    """The trace of the model's decision about one text, or about a pair.

    `context` has what the run adds; if it is not given, it is read from the run that the classifier is part of, which
    takes a few seconds the first time. Read-outs use the final norm at the scale of each layer; contributions use the
    final scale and sum to the logits.

    Limits: a text of more tokens than the model reads, 512 at most, is cut in the middle or read in windows as in a
    prediction; the tokens are then those of all windows, one after another. Attention is left out for several windows,
    and for more than 64 tokens or 48 heads in all; reasons for more than 2,048 tokens. The reasons of a text of 512
    tokens cost about as much as predicting a thousand such texts, in batches of a fixed size; its integral ends after
    64 steps.

    A model that labels words is traced at one word: the first of its first entity, or the one that is most likely in
    one. Of a text that is too long for one row, it is traced in the window in which a prediction labels that word:
    `text`, the tokens and the entities are then those of this window alone, and `was_cut` is true.

    Raises UsageError if there is no text, if none is left after cleaning, or if there is one text for a model of pairs,
    or two for another.
    """
    cleaned, cleaned_pair = _clean(classifier, text, text_pair)
    context = read_run_context(classifier) if context is None else context
    model, names = classifier.model, classifier.labelling.outputs
    task = classifier.task.name
    entities = find_entities(classifier, cleaned) if task == "tokens" else []
    chosen = choose_word(classifier, cleaned, entities) if task == "tokens" else None
    if chosen is None:
        read = read_texts(classifier, cleaned, cleaned_pair, context.counts)
        position = classifier.read_position(read.ids)
    else:
        read, position = read_row(classifier, chosen, context.counts), chosen.position
    predicted = read.windows if chosen is None else [chosen.ids]
    keep_attention = _keeps_attention(classifier, len(read.ids))
    taken = take_apart(model, read.windows, keep_attention=keep_attention, position=position)
    pooled, logits = taken.readouts[-1]
    added = taken.contributions
    weight, bias = model.classifier.weight.detach(), model.classifier.bias.detach()
    found = give_reasons(classifier, read.ids, read.words, logits, position, read.widths)
    reasons, flip = (None, None) if found is None else found
    word = None if chosen is None else describe_word(read, chosen.position, names[int(logits.argmax())])
    in_text = word if word is None or chosen is None else replace(word, start=word.start + chosen.start)
    return PredictionTrace(
        id=id,
        why=why,
        task=task,
        text=read.text,
        text_pair=None if classifier.pattern_encoder else cleaned_pair,
        word=word,
        entities=entities if chosen is None else chosen.shift(entities),
        read_position=position,
        true_label=true_label,
        row=row,
        slice=slice,
        label_names=list(names),
        tokens=read.tokens,
        was_cut=read.was_cut,
        embedding=describe_embedding(classifier, read.tokens, taken.embedding, context.counts),
        readouts=_describe_readouts(classifier, taken.readouts, context.probes),
        contributions=[Contribution(name=name, logits=term.tolist()) for name, term in added],
        contributions_note=None if added else _no_contributions(classifier),
        attention=_describe_attention(taken.attention_weights, read.special_positions),
        head=Head(pooled=pooled.tolist(), weight=weight.tolist(), bias=bias.tolist(), logits=logits.tolist()),
        decision=decide(classifier, logits, flip),
        reasons=reasons,
        contribution_error=float((sum(term for _, term in added) - logits).abs().max()) if added else 0.0,
        head_error=float((weight.double() @ pooled.double() + bias.double() - logits.double()).abs().max()),
        prediction_error=float((_predict(classifier, predicted, position) - logits).abs().max()),
        stack=describe_stack(classifier, cleaned, cleaned_pair, logits, in_text),
    )


def read_texts(
    classifier: Classifier, text: str, text_pair: str | None = None, counts: npt.NDArray[np.int64] | None = None
) -> TokenizedText:
    """The tokens and words of the row that the model reads for clean texts; of a cloze, the whole sentence."""
    tokenizer, length = classifier.tokenizer, classifier.max_seq_len
    if classifier.pattern_encoder is not None:
        sentence, encoded, kept = classifier.pattern_encoder.encode_with_offsets(text, text_pair)
        return tokenize(tokenizer, sentence, encoded, length, counts, kept)
    if text_pair is None:
        encoded = tokenizer.encode_with_offsets(text)
        return tokenize(tokenizer, text, encoded, length, counts, rule=classifier.window_rule)
    pair = tokenizer.encode_pair_with_offsets(text, text_pair)
    return tokenize_pair(tokenizer, (text, text_pair), pair, length, counts)


def _clean(classifier: Classifier, text: str, text_pair: str | None) -> tuple[str, str | None]:
    cleaned, cleaned_pair = clean_text(text), None if text_pair is None else clean_text(text_pair)
    if not cleaned or cleaned_pair == "":
        raise UsageError("There is no text to trace: it is blank, or blank after cleaning; give one with words.")
    if classifier.labelling.has_pairs and text_pair is None:
        raise UsageError(f"{classifier.path} was trained on pairs of texts, and one is given; give two.")
    if text_pair is not None and not classifier.labelling.has_pairs:
        raise UsageError(f"{classifier.path} was trained on single texts, and two are given; give one.")
    return cleaned, cleaned_pair


def _predict(classifier: Classifier, windows: Sequence[Sequence[int]], position: int | None) -> Float[Tensor, " C"]:
    """The logits of a plain forward pass."""
    if len(windows) > 1:
        return classifier.predict_windows(windows)
    logits = classifier.predict_logits(windows)[0]
    return logits if logits.ndim == 1 or position is None else logits[position]


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
    classifier: Classifier, readouts: Sequence[tuple[Tensor, Tensor]], probes: Sequence[FittedProbe] | None
) -> list[Readout]:
    if classifier.pattern_encoder is not None:  # probes read the mean over the text, and a cloze one position
        probes = None
    probed = describe_states(probes, [pooled.cpu().numpy() for pooled, _ in readouts])
    return [
        Readout(
            layer=layer,
            logits=logits.tolist(),
            probabilities=read_probabilities(classifier.task.name, logits),
            label=write_decision(classifier, logits),
            probe=probe,
        )
        for layer, ((_, logits), probe) in enumerate(zip(readouts, probed, strict=True))
    ]
