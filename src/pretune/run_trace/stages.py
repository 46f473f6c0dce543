"""The stages of a run as steps of its data flow: what went in and out, what was dropped, and what they reported."""

from __future__ import annotations

from typing import Any, Literal

from pretune.run_trace import formats
from pretune.run_trace.log_values import (
    figure,
    last_of,
    members,
    name_of,
    objects,
    of_stage,
    texts,
    whole,
    wholes,
    words,
)
from pretune.run_trace.places import without_folders
from pretune.runtime.events import Event
from pretune.trace_schema import Dropped, Message, Quantity, Stage, Status

LINE = ("collect", "preprocess", "pretrain", "prepare", "finetune")  # the five stages of the straight line
SPLIT = "split"  # comes before stage 2
CONTROL = "scratch"  # the same network from random weights
CONTROLS = (CONTROL, "compare")
STRATEGIES = "strategies"  # after all others, in the folder of a comparison of strategies
TITLES = {
    "collect": "read the text",
    "split": "check the labelled examples and hold some out",
    "preprocess": "clean the text, train the tokenizer, write tokens",
    "pretrain": "learn to predict words of the text",
    "prepare": "encode the labelled examples",
    "finetune": "fine-tune the model on the task",
    "scratch": "train the same network on the same labels from scratch",
    "compare": "compare all with simple baselines on the same test rows",
    "strategies": "compare four ways to a chatbot on the same held-out conversations",
}
DROPPED_EXAMPLES = 3  # texts for each rule
DROPPED_CHARACTERS = 400  # of each
# The events after which a stage has a checkpoint to resume from.
_AFTER_CHECKPOINT = {
    "pretrain": ("checkpoint",),
    "finetune": ("checkpoint", "evaluation"),
    "scratch": ("checkpoint", "evaluation"),
}
# These save each part when it is finished: shards of the text, or the losses and answers of a model.
_SAVE_PARTS = ("collect", "preprocess", STRATEGIES)
_MESSAGES: dict[str, Literal["detected", "notice", "warning"]] = {
    "detected": "detected",
    "notice": "notice",
    "warning": "warning",
    "started_from": "notice",
}
SYNTHETIC_NOTE = "synthetic data, written by the built-in generator"


def is_synthetic(events: list[Event]) -> bool:
    """Whether a stage logged that its data is written by the built-in generator."""
    return any(bool(event.get("synthetic")) for event in events if event["event"] == "stage_started")


def read_stages(events: list[Event], *, is_run: bool = False) -> list[Stage]:
    """The stages in the order of the flow. Of a run, all five of the line are there; the split and the controls only
    if they have begun. Events of more than one stage are those of a run."""
    logged = {stage for event in events if isinstance(stage := event.get("stage"), str)}
    line = [stage for stage in LINE if stage in logged or is_run or len(logged) > 1]
    if SPLIT in logged:
        line.insert(line.index("collect") + 1 if "collect" in line else 0, SPLIT)
    return [
        _read_stage(of_stage(events, name), name)
        for name in [*line, *(s for s in (*CONTROLS, STRATEGIES) if s in logged)]
    ]


def _read_stage(events: list[Event], name: str) -> Stage:
    flow, finished = last_of(events, name, "flow"), last_of(events, name, "stage_finished")
    status: Status = "finished" if finished else "running" if events else "missing"
    return Stage(
        name=name,
        number=LINE.index(name) + 1 if name in LINE else None,
        title=TITLES[name],
        status=status,
        reached=_describe_reached(events, name) if status == "running" else None,
        seconds=figure(finished.get("seconds", flow.get("seconds"))),
        peak_memory_bytes=whole(finished.get("peak_memory_bytes", flow.get("peak_memory_bytes"))),
        shape_in=_quantities(flow.get("shape_in")),
        shape_out=_quantities(flow.get("shape_out")),
        dropped=[_dropped(entry, name) for entry in objects(flow.get("dropped"))],
        messages=[_message(event) for event in events if event["event"] in _MESSAGES],
    )


def _describe_reached(events: list[Event], name: str) -> str:
    steps = [step for event in events if (step := whole(event.get("step"))) is not None]
    progress = last_of(events, name, "progress")
    reached = ""
    if steps:
        reached = f" (last logged step: {max(steps):,})"
    elif whole(progress.get("done")) is not None:
        total = whole(progress.get("total"))
        of_all = f" of {formats.count(total)}" if total else ""
        unit = words(progress.get("unit")) or ""
        reached = f" ({formats.count(progress['done'])}{of_all} {unit}".rstrip() + ")"
    has_checkpoint = any(event["event"] in _AFTER_CHECKPOINT.get(name, ()) for event in events)
    advice = "resume from its last checkpoint" if has_checkpoint else "start it over"
    if name in _SAVE_PARTS:
        advice = "resume it: the parts that it has finished are kept"
    return f"{name} is not finished{reached}; run the same command to {advice}."


def _quantities(entries: Any) -> list[Quantity]:
    found = []
    for entry in objects(entries):
        name, value = words(entry.get("name")), entry.get("value")
        if isinstance(value, list | tuple):
            value = wholes(list(value))
        elif isinstance(value, bool) or value is None:
            value = str(value)
        elif isinstance(value, float):
            value = figure(value)
        elif not isinstance(value, int):
            value = words(str(value), 60)
        if name is not None and value is not None:
            found.append(Quantity(name=name, value=value))
    return found


def _dropped(entry: dict[str, Any], stage: str) -> Dropped:
    examples = texts(entry.get("examples"), DROPPED_CHARACTERS)[:DROPPED_EXAMPLES]
    if stage == "collect":  # input that could not become a document has a place and no text
        examples = [without_folders(example) for example in examples]
    return Dropped(
        rule=name_of(entry.get("rule")),
        count=whole(entry.get("count")) or 0,
        reason=words(entry.get("reason")) or "",
        examples=examples,
    )


def _message(event: Event) -> Message:
    return Message(
        kind=_MESSAGES[event["event"]],
        sentence=without_folders(words(event.get("sentence")) or "", words(event.get("path"))),
        count=whole(event.get("count")),
    )


def config_of(events: list[Event], stage: str) -> dict[str, Any]:
    """The settings of a stage, as it logged them."""
    return members(last_of(events, stage, "stage_started").get("config"))
