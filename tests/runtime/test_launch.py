"""A process reads its rank from the environment."""

from __future__ import annotations

import pytest

from pretune.errors import UsageError
from pretune.runtime.launch import Launch, read_launch


def test_without_a_launcher_a_process_is_alone() -> None:
    launch = read_launch({})
    assert launch == Launch(rank=0, size=1, local_rank=0)
    assert launch.is_first


def test_the_rank_is_read_from_the_variables_of_torchrun() -> None:
    launch = read_launch({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert launch == Launch(rank=5, size=8, local_rank=1)
    assert not launch.is_first
    assert read_launch({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}).local_size == 4


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "one", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "-3"},
        {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "0"},
    ],
)
def test_invalid_variables_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="expected the whole numbers that torchrun sets"):
        read_launch(environment)
