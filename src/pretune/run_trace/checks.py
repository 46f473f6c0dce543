"""Invariants of a run and of its trace, tested when the trace is made; one that fails is shown as failing.

Each is computed from the trace or from the files of the run, and is left out where the run has nothing to compute it
from. Those with `in_browser` are computed a second time by the page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretune.run_trace.codec import to_json
from pretune.run_trace.expression import evaluate, read_pointer
from pretune.run_trace.log_values import figure, of_stage, whole
from pretune.run_trace.metrics import title_of
from pretune.run_trace.places import has_absolute_path
from pretune.run_trace.prediction_checks import check_predictions
from pretune.run_trace.quiz.verify import verify
from pretune.run_trace.shown_trial import seed_results, trial_shown
from pretune.run_trace.text_overlap import count_shared_rows, find_in_training
from pretune.run_trace.training import BASE
from pretune.run_trace.user_texts import Place, texts_of
from pretune.runtime.events import Event
from pretune.trace_schema import Check, Phase, Question, RunTrace, Stage, TestErrors

ROUNDING = 2e-5  # relative, of a number computed from others with six significant digits
GUESSING = 0.3  # nats around ln V, within which an untrained model guesses
_MESSAGES = Place("Message", "sentence")  # ours, with names of the user's columns and files
_NOT_TEXT = ("pointers", "derivations", "expression", "weights")
_SECRET = re.compile(r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|AKIA|xox[bap]-)[A-Za-z0-9_-]{12,}")


def check_run(trace: RunTrace, events: list[Event], run: Path | None = None) -> list[Check]:
    """All checks that apply to a run, in the order of their ids. `run` is its folder, for those that read files."""
    found = [
        *check_predictions(trace),
        _check_totals(trace),
        _check_best_evaluation(trace),
        _check_test_access(events),
        _check_flow(trace),
        None if run is None else _check_splits(run),
        None if run is None else _check_watched(trace, run),
        check_derivations(trace),
        _check_first_loss(trace),
        check_privacy(trace),
    ]
    known = [replace(check, value=figure(check.value)) for check in found if check is not None]
    return sorted(known, key=lambda check: check.id)


# ---- the test


def _check_totals(trace: RunTrace) -> Check | None:
    """The confusion matrix, the row of the training log, and the comparison give the same figures."""
    errors, phase = trace.errors, trace.phases.finetune
    if errors is not None and phase is not None and phase.metric != "accuracy":
        return _check_scores(trace, errors, phase)
    if errors is None or phase is None or not errors.confusion:
        return None
    total = sum(map(sum, errors.confusion))
    right = sum(row[index] for index, row in enumerate(errors.confusion))
    pointers, differences = ["/errors/confusion"], [abs(total - errors.n) / max(errors.n, 1)]
    for index, test in enumerate(phase.test):
        if (test.seed, test.is_student) == (errors.seed, phase.is_self_trained):
            pointers.append(f"/phases/finetune/test/{index}")
            differences += [abs(right / max(total, 1) - test.score), abs(test.n - total) / max(total, 1)]
    for index, model in enumerate(trace.comparison.models if trace.comparison is not None else []):
        if (mean := _mean_test(phase, model.kind)) is not None:
            pointers.append(f"/comparison/models/{index}")
            differences.append(abs(mean - model.score))
    return Check(
        id="I12",
        name="Confusion matrix, test and comparison agree",
        sentence=f"{right:,} of {total:,} test rows are right; the figures of other tables differ by at most "
        f"{max(differences):.1e}.",
        is_ok=max(differences) <= ROUNDING,
        value=max(differences),
        tolerance=ROUNDING,
        in_browser=True,
        pointers=pointers,
    )


def _check_scores(trace: RunTrace, errors: TestErrors, phase: Phase) -> Check | None:
    """The errors, the row of the training log, and the comparison give the same main metric."""
    found = {
        "label_sets/micro_f1": None if errors.label_sets is None else errors.label_sets.micro_f1,
        "scores/pearson": None if errors.scores is None else errors.scores.pearson,
        "entities/entity_f1": None if errors.entities is None else errors.entities.entity_f1,
    }
    place, score = next(((place, score) for place, score in found.items() if score is not None), ("", None))
    if score is None:
        return None
    pointers, differences = [f"/errors/{place}"], []
    for index, test in enumerate(phase.test):
        if (test.seed, test.is_student) == (errors.seed, phase.is_self_trained):
            pointers.append(f"/phases/finetune/test/{index}")
            differences += [abs(score - test.score), abs(test.n - errors.n) / max(errors.n, 1)]
    for index, model in enumerate(trace.comparison.models if trace.comparison is not None else []):
        if (mean := _mean_test(phase, model.kind)) is not None:
            pointers.append(f"/comparison/models/{index}")
            differences.append(abs(mean - model.score))
    worst = max(differences, default=0.0)
    return Check(
        id="I12",
        name="Errors, test and comparison agree",
        sentence=f"The {title_of(phase.metric)} of the {errors.n:,} predictions is {score:.4f}; the figures of other "
        f"tables differ by at most {worst:.1e}.",
        is_ok=worst <= ROUNDING,
        value=worst,
        tolerance=ROUNDING,
        in_browser=True,
        pointers=pointers,
    )


def _mean_test(phase: Phase, kind: str) -> float | None:
    """The test score of the seeds, on average, of the mean of their weights, or of a student, for these kinds of a
    compared model."""
    of_seeds = seed_results(phase)
    others = [test for test in phase.test if test not in of_seeds]
    tests = {
        "pretrained": of_seeds,
        "averaged": [test for test in others if not test.is_student],
        "student": [test for test in others if test.is_student],
    }.get(kind)
    return math.fsum(test.score for test in tests) / len(tests) if tests else None


def _check_test_access(events: list[Event]) -> Check | None:
    """Test rows were read once for each seed, for their mean and for a student, and after every choice was made."""
    tests = [event for event in events if event["event"] == "test"]
    if not tests:
        return None
    early = repeated = 0
    for stage in ("finetune", "scratch"):
        own = of_stage(events, stage)
        places = [index for index, event in enumerate(own) if event["event"] == "test"]
        choices = [index for index, event in enumerate(own) if event["event"] in ("evaluation", "chosen")]
        early += sum(place < max(choices, default=-1) for place in places)
        seeds = [(whole(own[place].get("seed")), bool(own[place].get("is_student"))) for place in places]
        repeated += len(seeds) - len(set(seeds))
    return Check(
        id="I14",
        name="The test was used once",
        sentence=f"Of {len(tests)} evaluations on test rows, {early} came before the last choice and {repeated} were "
        "repeats for a seed.",
        is_ok=early + repeated == 0,
        value=float(early + repeated),
        tolerance=0.0,
        in_browser=False,
        pointers=[f"/phases/{stage}/test" for stage in ("finetune", "scratch") if of_stage(events, stage, "test")],
    )


def _check_splits(run: Path) -> Check | None:
    found = count_shared_rows(run)
    if found is None:
        return None
    shared, total = found
    return Check(
        id="I15",
        name="No text is in two splits",
        sentence=f"{shared:,} of {total:,} labelled texts are also in another split, case and blanks apart.",
        is_ok=shared == 0,
        value=float(shared),
        tolerance=0.0,
        in_browser=False,
        pointers=["/stages"],
    )


# ---- training


def _check_best_evaluation(trace: RunTrace) -> Check | None:
    """The kept evaluation has the best score of its trial, and among equal ones the smallest loss."""
    pointers, worse = [], 0
    for phase in (trace.phases.finetune, trace.phases.scratch):
        kept = _kept(phase)
        if phase is not None and kept is not None:
            pointers.append(f"/phases/{phase.stage}/evaluations/{kept}")
            scores = [_score(phase, index) for index in range(len(phase.evaluations))]
            worse += scores[kept] < max(scores)
    if not pointers:
        return None
    return Check(
        id="I13",
        name="The kept weights have the best score",
        sentence=f"Of {len(pointers)} shown trials, {worse} kept an evaluation with another than the best validation "
        "score.",
        is_ok=worse == 0,
        value=float(worse),
        tolerance=0.0,
        in_browser=False,
        pointers=pointers,
    )


def _kept(phase: Phase | None) -> int | None:
    trial = None if phase is None else trial_shown(phase)
    if phase is None or trial is None or trial.stopped in (None, "updates"):  # the last weights were kept, unchosen
        return None
    return next((index for index, row in enumerate(phase.evaluations) if row.is_best), None)


def _score(phase: Phase, index: int) -> tuple[float, float]:
    row, trial = phase.evaluations[index], trial_shown(phase)
    score = row.macro_f1 if trial is not None and trial.metric == "macro_f1" else row.score
    return (-math.inf if score is None else score), -row.loss


def _check_first_loss(trace: RunTrace) -> Check | None:
    """Before the first step a language model with random weights guesses: its loss is near ln V."""
    phase = trace.phases.pretrain
    references = {} if phase is None else {each.id: index for index, each in enumerate(phase.loss_references)}
    if phase is None or not phase.evaluations or phase.evaluations[0].step != 0 or "uniform" not in references:
        return None
    if BASE in references:
        return None
    loss, uniform = phase.evaluations[0].loss, phase.loss_references[references["uniform"]].value
    return Check(
        id="I18",
        name="Pre-training starts from a guess",
        sentence=f"Before the first step the loss is {loss:.2f} nats, {abs(loss - uniform):.2f} from ln V.",
        is_ok=abs(loss - uniform) <= GUESSING,
        value=abs(loss - uniform),
        tolerance=GUESSING,
        in_browser=False,
        pointers=[
            "/phases/pretrain/evaluations/0/loss",
            f"/phases/pretrain/loss_references/{references['uniform']}/value",
        ],
    )


def _check_watched(trace: RunTrace, run: Path) -> Check | None:
    """The watched sentences are held out; the training text is searched for them again."""
    if not trace.watched:
        return None
    logged = [sentence.is_in_training for sentence in trace.watched]
    whole_texts = tuple(each.masked_text.replace("[MASK]", each.true_word) for each in trace.watched)
    searched = find_in_training(run, whole_texts)
    count = sum(a or b for a, b in zip(logged, searched or logged, strict=True))
    how = "as logged when they were chosen" if searched is None else "searched again in the training documents"
    return Check(
        id="I16",
        name="Watched sentences are held out",
        sentence=f"{count} of {len(logged)} watched sentences stand in the training text, {how}.",
        is_ok=count == 0,
        value=float(count),
        tolerance=0.0,
        in_browser=False,
        pointers=["/watched"],
    )


# ---- data flow


def _check_flow(trace: RunTrace) -> Check | None:
    """No document is lost without a reason: documents in, minus dropped ones, are documents out."""
    stages = {stage.name: (index, stage) for index, stage in enumerate(trace.stages)}
    if "preprocess" not in stages or stages["preprocess"][1].status != "finished":
        return None
    index, stage = stages["preprocess"]
    came, went = (
        _quantity(stage, "documents", of_input=True),
        [_quantity(stage, name) for name in ("train_documents", "validation_documents")],
    )
    steps = trace.funnel.steps if trace.funnel is not None else []
    if came is None or None in went or not steps:
        return None
    out = sum(count for count in went if count is not None)
    lost = abs(steps[0].documents - came) + abs(steps[-1].documents - out)
    return Check(
        id="I21",
        name="Every document is accounted for",
        sentence=f"Of {came:,} documents, the rules dropped {steps[0].documents - steps[-1].documents:,} and {out:,} "
        f"were handed on; {lost:,} are unexplained.",
        is_ok=lost == 0,
        value=float(lost),
        tolerance=0.0,
        in_browser=False,
        pointers=[f"/stages/{index}", "/funnel/steps"],
    )


def _quantity(stage: Stage, name: str, *, of_input: bool = False) -> int | None:
    entries = stage.shape_in if of_input else stage.shape_out
    return next((whole(each.value) for each in entries if each.name.replace(" ", "_") == name), None)


# ---- the document itself


def check_derivations(trace: RunTrace) -> Check | None:
    """Every number of an observation and an insight, and every answer, is computed again with its expression; every
    pointer leads somewhere."""
    written = to_json(trace)
    findings = [
        *(o for stage in ("pretrain", "finetune", "scratch") for o in _observations(written, stage)),
        *written["insights"],
    ]
    numbers, wrong, places = 0, 0, []
    for each in findings:
        differ = [name for name, value in each["numbers"].items() if not _derives(each, name, value, written)]
        numbers += len(each["numbers"])
        if differ or not all(_leads_somewhere(pointer, written) for pointer in each["pointers"]):
            wrong += max(len(differ), 1)
            places += each["pointers"]
    questions = _questions(trace)
    unsound = [pointer for pointer, question in questions if not verify(question, written)]
    wrong, places = wrong + len(unsound), places + unsound
    if not findings and not questions:
        return None
    return Check(
        id="I17",
        name="Observations and answers re-derive",
        sentence=f"Of {numbers:,} numbers in {len(findings):,} observations and insights, and {len(questions):,} "
        f"answers of the quiz, {wrong:,} do not follow from this trace.",
        is_ok=wrong == 0,
        value=float(wrong),
        tolerance=0.0,
        in_browser=True,
        pointers=list(dict.fromkeys(places)) or ["/phases"],
    )


def _questions(trace: RunTrace) -> list[tuple[str, Question]]:
    """Every question of the quiz, with its pointer."""
    parts = {} if trace.quiz is None else {name: getattr(trace.quiz, name) for name in ("quiz", "practice", "test")}
    return [(f"/quiz/{name}/{index}", each) for name, part in parts.items() for index, each in enumerate(part)]


def _observations(written: dict[str, Any], stage: str) -> Iterator[dict[str, Any]]:
    for row in (written["phases"][stage] or {"evaluations": []})["evaluations"]:
        yield from row["observations"]


def _derives(finding: dict[str, Any], name: str, value: float, written: dict[str, Any]) -> bool:
    try:
        computed = evaluate(finding["derivations"].get(name), written)
    except ValueError:
        return False
    is_number = isinstance(computed, int | float) and not isinstance(computed, bool)
    return is_number and abs(computed - value) <= max(1e-6, ROUNDING * abs(value))


def _leads_somewhere(pointer: str, written: dict[str, Any]) -> bool:
    try:
        return read_pointer(written, pointer) is not None
    except ValueError:
        return False


def check_privacy(trace: RunTrace) -> Check:
    """No folder of this machine, and nothing that looks like an access token, outside of the user's own texts."""
    ours = [
        text
        for text, is_of_user, place in texts_of(trace)
        if (not is_of_user or place == _MESSAGES) and (place is None or place.field not in _NOT_TEXT)
    ]
    found = [text for text in ours if has_absolute_path(text) or _SECRET.search(text)]
    return Check(
        id="I19",
        name="No path and no secret",
        sentence=f"{len(found)} of our own texts have an absolute path or look like they have an access token.",
        is_ok=not found,
        value=float(len(found)),
        tolerance=0.0,
        in_browser=False,
        pointers=[""],
    )
