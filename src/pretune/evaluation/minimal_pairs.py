"""From a language model and a file of minimal pairs to the fraction in which it prefers the acceptable sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import UsageError
from pretune.inference.load import load_scorer
from pretune.scoring.minimal_pairs import summarize_pairs
from pretune.text.minimal_pairs import MinimalPair, read_minimal_pairs

FloatArray = npt.NDArray[np.float64]
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
        "notice": _suspect_swapped(figures, scores[::2], scores[1::2], pairs),
    }


def _suspect_swapped(
    figures: dict[str, Any], good: FloatArray, bad: FloatArray, pairs: Sequence[MinimalPair]
) -> str | None:
    """A sentence if the model clearly prefers the sentences that are called unacceptable; otherwise None.

    A sum over tokens prefers the shorter of two sentences, so pairs whose sentences have the same number of words
    decide whether the file or the length is to blame.
    """
    if figures["accuracy_interval"][1] >= _CHANCE:
        return None
    lead = "The accuracy is clearly below 0.5, which is chance"
    alike = np.array([len(pair.good.split()) == len(pair.bad.split()) for pair in pairs])
    if alike.any():
        found = summarize_pairs(good[alike], bad[alike], [""] * int(alike.sum()))
        lead += f" ({found['accuracy']:.3f} in the {found['n']:,} pairs whose sentences have the same number of words)"
        if found["accuracy_interval"][1] < _CHANCE:
            return (
                f"{lead}. If this is no special test, the acceptable and the unacceptable sentences of the file are "
                "swapped: exchange the names of the two columns, or, in a text file, put the unacceptable one first."
            )
    longer = sum(len(pair.good.split()) > len(pair.bad.split()) for pair in pairs)
    return (
        f"{lead}. The length may explain it: a model prefers the shorter of two sentences, and the acceptable one is "
        f"longer in {longer:,} of the {len(pairs):,} pairs. If that is not intended, the two columns are swapped: "
        "exchange their names."
    )
