"""A masked word through the layers of the pre-trained model, and which other words its guess depends on.

T sequence, V vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pretune.data.padding import pad_rows
from pretune.errors import UsageError
from pretune.inference.classify import TOKENS_PER_BATCH
from pretune.inference.fill_mask import MASK, MaskFiller
from pretune.text.clean.normalize import clean_text
from pretune.trace_schema import FillReadout, FillTrace, WordGuess
from pretune.tracing.forward import split_residual_stream
from pretune.tracing.run_context import fill_counts
from pretune.tracing.words import TokenizedText, Word, tokenize

GUESSES = 5


def trace_fill(filler: MaskFiller, masked_text: str, *, true_word: str | None = None, id: str = "typed") -> FillTrace:
    """What the model would guess at the first [MASK] of a text after each layer, and the effect of the other words.

    Layers are read through the final norm and the embedding table, as the last one is; before the last layer, this is
    what can be decoded there, not what the model answers. The probability and the rank of `true_word` are None if it
    is not a single token. Occlusion masks one word at a time: one more row of the text for each word, in batches of
    bounded size. Raises UsageError if there is no [MASK] or the text is too long, as `MaskFiller.fill` does.
    """
    filler.encode(masked_text)  # for its errors
    text, tokenizer = clean_text(masked_text), filler.tokenizer
    encoded = tokenizer.encode_for_fill(text)
    if tokenizer.mask_id not in encoded.ids:
        raise UsageError(f'The text has no {MASK}; put it in place of a word, as in "The {MASK} is red."')
    read = tokenize(tokenizer, text, encoded, len(encoded.ids), fill_counts(filler))
    position = read.ids.index(tokenizer.mask_id)
    true_id = _token_of(filler, text, read.ids, position, true_word)
    readouts = _read_layers(filler, read.ids, position, true_id)
    words, occlusion = _occlude(filler, read, position)
    return FillTrace(
        id=id,
        masked_text=text,
        true_word=true_word,
        tokens=read.tokens,
        mask_position=position,
        predictions=readouts[-1].predictions,
        readouts=readouts,
        words=[word.surface for word in words],
        occlusion=occlusion,
    )


def _token_of(filler: MaskFiller, text: str, ids: list[int], position: int, word: str | None) -> int | None:
    """The token that the word would be in place of the first mask; None if it would be several."""
    if word is None:
        return None
    filled = filler.tokenizer.encode_for_fill(text.replace(MASK, word, 1)).ids
    is_single = len(filled) == len(ids) and filled[:position] == ids[:position]
    return filled[position] if is_single and filled[position + 1 :] == ids[position + 1 :] else None


@torch.inference_mode()
def _read_layers(filler: MaskFiller, ids: list[int], position: int, true_id: int | None) -> list[FillReadout]:
    model = filler.model
    readouts = []
    for layer, stream in enumerate(split_residual_stream(model.transformer, ids).after_layers()):
        logits = model.lm_head(model.transformer.final_norm(stream[position]))
        probabilities = torch.softmax(logits, dim=-1)
        probability = None if true_id is None else probabilities[true_id]
        readouts.append(
            FillReadout(
                layer=layer,
                predictions=_best_words(filler, probabilities),
                probability=None if probability is None else float(probability),
                rank=None if probability is None else int((probabilities > probability).sum()) + 1,
            )
        )
    return readouts


def _best_words(filler: MaskFiller, probabilities: Float[Tensor, " V"]) -> list[WordGuess]:
    return [
        WordGuess(word=best.word, probability=best.probability) for best in filler.best_words(probabilities, GUESSES)
    ]


@torch.inference_mode()
def _occlude(filler: MaskFiller, read: TokenizedText, position: int) -> tuple[list[Word], list[float]]:
    """All words, the masks among them, and the fall of the log-probability of the first guess without each of them."""
    mask_id, model = filler.tokenizer.mask_id, filler.model
    device = model.lm_head.weight.device
    words = _words_and_masks(read, mask_id)
    rows = [read.ids]
    for word in words:
        rows.append([mask_id if place in word.positions else token for place, token in enumerate(read.ids)])
    at_a_time = max(1, TOKENS_PER_BATCH // len(read.ids))
    logits = []
    for start in range(0, len(rows), at_a_time):
        batch = rows[start : start + at_a_time]
        input_ids, document_ids = (tensor.to(device) for tensor in pad_rows(batch, filler.tokenizer.pad_id))
        positions = torch.arange(len(batch), device=device) * len(read.ids) + position
        logits.append(model(input_ids, document_ids, positions).cpu())
    log_probabilities = torch.log_softmax(torch.cat(logits).double(), dim=-1)
    special = filler.special_ids
    first = log_probabilities[0].clone()
    first[sorted(special)] = -torch.inf
    of_guess = log_probabilities[:, int(first.argmax())]
    return words, (of_guess[0] - of_guess[1:]).tolist()


def _words_and_masks(read: TokenizedText, mask_id: int) -> list[Word]:
    """The words of the text in order, with each mask as a word of its own."""
    masks = [Word(surface=MASK, positions=(place,)) for place, token_id in enumerate(read.ids) if token_id == mask_id]
    return sorted([*read.words, *masks], key=lambda word: word.positions[0])
