"""Words for labels whose names say nothing: those that the model expects at the [MASK] for the rows of one label.

As in arXiv:2010.13641, a word is good for a label if it is likelier for that label's rows than for the others; here the
difference is divided by its standard error, since a few rows make any word look good.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float

from pretune.compute.cpu_threads import lanes_for
from pretune.data.padding import group_by_length, pad_rows
from pretune.errors import InputDataError
from pretune.model.transformer import LanguageModel, mask_positions
from pretune.text.cloze.label_words import LabelWords
from pretune.text.tokenizer.tokenizer import Tokenizer

WORDS_PER_LABEL = 3
ROWS_PER_LABEL = 64  # more rows do not change the words
_CANDIDATES = 1000  # words that the model expects at all
_LEAST_LETTERS = 3
_TOKENS_PER_BATCH = 2048

IntArray = npt.NDArray[np.int64]


def choose_label_words(
    model: LanguageModel,
    tokenizer: Tokenizer,
    rows: Sequence[Sequence[int]],
    labels: IntArray,
    names: Sequence[str],
) -> LabelWords:
    """The best words of each label for rows of token ids with one [MASK] each and their labels (N,).

    Raises InputDataError if a label has no rows, or if there are fewer words than labels need.
    """
    used = [place for label in range(len(names)) for place in np.flatnonzero(labels == label)[:ROWS_PER_LABEL]]
    log_p, used_labels = mask_log_probabilities(model, [rows[place] for place in used]), labels[used]
    for label, name in enumerate(names):
        if not (used_labels == label).any():
            raise InputDataError(f"The label {name!r} has no training row to choose a word from; give --label-words.")
    candidates = _candidates(tokenizer, log_p.mean(axis=0), len(names))
    scores = np.stack([_scores(log_p[:, candidates], used_labels == label) for label in range(len(names))])
    ids = _best_words(scores, candidates)
    words = tuple(tuple(tokenizer.decode([token]).strip() for token in of_label) for of_label in ids)
    return LabelWords(
        names=tuple(names),
        words=words,
        ids=ids,
        reason=f"words that the model expects for the rows of one label ({len(used):,} rows)",
    )


@torch.inference_mode()
def mask_log_probabilities(model: LanguageModel, rows: Sequence[Sequence[int]]) -> Float[np.ndarray, "N V"]:
    """The log of the probability of every token at the only [MASK] of each row."""
    device = model.lm_head.weight.device
    found = np.empty((len(rows), model.config.vocab_size), dtype=np.float32)

    def predict(indices: list[int]) -> None:
        padded = pad_rows([rows[index] for index in indices], model.config.pad_token_id)
        input_ids, document_ids = (tensor.to(device) for tensor in padded)
        positions = mask_positions(input_ids, model.config.mask_token_id)
        logits = model(input_ids, document_ids, positions)
        found[indices] = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()

    lanes_for(device.type).map(predict, group_by_length([len(row) for row in rows], _TOKENS_PER_BATCH))
    return found


def _candidates(tokenizer: Tokenizer, mean_log_p: Float[np.ndarray, " V"], num_labels: int) -> IntArray:
    """The ids (W,) of whole words that the model expects at the [MASK], likeliest first."""
    order = [int(i) for i in np.argsort(-mean_log_p, kind="stable") if i < len(tokenizer.starts_word)]
    is_start = tokenizer.starts_word
    found = [i for i in order if is_start[i] and _is_word(tokenizer.decode([i]).strip())][:_CANDIDATES]
    if len(found) < num_labels:
        raise InputDataError(
            f"The vocabulary has {len(found)} words for {num_labels} labels; give --label-words, or use --method head."
        )
    return np.array(found, dtype=np.int64)


def _is_word(surface: str) -> bool:
    return len(surface) >= _LEAST_LETTERS and surface.isalpha()


def _scores(log_p: Float[np.ndarray, "N W"], is_label: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """How much likelier each word (W,) is for the rows of the label than for the others, in standard errors."""
    own, others = (log_p[rows].astype(np.float64) for rows in (is_label, ~is_label))
    variance = sum(part.var(axis=0) / len(part) for part in (own, others) if len(part))
    error = np.sqrt(variance)
    scores: npt.NDArray[np.float64] = (own.mean(axis=0) - others.mean(axis=0)) / (error + np.median(error) + 1e-9)
    return scores


def _best_words(scores: npt.NDArray[np.float64], candidates: IntArray) -> tuple[tuple[int, ...], ...]:
    """For each label, its best words; a word goes to the label for which it is best, and each label gets one."""
    owners = scores.argmax(axis=0)
    taken: set[int] = set()
    chosen: list[list[int]] = []
    for label, of_label in enumerate(scores):
        ranked = np.argsort(-of_label, kind="stable").tolist()
        own = [place for place in ranked if owners[place] == label and place not in taken][:WORDS_PER_LABEL]
        own = own or [next(place for place in ranked if place not in taken)]
        taken.update(own)
        chosen.append(own)
    return tuple(tuple(int(candidates[place]) for place in own) for own in chosen)
