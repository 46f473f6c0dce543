"""From a language model and a file of minimal pairs to the fraction in which it prefers the acceptable sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.errors import UsageError
from pretune.inference.load import load_scorer
from pretune.scoring.minimal_pairs import summarize_pairs
from pretune.text.minimal_pairs import read_minimal_pairs

SCORINGS = ("auto", "masked", "causal")
_CHANCE = 0.5
_HOW = {
    "masked": "pseudo-log-likelihood: every token masked in turn",
    "causal": "log-likelihood: every token predicted from those before it",
}


def evaluate_minimal_pairs(
    model: Path | str,
    file: Path | str,
    *,
    scoring: str = "auto",
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The figures of `pretune.scoring.minimal_pairs.summarize_pairs` for the pairs of a file, and how both were read.

    At most `limit` pairs of each paradigm are scored, evenly spaced. Raises UsageError for an option out of range,
    InputDataError if the file cannot be used, and the errors of `load_scorer`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit is {limit}; expected at least 1.")
    if scoring not in SCORINGS:
        raise UsageError(f"--scoring is {scoring!r}; expected one of {', '.join(SCORINGS)}.")
    read = read_minimal_pairs(file).spread(limit)
    scorer = load_scorer(model, scoring)
    pairs = read.pairs
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    places = [pair.place for pair in pairs for _ in range(2)]
    scores = scorer.scores(sentences, places, on_progress)
    figures = summarize_pairs(scores[::2], scores[1::2], [pair.paradigm for pair in pairs])
    return {
        **figures,
        "skipped": read.skipped,
        "scoring": scorer.scoring,
        "scoring_sentence": f"Scored by {_HOW[scorer.scoring]}.",
        "detected": read.detected,
        "notice": _suspect_swapped(figures),
    }


def _suspect_swapped(figures: dict[str, Any]) -> str | None:
    """A sentence if the model clearly prefers the sentences that are called unacceptable; otherwise None."""
    if figures["accuracy_interval"][1] >= _CHANCE:
        return None
    return (
        "The accuracy is clearly below 0.5, which is chance. If this is no special test, the acceptable and the "
        "unacceptable sentences of the file may be swapped."
    )
