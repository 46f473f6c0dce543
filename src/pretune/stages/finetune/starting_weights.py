"""The network at the start of a trial: its shape by method and task, and its weights, with those of the head."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from pretune.data.labelled_rows import LabeledShard
from pretune.model.config import ModelConfig
from pretune.model.folder import LoadedModel
from pretune.model.transformer import ClozeClassifier, SequenceClassifier, TaskModel, TokenClassifier, initialize
from pretune.runtime.randomness import derive_seed
from pretune.text.labels.labelling import Labelling
from pretune.text.tokenizer.windows import WindowRule
from pretune.training.linear_probe import LinearProbe, fit_linear_probe, pooled_vectors


class StartingWeights:
    """Makes the network of each seed. `read_train` gives the training rows, for a head that is fitted to them.

    With `shared_seed`, all seeds start from the same head, so that their weights can be averaged: the random one of
    that seed, or with `fits_head`, logistic regression on the frozen vectors if the task is classification.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        labelling: Labelling,
        config: ModelConfig,
        device: str,
        *,
        from_scratch: bool,
        shared_seed: int | None,
        fits_head: bool,
        is_balanced: bool,
        read_train: Callable[[], LabeledShard],
        window_rule: WindowRule | None = None,
    ) -> None:
        self.loaded, self.labelling, self.config, self.device = loaded, labelling, config, device
        self.from_scratch, self.shared_seed, self.fits_head = from_scratch, shared_seed, fits_head
        self.is_balanced = is_balanced
        self.read_train, self.window_rule = read_train, window_rule

    def new_model(self) -> TaskModel:
        """The network without weights, on the device."""
        if self.labelling.answers is not None:
            return ClozeClassifier(self.config, self.labelling.answers.word_ids).to(self.device)
        kind = TokenClassifier if self.labelling.task == "tokens" else SequenceClassifier
        return kind(self.config, len(self.labelling.outputs)).to(self.device)

    def make(self, seed: int) -> TaskModel:
        """The network at the start: random, or pre-trained with a head.

        A base with a head for the same task and labels keeps its head.
        """
        model, base = self.new_model().to("cpu"), self.loaded.model
        initialize(model, derive_seed(seed if self.shared_seed is None else self.shared_seed, "classifier"))
        if self.from_scratch:
            pass
        elif isinstance(model, ClozeClassifier):
            model.load_state_dict(base.state_dict())
        else:
            model.transformer.load_state_dict(base.transformer.state_dict())
            if self._has_same_labels and isinstance(base, SequenceClassifier | TokenClassifier):
                model.classifier.load_state_dict(base.classifier.state_dict())
            elif self.fits_head and self.linear_probe is not None:
                self.linear_probe.copy_into(model.classifier)
        return model.to(self.device)

    @property
    def _has_same_labels(self) -> bool:
        known, own = self.loaded.labelling, self.labelling
        return known is not None and (known.task, known.names) == (own.task, own.names)

    @cached_property
    def linear_probe(self) -> LinearProbe | None:
        """Logistic regression on the frozen vectors of the training rows; None if the task is no classification."""
        if self.labelling.task != "classification":
            return None
        data = self.read_train()
        rows = [data.text(row).tolist() for row in range(len(data))]
        windows = None
        if (rule := self.window_rule) is not None:
            in_windows = [rule.windows(row) for row in rows]
            rows, windows = [ids for each in in_windows for ids in each], [len(each) for each in in_windows]
        vectors = pooled_vectors(self.loaded.model.to(self.device).transformer, rows, windows)
        labels = np.asarray(data.targets.values)
        return fit_linear_probe(vectors, labels, len(self.labelling.names), is_balanced=self.is_balanced)
