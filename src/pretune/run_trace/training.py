"""The events of a training stage in; out comes its phase: evaluations and observations, references, plan, trials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

from pretune.run_trace.carried_example import guesses
from pretune.run_trace.log_values import figure, figures, last_of, members, objects, of_stage, whole, wholes, words
from pretune.run_trace.metrics import METRIC_OF_TASK, metric_of, read_figures, read_score, rows_of
from pretune.run_trace.noise import half_interval
from pretune.run_trace.observations import in_short, observe
from pretune.run_trace.step_series import read_steps
from pretune.runtime.events import Event
from pretune.trace_schema import (
    ContinuedMoment,
    ContinuedPrompt,
    Evaluation,
    HeldOutReplies,
    NextTokens,
    Phase,
    Phases,
    Plan,
    Reference,
    SkippedUpdate,
    SliceResult,
    TestResult,
    Trial,
    WatchedMoment,
    WatchedSentence,
)

BASE = "base"  # the id of the reference that only a pre-training from a base has
Training = Literal["pretrain", "finetune", "scratch"]
ObjectiveName = Literal["masked", "causal", "hybrid", "replies"]

# id, name in a chart, field of the event, meaning; by the metric, or for pre-training
_LOSSES = {
    "pretrain": (
        ("uniform", "ln V", "uniform_nats", "loss of a uniform guess over the vocabulary"),
        ("unigram", "unigram entropy", "unigram_nats", "loss of predicting from token frequencies alone"),
    ),
    "replies": (("uniform", "ln V", "uniform_nats", "loss of a uniform guess over the vocabulary"),),
    "accuracy": (
        ("uniform", "ln K", "uniform_nats", "loss of a uniform guess over the classes"),
        ("prior", "prior", "prior_nats", "loss of predicting from class frequencies alone"),
    ),
    "micro_f1": (
        ("uniform", "K ln 2", "uniform_nats", "loss of the probability one half for every label"),
        ("prior", "prior", "prior_nats", "loss of predicting from label frequencies alone"),
    ),
    "pearson": (("prior", "mean", "prior_loss", "loss of always predicting the mean of the training rows"),),
    "entity_f1": (
        ("uniform", "ln K", "uniform_nats", "loss of a uniform guess over the labels of a word"),
        ("prior", "prior", "prior_nats", "loss of predicting from label frequencies alone"),
    ),
}
_ACCURACIES = {
    "pretrain": (
        (
            "most_frequent",
            "most frequent token",
            "most_frequent_share",
            "accuracy of always predicting the most frequent token",
        ),
    ),
    "accuracy": (
        ("majority", "majority class", "majority_share", "accuracy of always predicting the most frequent class"),
    ),
}


def read_phases(events: list[Event]) -> Phases:
    """The three phases of a run; None for one that has not begun."""
    return Phases(
        pretrain=read_phase(events, "pretrain"),
        finetune=read_phase(events, "finetune"),
        scratch=read_phase(events, "scratch"),
    )


def read_phase(events: list[Event], stage: Training) -> Phase | None:
    """Fold one stage; the evaluations are all of them, or those of the chosen (otherwise the latest) trial. An
    evaluation whose loss or main metric is no finite number is left out. None if the stage has logged nothing."""
    own = of_stage(events, stage)
    if not own:
        return None
    chosen = last_of(own, stage, "chosen")
    shown = _shown_trial(own, stage)
    metric = _read_metric(events, own, stage)
    trials = _read_trials(own, stage, metric)
    trial = next((each for each in trials if each.trial == shown), None)
    rows = [e for e in of_stage(own, stage, "evaluation") if whole(e.get("trial")) == shown]
    estimate, references = last_of(own, stage, "estimate"), last_of(own, stage, "references")
    objective = _read_objective(own, stage)
    known = "replies" if objective == "replies" else "pretrain" if stage == "pretrain" else metric
    best_step = whole(chosen.get("kept_step")) if objective == "replies" else None
    if trial is not None:
        best_step = trial.best_step
    read = [_read_evaluation(row, metric, best_step) for row in rows]
    phase = Phase(
        stage=stage,
        unit=_unit(objective, metric),
        objective=objective,
        metric=metric,
        parameters=whole(estimate.get("parameters")),
        size=words(estimate.get("size")),
        tokens_per_second=figure(estimate.get("tokens_per_second")),
        loss_references=_references(references, _LOSSES[known]) + _base_loss(own, read),
        replies=_read_replies(last_of(own, stage, "replies")) if objective == "replies" else None,
        accuracy_references=_references(references, _ACCURACIES.get(known, ())),
        plan=_read_plan(own, stage),
        steps=read_steps([e for e in own if e["event"] in ("train", "evaluation") and whole(e.get("trial")) == shown]),
        evaluations=[row for row in read if row is not None],
        trials=trials,
        shown_trial=shown,
        averaged_trials=wholes(chosen.get("averaged_trials")),
        is_self_trained=bool(chosen.get("is_student")),
        wants_student=bool(members(last_of(own, stage, "stage_started").get("config")).get("self_train")),
        chosen=words(chosen.get("sentence")) if chosen else None,
        skipped=[_skipped(e) for e in of_stage(own, stage, "skipped_update") if e.get("trial", shown) == shown],
        test=[test for e in of_stage(own, stage, "test") if (test := _read_test(e, metric)) is not None],
    )
    observed = observe(phase)
    evaluations = [
        replace(row, observations=found, summary=in_short(found))
        for row, found in zip(phase.evaluations, observed, strict=True)
    ]
    return replace(phase, evaluations=evaluations)


def _shown_trial(own: list[Event], stage: str) -> int | None:
    """The chosen trial; before the choice, the latest one that was evaluated, else the latest that was begun."""
    chosen = whole(last_of(own, stage, "chosen").get("trial"))
    if chosen is not None:
        return chosen
    latest = last_of(own, stage, "evaluation") or last_of(own, stage, "trial_started")
    return whole(latest.get("trial"))


def _read_metric(events: list[Event], own: list[Event], stage: Training) -> str:
    """The main metric of a stage: that of its figures; before it has any, that of the task of the labelled rows."""
    if stage == "pretrain":
        return "accuracy"
    measured = [event for event in own if event["event"] in ("evaluation", "test")]
    task = words(last_of(events, "split", "detected").get("task"))
    return metric_of(measured) if measured else METRIC_OF_TASK.get(task or "", "accuracy")


def _read_evaluation(row: Event, metric: str, best_step: int | None) -> Evaluation | None:
    step, loss, scored = whole(row.get("step")), figure(row.get("loss")), read_score(row, metric)
    if step is None or loss is None or scored is None:
        return None
    (score, interval), n = scored, whole(row.get("n"))
    low, high = interval or (None, None)
    noise = figure(half_interval(score, interval, n)) or 0.0
    is_accuracy = metric == "accuracy"
    return Evaluation(
        step=step,
        epoch=figure(row.get("epoch")) or 0.0,
        tokens=whole(row.get("tokens")),
        train_loss=figure(row.get("train_loss")),
        train_accuracy=figure(row.get("train_accuracy")) if is_accuracy else None,
        loss=loss,
        score=score,
        score_low=low,
        score_high=high,
        score_noise=noise,
        accuracy=score if is_accuracy else None,
        accuracy_low=low if is_accuracy else None,
        accuracy_high=high if is_accuracy else None,
        accuracy_noise=noise if is_accuracy else None,
        n=n,
        macro_f1=figure(row.get("macro_f1")),
        loss_error=figure(row.get("loss_error")),
        loss_change_error=figure(row.get("loss_change_error")),
        accuracy_change_error=figure(row.get("accuracy_change_error")) if is_accuracy else None,
        weighted_loss=figure(row.get("weighted_loss")),
        weighted_train_loss=figure(row.get("weighted_train_loss")),
        elapsed_seconds=figure(row.get("elapsed_seconds")),
        is_best=step == best_step,
        summary="",
        observations=[],
        next_tokens=_read_next_tokens(row if "bits_per_byte" in row else members(row.get("causal"))),
    )


def _read_next_tokens(found: Event) -> NextTokens | None:
    loss, scored = figure(found.get("loss")), read_score(found, "accuracy")
    if loss is None or scored is None:
        return None
    accuracy, interval = scored
    low, high = interval or (None, None)
    return NextTokens(
        loss=loss,
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        n=whole(found.get("n")),
        bits_per_byte=figure(found.get("bits_per_byte")),
        loss_error=figure(found.get("loss_error")),
        loss_change_error=figure(found.get("loss_change_error")),
    )


def _read_objective(own: list[Event], stage: Training) -> ObjectiveName | None:
    """What a stage learns to predict if that is tokens; earlier versions pre-trained on masked words and do not say."""
    found = words(last_of(own, stage, "estimate").get("objective"))
    if stage != "pretrain":
        # A tuning on conversations says what it started from, which no other one does, minutes before its estimate.
        return "replies" if found == "replies" or last_of(own, stage, "started_from") else None
    return cast(ObjectiveName, found) if found in ("causal", "hybrid") else "masked"


def _unit(
    objective: ObjectiveName | None, metric: str
) -> Literal["masked tokens", "next tokens", "reply tokens", "texts", "rows"]:
    if objective is None:
        return rows_of(metric)
    units: dict[str, Literal["next tokens", "reply tokens"]] = {"causal": "next tokens", "replies": "reply tokens"}
    return units.get(objective, "masked tokens")


def _read_replies(event: Event) -> HeldOutReplies | None:
    """The figures of held-out replies; None before they are measured, or if one is missing."""
    names = ("loss", "perplexity", "accuracy", "base_loss", "base_perplexity", "base_accuracy")
    numbers = {name: figure(event.get(name)) for name in names}
    found = {name: value for name, value in numbers.items() if value is not None}
    n, conversations = whole(event.get("n")), whole(event.get("conversations"))
    if n is None or conversations is None or len(found) < len(numbers):
        return None
    low, high = figures(event.get("loss_interval"), 2) or (None, None)
    change_low, change_high = figures(event.get("loss_change_interval"), 2) or (None, None)
    return HeldOutReplies(
        measured_on="validation" if event.get("measured_on") == "validation" else "test",
        n=n,
        conversations=conversations,
        loss_low=low,
        loss_high=high,
        change_low=change_low,
        change_high=change_high,
        **found,
    )


def _references(event: Event, known: tuple[tuple[str, str, str, str], ...]) -> list[Reference]:
    return [
        Reference(id=each, name=name, value=value, meaning=meaning)
        for each, name, field, meaning in known
        if (value := figure(event.get(field))) is not None
    ]


def _base_loss(own: list[Event], rows: list[Evaluation | None]) -> list[Reference]:
    """The loss of the base before any update, if training started from one and not from random weights."""
    first = rows[0] if rows else None
    started = last_of(own, "pretrain", "started_from") or last_of(own, "finetune", "started_from")
    if first is None or first.step != 0 or not started or started.get("from_scratch"):
        return []
    meaning = "loss of the base on this text, before any update"
    return [Reference(id=BASE, name="base", value=first.loss, meaning=meaning)]


def _read_plan(own: list[Event], stage: str) -> Plan | None:
    """The plan, after the changes of a `plan_corrected`."""
    plan = dict(last_of(own, stage, "plan"))
    corrected = last_of(own, stage, "plan_corrected")
    if corrected:
        plan |= {"long_start_step": None, **corrected}  # which older logs do not have
    steps = whole(plan.get("steps"))
    if steps is None:
        return None
    tokens_per_step, tokens = whole(plan.get("tokens_per_step")), whole(plan.get("tokens"))
    if corrected and tokens_per_step is not None:
        tokens = steps * tokens_per_step
    return Plan(
        steps=steps,
        tokens_per_step=tokens_per_step,
        warmup_steps=whole(plan.get("warmup_steps")),
        decay_start_step=whole(plan.get("decay_start_step")),
        long_start_step=whole(plan.get("long_start_step")),
        tokens=tokens,
    )


def _read_trials(own: list[Event], stage: str, metric: str) -> list[Trial]:
    """Each trial that was started, with the result of one that is finished."""
    merged: dict[int, Event] = {}
    for event in [*of_stage(own, stage, "trial_started"), *of_stage(own, stage, "trial_finished")]:
        number = whole(event.get("trial"))
        if number is not None:
            merged[number] = {**merged.get(number, {}), **event}
    return [
        Trial(
            trial=number,
            learning_rate=figure(event.get("learning_rate")),
            seed=whole(event.get("seed")),
            epochs=figure(event.get("epochs")),
            rows=whole(event.get("rows")),
            is_search=bool(event.get("is_search")),
            best_epoch=figure(event.get("best_epoch")),
            best_step=whole(event.get("best_step")),
            validation_accuracy=figure(event.get("validation_accuracy")),
            validation_score=figure(event.get("validation_accuracy" if metric == "accuracy" else metric)),
            validation_loss=figure(event.get("validation_loss")),
            stopped=words(event.get("stopped")),
            metric=words(event.get("metric")),
            elapsed_seconds=figure(event.get("elapsed_seconds")),
            is_student=bool(event.get("is_student")),
        )
        for number, event in merged.items()
    ]


def _skipped(event: Event) -> SkippedUpdate:
    return SkippedUpdate(
        step=whole(event.get("step")) or 0,
        reason=words(event.get("reason")) or "?",
        sentence=words(event.get("sentence")) or "",
    )


def _read_test(event: Event, metric: str) -> TestResult | None:
    (score, interval), n = read_score(event, metric) or (None, None), whole(event.get("n"))
    if score is None or interval is None or n is None:
        return None
    return TestResult(
        seed=whole(event.get("seed")),
        n=n,
        score=score,
        accuracy=score if metric == "accuracy" else None,
        low=interval[0],
        high=interval[1],
        macro_f1=figure(event.get("macro_f1")),
        loss=figure(event.get("loss")),
        slices=read_slices(event.get("slices"), metric),
        figures=read_figures(event, metric),
        is_student=bool(event.get("is_student")),
    )


def read_slices(value: Any, metric: str) -> list[SliceResult]:
    """The main metric on each slice of the test rows."""
    found = []
    for name, entry in members(value).items():
        each = members(entry)
        scored = read_score(each, metric)
        if scored is not None:
            score, interval = scored
            low, high = interval or (score, score)
            found.append(
                SliceResult(
                    name=words(name) or "",
                    n=whole(each.get("n")) or 0,
                    score=score,
                    accuracy=score if metric == "accuracy" else None,
                    low=low,
                    high=high,
                )
            )
    return found


def read_watched(events: list[Event]) -> list[WatchedSentence]:
    """The watched sentences, in the order of the first evaluation that predicted them, with the guesses of each."""
    seen = [row for row in of_stage(events, "pretrain", "evaluation") if objects(row.get("sentences"))]
    if not seen:
        return []
    watched = []
    for index, sentence in enumerate(objects(seen[0]["sentences"])):
        rows = [(row, objects(row["sentences"])) for row in seen]
        moments = [
            WatchedMoment(
                step=whole(row.get("step")) or 0,
                probability=figure(found[index].get("probability")),
                rank=whole(found[index].get("rank")),
                predictions=guesses(found[index]),
            )
            for row, found in rows
            if index < len(found)
        ]
        watched.append(
            WatchedSentence(
                masked_text=words(sentence.get("masked_text")) or "",
                true_word=words(sentence.get("true_word")) or "",
                is_in_training=bool(sentence.get("is_in_training")),
                moments=moments,
            )
        )
    return watched


def read_continued(events: list[Event]) -> list[ContinuedPrompt]:
    """The prompts that were continued at every evaluation, with the text that followed each time."""
    continued: dict[str, list[ContinuedMoment]] = {}
    for row in of_stage(events, "pretrain", "evaluation"):
        for each in objects(row.get("continuations")):
            prompt, text = words(each.get("prompt")), words(each.get("text"))
            if prompt is not None and text is not None:
                moment = ContinuedMoment(step=whole(row.get("step")) or 0, text=text)
                continued.setdefault(prompt, []).append(moment)
    return [ContinuedPrompt(prompt=prompt, moments=moments) for prompt, moments in continued.items()]
