from __future__ import annotations

from typing import Any

from pretune.reporting.sections.phases import SYNTHETIC_NOTE, read_phase, synthetic_note


def test_fine_tuning_rows_are_those_of_the_chosen_trial(full_run: Any) -> None:
    phase = read_phase(full_run.events, "finetune")
    assert {row["trial"] for row in phase.rows} == {0}
    assert len(phase.rows) == 6
    assert len(phase.trials) == 3
    assert phase.trial["best_step"] == 750


def test_without_a_choice_the_latest_trial_is_shown(full_run: Any) -> None:
    events = [event for event in full_run.events if event["event"] != "chosen"]
    assert {row["trial"] for row in read_phase(events, "finetune").rows} == {2}


def test_pointers_lead_back_to_the_rows(full_run: Any, resolve: Any) -> None:
    for stage in ("pretrain", "finetune"):
        phase = read_phase(full_run.events, stage)
        assert [resolve(pointer, full_run.events) for pointer in phase.pointers] == phase.rows
    assert resolve(read_phase(full_run.events, "finetune").trial_pointer, full_run.events)["trial"] == 0


def test_a_corrected_plan_is_the_plan(full_run: Any) -> None:
    full_run.add("pretrain", "plan_corrected", steps_before=2400, steps=2100, decay_start_step=1200)
    plan = read_phase(full_run.events, "pretrain").plan
    assert (plan["steps"], plan["decay_start_step"], plan["tokens_per_step"]) == (2100, 1200, 4096)
    assert plan["tokens"] == 2100 * 4096  # not those of the longer plan


def test_a_stage_that_logged_nothing_is_an_empty_phase() -> None:
    phase = read_phase([], "pretrain")
    assert (phase.rows, phase.trial, phase.plan) == ([], {}, {})


def test_synthetic_data_is_marked_as_such(full_run: Any) -> None:
    assert synthetic_note(full_run.events) == SYNTHETIC_NOTE
    assert synthetic_note([{**event, "synthetic": False} for event in full_run.events]) == ""
