"""Commands that a reader may copy: each part is quoted for a shell, since the names of folders may have blanks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pretune.runtime.manifest import RECIPE_NAME


def run_command(name: str, *options: str) -> str:
    """Runs the recipe of the run with this name, from the folder that the run is in."""
    return shlex.join(["pretune", "run", f"{name}/{RECIPE_NAME}", *options])


def label_commands(run: str) -> tuple[str, ...]:
    """The stages on labelled examples for a run without, and the page with what they add: unlike a run with --labels,
    they keep its pre-trained model.

    `run` is the folder of the run, or its name for commands that are typed in the folder that it is in.
    """
    prepare = shlex.join(["pretune", "prepare", "LABELLED.csv", "--base", run, "--out", f"{run}/prepare"])
    return prepare, finetune_command(run), compare_command(run), report_command(run)


def finetune_command(run: str) -> str:
    """Fine-tunes the model of a run on what is prepared in its folder."""
    return shlex.join(["pretune", "finetune", run, f"{run}/prepare", "--out", f"{run}/finetune"])


def self_train_command(run: str) -> str:
    """Fine-tunes the model of a run again, into a folder next to the run, and trains a student on its corpus."""
    words = ["pretune", "finetune", run, f"{run}/prepare", "--self-train", "--out", f"{run}-self-trained"]
    return shlex.join(words)


def control_command(run: str) -> str:
    """Trains the control on the same rows."""
    return shlex.join(["pretune", "finetune", run, f"{run}/prepare", "--from-scratch", "--out", f"{run}/scratch"])


def compare_command(run: str, *, has_control: bool = False, redo: bool = False) -> str:
    """Compares the classifier of a run with the baselines, and with the control if there is one."""
    control = ["--scratch", f"{run}/scratch"] if has_control else []
    words = ["pretune", "compare", f"{run}/finetune", f"{run}/prepare", *control, "--out", f"{run}/compare"]
    return shlex.join([*words, *(["--redo"] if redo else [])])


def report_command(run: str) -> str:
    """Writes the page of a run again, with the stages that were run alone since then."""
    return shlex.join(["pretune", "report", run])


def joined(commands: Iterable[str]) -> str:
    """Several commands as one: each is run if those before it have succeeded."""
    return " && ".join(commands)


def learn_command(name: str) -> str:
    """Asks the questions of a run in a terminal."""
    return shlex.join(["pretune", "learn", name, "--test"])
