"""Perplexity is the exponential of a loss, and always a number."""

from __future__ import annotations

import math

import pytest

from pretune.scoring.perplexity import perplexity_of


def test_the_perplexity_of_any_loss_is_a_number() -> None:
    assert perplexity_of(math.log(7)) == pytest.approx(7)
    assert math.isfinite(perplexity_of(1e9))
