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
from jaxtyping import Float, Int
from torch import Tensor

from pretune.data.padding import group_by_length, pad_rows
from pretune.errors import InputDataError, ModelError, UsageError
from pretune.inference.classify import TOKENS_PER_BATCH, TOKENS_PER_GPU_BATCH
from pretune.model.transformer import LanguageModel
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.special_tokens import NONE
from pretune.text.tokenizer.tokenizer import Tokenizer

Scoring = Literal["masked", "causal"]

_SENTENCES_AT_ONCE = 1000  # of similar length; between these, progress is reported
_LOGITS_AT_ONCE = 1 << 23  # 32 MB, whatever the size of the vocabulary

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SentenceScorer:
    """A language model with its tokenizer, and how it scores: by filling in words, or by predicting the next token."""

    path: Path
    model: LanguageModel
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
        """The ids that stand for no text; that of an unknown word does."""
        return self.tokenizer.all_special_ids - {self.tokenizer.unk_id}

    @cached_property
    def _first_ids(self) -> list[int]:
        """What stands before the first token, so that it is predicted too; empty if the model has no such token.

        A tokenizer that adds nothing by itself, as most of Llama's kin, leaves it to the config.
        """
        config = self.model.config
        choices = (self.tokenizer.bos_id, config.bos_token_id, self.tokenizer.eos_id, config.eos_token_id)
        return [token_id for token_id in choices if token_id != NONE and token_id in self._frame_ids][:1]

    @torch.inference_mode()
    def _score_masked(self, rows: Sequence[list[int]]) -> FloatArray:
        """Sums (N,) over the copies of each row in which one token is masked."""
        copies = [
            (number, place)
            for number, ids in enumerate(rows)
            for place, token_id in enumerate(ids)
            if token_id not in self._frame_ids
        ]
        totals = np.zeros(len(rows))
        for indices in group_by_length([len(rows[number]) for number, _ in copies], self._tokens_per_batch):
            numbers, places = (torch.tensor(each) for each in zip(*(copies[index] for index in indices), strict=True))
            input_ids, document_ids = pad_rows([rows[copies[index][0]] for index in indices], self.tokenizer.pad_id)
            copy = torch.arange(len(indices))
            targets = input_ids[copy, places]
            input_ids[copy, places] = self.tokenizer.mask_id
            values = self._log_probabilities(input_ids, document_ids, copy * input_ids.shape[1] + places, targets)
            np.add.at(totals, numbers.numpy(), values.double().cpu().numpy())
        return totals

    @torch.inference_mode()
    def _score_causal(self, rows: Sequence[list[int]]) -> FloatArray:
        """Sums (N,) over the tokens of each row after the first."""
        totals = np.zeros(len(rows))
        for indices in group_by_length([len(row) for row in rows], self._tokens_per_batch):
            input_ids, document_ids = pad_rows([rows[index] for index in indices], self.tokenizer.pad_id)
            row, place = torch.nonzero(document_ids[:, 1:] >= 0, as_tuple=True)  # before the token that is predicted
            targets = input_ids[row, place + 1]
            values = self._log_probabilities(input_ids, document_ids, row * input_ids.shape[1] + place, targets)
            np.add.at(totals, np.array(indices)[row.numpy()], values.double().cpu().numpy())
        return totals

    def _log_probabilities(
        self,
        input_ids: Int[Tensor, "B T"],
        document_ids: Int[Tensor, "B T"],
        positions: Int[Tensor, "M"],
        targets: Int[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """The log-probability of each target at its position of the flattened batch; the head runs at these only."""
        device = self.model.lm_head.weight.device
        is_causal = None if self.scoring == "masked" else torch.ones(len(input_ids), dtype=torch.bool, device=device)
        hidden = self.model.transformer(
            input_ids.to(device), document_ids.to(device), is_causal, positions=positions.to(device)
        )
        chunk = max(1, _LOGITS_AT_ONCE // self.model.config.vocab_size)
        values = []
        for part, wanted in zip(hidden.split(chunk), targets.to(device).split(chunk), strict=True):
            logits = self.model.lm_head(part).float()
            values.append(logits.gather(1, wanted[:, None])[:, 0] - torch.logsumexp(logits, dim=1))
        return torch.cat(values) if values else hidden.new_zeros(0)

    @property
    def _tokens_per_batch(self) -> int:
        return TOKENS_PER_GPU_BATCH if self.model.lm_head.weight.device.type == "cuda" else TOKENS_PER_BATCH


def choose_scoring(asked: str, model: LanguageModel, tokenizer: Tokenizer, path: Path) -> Scoring:
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
