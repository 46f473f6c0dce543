"""The score of a sentence under a language model, in nats, in fp32 and without any temperature.

A model that predicts the next token gives a log-likelihood: the sum of log p(token | tokens before it). A model that
fills in words gives a pseudo-log-likelihood (Salazar et al. 2020, arXiv:1910.14659): each token is masked in turn, and
the sum is of log p(token | all others). Only tokens of the text count, not those that begin and end it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.padding import group_by_length, pad_rows
from pretune.errors import InputDataError, ModelError, UsageError
from pretune.inference.token_scores import first_ids_of, frame_ids_of, log_probabilities, tokens_per_batch
from pretune.model.foreign_language_model import ForeignLanguageModel
from pretune.model.transformer import LanguageModel
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer

Scoring = Literal["masked", "causal"]
ScoringModel = LanguageModel | ForeignLanguageModel

_SENTENCES_AT_ONCE = 1000  # of similar length; between these, progress is reported

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SentenceScorer:
    """A language model with its tokenizer, and how it scores: by filling in words, or by predicting the next token."""

    path: Path
    model: ScoringModel
    tokenizer: Tokenizer
    scoring: Scoring

    def scores(
        self, sentences: Sequence[str], places: Sequence[str], on_progress: Callable[[int, int], None] | None = None
    ) -> FloatArray:
        """The score of each sentence (N,) in nats; the same sentence always has the same score.

        `on_progress` gets the numbers of sentences that are done and that there are, each counted once. Raises
        InputDataError naming the place of a sentence without tokens or with more than the model reads.
        """
        rows: dict[str, list[int]] = {}
        for sentence, place in zip(sentences, places, strict=True):
            if sentence not in rows:
                rows[sentence] = self._encode(sentence, place)
        distinct = sorted(rows, key=lambda sentence: len(rows[sentence]))
        found: dict[str, float] = {}
        score = self._score_masked if self.scoring == "masked" else self._score_causal
        for start in range(0, len(distinct), _SENTENCES_AT_ONCE):
            chosen = distinct[start : start + _SENTENCES_AT_ONCE]
            found |= dict(zip(chosen, score([rows[sentence] for sentence in chosen]).tolist(), strict=True))
            if on_progress is not None:
                on_progress(len(found), len(distinct))
        return np.array([found[sentence] for sentence in sentences], dtype=np.float64)

    def _encode(self, sentence: str, place: str) -> list[int]:
        """The ids that the model reads. For a causal model, they end with the last token of the text."""
        ids = self.tokenizer.encode(clean_text(sentence))  # as in training
        if self.scoring == "causal":
            ids = [*self._first_ids, *(token_id for token_id in ids if token_id not in self._frame_ids)]
        if all(token_id in self._frame_ids for token_id in ids):
            raise InputDataError(f"{place}: a sentence has no words; remove the pair.")
        if len(ids) > self.model.config.max_seq_len:
            raise InputDataError(
                f"{place}: a sentence has {len(ids):,} tokens, and the model reads at most "
                f"{self.model.config.max_seq_len:,}; shorten or remove the pair."
            )
        return ids

    @cached_property
    def _frame_ids(self) -> frozenset[int]:
        return frame_ids_of(self.tokenizer)

    @cached_property
    def _first_ids(self) -> list[int]:
        return first_ids_of(self.model, self.tokenizer)

    def _score_masked(self, rows: Sequence[list[int]]) -> FloatArray:
        """Sums (N,) over the copies of each row in which one token is masked."""
        copies = [
            (number, place)
            for number, ids in enumerate(rows)
            for place, token_id in enumerate(ids)
            if token_id not in self._frame_ids
        ]
        totals = np.zeros(len(rows))
        for indices in group_by_length([len(rows[number]) for number, _ in copies], tokens_per_batch(self.model)):
            numbers, places = (torch.tensor(each) for each in zip(*(copies[index] for index in indices), strict=True))
            input_ids, document_ids = pad_rows([rows[copies[index][0]] for index in indices], self.tokenizer.pad_id)
            copy = torch.arange(len(indices))
            targets = input_ids[copy, places]
            input_ids[copy, places] = self.tokenizer.mask_id
            positions = copy * input_ids.shape[1] + places
            values = log_probabilities(self.model, input_ids, document_ids, positions, targets, is_causal=False)
            np.add.at(totals, numbers.numpy(), values.double().cpu().numpy())
        return totals

    def _score_causal(self, rows: Sequence[list[int]]) -> FloatArray:
        """Sums (N,) over the tokens of each row after the first."""
        totals = np.zeros(len(rows))
        for indices in group_by_length([len(row) for row in rows], tokens_per_batch(self.model)):
            input_ids, document_ids = pad_rows([rows[index] for index in indices], self.tokenizer.pad_id)
            row, place = torch.nonzero(document_ids[:, 1:] >= 0, as_tuple=True)  # before the token that is predicted
            targets = input_ids[row, place + 1]
            positions = row * input_ids.shape[1] + place
            values = log_probabilities(self.model, input_ids, document_ids, positions, targets, is_causal=True)
            np.add.at(totals, np.array(indices)[row.numpy()], values.double().cpu().numpy())
        return totals


def choose_scoring(asked: str, model: ScoringModel, tokenizer: Tokenizer, path: Path) -> Scoring:
    """How a model scores: as asked, or for `auto` by filling in words if it was trained to, else as a causal model.

    Raises UsageError for a way in which the model was not trained, and ModelError if it has no mask token to score
    with.
    """
    config = model.config
    scoring: Scoring = "masked" if asked == "masked" or (asked == "auto" and config.can_fill) else "causal"
    if scoring == "masked" and not config.can_fill:
        raise UsageError(
            f"{path} was trained to predict the next token, not to fill in words; use --scoring causal, or omit it."
        )
    if scoring == "causal" and not config.can_generate:
        raise UsageError(
            f"{path} was trained to fill in words, not to predict the next token; use --scoring masked, or omit it."
        )
    if scoring == "masked" and tokenizer.mask_id == NONE:
        raise ModelError(f"{path} has no mask token; it was not trained to fill in words.")
    return scoring
