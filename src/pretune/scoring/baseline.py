"""A trained baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A trained baseline: its predictions for the test rows, in the form of its task, and what validation chose."""

    name: str
    kind: str
    outputs: Any  # of a classification: probabilities (N, C)
    chosen: dict[str, float | str]
