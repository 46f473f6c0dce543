"""The prediction for one text, as programs, files and displays get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The label of one text with its probability, and the probability of every label.

    A missing or blank text has no label: its prediction is empty. The probabilities are the softmax of the scores and
    are not calibrated; `evaluate` measures their error. Other tasks have more fields; `label` is then the prediction in
    words.
    """

    text: str
    label: str | None
    probability: float | None
    probabilities: dict[str, float]
    text_pair: str | None = None

    cell_names: ClassVar[tuple[str, ...]] = ("label", "probability")  # the columns of a file of predictions

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both texts of a pair."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)

    @property
    def is_empty(self) -> bool:
        """Whether there was no text to label."""
        return self.label is None

    def cells(self) -> tuple[Any, ...]:
        """The values of the columns `cell_names`, as JSON values."""
        return (self.label, None if self.is_empty else round(self.probability or 0.0, 6))


@dataclass(frozen=True, kw_only=True)
class LabelsPrediction(Prediction):
    """The labels of one text, maybe none, and the probability of every label; each has its own threshold."""

    labels: tuple[str, ...]

    cell_names: ClassVar[tuple[str, ...]] = ("labels", "probabilities")

    def cells(self) -> tuple[Any, ...]:
        if self.is_empty:
            return None, None
        return list(self.labels), {name: round(p, 6) for name, p in self.probabilities.items()}


@dataclass(frozen=True, kw_only=True)
class ScorePrediction(Prediction):
    """The number that is predicted for one text."""

    score: float | None

    cell_names: ClassVar[tuple[str, ...]] = ("score",)

    def cells(self) -> tuple[Any, ...]:
        return (None if self.score is None else _round_score(self.score),)


@dataclass(frozen=True, kw_only=True)
class Entity:
    """An entity in a text: `text[start:end]` of the text as it was given, its type, and its probability."""

    start: int
    end: int
    type: str
    text: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class EntitiesPrediction(Prediction):
    """The entities of one text in their order, maybe none."""

    entities: tuple[Entity, ...]

    cell_names: ClassVar[tuple[str, ...]] = ("entities",)

    def cells(self) -> tuple[Any, ...]:
        if self.is_empty:
            return (None,)
        return ([{**vars(entity), "probability": round(entity.probability, 6)} for entity in self.entities],)


def _round_score(score: float) -> float:
    """A score with six decimals, or with six digits if it is small: the unit may make all scores small."""
    return round(score, 6) if abs(score) >= 0.1 else float(f"{score:.6g}")
