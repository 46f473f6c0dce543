"""A phase with several trials in; out come the one that displays show, its result on the test rows, and the seeds."""

from __future__ import annotations

from pretune.trace_schema import Phase, TestResult, Trial


def trial_shown(phase: Phase) -> Trial | None:
    """The trial that the evaluations belong to; None in a phase without trials."""
    return next((trial for trial in phase.trials if trial.trial == phase.shown_trial), None)


def find_test(phase: Phase) -> int | None:
    """The place of the test of the delivered weights, of one seed, the mean of all or a student; None if they are not
    tested.

    The seeds that are not delivered are tested first, so with several seeds it is never the first place.
    """
    if phase.averaged_trials:
        return next((place for place, test in enumerate(phase.test) if test.seed is None), None)
    return find_test_of_shown(phase)


def find_test_of_shown(phase: Phase) -> int | None:
    """The place of the test of the trial that is shown, of whose seed the evaluations are; None if it is not tested."""
    if phase.is_self_trained:
        return next((place for place, test in enumerate(phase.test) if test.is_student), None)
    trial = trial_shown(phase)
    if trial is None:
        return 0 if phase.test else None
    return next((place for place, test in enumerate(phase.test) if test.seed == trial.seed), None)


def seed_results(phase: Phase) -> list[TestResult]:
    """The tests of the seeds, without those of the mean of their weights and of a student."""
    has_others = bool(phase.averaged_trials) or phase.is_self_trained
    return [test for test in phase.test if test.seed is not None or not has_others]
