"""Which of several processes this one is, as a launcher such as torchrun says in the environment; without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pretune.errors import UsageError

_FIELDS, _NAMES = ("rank", "size", "local_rank"), ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process among `size` that were started together; `local_rank` counts on one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and speaks to the user."""
        return self.rank == 0


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """What RANK, WORLD_SIZE and LOCAL_RANK say; alone where they are not set.

    Raises UsageError where they are not whole numbers, or do not fit together.
    """
    if "WORLD_SIZE" not in environment or "RANK" not in environment:
        return Launch()
    given = {name: environment.get(name, "0") for name in _NAMES}
    try:
        launch = Launch(**{field: int(given[name]) for field, name in zip(_FIELDS, _NAMES, strict=True)})
    except ValueError:
        launch = Launch(rank=-1)
    if not 0 <= launch.rank < launch.size or launch.local_rank < 0:
        said = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UsageError(
            f"The environment says {said}; expected the whole numbers that torchrun sets, with RANK below WORLD_SIZE: "
            "start the command with torchrun, or unset them."
        )
    return launch
