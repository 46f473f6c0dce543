"""The rank of this process among several, read from the environment that a launcher such as torchrun sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pretune.errors import UsageError

# The variables of torchrun, each with its value where it is not set.
_VARIABLES = {
    "rank": ("RANK", "0"),
    "size": ("WORLD_SIZE", "1"),
    "local_rank": ("LOCAL_RANK", "0"),
    "local_size": ("LOCAL_WORLD_SIZE", "1"),
}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The rank of this process among `size` that were started together; `local_rank` counts within one machine, on
    which there are `local_size`."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and prints messages."""
        return self.rank == 0


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """The launch that RANK, WORLD_SIZE and LOCAL_RANK describe; a single process if they are not set.

    Raises UsageError if they are not whole numbers or contradict each other.
    """
    if "WORLD_SIZE" not in environment or "RANK" not in environment:
        return Launch()
    given = {name: environment.get(name, default) for name, default in _VARIABLES.values()}
    try:
        launch = Launch(**{field: int(given[name]) for field, (name, _) in _VARIABLES.items()})
    except ValueError:
        launch = Launch(rank=-1)
    if not 0 <= launch.rank < launch.size or launch.local_rank < 0 or launch.local_size < 1:
        found = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UsageError(
            f"The environment has {found}; expected the whole numbers that torchrun sets, with RANK below WORLD_SIZE: "
            "start the command with torchrun, or unset these variables."
        )
    return launch
