"""What the outputs of a fine-tuned model mean: the content of `labels.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pretune.text.cloze.answers import ClozeAnswers

LABELS_NAME = "labels.json"  # in the folders of a split and of the rows, and in that of the model
COLUMN_NAMES = ("text_column", "text_pair_column", "label_column", "label_separator", "number_form")
WINDOWS = "windows"  # `long_texts` of a model that reads a long text in several windows


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The task, the names of its labels and of the model's outputs, and what turns outputs into predictions.

    `labels` are those of the training file, if they were renamed: one for each name, by which a new file is understood.
    `decision` has JSON values that the task chose while training, such as thresholds. `columns` are those of the
    training file, the sign between several labels, and an example of how scores are written, by which texts and labels
    are found in new files. With `answers`, the model predicts the word at a [MASK] instead of a head's outputs.
    """

    names: tuple[str, ...]
    task: str = "classification"
    labels: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()  # as many as the model has outputs; the names if not given
    decision: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    answers: ClozeAnswers | None = None
    reads_windows: bool = False  # whether a long text is read in windows; else its middle is cut out

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in their order."""
        return self.output_names or self.names

    @property
    def has_pairs(self) -> bool:
        """Whether the model was trained on pairs of texts."""
        return "text_pair_column" in self.columns

    def to_dict(self) -> dict[str, Any]:
        """The JSON values of `labels.json`."""
        found: dict[str, Any] = {"task": self.task, "names": list(self.names)}
        if self.labels:
            found["labels"] = list(self.labels)
        if self.output_names and self.output_names != self.names:
            found["output_names"] = list(self.output_names)
        if self.decision:
            found["decision"] = dict(self.decision)
        if self.reads_windows:
            found["long_texts"] = WINDOWS
        if self.answers is not None:
            found |= {"method": "cloze", **self.answers.to_dict()}
        return {**found, **self.columns}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Labelling:
        """What `to_dict` wrote. Raises KeyError, TypeError or ValueError for damaged values."""
        names, labels, outputs = found["names"], found.get("labels", []), found.get("output_names", [])
        lists = (names, labels, outputs)
        if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists):
            raise ValueError("names are not lists of strings")
        if labels and len(labels) != len(names):
            raise ValueError("not every label has a name")
        answers = ClozeAnswers.from_dict(found) if found.get("method") == "cloze" else None
        if answers is not None and len(answers.words) != len(names):
            raise ValueError("not every label has a word")
        return cls(
            names=tuple(names),
            task=str(found.get("task", "classification")),
            labels=tuple(labels),
            output_names=tuple(outputs),
            decision=dict(found.get("decision", {})),
            columns={name: found[name] for name in COLUMN_NAMES if isinstance(found.get(name), str)},
            answers=answers,
            reads_windows=found.get("long_texts") == WINDOWS,
        )
