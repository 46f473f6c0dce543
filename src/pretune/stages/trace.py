"""One prediction, layer by layer, as JSON data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.inference.load import load_classifier
from pretune.tracing.prediction import trace_prediction


def trace(model: Path | str, text: str) -> dict[str, Any]:
    """How a model comes to its decision about a text: see `pretune.tracing.prediction.trace_prediction`.

    Raises ModelNotFoundError, CorruptModelError or ModelError where the path leads to no classifier.
    """
    return trace_prediction(load_classifier(model), text)
