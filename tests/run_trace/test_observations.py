from __future__ import annotations

import inspect
import math
import re
from typing import Any

import pytest

from pretune.run_trace import observations as module
from pretune.run_trace.codec import to_json
from pretune.run_trace.expression import evaluate, read_pointer
from pretune.run_trace.observations import in_short
from pretune.run_trace.training import read_phase
from pretune.trace_schema import Observation

BANNED = re.compile(r"understand|\bknows?\b|realis|realiz|pays? attention|\bbecause\b", re.IGNORECASE)


def row(step: int, loss: float, accuracy: float = 0.5, n: int = 10_000, **more: Any) -> dict[str, Any]:
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)
    interval = [accuracy - half, accuracy + half]
    return {
        "step": step,
        "epoch": step / 100,
        "loss": loss,
        "accuracy": accuracy,
        "accuracy_interval": interval,
        "n": n,
        **more,
    }


def observed(stage: Any, rows: list[dict[str, Any]], **more: Any) -> list[list[Observation]]:
    """The observations on evaluations, in a log that also has `references`, a `plan`, `trials`, `skipped` updates."""
    events = [{**given, "event": "evaluation"} for given in rows]
    events += [{**more[kind], "event": kind} for kind in ("references", "plan") if kind in more]
    events += [{**trial, "event": "trial_finished"} for trial in more.get("trials", [])]
    events += [{**update, "event": "skipped_update"} for update in more.get("skipped", [])]
    phase = read_phase([{**event, "stage": stage} for event in events], stage)
    assert phase is not None
    return [evaluation.observations for evaluation in phase.evaluations]


def rules(found: list[list[Observation]]) -> list[list[str]]:
    return [[observation.rule for observation in row] for row in found]


PRETRAINING = {"uniform_nats": 9.01, "unigram_nats": 6.12, "most_frequent_share": 0.04}
FINETUNING = {"uniform_nats": 0.693, "prior_nats": 0.69, "majority_share": 0.51}


def test_pre_training_passes_the_unigram_entropy_once() -> None:
    rows = [row(0, 9.05, 0.001), row(100, 7.5, 0.08), row(200, 5.9, 0.2), row(300, 5.0, 0.3)]
    found = observed("pretrain", rows, references=PRETRAINING)
    assert in_short(found[0]) == "before training: close to a uniform guess (ln V = 9.01)"
    assert in_short(found[1]) == "loss fell 1.6"
    assert in_short(found[2]) == "below the unigram entropy (6.12): context is being used"
    assert in_short(found[3]) == "loss fell 0.9"
    assert found[2][0].numbers == {"loss": 5.9, "unigram": 6.12}
    assert found[2][0].pointers == ["/phases/pretrain/evaluations/2", "/phases/pretrain/loss_references/1"]


def test_a_level_is_passed_only_by_more_than_noise() -> None:
    few = [row(0, 9.05, 0.001, n=20), row(100, 6.0, 0.2, n=20)]
    assert "below unigram" not in rules(observed("pretrain", few, references=PRETRAINING))[1]


def test_no_use_of_context_is_reported_at_the_end_only() -> None:
    rows = [row(0, 9.0), row(100, 6.13), row(400, 6.11)]
    found = observed("pretrain", rows, references=PRETRAINING, plan={"steps": 400})
    assert "word frequencies" not in rules(found)[1]
    assert found[2][0].sentence == "ended not measurably better than word frequencies (unigram entropy 6.12)"


def test_a_difference_within_noise_is_not_called_an_improvement() -> None:
    rows = [
        row(0, 0.69, 0.51, n=250),
        row(10, 0.4, 0.82, n=250),
        row(20, 0.395, 0.824, n=250),
        row(30, 0.398, 0.823, n=250),
    ]
    found = observed("finetune", rows, references=FINETUNING)
    assert in_short(found[1]) == "best so far (+31.0 points)"
    assert in_short(found[2]) == "highest so far, within noise (+0.4 points, ±4.8)"
    assert in_short(found[3]) == "no measurable change since epoch 0.1"
    assert "best" not in rules(found)[2] + rules(found)[3]


def test_epochs_of_a_small_part_are_told_apart() -> None:
    rows = [row(10 * n, 0.4, 0.8, n=250, trial=1) | {"epoch": 0.004 * n} for n in range(4)]
    rows[0] |= {"loss": 0.69, "accuracy": 0.5}
    trial = {"trial": 1, "best_step": 10, "stopped": "patience", "best_epoch": 0.004}
    found = observed("finetune", rows, trials=[trial])
    assert "no measurable change since epoch 0.004" in [each.sentence for each in found[3]]
    assert "stopped: validation accuracy has not risen since epoch 0.004" in [each.sentence for each in found[3]]


@pytest.mark.parametrize("gain", [0.001, 0.01, 0.02, 0.03, 0.05])
def test_only_gains_beyond_the_interval_are_best(gain: float) -> None:
    before, after = row(10, 0.4, 0.8, n=1000), row(20, 0.4, 0.8 + gain, n=1000)
    found = observed("finetune", [row(0, 0.69, 0.5, n=1000), before, after])
    assert ("best" in rules(found)[2]) == (gain > 1.96 * math.sqrt(0.16 / 1000))


def test_a_small_gain_of_paired_rows_is_the_best() -> None:
    before, after = row(10, 0.4, 0.8, n=1000), row(20, 0.4, 0.82, n=1000)
    assert "best" not in rules(observed("finetune", [before, after]))[1]
    after["accuracy_change_error"] = 0.005
    assert "best so far (+2.0 points)" in in_short(observed("finetune", [before, after])[1])


def test_overfitting_names_both_losses() -> None:
    rows = [row(0, 0.7), row(10, 0.3, 0.9, train_loss=0.35), row(20, 0.29, 0.91, train_loss=0.2),
            row(30, 0.41, 0.9, train_loss=0.12)]  # fmt: skip
    found = observed("finetune", rows)
    assert "overfitting: train 0.120, validation 0.410" in in_short(found[3])
    assert not any("overfitting" in names for names in rules(found)[:3])


def test_a_plateau_is_counted_in_evaluations() -> None:
    rows = [row(0, 0.7), row(10, 0.3, 0.9), row(20, 0.3, 0.9), row(30, 0.3, 0.89), row(40, 0.3, 0.9)]
    found = observed("finetune", rows)
    assert "plateau" not in rules(found)[2]
    assert "validation accuracy not higher for 2 evaluations" in in_short(found[3])
    assert "validation accuracy not higher for 3 evaluations" in in_short(found[4])


def test_a_model_no_better_than_the_majority_is_reported() -> None:
    """By its interval: a paired comparison, which would be more exact, needs the answers row by row."""
    rows = [row(0, 0.7, 0.5, n=400), row(10, 0.69, 0.53, n=400), row(20, 0.8, 0.4, n=400), row(30, 0.6, 0.6, n=400)]
    rows.append({**row(40, 0.69, 0.53, n=400), "accuracy_interval": None})
    found = observed("finetune", rows, references=FINETUNING)
    reaches = "the interval of the accuracy still reaches the majority class (51.0 %)"
    assert in_short(found[1]).startswith(reaches)
    assert in_short(found[2]).startswith("the interval of the accuracy lies below the majority class (51.0 %)")
    assert "majority" not in rules(found)[3]
    assert in_short(found[4]).startswith(reaches)


def test_the_kept_row_is_the_one_the_trial_names() -> None:
    rows = [row(0, 0.7, 0.5, trial=1), row(10, 0.4, 0.8, trial=1), row(20, 0.3, 0.9, trial=1)]
    trial = {"trial": 1, "best_step": 10, "stopped": "patience", "best_epoch": 1}
    found = observed("finetune", rows, trials=[trial])
    assert in_short(found[1]).startswith("best so far (+30.0 points), kept")
    assert "kept" not in in_short(found[2])
    assert "kept" not in in_short(observed("finetune", rows)[1])  # known only when the trial is over
    assert "stopped: validation accuracy has not risen since epoch 1" in in_short(found[2])


def test_a_stop_reports_a_loss_that_still_fell() -> None:
    """Or "no better score" reads as if nothing improved, while the loss falls by half."""
    rows = [
        {**row(step, loss, 0.8, trial=1), "epoch": epoch} for epoch, (step, loss) in enumerate([(0, 0.7), (10, 0.4)])
    ]
    rows.append({**row(20, 0.2, 0.8, trial=1), "epoch": 2})
    trial = {"trial": 1, "best_step": 10, "stopped": "patience", "best_epoch": 1, "metric": "macro_f1"}
    found = observed("finetune", rows, trials=[trial])
    expected = "stopped: validation macro-F1 has not risen since epoch 1 (the loss fell from 0.400 to 0.200)"
    assert expected in in_short(found[2])


def test_skipped_updates_are_counted_in_their_row() -> None:
    skipped = [{"event": "skipped_update", "step": 15, "sentence": "x"}]
    found = observed("pretrain", [row(0, 9.0), row(10, 8.0), row(20, 7.0)], skipped=skipped)
    assert "skipped" in rules(found)[2]
    assert "skipped" not in rules(found)[1]


def test_no_template_and_no_sentence_claims_a_mind_or_a_cause(full_run: Any) -> None:
    strings = re.findall(r'f?"[^"\n]*"', inspect.getsource(module))
    assert not [string for string in strings if BANNED.search(string) and not string.startswith('""')]
    for found in all_observations(full_run):
        assert not BANNED.search(found.sentence)


def all_observations(run: Any) -> list[Observation]:
    phases = run.trace.phases
    return [o for phase in (phases.pretrain, phases.finetune) for row in phase.evaluations for o in row.observations]


def test_every_number_of_an_observation_re_derives_from_the_trace(full_run: Any) -> None:
    full_run.add("pretrain", "skipped_update", step=500, reason="spike", sentence="x")
    written = to_json(full_run.trace)
    found = all_observations(full_run)
    assert {observation.rule for observation in found} >= {"start", "change", "best", "stopped", "skipped", "plateau"}
    for observation in found:
        assert observation.numbers.keys() == observation.derivations.keys() != set()
        for name, expression in observation.derivations.items():
            assert evaluate(expression, written) == pytest.approx(observation.numbers[name], rel=1e-5), observation
        assert all(read_pointer(written, pointer) for pointer in observation.pointers)


def test_no_evaluation_is_without_an_observation(full_run: Any) -> None:
    phases = full_run.trace.phases
    assert all(row.observations for phase in (phases.pretrain, phases.finetune) for row in phase.evaluations)


def test_a_falling_loss_is_reported_with_an_accuracy_plateau() -> None:
    rows = [row(0, 0.7), row(10, 0.6, 0.9), row(20, 0.5, 0.9), row(30, 0.3, 0.9)]
    shown = in_short(observed("finetune", rows)[3])
    assert "validation accuracy not higher for 2 evaluations, but its loss is still falling" in shown


def test_weighted_losses_are_compared_with_each_other() -> None:
    """A training loss weighted by class is on another scale than the plain validation loss."""
    rows = [row(10 * n, 0.3, 0.9) | {"train_loss": None} for n in range(4)]
    for given, (train, validation) in zip(rows[1:], ((0.6, 0.6), (0.4, 0.5), (0.1, 0.9)), strict=True):
        given |= {"weighted_train_loss": train, "weighted_loss": validation}
    rows[3]["loss"] = 0.9
    assert "overfitting" not in rules(observed("finetune", rows[:3]))[2]
    assert "overfitting" in rules(observed("finetune", rows))[3]


def test_a_small_fall_of_paired_rows_is_measurable() -> None:
    rows = [row(0, 9.0, n=1728), row(10, 1.35, n=1728, loss_error=0.04), row(20, 1.31, n=1728, loss_error=0.04)]
    assert in_short(observed("pretrain", rows)[2]) == "no measurable change (n = 1,728)"
    rows[2]["loss_change_error"] = 0.008
    assert in_short(observed("pretrain", rows)[2]) == "loss fell 0.04"


def test_a_trial_of_one_evaluation_reports_that_it_was_kept() -> None:
    trial = {"trial": 0, "best_step": 10, "stopped": "epochs", "best_epoch": 1}
    found = observed("finetune", [row(10, 0.1, 0.99, trial=0)], trials=[trial], references=FINETUNING)
    assert in_short(found[0]) == "kept: best validation accuracy of this trial"


def test_the_kept_row_names_the_metric_that_chose_it() -> None:
    """Macro-F1 may choose an evaluation whose accuracy is lower than that of one before."""
    rows = [{**row(10, 0.4, 0.9, trial=0), "macro_f1": 0.5}, {**row(20, 0.5, 0.8, trial=0), "macro_f1": 0.6}]
    trial = {"trial": 0, "best_step": 20, "best_epoch": 2, "metric": "macro_f1"}
    (kept,) = (each for each in observed("finetune", rows, trials=[trial])[1] if each.rule == "kept")
    assert kept.sentence == "kept: best validation macro-F1 of this trial"
    assert kept.numbers["macro_f1"] == 0.6 and kept.derivations["macro_f1"][0] == "at"


def test_tuning_on_conversations_keeps_the_weights_with_the_lowest_loss() -> None:
    """Their accuracy may be lower than that of another evaluation."""
    events: list[dict[str, Any]] = [{"event": "estimate", "objective": "replies"}]
    events += [{**given, "event": "evaluation"} for given in (row(0, 3.0, 0.4), row(10, 2.5, 0.5), row(20, 2.4, 0.49))]
    events.append({"event": "chosen", "kept_step": 20, "sentence": "Kept: the weights of step 20 of 20."})
    phase = read_phase([{**event, "stage": "finetune"} for event in events], "finetune")
    assert phase is not None
    kept = [each for row in phase.evaluations for each in row.observations if each.rule == "kept"]
    assert [each.sentence for each in kept] == ["kept: lowest loss on the validation replies"]
    assert kept[0].numbers == {"loss": 2.4}


def test_a_plateau_of_pre_training_is_one_of_its_loss() -> None:
    rows = [row(0, 9.0), row(10, 5.0), row(20, 5.1), row(30, 5.05)]
    assert "validation loss not lower for 2 evaluations" in in_short(observed("pretrain", rows)[3])


def test_a_plateau_below_zero_keeps_its_sign() -> None:
    """A correlation may be negative, and the number has to follow from the trace."""
    rows = []
    for index, pearson in enumerate((-0.3, -0.2, -0.25, -0.24)):
        given = row(10 * index, 1.0) | {"pearson": pearson, "pearson_interval": [pearson - 0.1, pearson + 0.1]}
        rows.append({name: value for name, value in given.items() if not name.startswith("accuracy")})
    (plateau,) = (each for each in observed("finetune", rows)[3] if each.rule == "plateau")
    assert plateau.numbers["best"] == pytest.approx(-0.2)
    scores = {"phases": {"finetune": {"evaluations": [{"score": given["pearson"]} for given in rows]}}}
    assert evaluate(plateau.derivations["best"], scores) == pytest.approx(-0.2)
