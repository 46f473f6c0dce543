from __future__ import annotations

from typing import Any

from pretune.run_trace.training import read_continued, read_phase, read_phases


def test_fine_tuning_rows_are_those_of_the_chosen_trial(full_run: Any) -> None:
    phase = full_run.trace.phases.finetune
    assert (phase.shown_trial, len(phase.evaluations), len(phase.trials)) == (0, 6, 3)
    assert [row.is_best for row in phase.evaluations] == [False, False, False, True, False, False]


def test_without_a_choice_the_latest_trial_is_shown(full_run: Any) -> None:
    full_run.events = [event for event in full_run.events if event["event"] != "chosen"]
    phase = full_run.trace.phases.finetune
    assert (phase.shown_trial, phase.chosen) == (2, None)


def test_a_corrected_plan_is_the_plan(full_run: Any) -> None:
    shorter = {"steps_before": 2400, "steps": 2100, "decay_start_step": 1200}
    full_run.add("pretrain", "plan_corrected", **shorter, long_start_step=1890)
    plan = full_run.trace.phases.pretrain.plan
    assert (plan.steps, plan.decay_start_step, plan.tokens_per_step) == (2100, 1200, 4096)
    assert plan.tokens == 2100 * 4096  # not those of the longer plan
    assert plan.long_start_step == 1890
    full_run.add("pretrain", "plan_corrected", **shorter)  # of an older version
    assert full_run.trace.phases.pretrain.plan.long_start_step is None


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


def evaluation(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "epoch": step / 10, "tokens": step, "loss": 4.0, "accuracy": 0.3, "n": 100, **more}


CAUSAL = {"loss": 3.5, "accuracy": 0.4, "accuracy_interval": [0.35, 0.45], "n": 300, "bits_per_byte": 1.25}


def test_the_losses_of_a_hybrid_are_apart(builder: Any) -> None:
    builder.add("pretrain", "estimate", objective="hybrid", parameters=10)
    builder.add("pretrain", "evaluation", **evaluation(0, causal=CAUSAL, weighted_loss=3.875))
    phase = read_phase(builder.events, "pretrain")
    assert phase is not None
    assert (phase.objective, phase.unit) == ("hybrid", "masked tokens")
    [row] = phase.evaluations
    assert (row.loss, row.accuracy, row.n, row.weighted_loss) == (4.0, 0.3, 100, 3.875)
    found = row.next_tokens
    assert found is not None
    assert (found.loss, found.accuracy, found.n, found.bits_per_byte) == (3.5, 0.4, 300, 1.25)
    assert (found.accuracy_low, found.accuracy_high) == (0.35, 0.45)


def test_the_loss_of_a_causal_model_is_that_of_next_tokens(builder: Any) -> None:
    builder.add("pretrain", "estimate", objective="causal", parameters=10)
    builder.add("pretrain", "evaluation", **evaluation(0, bits_per_byte=1.5))
    phase = read_phase(builder.events, "pretrain")
    assert phase is not None
    assert (phase.objective, phase.unit) == ("causal", "next tokens")
    found = phase.evaluations[0].next_tokens
    assert found is not None
    assert (found.loss, found.bits_per_byte) == (4.0, 1.5)


def test_a_tuning_on_conversations_is_known_before_its_estimate(builder: Any) -> None:
    """The estimate comes minutes after the beginning; until then it was taken for a stage of a larger run."""
    builder.add("finetune", "started_from", from_scratch=False, sentence="Fine-tuning base.")
    phase = read_phase(builder.events, "finetune")
    assert phase is not None
    assert (phase.objective, phase.unit) == ("replies", "reply tokens")


def test_an_earlier_log_is_of_masked_words(full_run: Any) -> None:
    phases = full_run.trace.phases
    assert (phases.pretrain.objective, phases.pretrain.unit) == ("masked", "masked tokens")
    assert phases.finetune.objective is None
    assert all(row.next_tokens is None for row in phases.pretrain.evaluations)
    assert full_run.trace.continued == []


def test_a_prompt_has_what_followed_it_at_each_evaluation(builder: Any) -> None:
    for step, text in ((0, " the the"), (9, " east.")):
        samples = [{"prompt": "The sun rises in the", "text": text}, {"prompt": "broken"}]
        builder.add("pretrain", "evaluation", **evaluation(step, bits_per_byte=1.5, continuations=samples))
    [found] = read_continued(builder.events)
    assert found.prompt == "The sun rises in the"
    assert [(each.step, each.text) for each in found.moments] == [(0, " the the"), (9, " east.")]
