"""Commands that a reader may copy: each part is quoted for a shell, since the names of folders may have blanks."""

from __future__ import annotations

import shlex

from pretune.runtime.manifest import RECIPE_NAME


def run_command(name: str, *options: str) -> str:
    """Runs the recipe of the run with this name, from the folder that the run is in."""
    return shlex.join(["pretune", "run", f"{name}/{RECIPE_NAME}", *options])


def learn_command(name: str) -> str:
    """Asks the questions of a run in a terminal."""
    return shlex.join(["pretune", "learn", name, "--test"])
