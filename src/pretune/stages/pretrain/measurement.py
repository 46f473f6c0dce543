"""What an evaluation of pre-training measures: losses and accuracies of each objective, and samples that show progress.

Masked models fill in hidden words, causal ones continue the beginnings of sentences, hybrid ones do both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from pretune.builtin_world.world import SUNRISE
from pretune.data.batch import Batch
from pretune.data.pretraining_data import Corpus
from pretune.inference.generate import TextGenerator
from pretune.model.transformer import LanguageModel
from pretune.scoring.uncertainty import fraction_interval
from pretune.settings import Sampling
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.training.loop import Evaluation, evaluate_rows
from pretune.training.objective import Objective
from pretune.training.parallel import Parallel
from pretune.training.probes import HiddenWord, predict_hidden

_SUNRISE_WORDS = 5  # "The sun rises in the"
_PROMPT_WORDS = 6  # of a held-out document
_POOL = 200  # documents among which one with enough words is looked for
_CONTINUED = Sampling(max_tokens=12, temperature=0)  # the most probable token each time, to compare evaluations


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What is predicted again at every evaluation."""

    hidden_words: Sequence[HiddenWord] = ()
    prompts: Sequence[str] = ()


def choose_prompts(held_out: Iterator[str], *, is_synthetic: bool) -> list[str]:
    """The beginning of the sentence about the sunrise; of a corpus of the user's, also that of a held-out document."""
    prompts = [" ".join(SUNRISE.split()[:_SUNRISE_WORDS])]
    if not is_synthetic:
        long_enough = (text.split() for text in islice(held_out, _POOL))
        prompts += islice((" ".join(w[:_PROMPT_WORDS]) for w in long_enough if len(w) >= 2 * _PROMPT_WORDS), 1)
    return prompts


class Measurement:
    """Evaluates a model on the validation rows of a corpus; called at every evaluation.

    The result has the fields of an `evaluation` event and those that `PretrainingRun` takes from it: loss and accuracy
    of the main evaluation, masked if the model fills in words. If it generates, `causal` has the loss and the accuracy
    of predicting the next token.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        corpus: Corpus,
        tokenizer: Tokenizer,
        samples: Samples,
        parallel: Parallel,
    ) -> None:
        self.model, self.objective, self.corpus = model, objective, corpus
        self.tokenizer, self.samples, self.parallel = tokenizer, samples, parallel
        self.text_bytes = count_text_bytes(corpus.causal_validation, tokenizer)
        # Made before anything is compiled: it puts the model into evaluation mode, for which code would compile again.
        self.generator = TextGenerator(model, tokenizer)

    def __call__(self) -> dict[str, Any]:
        if self.model.config.objective == "causal":
            return self._of_next_tokens()
        found = _figures(self._evaluate(self.corpus.masked_validation))
        found["summary"] = {"loss": found["loss"], "accuracy": found["accuracy"], "masked_positions": found["n"]}
        found["sentences"] = predict_hidden(self.model, list(self.samples.hidden_words), self.tokenizer)
        if self.model.config.objective == "hybrid":
            causal = self._of_next_tokens()
            found["summary"]["causal"] = causal.pop("summary")
            found["continuations"] = causal.pop("continuations")
            share = self.corpus.settings.causal_share
            found["weighted_loss"] = (1 - share) * found["loss"] + share * causal["loss"]
            found["causal"] = causal
        return found

    def _of_next_tokens(self) -> dict[str, Any]:
        found = _figures(self._evaluate(self.corpus.causal_validation))
        bits_per_byte = found["loss"] * found["n"] / (math.log(2) * max(1, self.text_bytes))
        known = {name: found[name] for name in ("loss", "accuracy")}
        return {
            **found,
            "bits_per_byte": bits_per_byte,
            "continuations": self._continue_prompts(),
            "summary": {**known, "predicted_tokens": found["n"], "bits_per_byte": bits_per_byte},
        }

    def _continue_prompts(self) -> list[dict[str, Any]]:
        """How the prompts go on, without those that are too long for the context."""
        fitting = [p for p in self.samples.prompts if len(self.tokenizer.encode(p)) < self.generator.max_seq_len]
        found = self.generator.generate(fitting, _CONTINUED)
        return [{"prompt": each.prompt, "text": each.text} for each in found]

    def _evaluate(self, batches: list[Batch]) -> Evaluation:
        device = self.parallel.device
        return evaluate_rows(self.objective, [batch.to(device) for batch in batches], self.parallel)


def _figures(found: Evaluation) -> dict[str, Any]:
    return {
        "loss": found.loss,
        "accuracy": found.accuracy,
        "accuracy_interval": list(fraction_interval(found.row_corrects, found.row_counts)),
        "n": found.count,
        "row_losses": found.row_losses,
        "row_corrects": found.row_corrects,
        "row_counts": found.row_counts,
    }


def count_text_bytes(batches: Sequence[Batch], tokenizer: Tokenizer) -> int:
    """Bytes in UTF-8 of the text that the labels of causal batches spell, without the blank that a tokenizer adds
    before the first word of a text.

    A first token without a label, at the beginning of a row that continues a document, is not counted: its loss is not
    in the mean either. Where blanks belong to no token, there is one before every word, and none before other signs.
    """
    tokens = tokenizer.token_bytes
    has_blank = tokenizer.starts_word
    lengths = np.array([len(token) for token in tokens])
    if tokenizer.kind not in ("bpe", "sentencepiece"):
        has_blank = has_blank & np.array([token.decode(errors="replace")[:1].isalnum() for token in tokens])
        lengths = lengths + has_blank
    special = np.array(sorted(tokenizer.all_special_ids))
    total = 0
    for batch in batches:
        assert batch.positions is not None
        labels = batch.labels.numpy()
        is_first = np.isin(batch.input_ids.numpy().reshape(-1)[batch.positions.numpy()], special)
        total += int(lengths[labels].sum() - (is_first & has_blank[labels]).sum())
    return total
