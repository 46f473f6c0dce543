"""A run in one screen: what it is, how far it came, and what it found, in one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.run_trace.commands import run_command
from pretune.run_trace.headline import write_headline
from pretune.run_trace.log_values import figure, last_of, members, whole, words
from pretune.run_trace.stages import CONTROL, CONTROLS, LINE, SPLIT, config_of, is_synthetic
from pretune.runtime.events import STAGE_ORDER, Event
from pretune.runtime.manifest import MANIFEST_NAME, RECIPE_NAME, Manifest, hash_json, read_manifest_if_any
from pretune.trace_schema import Comparison, Hardware, Phases, RunCard, Stage, Status, Strategies, TaskName


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What a run's folder says of the run, apart from its logs."""

    name: str
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None  # None for the folder of a single stage

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that the recipe needs; none without a recipe."""
        if self.recipe is None:
            return ()
        is_builtin = not self.recipe.get("corpus") and self.recipe.get("labels") is None
        if self.recipe.get("labels") is None and not is_builtin:
            return LINE[:3]
        return (*LINE, SPLIT, *(CONTROLS if self.has_control else CONTROLS[1:]))

    @property
    def has_control(self) -> bool:
        """Whether the recipe wants the control."""
        return self.recipe is None or bool(self.recipe.get("control", True))


def read_folder(run: Path) -> RunFolder:
    """The recipe and the manifests of a run; what is damaged is left out."""
    folders = {run.name: run} if (run / MANIFEST_NAME).is_file() else {name: run / name for name in STAGE_ORDER}
    manifests = {}
    for folder in folders.values():
        try:
            manifest = read_manifest_if_any(folder)
        except InputDataError:
            continue
        if manifest is not None:
            manifests[manifest.stage] = manifest
    return RunFolder(name=run.resolve().name, manifests=manifests, recipe=_read_recipe(run / RECIPE_NAME))


def _read_recipe(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # tables that nest too deeply
        return None


def make_run_card(
    events: list[Event],
    stages: list[Stage],
    phases: Phases,
    comparison: Comparison | None,
    folder: RunFolder,
    strategies: Strategies | None = None,
) -> RunCard:
    """The card of a run from its logs, its folder, and what has been folded already."""
    # A control that was stopped and that the recipe no longer wants: no run would finish it. It stays in the trace, for
    # it may also be one that is being trained by hand.
    awaited = [each for each in stages if each.name != CONTROL or each.status == "finished" or folder.has_control]
    headline = write_headline(awaited, phases, comparison, strategies)
    starts = [time for event in events if (time := time_of(event)) is not None]
    seeds = [whole(config_of(events, stage).get("seed")) for stage in ("pretrain", "finetune", "collect")]
    memory = [stage.peak_memory_bytes for stage in stages if stage.peak_memory_bytes is not None]
    seconds = [stage.seconds for stage in stages if stage.seconds is not None]
    labelled = last_of(events, "split", "detected") or last_of(events, "prepare", "detected")  # without a split stage
    prints = {name: manifest.fingerprint for name, manifest in folder.manifests.items()}
    return RunCard(
        id=f"r-{hash_json(prints)[:8]}",
        name=folder.name,
        started=datetime.fromtimestamp(min(starts), UTC).isoformat(timespec="seconds") if starts else None,
        status=_status(awaited, phases, folder),
        seed=next((seed for seed in seeds if seed is not None), None),
        is_synthetic=is_synthetic(events),
        task=_task(phases),
        has_pairs="text_pair_column" in labelled,
        headline=headline.sentence,
        headline_figure=headline.figure,
        detail=headline.detail,
        command="" if folder.recipe is None else run_command(folder.name, "--out", f"{folder.name}-again"),
        versions=_versions(folder.manifests),
        hardware=_read_hardware(events),
        seconds=figure(sum(seconds)) if seconds else None,
        peak_memory_bytes=max(memory) if memory else None,
    )


def _task(phases: Phases) -> TaskName | None:
    tasks: dict[str, TaskName] = {
        "accuracy": "classification",
        "micro_f1": "multilabel",
        "pearson": "regression",
        "entity_f1": "tokens",
    }
    if phases.finetune is None or phases.finetune.objective == "replies":  # which has no labels
        return None
    return tasks[phases.finetune.metric]


def time_of(event: Event) -> float | None:
    """When an event was logged, in seconds since 1970; None where no date can be made of it."""
    time = event.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float):
        return None
    return float(time) if 0 < time < 1e11 else None


def _status(stages: list[Stage], phases: Phases, folder: RunFolder) -> Status:
    known = {stage.name: stage.status for stage in stages}
    begun = [name for name, status in known.items() if status != "missing"]
    if not begun:
        return "missing"
    expected = folder.stages or begun
    if phases.finetune is not None and not phases.finetune.test:  # without test rows, nothing is compared
        expected = [name for name in expected if name not in CONTROLS]
    return "finished" if all(known.get(name) == "finished" for name in (*expected, *begun)) else "running"


def _versions(manifests: Mapping[str, Manifest]) -> dict[str, str]:
    found: dict[str, str] = {}
    for manifest in manifests.values():
        found |= {"pretune": manifest.version} if manifest.version else {}
        torch = words(members(manifest.summary.get("compute")).get("torch_version"))
        found |= {"torch": torch} if torch else {}
    return found


def _read_hardware(events: list[Event]) -> Hardware | None:
    estimate = last_of(events, "pretrain", "estimate") or last_of(events, "finetune", "estimate")
    if not estimate:
        return None
    is_compiled = estimate.get("is_compiled")
    return Hardware(
        chip=words(estimate.get("chip")) or "",
        device=words(estimate.get("device")) or "",
        threads=whole(estimate.get("threads")),
        precision=words(estimate.get("precision")),
        is_compiled=is_compiled if isinstance(is_compiled, bool) else None,
        processes=whole(estimate.get("processes")),
    )
