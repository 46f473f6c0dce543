"""A vocabulary grows by rows near the mean of the others, and those rows can be trained alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pretune.model.added_tokens import train_only_rows, with_added_tokens
from pretune.model.transformer import LanguageModel
from pretune.training.optimizer import Optimizer, OptimizerConfig

MakeModel = Callable[..., LanguageModel]
LogitsOf = Callable[..., torch.Tensor]


@pytest.mark.parametrize("tied", [True, False])
def test_known_tokens_keep_their_logits(make_model: MakeModel, logits_of: LogitsOf, tied: bool) -> None:
    model = make_model(tied=tied)
    grown = with_added_tokens(model, (50, 51), 52, seed=0)
    assert grown.config.vocab_size == 52
    assert grown.config.tie_word_embeddings == tied
    assert (grown.lm_head.weight is grown.transformer.embed_tokens.weight) == tied
    torch.testing.assert_close(logits_of(grown)[..., :50], logits_of(model))


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_near_the_mean_and_differ(make_model: MakeModel, tied: bool) -> None:
    model = make_model(tied=tied)
    grown = with_added_tokens(model, (50, 51), 52, seed=0)
    for name in ("transformer.embed_tokens.weight", "lm_head.weight"):
        known, new = model.state_dict()[name], grown.state_dict()[name][50:]
        assert not torch.equal(new[0], new[1])
        assert (new - known.mean(0)).abs().max() < 0.6 * known.std(0).max()  # noise of a tenth of the deviation


def test_a_row_that_was_never_trained_is_replaced(make_model: MakeModel) -> None:
    model = make_model()
    with torch.no_grad():
        model.transformer.embed_tokens.weight[49] = 100.0
    grown = with_added_tokens(model, (49,), 50, seed=0)
    assert grown.config.vocab_size == 50
    assert grown.transformer.embed_tokens.weight[49].abs().max() < 1.0


def test_without_added_tokens_the_model_is_the_same(make_model: MakeModel) -> None:
    model = make_model()
    assert with_added_tokens(model, (), 50, seed=0) is model
    assert with_added_tokens(model, (), 40, seed=0) is model  # more rows than tokens


def test_growing_depends_on_the_seed_only(make_model: MakeModel) -> None:
    tables = [with_added_tokens(make_model(), (50,), 51, seed).transformer.embed_tokens.weight for seed in (1, 1, 2)]
    assert torch.equal(tables[0], tables[1]) and not torch.equal(tables[0], tables[2])


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_given_rows_are_trained(make_model: MakeModel, tied: bool) -> None:
    model: LanguageModel = with_added_tokens(make_model(tied=tied), (50, 51), 52, seed=0)
    model.requires_grad_(False)
    train_only_rows(model, (50, 51))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Optimizer(model, OptimizerConfig(kind="adamw", matrix_rate=0.1, other_rate=0.1, weight_decay=0.1))
    for _ in range(3):
        model.zero_grad()
        ids = torch.tensor([[50, 7, 51, 9]])
        model(ids, torch.zeros_like(ids), is_causal=torch.tensor([True])).square().mean().backward()
        optimizer.step(1.0)
    after = model.state_dict()
    for name, tensor in before.items():
        if name in ("transformer.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(after[name][:50], tensor[:50])
            assert not torch.equal(after[name][50], tensor[50])
        else:
            assert torch.equal(after[name], tensor)


def test_a_model_may_be_moved_after_its_rows_were_chosen(make_model: MakeModel) -> None:
    """A GPU keeps the hooks of a parameter; here only the gradient is elsewhere."""
    model = make_model(tied=True)
    model.requires_grad_(False)
    train_only_rows(model, (49,))
    hooks = model.lm_head.weight._backward_hooks
    assert hooks is not None
    [keep] = hooks.values()
    gradient = torch.ones(50, 8)
    assert keep(gradient.to("meta")).device.type == "meta"
