"""A finished run without labels to which labelled examples, or conversations, were added stage by stage.

The recipe of such a run has no labels, so `pretune run` with it does nothing for the later stages.
"""

from __future__ import annotations

from pretune.run_trace.commands import (
    compare_command,
    control_command,
    finetune_command,
    label_commands,
    report_command,
)
from pretune.run_trace.stages import CONTROL, SPLIT
from pretune.trace_schema import RunTrace


def has_later_labels(trace: RunTrace) -> bool:
    """Whether the stages on labels were begun without the split stage, which a run with labels begins with."""
    known = _statuses(trace)
    has_split, has_prepare = (known.get(name, "missing") != "missing" for name in (SPLIT, "prepare"))
    return bool(trace.run.command) and known.get("pretrain") == "finished" and has_prepare and not has_split


def describe_untuned(trace: RunTrace) -> str:
    """How far such a run came before its model is fine-tuned."""
    if _statuses(trace).get("prepare") != "finished":
        return "The labelled examples are not prepared yet."
    if _prepared_conversations(trace):
        return "The conversations are prepared, and no model has been tuned on them yet."
    return "The examples are prepared, and no model has been fine-tuned on them yet."


def remaining_commands(trace: RunTrace) -> tuple[str, ...]:
    """The commands for the stages that are not finished, and the one that writes the page again.

    A finished stage is left out: it may have settings that were typed with it, with which it would differ.
    """
    run, known = trace.run.name, _statuses(trace)
    if known.get("prepare") != "finished":
        return label_commands(run)
    is_tuned, tuned = known.get("finetune") == "finished", trace.phases.finetune
    commands = [] if is_tuned else [finetune_command(run)]
    control = known.get(CONTROL, "missing")
    if control == "running":
        commands.append(control_command(run))
    is_untested = is_tuned and tuned is not None and not tuned.test
    if known.get("compare") != "finished" and not is_untested and not _prepared_conversations(trace):
        commands.append(compare_command(run, has_control=control != "missing"))
    return (*commands, report_command(run))


def compare_again(trace: RunTrace) -> tuple[str, ...]:
    """The commands that compare with a control that was trained after the comparison."""
    run = trace.run.name
    return compare_command(run, has_control=True, redo=True), report_command(run)


def _prepared_conversations(trace: RunTrace) -> bool:
    """Whether the prepare stage was one of conversations, which `compare` refuses, by what went out of it."""
    shapes = (stage.shape_out for stage in trace.stages if stage.name == "prepare")
    return any(quantity.name == "train conversations" for shape in shapes for quantity in shape)


def _statuses(trace: RunTrace) -> dict[str, str]:
    return {stage.name: stage.status for stage in trace.stages}
