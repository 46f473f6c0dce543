"""From texts to class probabilities in fp32, in the same order, computed in batches of similar length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.compute.cpu_threads import lanes_for
from pretune.data.padding import group_by_length, pad_rows
from pretune.model.config import ModelConfig
from pretune.model.transformer import SequenceClassifier
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle

MAX_SEQ_LEN = 512  # longer texts are cut in the middle
TOKENS_PER_BATCH = 2048  # padding included; on a CPU, so that a batch fits its caches
TOKENS_PER_GPU_BATCH = 32_768


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The label of one text with its probability, and the probability of every label.

    A missing or blank text has no label: its prediction is empty. The probabilities are the softmax of the scores and
    are not calibrated; `evaluate` measures their error.
    """

    text: str
    label: str | None
    probability: float | None
    probabilities: dict[str, float]

    @property
    def is_empty(self) -> bool:
        """Whether there was no text to label."""
        return self.label is None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fine-tuned model with its tokenizer and the names of its classes."""

    path: Path
    model: SequenceClassifier
    tokenizer: Tokenizer
    label_names: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)  # text_column and label_column of the training file

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    @property
    def max_seq_len(self) -> int:
        """The longest row that the model reads, in tokens."""
        return min(MAX_SEQ_LEN, self.config.max_seq_len)

    def encode(self, text: str) -> tuple[list[int], bool]:
        """Token ids of the cleaned text with [BOS] and [EOS], and whether its middle was cut out."""
        return self.tokenizer.encode_truncated(clean_text(text), self.max_seq_len)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The most probable label of each text, in the order of `texts`; an empty prediction for a blank text."""
        cleaned = [clean_text(text) for text in texts]
        places = [place for place, text in enumerate(cleaned) if text]
        found = [Prediction(text=text, label=None, probability=None, probabilities={}) for text in texts]
        if not places:
            return found
        for place, row in zip(places, self._classify([cleaned[place] for place in places]), strict=True):
            found[place] = Prediction(
                text=texts[place],
                label=self.label_names[int(row.argmax())],
                probability=float(row.max()),
                probabilities=dict(zip(self.label_names, row.tolist(), strict=True)),
            )
        return found

    def predict_probabilities(self, texts: Sequence[str]) -> Float[np.ndarray, "N C"]:
        """Class probabilities (N, C) in fp32, a row for each text, in the order of `texts`; each row sums to one."""
        return self._classify([clean_text(text) for text in texts])  # as in training

    def _classify(self, cleaned: Sequence[str]) -> Float[np.ndarray, "N C"]:
        rows = [cut_middle(ids, self.max_seq_len) for ids in self.tokenizer.encode_batch(cleaned)]
        result = np.empty((len(rows), len(self.label_names)), dtype=np.float32)

        def classify(indices: list[int]) -> None:
            logits = self.predict_logits([rows[index] for index in indices])
            result[indices] = torch.softmax(logits, dim=-1).cpu().numpy()

        device = self.model.classifier.weight.device.type
        tokens = TOKENS_PER_BATCH if device == "cpu" else TOKENS_PER_GPU_BATCH
        lanes_for(device).map(classify, group_by_length([len(row) for row in rows], tokens))
        return result

    @torch.inference_mode()
    def predict_logits(self, rows: Sequence[Sequence[int]]) -> Float[Tensor, "B C"]:
        """Class scores (B, C) in fp32 of one batch of token ids."""
        device = self.model.classifier.weight.device
        input_ids, document_ids = pad_rows(rows, self.config.pad_token_id)
        return self.model(input_ids.to(device), document_ids.to(device))
