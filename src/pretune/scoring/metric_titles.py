"""The metrics by their names in logs and files, and how a sentence writes them."""

from __future__ import annotations

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "entity_f1": "entity F1",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "mean_absolute_error": "mean absolute error",
}


def write_metric(name: str, value: float) -> str:
    """A metric with its value: accuracy 91.2%, macro-F1 0.873."""
    return f"accuracy {value:.1%}" if name == "accuracy" else f"{METRIC_TITLES[name]} {value:.3f}"
