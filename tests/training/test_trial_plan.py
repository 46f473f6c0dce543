"""The rates that are tried depend on the base, and how long each is tried on the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pretune.model.config import ForeignConfig, tiny
from pretune.settings import FinetuneConfig
from pretune.training.trial_plan import (
    RATES,
    SMALL_FOREIGN_RATES,
    WIDE_RATES,
    PlannedTrial,
    default_rates,
    plan_trials,
)


def test_rates_fall_with_the_width_and_for_foreign_encoders() -> None:
    own = tiny(100)
    foreign = ForeignConfig(**vars(own), fields={"model_type": "bert"})
    assert default_rates(own) == RATES
    assert default_rates(foreign) == SMALL_FOREIGN_RATES
    assert default_rates(replace(own, hidden_size=768)) == WIDE_RATES
    assert default_rates(replace(foreign, hidden_size=768)) == WIDE_RATES


def test_the_setting_leaves_the_choice_to_the_base() -> None:
    assert FinetuneConfig().learning_rates is None
    assert FinetuneConfig(learning_rates=(1e-3,)).learning_rates == (1e-3,)


def search_for(num_rows: int, **settings: Any) -> tuple[PlannedTrial, PlannedTrial]:
    """The first trial of a search with so many rows, and the last trial, which has all rows."""
    given = {"rates": RATES, "search_rows": 3000, "epochs": None, "seeds": 1, "first_seed": 0, "from_scratch": False}
    first, *_, last = plan_trials(**{**given, "lengths": np.full(num_rows, 20), **settings})
    assert first.is_search and not last.is_search
    return first, last


@pytest.mark.parametrize(
    ("num_rows", "settings", "expected"),
    [
        (40, {}, (20, 40)),  # epochs and updates; two epochs would be four updates
        (40, {"from_scratch": True}, (60, 120)),
        (40, {"updates": 10}, (5, 10)),  # not more than the trial that the search is for
        (40, {"epochs": 3}, (3, 6)),
        (40, {"epochs": 1}, (2, None)),
        (300, {}, (4, 40)),
        (700, {}, (2, None)),
        (10_000, {}, (2, None)),
    ],
)
def test_a_search_with_few_rows_has_updates_enough_to_tell_rates_apart(
    num_rows: int, settings: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    """With 40 rows, each rate was judged by four updates."""
    search, full = search_for(num_rows, **settings)
    assert (search.epochs, search.updates) == expected
    if search.updates is not None:
        assert search.updates <= (full.updates or full.epochs * -(-num_rows // 32))


@pytest.mark.parametrize(("num_rows", "epochs"), [(4_000, (5, 5)), (20_000, (3, 4)), (40_000, (2, 2))])
def test_texts_that_are_read_in_windows_get_more_epochs(num_rows: int, epochs: tuple[int, int]) -> None:
    """An epoch reads one window of each, and on 18,000 reviews of IMDB four epochs were better than two."""
    lengths = np.full(num_rows, 120)
    assert (
        tuple(search_for(num_rows, lengths=lengths, reads_windows=reads)[1].epochs for reads in (False, True)) == epochs
    )
