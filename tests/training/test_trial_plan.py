"""The rates that are tried depend on the base."""

from __future__ import annotations

from dataclasses import replace

from pretune.model.config import ForeignConfig, tiny
from pretune.settings import FinetuneConfig
from pretune.training.trial_plan import RATES, SMALL_FOREIGN_RATES, WIDE_RATES, default_rates


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
