"""Commands that a reader may copy: each part is quoted for a shell, since the names of folders may have blanks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pretune.runtime.manifest import RECIPE_NAME


def run_command(name: str, *options: str) -> str:
    """Runs the recipe of the run with this name, from the folder that the run is in."""
    return shlex.join(["pretune", "run", f"{name}/{RECIPE_NAME}", *options])


def label_commands(run: str) -> tuple[str, ...]:
    """The stages on labelled examples for a run without: unlike a run with --labels, they keep its pre-trained model.

    `run` is the folder of the run, or its name for commands that are typed in the folder that it is in.
    """
    prepared, finetuned = f"{run}/prepare", f"{run}/finetune"
    return (
        shlex.join(["pretune", "prepare", "LABELLED.csv", "--base", run, "--out", prepared]),
        shlex.join(["pretune", "finetune", run, prepared, "--out", finetuned]),
        compare_command(run),
    )


def compare_command(run: str) -> str:
    """Compares the classifier of a run with the baselines, and with the control if there is one."""
    return shlex.join(["pretune", "compare", f"{run}/finetune", f"{run}/prepare", "--out", f"{run}/compare"])


def joined(commands: Iterable[str]) -> str:
    """Several commands as one: each is run if those before it have succeeded."""
    return " && ".join(commands)


def learn_command(name: str) -> str:
    """Asks the questions of a run in a terminal."""
    return shlex.join(["pretune", "learn", name, "--test"])
