"""The question about the epoch that is kept has the rule of the run, and one answer that a reader can see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pretune.run_trace.codec import to_json
from pretune.run_trace.quiz.finetuning import TEMPLATES
from pretune.run_trace.quiz.template import finish
from pretune.run_trace.quiz.verify import verify
from pretune.trace_schema import Question, RunTrace, Trial

MakeTrace = Callable[..., RunTrace]
BEST = next(each for each in TEMPLATES if each.id == "Q-BEST")
GAP = next(each for each in TEMPLATES if each.id == "Q-GAP")
TRIAL = Trial(
    trial=0, learning_rate=0.001, seed=0, epochs=4.0, rows=None, is_search=False, best_epoch=1.0, best_step=100,
    validation_accuracy=None, validation_score=None, validation_loss=None, stopped=None, metric="macro_f1",
    elapsed_seconds=None,
)  # fmt: skip


def with_rows(trace: RunTrace, stage: str, **fields: Sequence[Any]) -> RunTrace:
    """A run with this phase alone, and these values of each of its evaluations."""
    phase = trace.phases.finetune
    assert phase is not None
    rows = [
        dataclasses.replace(row, **{name: values[index] for name, values in fields.items()})
        for index, row in enumerate(phase.evaluations)
    ]
    nothing = dataclasses.replace(trace.phases, finetune=None, scratch=None)
    phases = dataclasses.replace(nothing, **{stage: dataclasses.replace(phase, evaluations=rows)})
    return dataclasses.replace(trace, phases=phases)


def chosen_by_macro_f1(trace: RunTrace) -> RunTrace:
    phase = trace.phases.finetune
    assert phase is not None
    changed = dataclasses.replace(phase, trials=[TRIAL], shown_trial=0)
    return dataclasses.replace(trace, phases=dataclasses.replace(trace.phases, finetune=changed))


def ask(trace: RunTrace) -> Question | None:
    if not BEST.requires(trace):
        return None
    question = finish(BEST, BEST.make(trace, Random(0)), to_json(trace), Random(0))
    assert question is not None and verify(question, to_json(trace))
    return question


def test_the_rule_is_the_metric_that_chose_the_epoch(make_trace: MakeTrace) -> None:
    is_best, macro_f1 = [False, True, False, False], [0.40, 0.61, 0.55, 0.50]
    changed = chosen_by_macro_f1(with_rows(make_trace(), "finetune", is_best=is_best, macro_f1=macro_f1))
    question = ask(changed)
    assert question is not None
    assert "the epoch with the highest macro-F1 on validation" in question.prompt
    assert "macro-F1 0.610" in question.prompt and "accuracy" not in question.prompt
    assert [option.text for option in question.options if option.is_right] == ["Epoch 1"]
    unknown = with_rows(changed, "finetune", macro_f1=[None] * 4)
    assert ask(unknown) is None


def test_the_control_is_not_called_the_model_that_is_delivered(make_trace: MakeTrace) -> None:
    ours, control = (ask(with_rows(make_trace(), stage)) for stage in ("finetune", "scratch"))
    assert ours is not None and control is not None
    assert ours.solution[1].startswith("Its weights are the model that is delivered;")
    assert control.solution[1].startswith("Its weights are the control,")


def test_two_epochs_that_look_the_same_are_not_asked_about(make_trace: MakeTrace) -> None:
    scores = [0.70, 0.80, 0.84, 0.83]
    assert ask(with_rows(make_trace(), "finetune", score=scores)) is not None
    assert ask(with_rows(make_trace(), "finetune", score=[*scores[:3], 0.8399])) is None  # 84.0 %, too


def test_a_gap_is_not_put_down_to_a_weak_slice_if_the_strong_one_is_below_validation_too(make_trace: MakeTrace) -> None:
    trace = make_trace()
    scratch = trace.phases.scratch
    assert GAP.requires(trace) and scratch is not None
    seen, unseen = scratch.test[0].slices
    most = dataclasses.replace(seen, n=1960, score=0.858, accuracy=0.858, low=0.842, high=0.873)
    few = dataclasses.replace(unseen, n=40, score=0.45, accuracy=0.45, low=0.30, high=0.60)
    test = dataclasses.replace(scratch.test[0], slices=[most, few])
    phases = dataclasses.replace(trace.phases, scratch=dataclasses.replace(scratch, test=[test]))
    assert not GAP.requires(dataclasses.replace(trace, phases=phases))
