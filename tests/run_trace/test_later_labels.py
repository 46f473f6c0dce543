"""The commands for the stages that were added to a run without labels, whatever is finished of them."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from pretune.cli.verbs import VERBS, build_parser
from pretune.run_trace.insights import choose_next_step
from pretune.run_trace.later_labels import has_later_labels, remaining_commands
from pretune.run_trace.missing import find_missing
from pretune.trace_schema import Quantity, RunTrace, Stage


@pytest.fixture
def later(traced: RunTrace) -> RunTrace:
    return replace(traced, stages=[stage for stage in traced.stages if stage.name != "split"])


def with_statuses(trace: RunTrace, **statuses: str | None) -> RunTrace:
    """The trace with other statuses of some stages, which are left out with None."""

    def changed(stage: Stage) -> Stage | None:
        status = statuses.get(stage.name, stage.status)
        return None if status is None else replace(stage, status=status)  # type: ignore[arg-type]

    return replace(trace, stages=[each for stage in trace.stages if (each := changed(stage)) is not None])


def verbs(trace: RunTrace) -> list[str]:
    commands = [shlex.split(command) for command in remaining_commands(trace)]
    for _, verb, *rest in commands:
        build_parser(VERBS[verb]).parse_intermixed_args(rest)
    return [f"{verb} --from-scratch" if "--from-scratch" in rest else verb for _, verb, *rest in commands]


def test_only_what_is_not_finished_is_advised(later: RunTrace) -> None:
    assert has_later_labels(later)
    assert verbs(later) == ["report"]
    assert verbs(with_statuses(later, compare=None)) == ["compare", "report"]
    assert verbs(with_statuses(later, finetune="running", scratch=None, compare=None)) == [
        "finetune", "compare", "report",
    ]  # fmt: skip
    assert verbs(with_statuses(later, scratch="running", compare=None)) == [
        "finetune --from-scratch", "compare", "report",
    ]  # fmt: skip
    assert verbs(with_statuses(later, prepare="running")) == ["prepare", "finetune", "compare", "report"]


def test_what_has_no_test_rows_or_labels_is_not_compared(later: RunTrace) -> None:
    assert later.phases.finetune is not None
    uncompared = with_statuses(later, scratch=None, compare=None)
    untested = replace(later.phases, finetune=replace(later.phases.finetune, test=[]))
    assert verbs(replace(uncompared, phases=untested)) == ["report"]
    shape = [Quantity(name="train conversations", value=12)]
    stages = [replace(each, shape_out=shape) if each.name == "prepare" else each for each in uncompared.stages]
    chat = with_statuses(replace(uncompared, stages=stages), finetune="missing")
    chat = replace(chat, phases=replace(chat.phases, finetune=None), comparison=None)
    assert verbs(chat) == ["finetune", "report"]
    [step] = [choose_next_step(chat)]
    assert step is not None and "conversations are prepared" in step.sentence
    assert not any("pretune compare" in (missing.command or "") for missing in find_missing(chat))


def test_the_next_step_is_not_the_recipe_without_labels(later: RunTrace) -> None:
    """`pretune run` with it continues nothing, and refuses several seeds."""
    assert "--seeds" in getattr(choose_next_step(replace(later, stages=[])), "command", "")
    step = choose_next_step(later)
    assert step is not None and "recipe.toml" not in step.command
    running = with_statuses(later, finetune="running", compare=None)
    step = choose_next_step(replace(running, run=replace(running.run, status="running")))
    assert step is not None and step.command == " && ".join(remaining_commands(running))
    assert step.command.startswith("pretune finetune tested tested/prepare")
    untuned = with_statuses(later, finetune="missing", scratch=None, compare=None)
    step = choose_next_step(replace(untuned, phases=replace(later.phases, finetune=None), comparison=None))
    assert step is not None and step.command.startswith("pretune finetune tested tested/prepare")


def test_a_run_whose_pre_training_is_not_finished_is_continued_by_its_recipe(later: RunTrace) -> None:
    assert not has_later_labels(with_statuses(later, pretrain="running"))
