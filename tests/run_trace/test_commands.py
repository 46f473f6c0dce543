"""Every command of a document can be copied into a shell, whatever its run is called."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.insights import choose_next_step
from pretune.run_trace.missing import find_missing

NAME = "film reviews' 1st"


@pytest.fixture
def named(tested_run: Path) -> Path:
    return tested_run.rename(tested_run.with_name(NAME))


def test_the_name_of_a_run_is_one_part_of_each_command(named: Path) -> None:
    trace = build_run_trace(named)
    recipe = f"{NAME}/recipe.toml"
    assert shlex.split(trace.run.command) == ["pretune", "run", recipe, "--out", f"{NAME}-again"]
    unfinished = replace(trace, run=replace(trace.run, status="running"), quiz=None)
    steps = [step for each in (trace, unfinished) if (step := choose_next_step(each)) is not None]
    missing = [each.command for each in find_missing(unfinished) if each.command is not None]
    assert missing
    assert all(shlex.split(command)[:3] == ["pretune", "run", recipe] for command in [steps[1].command, *missing])
    assert shlex.split(steps[0].command)[:2] == ["pretune", "run"]
    assert trace.quiz is not None and trace.quiz.command is not None
    assert shlex.split(trace.quiz.command) == ["pretune", "learn", NAME, "--test"]
