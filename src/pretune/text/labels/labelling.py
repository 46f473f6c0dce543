"""What the outputs of a fine-tuned model mean: the content of `labels.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMN_NAMES = ("text_column", "text_pair_column", "label_column", "label_separator")


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The task, the names of its labels and of the model's outputs, and what turns outputs into predictions.

    `decision` has JSON values that the task chose while training, such as thresholds. `columns` are those of the
    training file, and the sign between several labels, by which texts and labels are found in new files.
    """

    names: tuple[str, ...]
    task: str = "classification"
    output_names: tuple[str, ...] = ()  # as many as the model has outputs; the names if not given
    decision: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

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
        if self.output_names and self.output_names != self.names:
            found["output_names"] = list(self.output_names)
        if self.decision:
            found["decision"] = dict(self.decision)
        return {**found, **self.columns}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Labelling:
        """What `to_dict` wrote. Raises KeyError, TypeError or ValueError for damaged values."""
        names, outputs = found["names"], found.get("output_names", [])
        if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in (names, outputs)):
            raise ValueError("names are not lists of strings")
        return cls(
            names=tuple(names),
            task=str(found.get("task", "classification")),
            output_names=tuple(outputs),
            decision=dict(found.get("decision", {})),
            columns={name: found[name] for name in COLUMN_NAMES if isinstance(found.get(name), str)},
        )
