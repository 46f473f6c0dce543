"""What a trace does not have, in a sentence each, with the command that adds it."""

from __future__ import annotations

from collections.abc import Mapping

from pretune.run_trace.commands import joined, label_commands, run_command
from pretune.run_trace.headline import NOT_COMPARED, NOT_MEASURED, has_control
from pretune.run_trace.later_labels import compare_again, describe_untuned, has_later_labels, remaining_commands
from pretune.runtime.events import LOG_NAME
from pretune.runtime.manifest import RECIPE_NAME, TRACE_NAME
from pretune.trace_schema import Missing, RunTrace

DAMAGED = f"{TRACE_NAME} is damaged and not shown; delete it and run the same command to write it again."


def find_missing(
    trace: RunTrace, *, is_damaged: bool = False, damaged_lines: Mapping[str, int] | None = None
) -> list[Missing]:
    """The sections that have nothing to show; `is_damaged`: the recorded predictions cannot be read. `damaged_lines` of
    the log of each stage are left out, so figures may be missing in sections that are there. A comparison of strategies
    has one section of its own and lacks nothing."""
    absent = {
        "flow": not any(stage.status != "missing" for stage in trace.stages),
        "training": not any(_phases(trace)),
        "help": trace.comparison is None and trace.strategies is None,
        "prediction": not trace.predictions,
        "errors": trace.errors is None,
        "quiz": trace.quiz is None,
        "insight": not trace.insights,
    }
    found = [_describe(section, trace) for section, is_absent in absent.items() if is_absent and not trace.strategies]
    if is_damaged and not trace.predictions:
        found = [Missing(section="prediction", sentence=DAMAGED, command=_again(trace))] + [
            each for each in found if each.section != "prediction"
        ]
    if trace.comparison is not None and not any(model.kind == "scratch" for model in trace.comparison.models):
        command = _compare_control(trace) if has_later_labels(trace) else _again(trace)
        found.append(Missing(section="help", sentence=_describe_control(trace), command=command))
    for stage, count in (damaged_lines or {}).items():
        lines = "1 line" if count == 1 else f"{count} lines"
        sentence = f"{lines} of {stage}/{LOG_NAME} cannot be read; figures may be missing."
        found.append(Missing(section="help" if trace.strategies else "flow", sentence=sentence, command=None))
    return found


def _phases(trace: RunTrace) -> list[bool]:
    phases = (trace.phases.pretrain, trace.phases.finetune, trace.phases.scratch)
    return [bool(phase.evaluations) for phase in phases if phase is not None]


def _describe_control(trace: RunTrace) -> str:
    """Why the control is not in the comparison, and how it gets there."""
    if has_control(trace.stages):
        return NOT_COMPARED
    if trace.run.command and not has_later_labels(trace):
        return f"{NOT_MEASURED} Set control = true in {RECIPE_NAME} and run again."
    return f"{NOT_MEASURED} Fine-tune with --from-scratch on the same rows, and compare with --scratch."


def _compare_control(trace: RunTrace) -> str | None:
    return joined(compare_again(trace)) if has_control(trace.stages) else None


def _again(trace: RunTrace) -> str | None:
    """The command that does what is not finished, and writes the trace of the run again."""
    if has_later_labels(trace):
        return joined(remaining_commands(trace))
    return run_command(trace.run.name) if trace.run.command else None


def _describe(section: str, trace: RunTrace) -> Missing:
    """Why a section is empty: a stage folder alone, no labels, conversations, no test rows, not compared, not finished,
    or not yet written."""
    known = {stage.name: stage.status for stage in trace.stages}
    finetune, is_compared = trace.phases.finetune, known.get("compare") == "finished"
    is_chat = finetune is not None and finetune.objective == "replies"  # tuned on a base, with no run around it
    if not trace.run.command and len(known) == 1 and not is_chat:
        stage = next(iter(known))
        sentence = f"This is the folder of the stage {stage} alone; the folder of the whole run has more."
        return Missing(section=section, sentence=sentence, command=None)
    if section in ("help", "prediction", "errors") and _has_no_labels(trace):
        sentence = "The run has no labels, so there is no classifier to look at."
        command = joined(label_commands(trace.run.name))
        is_ready = trace.run.command and trace.run.status == "finished"
        return Missing(section=section, sentence=sentence, command=command if is_ready else None)
    if section in ("help", "prediction", "errors") and is_chat:
        sentence = "The run was tuned on conversations, so there is no classifier to look at."
        return Missing(section=section, sentence=sentence, command=None)
    if section in ("help", "prediction", "errors") and has_later_labels(trace) and known.get("finetune") != "finished":
        return Missing(section=section, sentence=describe_untuned(trace), command=_again(trace))
    if trace.run.status != "finished":
        sentence = f"The run has not come so far: {_NEEDED[section]}."
        return Missing(section=section, sentence=sentence, command=_again(trace))
    is_tested = finetune is not None and bool(finetune.test)
    if section in ("help", "errors") and not is_compared and not is_tested:
        sentence = "The run has no test rows, so nothing was compared on them; give --test-labels or --test-fraction."
        command = run_command(trace.run.name, "--test-fraction", "0.1", "--out", f"{trace.run.name}-tested")
        has_command = trace.run.command and not has_later_labels(trace)
        return Missing(section=section, sentence=sentence, command=command if has_command else None)
    if section == "help" and not is_compared:
        sentence = "The stage compare has not run, so nothing was compared on the test rows."
        return Missing(section=section, sentence=sentence, command=_again(trace))
    again = None if section == "insight" else _again(trace)  # the same command finds nothing else to say
    return Missing(section=section, sentence=f"It is not there: {_NEEDED[section]}.", command=again)


_NEEDED = {
    "flow": "it needs a stage that has begun",
    "training": "it needs an evaluation of a model",
    "help": "it needs the comparison with the baselines and the control",
    "prediction": "it needs a model whose predictions were traced, which the end of a run does",
    "errors": "it needs the predictions of the test rows",
    "quiz": "its questions are made from a traced run",
    "insight": "no rule found anything to say",
}


def _has_no_labels(trace: RunTrace) -> bool:
    """Of a run with a recipe this is known early: its labels are split first, or, where stage 1 writes them, before
    stage 2."""
    begun = {stage.name for stage in trace.stages if stage.status != "missing"}
    if begun & {"split", "prepare", "finetune"}:
        return False
    is_past_split = "preprocess" in begun or ("collect" in begun and not trace.run.is_synthetic)
    return trace.run.status == "finished" or (bool(trace.run.command) and is_past_split)
