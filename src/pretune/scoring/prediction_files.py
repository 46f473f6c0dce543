"""The names of the files in a fine-tuning stage's folder of predictions for the test rows.

There is one file for each seed, one for the mean of the seeds' weights if that is delivered, and one for the network
with linear models stacked on it, if there are some.
"""

from __future__ import annotations

PREDICTIONS = "predictions"
SEED_PREDICTIONS = "seed-*.jsonl"  # a pattern
AVERAGED_PREDICTIONS = "averaged.jsonl"
STACK_PREDICTIONS = "stack.jsonl"


def seed_predictions(seed: int) -> str:
    """The name of the file of a seed."""
    return SEED_PREDICTIONS.replace("*", str(seed))
