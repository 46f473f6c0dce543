"""Layers within `Unfilled` draw no random numbers; outside of it they do."""

from __future__ import annotations

import torch
from torch import nn

from pretune.model.config import PRESETS
from pretune.model.transformer import LanguageModel, SequenceClassifier
from pretune.model.unfilled import Unfilled


def test_nothing_is_drawn_for_any_of_our_models() -> None:
    before, config = torch.get_rng_state(), PRESETS["tiny"](100)
    with Unfilled():
        language, classifier = LanguageModel(config), SequenceClassifier(config, 3)
    assert torch.equal(torch.get_rng_state(), before)
    expected = SequenceClassifier(config, 3).state_dict()
    assert {name: tensor.shape for name, tensor in classifier.state_dict().items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }
    assert language.lm_head.weight is language.transformer.embed_tokens.weight
    assert torch.equal(language.transformer.final_norm.weight, torch.ones(config.hidden_size))


def test_layers_made_afterwards_are_random_again() -> None:
    with Unfilled():
        nn.Linear(3, 3)
    before = torch.get_rng_state()
    assert nn.Linear(300, 3).weight.std() > 0.01
    assert not torch.equal(torch.get_rng_state(), before)
