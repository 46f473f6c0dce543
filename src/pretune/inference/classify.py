"""From texts to predictions in fp32, in the same order, computed in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.compute.cpu_threads import lanes_for
from pretune.data.padding import group_by_length, pad_rows
from pretune.data.targets import Targets
from pretune.errors import InputDataError
from pretune.model.config import ModelConfig
from pretune.model.transformer import TaskModel
from pretune.scoring.stacked_model import StackedModel
from pretune.tasks.prediction import Prediction
from pretune.tasks.registry import task_named
from pretune.tasks.task import Decision, Outputs, Task
from pretune.text.clean.normalize import clean_text
from pretune.text.cloze.pattern import PatternEncoder
from pretune.text.labels.labelling import Labelling
from pretune.text.labels.word_windows import read_words
from pretune.text.labels.words import WordRule
from pretune.text.tokenizer.rows import Texts, encode_windows
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.text.tokenizer.windows import WindowRule

MAX_SEQ_LEN = 512  # longer texts are read in windows, or cut in the middle
TOKENS_PER_BATCH = 2048  # padding included; on a CPU, so that a batch fits its caches
TOKENS_PER_GPU_BATCH = 32_768

Text = str | tuple[str, str]  # a text, or a pair of texts


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fine-tuned model with its tokenizer and the meaning of its outputs."""

    path: Path
    model: TaskModel
    tokenizer: Tokenizer
    labelling: Labelling
    stacked: StackedModel | None = None  # linear models whose scores are combined with those of `model`

    @cached_property
    def task(self) -> Task:
        """The task that the model was fine-tuned for."""
        return task_named(self.labelling.task)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.labelling.names

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of the training file, if known."""
        return self.labelling.columns

    def second_column(self, given: str | None) -> str | None:
        """The column of a file that contains the second texts: the given one, or that of the training file; None if the
        model reads single texts. Raises InputDataError if one is given nevertheless."""
        if self.labelling.has_pairs:
            return given or self.columns["text_pair_column"]
        if given is None:
            return None
        raise InputDataError(
            f"--text-pair-column names {given!r}, but the model in {self.path} reads one text a row; leave the option "
            "out."
        )

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @property
    def max_seq_len(self) -> int:
        """The longest row that the model reads, in tokens."""
        return min(MAX_SEQ_LEN, self.config.max_seq_len)

    @cached_property
    def window_rule(self) -> WindowRule | None:
        """How texts that are too long are read in windows; None if their middle is cut out."""
        return WindowRule.of(self.tokenizer, self.max_seq_len) if self.labelling.reads_windows else None

    @cached_property
    def pattern_encoder(self) -> PatternEncoder | None:
        """What puts a text into the pattern of a cloze; None if the model has a head."""
        answers = self.labelling.answers
        return None if answers is None else PatternEncoder(self.tokenizer, answers.pattern, self.max_seq_len)

    def read_position(self, ids: Sequence[int]) -> int | None:
        """The place of the [MASK] that a cloze reads in a row; None if the model reads the mean over the text."""
        return None if self.pattern_encoder is None else list(ids).index(self.tokenizer.mask_id)

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """The prediction for each text, or pair of texts, in their order; an empty prediction for a blank text.

        Raises InputDataError for single texts if the model was trained on pairs, and for pairs if it was not.
        """
        blank_pair = "" if self.labelling.has_pairs else None  # the second text of a missing pair
        given = [
            (text, None if text.strip() else blank_pair) if isinstance(text, str) else (text[0], text[1])
            for text in texts
        ]
        cleaned = self._clean(given)
        places = [place for place, (text, pair) in enumerate(cleaned) if text and pair != ""]
        found = [self.task.empty_prediction(*texts) for texts in given]
        if places:
            outputs = self._outputs([cleaned[place] for place in places])
            for index, place in enumerate(places):
                found[place] = self.task.to_prediction(outputs, index, self.label_names, *given[place])
        return found

    def predict_outputs(self, texts: Sequence[Text]) -> Outputs:
        """The predictions for all texts in the form of the task: of a classification, probabilities (N, C)."""
        given = [(text, None) if isinstance(text, str) else (text[0], text[1]) for text in texts]
        return self._outputs(self._clean(given))  # as in training

    def _clean(self, texts: Sequence[Texts]) -> list[Texts]:
        for text, pair in texts:
            if (pair is not None) != self.labelling.has_pairs:
                found, expected = ("a pair of texts", "one text") if pair is not None else ("one text", "two texts")
                raise InputDataError(
                    f"Found {found} ({text!r:.60}), but {self.path} was trained on {expected} a row; give {expected}."
                )
        return [(clean_text(text), None if pair is None else clean_text(pair)) for text, pair in texts]

    def _outputs(self, cleaned: Sequence[Texts]) -> Outputs:
        decision = dict(self.labelling.decision)
        if (rule := self.task.word_rule(decision)) is not None:
            return self._label_words([text for text, _ in cleaned], rule, decision)
        if self.pattern_encoder is not None:
            rows = self.pattern_encoder.encode_batch([text for text, _ in cleaned], [pair or "" for _, pair in cleaned])
            texts = [[ids] for ids in rows]
        else:
            texts = encode_windows(self.tokenizer, cleaned, self.max_seq_len, self.window_rule)
        result = np.empty((len(texts), len(self.labelling.outputs)), dtype=np.float64)
        whole = [index for index, windows in enumerate(texts) if len(windows) == 1]

        def classify(places: list[int]) -> None:
            indices = [whole[place] for place in places]
            result[indices] = self.predict_logits([texts[index][0] for index in indices]).double().cpu().numpy()

        def classify_windows(index: int) -> None:
            result[index] = self.predict_windows(texts[index]).double().cpu().numpy()

        self._map_batches(classify, [texts[index][0] for index in whole])
        several = [index for index, windows in enumerate(texts) if len(windows) > 1]
        lanes_for(self.model.classifier.weight.device.type).map(classify_windows, several)
        if self.stacked is not None:
            result = self.stacked.combine(result, [linear_text(*texts) for texts in cleaned])
            decision |= self.stacked.decision
        lines = [{"text": text} for text, _ in cleaned]
        places = self.task.places(lines, decision, self.tokenizer, self.max_seq_len)
        return self.task.decode(result, places, decision)

    def _label_words(self, texts: Sequence[str], rule: WordRule, decision: Decision) -> Outputs:
        """As `_outputs`, with outputs for every word; a text that is too long is read in windows that overlap."""
        read = read_words(self.tokenizer, texts, rule, self.max_seq_len)
        ends = np.cumsum([len(places) for places in read.positions])
        result = np.empty((int(sum(map(len, read.words))), len(self.labelling.outputs)), dtype=np.float64)

        def label(indices: list[int]) -> None:
            logits = self.predict_logits([read.rows[index] for index in indices]).double().cpu().numpy()
            for index, row in zip(indices, logits, strict=True):
                places = read.positions[index]
                result[ends[index] - len(places) : ends[index]] = row[places]

        self._map_batches(label, read.rows)
        targets = Targets.of_words(read.words)
        if self.stacked is not None:
            result = self.stacked.combine(result, targets.words_in(texts))
        return self.task.decode(result, targets, decision)

    def _map_batches(self, work: Callable[[list[int]], None], rows: Sequence[Sequence[int]]) -> None:
        """Call `work` with the indices of rows of similar length, for all rows."""
        lanes = lanes_for(self.model.classifier.weight.device.type)
        lanes.map(work, group_by_length([len(row) for row in rows], self._tokens_per_batch))

    @torch.inference_mode()
    def predict_logits(self, rows: Sequence[Sequence[int]]) -> Float[Tensor, "B *T K"]:
        """Outputs in fp32 of one batch of token ids: (B, K), or (B, T, K) if the model labels tokens."""
        device = self.model.classifier.weight.device
        input_ids, document_ids = pad_rows(rows, self.config.pad_token_id)
        return self.model(input_ids.to(device), document_ids.to(device))

    @torch.inference_mode()
    def predict_windows(self, windows: Sequence[Sequence[int]]) -> Float[Tensor, "C"]:
        """Outputs (K,) in fp32 of one text in several windows, some windows at a time."""
        sums = self.sum_windows(windows)
        return self.model.classifier(sums.sum(0) / sum(map(len, windows)))

    @torch.inference_mode()
    def sum_windows(self, windows: Sequence[Sequence[int]]) -> Float[Tensor, "N D"]:
        """The sum (N, D) over the positions of each window, in fp32, of the vectors whose mean is classified."""
        device = self.model.classifier.weight.device
        sums = torch.empty(len(windows), self.config.hidden_size, device=device)
        for indices in group_by_length([len(window) for window in windows], self._tokens_per_batch):
            input_ids, document_ids = pad_rows([windows[index] for index in indices], self.config.pad_token_id)
            hidden = self.model.transformer(input_ids.to(device), document_ids.to(device))
            sums[indices] = (hidden.float() * (document_ids.to(device) >= 0)[..., None]).sum(1)
        return sums

    @property
    def _tokens_per_batch(self) -> int:
        return TOKENS_PER_BATCH if self.model.classifier.weight.device.type == "cpu" else TOKENS_PER_GPU_BATCH


def linear_text(text: str, text_pair: str | None) -> Text:
    """A clean text, or a pair, as the linear models of a stack read it."""
    return text if text_pair is None else (text, text_pair)
