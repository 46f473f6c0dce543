"""A phase with several trials in; out come the one that displays show, its result on the test rows, and the seeds."""

from __future__ import annotations

from pretune.trace_schema import Phase, Trial


def trial_shown(phase: Phase) -> Trial | None:
    """The trial that the evaluations belong to; None in a phase without trials."""
    return next((trial for trial in phase.trials if trial.trial == phase.shown_trial), None)


def count_seeds(phase: Phase | None) -> int:
    """The seeds that a phase was trained with in full. With few validation rows, the weights of all of them are
    averaged, and there is one model with one prediction file."""
    return 0 if phase is None else len({trial.seed for trial in phase.trials if not trial.is_search})


def find_test(phase: Phase) -> int | None:
    """The place of the test of the delivered weights among the tests of all seeds; None if they are not tested.

    The seeds that are not delivered are tested first, so with several seeds it is never the first place.
    """
    trial = trial_shown(phase)
    if trial is None:
        return 0 if phase.test else None
    return next((place for place, test in enumerate(phase.test) if test.seed == trial.seed), None)
