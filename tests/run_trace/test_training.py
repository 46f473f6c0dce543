from __future__ import annotations

from typing import Any

from pretune.run_trace.training import read_phase, read_phases, trial_shown


def test_fine_tuning_rows_are_those_of_the_chosen_trial(full_run: Any) -> None:
    phase = full_run.trace.phases.finetune
    assert (phase.shown_trial, len(phase.evaluations), len(phase.trials)) == (0, 6, 3)
    assert [row.is_best for row in phase.evaluations] == [False, False, False, True, False, False]
    assert trial_shown(phase).best_step == 750


def test_without_a_choice_the_latest_trial_is_shown(full_run: Any) -> None:
    full_run.events = [event for event in full_run.events if event["event"] != "chosen"]
    phase = full_run.trace.phases.finetune
    assert (phase.shown_trial, phase.chosen) == (2, None)


def test_a_corrected_plan_is_the_plan(full_run: Any) -> None:
    full_run.add("pretrain", "plan_corrected", steps_before=2400, steps=2100, decay_start_step=1200)
    plan = full_run.trace.phases.pretrain.plan
    assert (plan.steps, plan.decay_start_step, plan.tokens_per_step) == (2100, 1200, 4096)
    assert plan.tokens == 2100 * 4096  # not those of the longer plan


def test_a_stage_that_logged_nothing_is_no_phase() -> None:
    phases = read_phases([])
    assert (phases.pretrain, phases.finetune, phases.scratch) == (None, None, None)


def test_skipped_updates_are_those_of_the_shown_trial(full_run: Any) -> None:
    for trial in (0, 1):
        full_run.add("finetune", "skipped_update", step=300, reason="spike", sentence=f"trial {trial}", trial=trial)
    assert [each.sentence for each in full_run.trace.phases.finetune.skipped] == ["trial 0"]


def test_references_have_a_name_and_a_meaning(full_run: Any) -> None:
    phases = full_run.trace.phases
    assert [each.id for each in phases.pretrain.loss_references] == ["uniform", "unigram"]
    assert [each.name for each in phases.finetune.loss_references] == ["ln K", "prior"]
    assert [(each.id, each.value) for each in phases.finetune.accuracy_references] == [("majority", 0.508)]


def test_steps_of_another_trial_are_left_out(builder: Any) -> None:
    for trial in (0, 1):
        builder.add("finetune", "trial_started", trial=trial, learning_rate=0.1, seed=0, epochs=1)
        builder.add("finetune", "train", trial=trial, step=1, loss=float(trial))
    phase = read_phase(builder.events, "finetune")
    assert phase is not None
    assert (phase.shown_trial, phase.steps.loss) == (1, [1.0])


def test_a_watched_sentence_has_a_moment_for_each_evaluation(full_run: Any) -> None:
    watched = full_run.trace.watched
    assert [sentence.true_word for sentence in watched] == ["east", "cold"]
    assert [moment.step for moment in watched[0].moments] == [
        row.step for row in full_run.trace.phases.pretrain.evaluations
    ]
    assert watched[0].moments[-1].predictions[0].word == "east"
