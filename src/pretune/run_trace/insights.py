"""The finished trace in; out come at most three sentences by rule, negative results included, and what to try next.

Each number has an expression that computes it from the trace. A rule that measured nothing says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pretune.evaluation.verdicts import NOT_LINEAR
from pretune.run_trace import formats
from pretune.run_trace.commands import joined, label_commands, run_command, self_train_command
from pretune.run_trace.comparison import find_verdict, name_test
from pretune.run_trace.later_labels import describe_untuned, has_later_labels, remaining_commands
from pretune.run_trace.log_values import rounded
from pretune.run_trace.metrics import points_of, write_named
from pretune.run_trace.noise import loss_noise
from pretune.run_trace.shown_trial import find_test_of_shown
from pretune.scoring.metric_titles import points_interval, signed_points
from pretune.tasks.task import LEAST_JUDGING_ROWS
from pretune.trace_schema import DELIVERED, Insight, NextStep, Phase, RunTrace, Verdict

MOST = 3
FEW_ROWS = 2000  # labelled; a student was found better with 1,000 (docs/experiments.md)
Rule = Callable[[RunTrace], Insight | None]
Numbers = dict[str, tuple[float, Any]]  # the value of each number, and the expression that computes it


def find_insights(trace: RunTrace) -> list[Insight]:
    """The first three findings, the most important first."""
    found = (rule(trace) for rule in RULES)
    return [insight for insight in found if insight is not None][:MOST]


def _insight(rule: str, sentence: str, numbers: Numbers, pointers: list[str]) -> Insight:
    return Insight(
        rule=rule,
        sentence=sentence,
        numbers={name: rounded(value) for name, (value, _) in numbers.items()},
        derivations={name: expression for name, (_, expression) in numbers.items()},
        pointers=pointers,
    )


# ---- did pre-training help


def _of_verdict(trace: RunTrace, verdict: Verdict) -> tuple[Numbers, str]:
    assert trace.comparison is not None
    pointer = f"/comparison/verdicts/{trace.comparison.verdicts.index(verdict)}"
    numbers = {
        "difference": (verdict.difference, ["at", f"{pointer}/difference"]),
        "low": (verdict.low, ["at", f"{pointer}/low"]),
        "high": (verdict.high, ["at", f"{pointer}/high"]),
    }
    if verdict.p_value is not None and name_test(verdict):
        numbers["p_value"] = (verdict.p_value, ["at", f"{pointer}/p_value"])
    return numbers, pointer


def _figures(verdict: Verdict) -> str:
    unit = points_of(verdict.metric)
    interval = f"95 % interval {points_interval(verdict.low, verdict.high)}"
    test = name_test(verdict)
    return f"{signed_points(verdict.difference)} {unit} ({interval}).{f' {test}' if test else ''}"


def _help(trace: RunTrace) -> Insight | None:
    """The verdict on the slice where the difference is largest; without slices, that on all test rows. If pre-training
    helped on some slice, it is one of these, since `_no_help_on_a_slice` names the worst of the others."""
    verdicts = trace.comparison.verdicts if trace.comparison is not None else []
    control = [verdict for verdict in verdicts if verdict.between == ["pretrained", "scratch"]]
    on_slices = [v for v in control if v.slice is not None and v.outcome != "no clear difference"]
    overall = find_verdict(trace.comparison, "scratch")
    better = [v for v in on_slices if v.outcome == "better"]
    verdict = max(better or on_slices, key=lambda v: abs(v.difference), default=overall)
    if verdict is None:
        return None
    numbers, pointer = _of_verdict(trace, verdict)
    place = "" if verdict.slice is None else f" on the test texts of slice “{verdict.slice}”"
    lead = {
        "better": f"Pre-training made the difference{place}",
        "worse": f"Pre-training did harm{place}",
        "no clear difference": f"Pre-training made no clear difference{place}",
    }[verdict.outcome]
    return _insight("help", f"{lead}: {_figures(verdict)}", numbers, [pointer])


def _no_help_on_a_slice(trace: RunTrace) -> Insight | None:
    """A slice on which pre-training did not help, if it helped elsewhere."""
    verdicts = trace.comparison.verdicts if trace.comparison is not None else []
    control = [v for v in verdicts if v.between == ["pretrained", "scratch"] and v.slice is not None]
    not_better = [verdict for verdict in control if verdict.outcome != "better"]
    if not not_better or len(not_better) == len(control):
        return None
    verdict = min(not_better, key=lambda v: v.difference)
    numbers, pointer = _of_verdict(trace, verdict)
    lead = "it did harm" if verdict.outcome == "worse" else "no clear difference was measured"
    return _insight("no help", f"On slice “{verdict.slice}” {lead}: {_figures(verdict)}", numbers, [pointer])


_WORD_COUNTS = {"tfidf": "TF-IDF with logistic regression", "nbsvm": "NB-SVM"}


def _linear(trace: RunTrace) -> Insight | None:
    """A linear baseline that our model is not clearly better than."""
    models = trace.comparison.models if trace.comparison is not None else []
    named = _WORD_COUNTS | {model.kind: model.name for model in models if model.kind not in NOT_LINEAR}
    for kind, name in named.items():
        verdict = find_verdict(trace.comparison, kind)
        if verdict is None or verdict.outcome == "better":
            continue
        numbers, pointer = _of_verdict(trace, verdict)
        which = ", which only counts words" if kind in _WORD_COUNTS else ""
        model = "model as delivered" if verdict.between[0] in DELIVERED else "pre-trained model"
        lead = f"{name[:1].upper()}{name[1:]}{which}{',' if which else ''} does better than the {model}"
        if verdict.outcome != "worse":
            lead = f"There is no clear difference between the {model} and {name}{which}"
        sentence = f"{lead}: {_figures(verdict)}"
        return _insight("linear", sentence, numbers, [pointer])
    return None


def _validation_gap(trace: RunTrace) -> Insight | None:
    """A validation score outside the interval of the test score: then validation does not stand for the test."""
    for phase, origin in ((trace.phases.scratch, " from scratch"), (trace.phases.finetune, "")):
        best, place = _best(phase), None if phase is None else find_test_of_shown(phase)
        if phase is None or best is None or place is None:
            continue
        row, test = phase.evaluations[best], phase.test[place]
        if row.score - row.score_noise <= test.high:
            continue
        base = f"/phases/{phase.stage}"
        measure = "accuracy" if phase.metric == "accuracy" else "score"
        # One seed, without linear models that may be stacked on it: validation is measured of nothing else.
        count = len(phase.averaged_trials)
        name = f"one of the {count} networks{origin} whose weights are averaged" if count else f"the network{origin}"
        numbers = {
            f"validation_{measure}": (row.score, ["at", f"{base}/evaluations/{best}/{measure}"]),
            f"test_{measure}": (test.score, ["at", f"{base}/test/{place}/{measure}"]),
        }
        figures = (
            f"{name} classifies {formats.percent(row.score)} of the validation texts correctly, and "
            f"{formats.percent(test.score)} of the test texts"
            if phase.metric == "accuracy"
            else f"{name} reaches {write_named(phase.metric, row.score)} there, and {test.score:.3f} here"
        )
        sentence = f"Validation promised more than the test gave: {figures}."
        return _insight("validation", sentence, numbers, [f"{base}/evaluations/{best}", f"{base}/test/{place}"])
    return None


def _best(phase: Phase | None) -> int | None:
    rows = phase.evaluations if phase is not None else []
    return next((index for index, row in enumerate(rows) if row.is_best), None)


# ---- the network alone, without linear models that may be stacked on it


def _calibration(trace: RunTrace) -> Insight | None:
    """Probabilities that are off by more than chance explains."""
    found = trace.errors.calibration if trace.errors is not None else []
    for index, each in enumerate(found):
        if each.model not in ("pretrained", "averaged", "student") or each.error <= each.error_by_chance:
            continue
        pointer = f"/errors/calibration/{index}"
        numbers = {
            "error": (each.error, ["at", f"{pointer}/error"]),
            "error_by_chance": (each.error_by_chance, ["at", f"{pointer}/error_by_chance"]),
        }
        sentence = (
            f"The network's probabilities are off by {100 * each.error:.1f} points on average, where chance alone "
            f"would give up to {100 * each.error_by_chance:.1f}."
        )
        return _insight("calibration", sentence, numbers, [pointer])
    return None


def _pretraining(trace: RunTrace) -> Insight | None:
    """How far pre-training came, next to what word frequencies alone give."""
    phase = trace.phases.pretrain
    known = {each.id: index for index, each in enumerate(phase.loss_references)} if phase is not None else {}
    if phase is None or len(phase.evaluations) < 2 or "unigram" not in known:
        return None
    last, base = len(phase.evaluations) - 1, "/phases/pretrain"
    loss, level = phase.evaluations[last].loss, phase.loss_references[known["unigram"]].value
    row, reference = f"{base}/evaluations/{last}", f"{base}/loss_references/{known['unigram']}"
    numbers = {"loss": (loss, ["at", f"{row}/loss"]), "unigram": (level, ["at", f"{reference}/value"])}
    is_lower = loss < level
    is_clear = loss < level - loss_noise(phase.evaluations[last])  # as the observations judge it
    side = "below" if is_clear else "not measurably below" if is_lower else "not below"
    sentence = (
        f"On {phase.unit} the loss reached {formats.nats(loss)} nats, {side} the {formats.nats(level)} that word "
        "frequencies alone give."
    )
    return _insight("pre-training", sentence, numbers, [row, reference])


def _confusion(trace: RunTrace) -> Insight | None:
    """The most frequent mistake, if there are more than two classes."""
    found = trace.errors
    if found is None or len(found.labels) < 3 or not found.confusion:
        return None
    cells = [
        (count, label, predicted)
        for label, row in enumerate(found.confusion)
        for predicted, count in enumerate(row)
        if label != predicted
    ]
    count, label, predicted = max(cells, key=lambda cell: cell[0])
    wrong = sum(cell[0] for cell in cells)
    if count < 2:
        return None
    matrix = ["at", "/errors/confusion"]
    right = ["sum", ["list", *(["at", f"/errors/confusion/{k}/{k}"] for k in range(len(found.labels)))]]
    numbers: Numbers = {
        "count": (count, ["at", f"/errors/confusion/{label}/{predicted}"]),
        "wrong": (wrong, ["sub", ["sum", ["flatten", matrix]], right]),
    }
    sentence = (
        f"The network's most frequent mistake takes “{found.labels[label]}” for “{found.labels[predicted]}”: "
        f"{formats.count(count)} of {formats.count(wrong)} wrong texts."
    )
    return _insight("confusion", sentence, numbers, [f"/errors/confusion/{label}/{predicted}"])


RULES: tuple[Rule, ...] = (
    _help,
    _no_help_on_a_slice,
    _linear,
    _validation_gap,
    _calibration,
    _pretraining,
    _confusion,
)


# ---- what to try next


def choose_next_step(trace: RunTrace) -> NextStep | None:
    """One command for what this run leaves open; None for a folder without a recipe."""
    if not trace.run.command:
        return None
    name, is_later = trace.run.name, has_later_labels(trace)
    if trace.run.status != "finished":
        command = joined(remaining_commands(trace)) if is_later else run_command(name)
        return NextStep(sentence="The run is not finished; this continues it.", command=command)
    if trace.phases.finetune is None and is_later:
        return NextStep(sentence=describe_untuned(trace), command=joined(remaining_commands(trace)))
    if trace.phases.finetune is None:
        return NextStep(
            sentence="Labelled texts show what the pre-trained model is good for.",
            command=joined(label_commands(name)),
        )
    verdict = find_verdict(trace.comparison, "scratch")
    models = trace.comparison.models if trace.comparison is not None else []
    seeds = [len(model.seeds) for model in models if model.kind in ("pretrained", "scratch")]
    if verdict is not None and min(seeds, default=2) == 1 and not is_later:  # whose recipe has no labels to repeat
        return NextStep(
            sentence="One seed leaves open how much a repeat would vary.",
            command=run_command(name, "--seeds", "3", "--out", f"{name}-seeds"),
        )
    rows = _labelled_rows(trace)
    can_judge = rows["validation"] >= 2 * LEAST_JUDGING_ROWS  # of which one may contain another
    if can_judge and sum(rows.values()) <= FEW_ROWS and _may_self_train(trace):
        return NextStep(
            sentence=f"{formats.count(sum(rows.values()))} labelled rows are few; a student can also learn from "
            "sentences of the text, which the model labels.",
            command=self_train_command(name),
        )
    if trace.run.is_synthetic:
        return NextStep(
            sentence="This run was made of synthetic text; your own text and labels show what it does for you.",
            command="pretune run --corpus TEXTS --labels LABELLED.csv --out runs/mine --minutes 20",
        )
    return NextStep(
        sentence="Longer pre-training, or more text, shows whether the limit is reached.",
        command=run_command(name, "--minutes", str(_longer_minutes(trace)), "--out", f"{name}-longer"),
    )


def _labelled_rows(trace: RunTrace) -> dict[str, int]:
    """The rows of training and of validation; 0 where they are not known."""
    of_stages = [each for stage in trace.stages if stage.name == "prepare" for each in stage.shape_out]
    known = {each.name: each.value for each in of_stages if isinstance(each.value, int)}
    return {split: known.get(f"{split} rows", 0) for split in ("train", "validation")}


def _may_self_train(trace: RunTrace) -> bool:
    """Whether a student fits the labels of a real run, and none was asked for."""
    is_fit = trace.run.task == "classification" and not trace.run.has_pairs and not trace.run.is_synthetic
    has_corpus = any(stage.name == "preprocess" and stage.status == "finished" for stage in trace.stages)
    phase = trace.phases.finetune
    return is_fit and has_corpus and phase is not None and not phase.wants_student


def _longer_minutes(trace: RunTrace) -> int:
    """A budget of an hour, or of twice the time that pre-training took, in tens of minutes."""
    seconds = next((stage.seconds for stage in trace.stages if stage.name == "pretrain"), None) or 0.0
    return max(60, 10 * math.ceil(2 * seconds / 600))
