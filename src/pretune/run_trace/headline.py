"""What a run found, in one sentence that holds for every state of it; never more than was measured."""

from __future__ import annotations

from dataclasses import dataclass

from pretune.run_trace import formats
from pretune.run_trace.comparison import find_delivered, find_verdict, name_test
from pretune.run_trace.metrics import points_of, rows_of, write_interval, write_named, write_score
from pretune.run_trace.shown_trial import find_test
from pretune.scoring.metric_titles import points_interval, signed_points
from pretune.trace_schema import ComparedModel, Comparison, Evaluation, Phase, Phases, Stage, Strategies, Verdict

_TRAINING = ("pretrain", "finetune", "scratch", "compare")
NOT_MEASURED = "Whether pre-training helped was not measured: no network was trained from scratch beside it."
NOT_COMPARED = "Whether pre-training helped is not known: the network from scratch has not been compared yet."


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The sentence, the part of it to set off, and the sentence below."""

    sentence: str
    figure: str | None = None
    detail: str = ""


def write_headline(
    stages: list[Stage], phases: Phases, comparison: Comparison | None, strategies: Strategies | None = None
) -> Headline:
    """The conclusion of a comparison of strategies, or the verdict on pre-training; without them, the best figure that
    the run has; without any, how far it came.

    If linear models are stacked on the network, or the seeds averaged, the model as delivered is named, too.
    """
    if strategies is not None:
        first, stop, rest = strategies.conclusion.partition(". ")
        detail = " ".join(filter(None, [rest, strategies.reason, strategies.budget]))
        return Headline(sentence=first + stop.strip(), detail=detail)
    verdict = find_verdict(comparison, "scratch")
    running = next((stage for stage in stages if stage.status == "running"), None)
    if verdict is not None and comparison is not None:
        return _of_verdict(verdict, comparison)
    if comparison is not None and find_delivered(comparison) is not None:
        return _of_delivered(comparison, phases.finetune, _open_question(stages, running))
    if phases.finetune is not None and phases.finetune.objective == "replies" and phases.finetune.evaluations:
        return _of_replies(phases.finetune, running)
    if phases.finetune is not None and (find_test(phases.finetune) is not None or phases.finetune.evaluations):
        return _of_classifier(phases.finetune, _open_question(stages, running))
    if phases.pretrain is not None and phases.pretrain.evaluations:
        return _of_pretraining(phases.pretrain, running)
    if running is not None:
        return Headline(sentence=_at(running), detail=running.reached or "")
    return _of_stages(stages, phases)


def _open_question(stages: list[Stage], running: Stage | None) -> str:
    """What is missing for a verdict on pre-training, or the stage at which the run is."""
    if running is not None:
        return _at(running)
    return NOT_COMPARED if has_control(stages) else NOT_MEASURED


def has_control(stages: list[Stage]) -> bool:
    """Whether the same network has been trained from scratch."""
    return any(stage.name == "scratch" and stage.status == "finished" for stage in stages)


def _of_verdict(verdict: Verdict, comparison: Comparison) -> Headline:
    unit = points_of(verdict.metric)
    figure = f"{signed_points(verdict.difference)} {unit}"
    lead, against = {
        "better": ("Pre-training helped", "over"),
        "worse": ("Pre-training hurt", "against"),
        "no clear difference": ("No clear difference from pre-training", "against"),
    }[verdict.outcome]
    models = {model.kind: model for model in comparison.models}
    pretrained = models.get("pretrained")
    n = ""
    if pretrained is not None and pretrained.n:
        n = f" on the same {formats.count(pretrained.n)} test {rows_of(comparison.metric)}"
    detail = f"The 95 % interval is {points_interval(verdict.low, verdict.high)} points{n}."
    detail = " ".join(filter(None, [detail, name_test(verdict), _on_seeds(models), _describe_delivered(comparison)]))
    return Headline(
        sentence=f"{lead}: {figure} {against} the same network from scratch.",
        figure=None if verdict.outcome == "no clear difference" else figure,
        detail=detail.strip(),
    )


def _describe_delivered(comparison: Comparison) -> str:
    """The figure of the model as delivered, and its verdict against the best linear baseline; nothing if one seed of
    the network is delivered alone."""
    model = find_delivered(comparison)
    if model is None:
        return ""
    unit = " %" if comparison.metric == "accuracy" else ""
    bounds = write_interval(comparison.metric, (model.low, model.high))
    figure = (
        f"is right on {write_score(comparison.metric, model.score)}"
        if comparison.metric == "accuracy"
        else f"reaches {write_named(comparison.metric, model.score)}"
    )
    sentence = f"The model as delivered, {model.name}, {figure} (95 % interval {bounds}{unit})"
    verdict = next((v for v in comparison.verdicts if v.between[:1] == [model.kind] and v.slice is None), None)
    if verdict is None:
        return f"{sentence}."
    other = next((m.name for m in comparison.models if m.kind == verdict.between[-1]), verdict.between[-1])
    against = {"better": f"better than {other}", "worse": f"worse than {other}"}.get(
        verdict.outcome, f"no clear difference from {other}"
    )
    points = f"{signed_points(verdict.difference)} {points_of(verdict.metric)}"
    found = f"{sentence}: {against}, {points} ({points_interval(verdict.low, verdict.high)})."
    return " ".join(filter(None, [found, name_test(verdict)]))


def _of_delivered(comparison: Comparison, phase: Phase | None, open_question: str) -> Headline:
    """A run without a control, whose model has linear models stacked on it, or is the mean of the seeds."""
    model = find_delivered(comparison)
    assert model is not None
    figure = write_score(comparison.metric, model.score)
    reaches = (
        f"classifies {figure} of the test texts correctly"
        if comparison.metric == "accuracy"
        else f"reaches {write_named(comparison.metric, model.score)} on the test texts"
    )
    parts = [_describe_delivered(comparison), _describe_network(model, comparison, phase), open_question]
    return Headline(
        sentence=f"The model as delivered, {model.name}, {reaches}.",
        figure=figure,
        detail=" ".join(filter(None, parts)),
    )


def _describe_network(delivered: ComparedModel, comparison: Comparison, phase: Phase | None) -> str:
    """The figure of the network that linear models are stacked on, of one seed of those that are averaged, or of the
    model that labelled the corpus for a student."""
    models = {each.kind: each for each in comparison.models}
    seeds, averaged, teacher = models.get("pretrained"), models.get("averaged"), models.get("teacher")
    place = None if phase is None or phase.metric != comparison.metric else find_test(phase)
    name, score = "The network alone", None
    if delivered.kind == "student" and teacher is not None:
        name, score = "The model before self-training", teacher.score
    elif delivered.kind == "stack" and "student" in models:
        score = models["student"].score
    elif delivered.kind == "stack" and averaged is not None:
        score = averaged.score
    elif delivered.kind == "stack" and phase is not None and place is not None:
        score = phase.test[place].score
    elif seeds is not None:
        score = seeds.score
        if delivered.kind == "averaged":
            name = "One seed of it, on average"
        elif len(seeds.seeds) > 1:
            name = "One seed of the network, on average"
    return "" if score is None else f"{name}: {write_score(comparison.metric, score)}."


def _on_seeds(models: dict[str, ComparedModel]) -> str:
    """What the seeds say of the variation between runs."""
    seeds = [len(models[kind].seeds) for kind in ("pretrained", "scratch") if kind in models]
    if not seeds:
        return ""
    if min(seeds) <= 1:
        return "With one seed, variation between runs is not seen."
    return f"Each side is the mean of {' and '.join(str(n) for n in dict.fromkeys(seeds))} seeds."


def _at(running: Stage) -> str:
    return f"The run is at its stage {running.name}."


def _of_classifier(phase: Phase, open_question: str) -> Headline:
    place = find_test(phase)
    if place is not None:
        test = phase.test[place]
        figure = write_score(phase.metric, test.score)
        unit = " %" if phase.metric == "accuracy" else ""
        bounds = write_interval(phase.metric, (test.low, test.high))
        interval = f"The 95 % interval is {bounds}{unit} on {formats.count(test.n)} {rows_of(phase.metric)}."
        if phase.metric != "accuracy":
            sentence = f"On the test texts, the fine-tuned model reaches {write_named(phase.metric, test.score)}."
            return Headline(sentence=sentence, figure=figure, detail=f"{interval} {open_question}")
        return Headline(
            sentence=f"The fine-tuned model classifies {figure} of the test texts correctly.",
            figure=figure,
            detail=f"{interval} {open_question}",
        )
    row = best_evaluation(phase)
    figure = write_score(phase.metric, row.score)
    count = len(phase.averaged_trials)
    model = f"one of the {count} networks whose weights are averaged" if count else "the fine-tuned model"
    if phase.metric != "accuracy":
        sentence = f"On the validation texts, {model} reaches {write_named(phase.metric, row.score)}."
        detail = f"It has not been tried on test texts. {open_question}"
        return Headline(sentence=sentence, figure=figure, detail=detail)
    n = f" of {formats.count(row.n)}" if row.n else " of the"
    return Headline(
        sentence=f"{model[:1].upper()}{model[1:]} classifies {figure}{n} validation texts correctly.",
        figure=figure,
        detail=f"It has not been tried on test texts. {open_question}",
    )


def _of_replies(phase: Phase, running: Stage | None) -> Headline:
    """The loss on held-out replies, before and after tuning on conversations."""
    found, first, row = phase.replies, phase.evaluations[0], best_evaluation(phase)
    if found is None:
        figure = formats.nats(row.loss)
        sentence = f"At step {formats.count(row.step)}, the loss on validation replies is {figure} nats per token."
        started = f"It was {formats.nats(first.loss)} before training." if row.step else ""
        return Headline(sentence=sentence, figure=figure, detail=f"{started} {_at(running) if running else ''}".strip())
    figure = formats.nats(found.loss)
    on = f"{formats.count(found.n)} reply tokens of {formats.count(found.conversations)} conversations"
    chose = found.measured_on == "validation"  # there are no test conversations
    whose = "the validation replies, which also chose the weights," if chose else "held-out replies"
    interval = ""
    if found.loss_low is not None and found.loss_high is not None:
        interval = f"The 95 % interval is {formats.nats(found.loss_low)} to {formats.nats(found.loss_high)} on {on}. "
    return Headline(
        sentence=f"On {whose} the loss is {figure} nats per token; before tuning it was "
        f"{formats.nats(found.base_loss)}.",
        figure=figure,
        detail=f"{interval}A low loss does not make a reply true.",
    )


def best_evaluation(phase: Phase) -> Evaluation:
    """The evaluation whose weights are kept; before that is decided, the latest one."""
    return next((row for row in phase.evaluations if row.is_best), phase.evaluations[-1])


def _of_pretraining(phase: Phase, running: Stage | None) -> Headline:
    row = phase.evaluations[-1]
    figure = formats.percent(row.score)
    total = f" of {formats.count(phase.plan.steps)}" if running is not None and phase.plan is not None else ""
    guess = next((each for each in phase.accuracy_references if each.id == "most_frequent"), None)
    detail = "" if guess is None else f"Always predicting the most frequent token gives {formats.percent(guess.value)}."
    ended = "There is no classifier, since nothing has been trained on labels." if running is None else _at(running)
    return Headline(
        sentence=f"After {formats.count(row.step)}{total} steps, {figure} of {phase.unit} are predicted correctly.",
        figure=figure,
        detail=f"{detail} {ended}".strip(),
    )


def _of_stages(stages: list[Stage], phases: Phases) -> Headline:
    finished = [stage for stage in stages if stage.status == "finished"]
    if not finished:
        return Headline(sentence="Nothing has been logged yet.")
    latest = finished[-1]
    quantities = [
        f"{formats.count(each.value)} {formats.unit_of(each.name, each.value)}"
        for each in latest.shape_out
        if isinstance(each.value, int | float)
    ]
    made = f": {', '.join(quantities[:3])}" if quantities else ""
    if phases.scratch is not None and (phases.scratch.test or phases.scratch.evaluations):
        detail = "It is the control of a run: the same network, trained without pre-training."
    elif any(stage.name in _TRAINING for stage in finished):
        detail = "Its log has no figures of a model that this version of pretune can read."
    else:
        detail = "No model has been trained yet."
    return Headline(sentence=f"The stage {latest.name} is finished{made}.", detail=detail)
