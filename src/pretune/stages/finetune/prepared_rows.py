"""The rows of a prepare folder as one model reads them: targets, batches, and the figures of what it predicts."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.labelled_rows import LabelledBatches
from pretune.data.special_ids import special_ids
from pretune.data.targets import Targets
from pretune.errors import InputDataError
from pretune.model.folder import LoadedModel
from pretune.model.transformer import TaskModel
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import Manifest
from pretune.scoring.nested_rows import groups_of_lines
from pretune.scoring.prediction_files import (
    AVERAGED_PREDICTIONS,
    STUDENT_PREDICTIONS,
    seed_predictions,
    write_predictions,
)
from pretune.scoring.row_statistics import describe_part
from pretune.scoring.stacked_model import StackedModel
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.delivered import AVERAGED, STUDENT
from pretune.stages.finetune.method import at_mask, choose_method, encode_in_pattern, encode_row
from pretune.stages.finetune.rows import make_batches, predict_windows
from pretune.stages.finetune.stacking import linear_texts
from pretune.tasks.registry import task_named
from pretune.tasks.task import refuse_class_weights
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.labelling import COLUMN_NAMES, LABELS_NAME, WINDOWS, Labelling
from pretune.text.splits import SPLITS
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.text.tokenizer.windows import WindowRule
from pretune.training.few_labels import LEAST_PICKING_ROWS
from pretune.training.finetuning_trial import DECISION, Scores

FloatArray = npt.NDArray[np.float64]


class PreparedRows:
    """The labelled rows for one model, and what they determine: the meaning of its outputs, its method, its metric."""

    def __init__(
        self,
        prepared: Path,
        source: Manifest,
        loaded: LoadedModel,
        config: FinetuneConfig,
        *,
        width_multiple: int,
        given: Path,
    ) -> None:
        """`given` is the model as the user named it.

        Raises InputDataError if the rows were encoded with another tokenizer than that of the model, and UsageError for
        class weights of a task that has none.
        """
        self.prepared, self.config, self.width_multiple = prepared, config, width_multiple
        # A prediction must not read more of a text than training does.
        self.max_seq_len: int = source.summary.get("max_seq_len", loaded.config.max_seq_len)
        labels = parse_json((prepared / LABELS_NAME).read_text(encoding="utf-8"))
        self.task = task_named(labels["task"])
        refuse_class_weights(self.task, config.class_weights)
        self.rows: dict[str, list[dict[str, Any]]] = {
            split: read_json_lines(prepared / f"{split}.jsonl") for split in SPLITS
        }
        self.groups = {split: groups_of_lines(self.rows[split]) for split in ("validation", "test")}
        self.labelling = Labelling(
            names=tuple(labels["names"]),
            task=self.task.name,
            labels=() if labels.get("labels", labels["names"]) == labels["names"] else tuple(labels["labels"]),
            output_names=tuple(self.task.output_names(labels["names"])),
            decision=self.task.prepare_decision(self.rows["train"]),
            columns={name: labels[name] for name in COLUMN_NAMES if name in labels},
            reads_windows=labels.get("long_texts") == WINDOWS,
        )
        self.tokenizer = load_tokenizer(loaded.tokenizer_path)
        if self.tokenizer.backend.to_str() != load_tokenizer(prepared).backend.to_str():
            raise InputDataError(
                f"{prepared} was encoded with a different tokenizer than that of {given}; run prepare with "
                f"--base {shlex.quote(str(given))}."
            )
        self.special = special_ids(self.tokenizer)
        self.metric: str = source.summary.get("early_stopping_metric", "accuracy")
        self.method = choose_method(
            config,
            loaded,
            self.tokenizer,
            self.task.name,
            self.labelling.names,
            self.rows["train"],
            self.max_seq_len,
            reads_windows=self.labelling.reads_windows,
        )
        reads_windows = self.labelling.reads_windows and self.method.answers is None
        self.labelling = replace(self.labelling, answers=self.method.answers, reads_windows=reads_windows)
        self.window_rule = WindowRule.of(self.tokenizer, self.max_seq_len) if reads_windows else None
        self.encoded = encode_in_pattern(self.labelling.answers, self.tokenizer, self.rows, self.max_seq_len)
        self.targets: dict[str, Targets] = {split: self._read_targets(split) for split in SPLITS}
        self.is_picking = len(self.rows["validation"]) >= LEAST_PICKING_ROWS
        # `prepare` found out from all rows but those of the test whether the classes are imbalanced; macro-F1 and class
        # weights depend on it.
        self.is_balanced = config.class_weights == "balanced" or (
            config.class_weights == "auto" and self.metric == "macro_f1"
        )

    def _read_targets(self, split: str) -> Targets:
        targets = self.task.targets(
            self.rows[split],
            len(self.labelling.names),
            dict(self.labelling.decision),
            self.tokenizer,
            self.max_seq_len,
        )
        return at_mask(targets, self.encoded[split], self.special.mask) if self.encoded else targets

    def batches(self, split: str, seed: int, num_rows: int | None = None) -> LabelledBatches:
        """The batches of a split, or of `num_rows` of its rows, in an order that depends on the seed."""
        return make_batches(
            self.prepared,
            split,
            self.targets[split],
            self.special,
            self.config,
            seed,
            label_weights=(lambda targets: self._label_weights(targets, targets)) if self.is_balanced else None,
            width_multiple=self.width_multiple,
            num_rows=num_rows,
            encoded=self.encoded.get(split),
            window_rule=self.window_rule,
        )

    def validation_weights(self, train: Targets) -> npt.NDArray[np.float32] | None:
        """The weights of the validation targets that make their loss comparable with that of these training targets."""
        return self._label_weights(train, self.targets["validation"]) if self.is_balanced else None

    def soft_label_weights(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The weights (M,) of rows of classification with soft targets (M, C): those of their classes, on average."""
        of_classes = self._label_weights(self.targets["train"], Targets.of_rows(np.arange(probabilities.shape[1])))
        return (probabilities @ of_classes).astype(np.float32)

    @property
    def weighs_classes(self) -> bool:
        """Whether the loss of some training targets counts more than that of others."""
        weights = self._label_weights(self.targets["train"], self.targets["train"])
        return self.is_balanced and bool(weights.min() < weights.max())

    def _label_weights(self, train: Targets, targets: Targets) -> npt.NDArray[np.float32]:
        return self.task.label_weights(train, targets, len(self.labelling.outputs))

    def measure_validation(self, logits: FloatArray) -> Scores:
        """The scores of outputs for the validation rows, with the decision that these rows choose."""
        decision = self.task.decide(logits, self.targets["validation"], dict(self.labelling.decision))
        scores = self.measure(logits, "validation", decision)
        return {**scores, DECISION: decision} if decision else scores

    def measure(self, logits: FloatArray, split: str, decision: dict[str, Any]) -> Scores:
        """The figures of outputs for the rows of a split that go into the log: numbers, and intervals."""
        names, targets = self.labelling.names, self.targets[split]
        true = self.task.true_values(self.rows[split], names)
        figures = self.task.figures(true, self.task.decode(logits, targets, decision), names, self.groups[split])
        figures["loss"] = float(self.task.score_targets(logits, targets)[0].mean())
        return {name: value for name, value in figures.items() if _is_number_or_pair(value)}

    def test(self, trial: dict[str, Any], logits: FloatArray, folder: Path) -> dict[str, Any]:
        """Write the predictions of one seed, of the mean of all, or of the student, for the test rows; returns its
        figures, on all rows and on each slice. The mean has no trial, and neither it nor the student has a seed."""
        task, names, rows = self.task, self.labelling.names, self.rows["test"]
        decision = trial.get(DECISION, dict(self.labelling.decision))
        outputs, true = task.decode(logits, self.targets["test"], decision), task.true_values(rows, names)
        whose, name = {"trial": trial["trial"], "seed": trial["seed"]}, seed_predictions(trial["seed"])
        if AVERAGED in trial:
            whose, name = {"trial": None, "seed": None}, AVERAGED_PREDICTIONS
        elif trial.get(STUDENT):
            whose, name = {"trial": trial["trial"], "seed": None, STUDENT: True}, STUDENT_PREDICTIONS
        write_predictions(folder / name, rows, lambda index: task.to_fields(outputs, index))
        figures = {**whose, **self.measure(logits, "test", decision)}
        slices = np.array([row.get("slice", "") for row in rows])
        named = [name for name in sorted(set(slices.tolist())) if name]
        if named:
            statistics = task.statistics(task.usual_metric, true, outputs, names).over(self.groups["test"])
            figures["slices"] = {name: describe_part([statistics.select(slices == name)]) for name in named}
        return figures

    def predict_example(
        self, model: TaskModel, decision: dict[str, Any], example: dict[str, Any], stacked: StackedModel | None = None
    ) -> dict[str, Any]:
        """What the model predicts for the text that all stages show, as the fields of an `example` event.

        With the linear models that are `stacked` on it, this is the combination, which `predict` returns, too.
        """
        line = {**example, "text": clean_text(example["text"])}
        length = self.max_seq_len
        targets = self.task.places([line], decision, self.tokenizer, length)
        ids = encode_row(self.labelling.answers, self.tokenizer, line, length, self.window_rule)
        logits = predict_windows(model, ids, self.special.pad)
        scores = logits[None] if logits.ndim == 1 else logits[targets.positions]
        if stacked is not None:
            scores, decision = stacked.combine(scores, linear_texts([line], targets)), decision | stacked.decision
        outputs = self.task.decode(scores, targets, decision)
        found = self.task.to_prediction(outputs, 0, self.labelling.names, example["text"], example.get("text_pair"))
        return {
            "text": example["text"],
            "label": example["label"],
            "predicted": found.label,
            "probability": found.probability,
        }


def _is_number_or_pair(value: Any) -> bool:
    """Whether a figure goes into the log: a number, or an interval; tables by label are left to `evaluate`."""
    return not isinstance(value, list) or (len(value) == 2 and not isinstance(value[0], list | dict))
