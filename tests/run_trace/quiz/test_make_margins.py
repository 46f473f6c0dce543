"""What lies within noise is not asked about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from pretune.run_trace.quiz.make import TEMPLATES
from pretune.trace_schema import Reference, RunTrace

MakeTrace = Callable[..., RunTrace]


def is_asked(template: str, trace: RunTrace) -> bool:
    return next(each for each in TEMPLATES if each.id == template).requires(trace)


def test_a_first_word_that_is_hardly_ahead_is_not_asked_for(make_trace: MakeTrace) -> None:
    trace = make_trace()
    sentence = trace.watched[0]
    last = sentence.moments[-1]
    words = [dataclasses.replace(last.predictions[0], probability=0.26), *last.predictions[1:]]
    close = dataclasses.replace(
        sentence, moments=[*sentence.moments[:-1], dataclasses.replace(last, predictions=words)]
    )
    assert is_asked("Q-MASK", trace)
    assert not is_asked("Q-MASK", dataclasses.replace(trace, watched=[close]))


def test_an_interval_whose_end_is_next_to_zero_is_not_asked_about(make_trace: MakeTrace) -> None:
    assert is_asked("Q-HELPED", make_trace(difference=0.03))
    assert not is_asked("Q-HELPED", make_trace(difference=0.0205))


def test_an_outcome_that_contradicts_its_interval_is_not_asked_about(make_trace: MakeTrace) -> None:
    assert not is_asked("Q-HELPED", make_trace(difference=0.12, outcome="no clear difference"))


def test_an_accuracy_that_rose_within_its_noise_is_not_said_to_have_risen(make_trace: MakeTrace) -> None:
    trace = make_trace()
    assert trace.phases.finetune is not None
    noisy = [
        dataclasses.replace(row, accuracy_noise=0.05, score_noise=0.05) for row in trace.phases.finetune.evaluations
    ]
    phase = dataclasses.replace(trace.phases.finetune, evaluations=noisy)
    assert is_asked("Q-BOTH-ROSE", trace)
    assert not is_asked(
        "Q-BOTH-ROSE", dataclasses.replace(trace, phases=dataclasses.replace(trace.phases, finetune=phase))
    )


def test_a_group_at_the_edge_of_the_band_of_chance_is_not_asked_about(make_trace: MakeTrace) -> None:
    trace = make_trace()
    assert trace.errors is not None
    calibration = trace.errors.calibration[0]
    edge = [dataclasses.replace(calibration.bins[0], right=82)]  # the band ends at 81 of 100
    errors = dataclasses.replace(trace.errors, calibration=[dataclasses.replace(calibration, bins=edge)])
    assert is_asked("Q-CALIBRATION", trace)
    assert not is_asked("Q-CALIBRATION", dataclasses.replace(trace, errors=errors))


def test_attributions_that_did_not_converge_are_not_asked_about(make_trace: MakeTrace) -> None:
    trace = make_trace()
    prediction = trace.predictions[0]
    assert prediction.reasons is not None
    reasons = dataclasses.replace(prediction.reasons, is_converged=False)
    assert is_asked("Q-IG", trace)
    unconverged = dataclasses.replace(trace, predictions=[dataclasses.replace(prediction, reasons=reasons)])
    assert not is_asked("Q-IG", unconverged)


def test_a_word_whose_masking_gives_a_third_label_is_not_asked_for(make_trace: MakeTrace) -> None:
    trace = make_trace(classes=3)
    (prediction,) = trace.predictions
    assert prediction.decision.flip is not None
    flip = dataclasses.replace(prediction.decision.flip, label="mood 2")
    third = dataclasses.replace(prediction, decision=dataclasses.replace(prediction.decision, flip=flip))
    assert is_asked("Q-FLIP", trace)
    assert not is_asked("Q-FLIP", dataclasses.replace(trace, predictions=[third]))


def test_a_word_of_a_pair_of_texts_is_not_asked_for(make_trace: MakeTrace) -> None:
    trace = make_trace()
    pair = dataclasses.replace(trace.predictions[0], text_pair="The stew was cold.")
    assert not is_asked("Q-FLIP", dataclasses.replace(trace, predictions=[pair]))


def test_a_loss_next_to_the_unigram_entropy_is_not_said_to_be_below(make_trace: MakeTrace) -> None:
    trace = make_trace()
    pretrain = trace.phases.pretrain
    assert pretrain is not None
    rows = [
        dataclasses.replace(row, loss=5.15) if index == 1 else row for index, row in enumerate(pretrain.evaluations)
    ]
    phases = dataclasses.replace(trace.phases, pretrain=dataclasses.replace(pretrain, evaluations=rows))
    assert is_asked("Q-CROSSING", trace)
    assert not is_asked("Q-CROSSING", dataclasses.replace(trace, phases=phases))


@pytest.mark.parametrize("template", ["Q-FLOOR", "Q-UNTRAINED"])
def test_a_run_from_a_base_is_not_asked_about_random_weights(make_trace: MakeTrace, template: str) -> None:
    trace = make_trace()
    pretrain = trace.phases.pretrain
    assert pretrain is not None
    base = Reference(id="base", name="base", value=pretrain.evaluations[0].loss, meaning="loss of the base")
    changed = dataclasses.replace(pretrain, loss_references=[*pretrain.loss_references, base])
    phases = dataclasses.replace(trace.phases, pretrain=changed)
    assert is_asked(template, trace)
    assert not is_asked(template, dataclasses.replace(trace, phases=phases))


def test_a_punctuation_mark_is_not_asked_for_as_a_word(make_trace: MakeTrace) -> None:
    trace = make_trace()
    sentence = trace.watched[0]
    last = sentence.moments[-1]
    words = [dataclasses.replace(last.predictions[0], word=":"), *last.predictions[1:]]
    marked = dataclasses.replace(
        sentence, moments=[*sentence.moments[:-1], dataclasses.replace(last, predictions=words)]
    )
    assert not is_asked("Q-MASK", dataclasses.replace(trace, watched=[marked]))


def test_a_probability_that_a_guess_of_one_half_would_hit_is_not_asked_for(make_trace: MakeTrace) -> None:
    trace = make_trace()
    (prediction,) = trace.predictions
    even = dataclasses.replace(prediction, decision=dataclasses.replace(prediction.decision, probability=0.505))
    assert is_asked("Q-SOFTMAX", trace)
    assert not is_asked("Q-SOFTMAX", dataclasses.replace(trace, predictions=[even]))


def test_the_constant_answer_has_no_interval_to_ask_about(make_trace: MakeTrace) -> None:
    trace = make_trace()
    assert trace.comparison is not None
    constant = [dataclasses.replace(model, kind="majority") for model in trace.comparison.models]
    comparison = dataclasses.replace(trace.comparison, models=constant)
    assert is_asked("Q-INTERVAL", trace)
    assert not is_asked("Q-INTERVAL", dataclasses.replace(trace, comparison=comparison))
