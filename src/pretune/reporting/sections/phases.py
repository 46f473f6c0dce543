"""Folds the events of a training stage into a phase: evaluation rows with pointers, references, plan and trials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pretune.runtime.events import Event

MASK = "[MASK]"  # in the place of a masked word in the logs
SYNTHETIC_NOTE = "synthetic data, written by the built-in generator"


@dataclass(frozen=True)
class Phase:
    """The fold of one stage's events. `pointers[i]` names the event of `rows[i]`."""

    stage: str
    rows: list[Event]
    pointers: list[str]
    references: Event = field(default_factory=dict)
    plan: Event = field(default_factory=dict)  # after the changes of a `plan_corrected`
    estimate: Event = field(default_factory=dict)
    trials: list[Event] = field(default_factory=list)  # each `trial_started`, with the fields of its `trial_finished`
    trial_pointer: str = ""  # names the `trial_finished` of the trial that the rows belong to
    chosen: Event = field(default_factory=dict)
    test: list[Event] = field(default_factory=list)
    skipped: list[Event] = field(default_factory=list)

    @property
    def is_pretraining(self) -> bool:
        return self.stage == "pretrain"

    @property
    def trial(self) -> Event:
        """The trial that the rows belong to; empty in a phase without trials."""
        numbers = {row.get("trial") for row in self.rows}
        return next((trial for trial in self.trials if trial.get("trial") in numbers), {})


def synthetic_note(events: Iterable[Event]) -> str:
    """The note that every display shows on generated data; empty if no stage logged that its data is synthetic."""
    is_synthetic = any(event.get("synthetic") for event in events if event["event"] == "stage_started")
    return SYNTHETIC_NOTE if is_synthetic else ""


def of_stage(events: Iterable[Event], stage: str, kind: str | None = None) -> list[Event]:
    """The events of one stage (and of one kind, if given), in the order of the log."""
    return [e for e in events if e.get("stage") == stage and (kind is None or e["event"] == kind)]


def last_of(events: Iterable[Event], stage: str, kind: str) -> Event:
    """The last event of a kind in a stage, or an empty one."""
    found = of_stage(events, stage, kind)
    return found[-1] if found else {}


def read_phase(events: list[Event], stage: str) -> Phase:
    """Fold one stage; the rows are all evaluations, or those of the chosen (otherwise the latest) trial."""
    evaluations = of_stage(events, stage, "evaluation")
    chosen = last_of(events, stage, "chosen")
    trial = chosen.get("trial", evaluations[-1].get("trial") if evaluations else None)
    numbered = [(index, row) for index, row in enumerate(evaluations) if row.get("trial") == trial]
    ends = of_stage(events, stage, "trial_finished")
    finished = {event["trial"]: event for event in ends}
    started = {event["trial"]: event for event in of_stage(events, stage, "trial_started")}
    return Phase(
        stage=stage,
        rows=[row for _, row in numbered],
        pointers=[f"{stage}/evaluation[{index}]" for index, _ in numbered],
        references=last_of(events, stage, "references"),
        plan=_read_plan(events, stage),
        estimate=last_of(events, stage, "estimate"),
        trials=[{**started.get(n, {}), **finished.get(n, {})} for n in {**started, **finished}],
        trial_pointer=next((f"{stage}/trial_finished[{i}]" for i, e in enumerate(ends) if e["trial"] == trial), ""),
        chosen=chosen,
        test=of_stage(events, stage, "test"),
        skipped=of_stage(events, stage, "skipped_update"),
    )


def _read_plan(events: list[Event], stage: str) -> Event:
    plan = dict(last_of(events, stage, "plan"))
    corrected = last_of(events, stage, "plan_corrected")
    plan |= {name: corrected[name] for name in ("steps", "decay_start_step") if name in corrected}
    if corrected and "tokens_per_step" in plan:
        plan["tokens"] = plan["steps"] * plan["tokens_per_step"]
    return plan
