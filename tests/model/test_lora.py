"""Corrections start at zero, equal a dense sum, merge exactly, and leave the base as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretune.errors import UsageError
from pretune.model.lora import TARGETS, LoraConfig, LoraLinear, add_lora, lora_layers, merged, parts_of
from pretune.model.transformer import LanguageModel
from pretune.training.optimizer import Optimizer, OptimizerConfig

MakeModel = Callable[..., LanguageModel]
LogitsOf = Callable[..., torch.Tensor]


def corrected(model: LanguageModel, targets: tuple[str, ...] = TARGETS, rank: int = 3) -> LanguageModel:
    """The model with arbitrary corrections."""
    add_lora(model, LoraConfig(rank=rank, alpha=2.0 * rank, targets=targets), seed=0)
    with torch.no_grad():
        for layer in lora_layers(model).values():
            layer.lora_b.normal_(0.0, 0.1)
    return model


def test_new_corrections_change_nothing(make_model: MakeModel, logits_of: LogitsOf) -> None:
    model = make_model()
    before = logits_of(model)
    add_lora(model, LoraConfig(rank=4, alpha=8.0), seed=0)
    assert torch.equal(logits_of(model), before)
    assert all(layer.lora_a.abs().max() > 0 for layer in lora_layers(model).values())


@given(
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, unique=True),
    rank=st.integers(1, 8),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merging_gives_the_same_logits(
    make_model: MakeModel, logits_of: LogitsOf, targets: list[str], rank: int
) -> None:
    model = corrected(make_model(), tuple(targets), rank)
    plain = merged(model)
    assert not lora_layers(plain)
    assert list(plain.state_dict()) == list(make_model().state_dict())
    torch.testing.assert_close(logits_of(plain), logits_of(model), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits_of(plain), logits_of(make_model()), atol=1e-3)


def test_gradients_are_those_of_the_dense_sum(make_model: MakeModel) -> None:
    """With respect to x, A and B, of a matrix in which only two of three parts are corrected."""
    layer = corrected(make_model(), ("q_proj", "v_proj")).transformer.blocks[0].qkv_proj
    assert isinstance(layer, LoraLinear)
    rng = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(2, 5, size, generator=rng) for size in (64, layer.out_features))
    leaves = (x, layer.lora_a, layer.lora_b)
    x.requires_grad_(True)
    found = torch.autograd.grad((layer(x) * upstream).sum(), leaves)
    weight = layer.weight
    places = dict.fromkeys((part.first, part.height) for part in layer.parts)
    for (first, height), (_, a, b) in zip(places, layer.factors(), strict=True):
        added = torch.nn.functional.pad(layer.scale * (b @ a), (0, 0, first, layer.out_features - first - height))
        weight = weight + added
    expected = torch.autograd.grad((x @ weight.T * upstream).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_bf16_inputs_give_bf16_results_and_fp32_gradients(make_model: MakeModel) -> None:
    layer = lora_layers(corrected(make_model()))["transformer.blocks.0.gate_up_proj"]
    y = layer(torch.randn(3, 64, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0)))
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.lora_a.grad is not None and layer.lora_b.grad is not None
    assert layer.lora_a.grad.dtype == layer.lora_b.grad.dtype == torch.float32


def test_only_the_corrections_are_trained(make_model: MakeModel) -> None:
    model = corrected(make_model())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = Optimizer(model, OptimizerConfig(kind="adamw", matrix_rate=0.1, other_rate=0.1, weight_decay=0.1))
    names = {*optimizer.matrices, *optimizer.others}
    assert names == {name for name in before if name.endswith((".lora_a", ".lora_b"))}
    ids = torch.arange(6)[None]
    model(ids, torch.zeros_like(ids), is_causal=torch.tensor([True])).square().mean().backward()
    optimizer.step(1.0)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == names


def test_parts_are_all_rows_of_their_matrix(make_model: MakeModel) -> None:
    model = make_model()
    matrices, block = parts_of(model.config), model.transformer.blocks[0]
    for matrix, parts in matrices.items():
        ends = [part.first + part.height for part in parts]
        assert [part.first for part in parts] == [0, *ends[:-1]]
        assert ends[-1] == getattr(block, matrix).out_features
    assert sorted(part.name for parts in matrices.values() for part in parts) == sorted(TARGETS)


def test_drawing_depends_on_the_seed_only(make_model: MakeModel) -> None:
    one, same, other = make_model(), make_model(), make_model()
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        add_lora(model, LoraConfig(rank=2, alpha=4.0), seed=seed)
    a, b, c = (lora_layers(model)["transformer.blocks.1.down_proj"].lora_a for model in (one, same, other))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_rank_above_the_matrix_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(UsageError, match=r"--rank is 33, but k_proj of this model is 32 x 64"):
        add_lora(make_model(), LoraConfig(rank=33, alpha=1.0), seed=0)
    add_lora(make_model(), LoraConfig(rank=33, alpha=1.0, targets=("q_proj",)), seed=0)


@pytest.mark.parametrize(("targets", "found"), [(("q_proj", "qkv_proj"), "qkv_proj"), ((), "empty")])
def test_unknown_targets_are_refused(make_model: MakeModel, targets: tuple[str, ...], found: str) -> None:
    with pytest.raises(UsageError, match=f"--lora-targets is {found}; expected some of q_proj, k_proj"):
        add_lora(make_model(), LoraConfig(rank=2, alpha=1.0, targets=targets), seed=0)


def test_an_untied_head_is_kept(make_model: MakeModel, logits_of: LogitsOf) -> None:
    model = make_model(tied=False)
    before = logits_of(model)
    add_lora(model, LoraConfig(rank=2, alpha=1.0), seed=0)
    assert torch.equal(logits_of(merged(model)), before)
