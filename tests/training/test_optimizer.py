"""AdamW equals torch's, Muon makes the update of each matrix orthogonal, and the state survives a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel
from pretune.training.optimizer import Optimizer, OptimizerConfig, orthogonalise


def set_gradients(model: nn.Module, seed: int, scale: float = 1.0) -> None:
    rng = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=rng)


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_adamw_equals_that_of_torch(make_language_model: Any) -> None:
    ours, theirs = make_language_model(), make_language_model()
    config = OptimizerConfig(kind="adamw", matrix_rate=3e-3, other_rate=1e-3, weight_decay=0.1)
    optimizer = Optimizer(ours, config)
    named = dict(theirs.named_parameters())
    matrices = [p for name, p in named.items() if ".blocks." in name and p.ndim == 2]
    others = [p for name, p in named.items() if not (".blocks." in name and p.ndim == 2)]
    groups = [
        {"params": matrices, "lr": 3e-3, "weight_decay": 0.1},
        {"params": others, "lr": 1e-3, "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps)
    for step in range(10):
        rate = 1.0 - step / 20
        for group, peak in zip(reference.param_groups, (3e-3, 1e-3), strict=True):
            group["lr"] = rate * peak
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step(rate)
        reference.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, named[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 12, 40), (2, 40, 12), (1, 1, 8)])
def test_newton_schulz_pushes_singular_values_towards_one(shape: tuple[int, int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    rank = min(shape[1:])
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=rng), full_matrices=False)
    values = torch.linspace(1.0, 0.05, rank)
    matrices = left * values @ right
    found = orthogonalise(matrices)
    assert found.shape == matrices.shape
    singular = torch.linalg.svdvals(found)
    assert float(singular.min()) > 0.6
    assert float(singular.max()) < 1.3
    turned = left.mT @ found @ right.mT  # the singular vectors are kept: only the values change
    torch.testing.assert_close(turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_single_singular_value_stays_near_one(dtype: torch.dtype) -> None:
    """The extreme case: it is the whole norm, and the first polynomial is steep above one."""
    rng = torch.Generator().manual_seed(0)
    matrices = torch.randn(4, 64, 1, generator=rng) @ torch.randn(4, 1, 96, generator=rng)
    largest = torch.linalg.svdvals(orthogonalise(matrices, dtype).float())[:, 0]
    assert float(largest.min()) > 0.6
    assert float(largest.max()) < 1.3


@pytest.mark.parametrize("shape", [(3, 24, 48), (3, 48, 24), (2, 128, 128), (2, 256, 700)])
@pytest.mark.parametrize("smallest", [0.1, 0.01])
def test_newton_schulz_in_bf16_is_as_good(shape: tuple[int, int, int], smallest: float) -> None:
    """The same range of singular values, and the same matrix within a few per cent, however unequal its values."""
    rng = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=rng), full_matrices=False)
    matrices = left * torch.logspace(0, math.log10(smallest), min(shape[1:])) @ right
    exact, rounded = orthogonalise(matrices), orthogonalise(matrices, torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    rounded = rounded.float()
    ends = [(float(values.min()), float(values.max())) for values in map(torch.linalg.svdvals, (exact, rounded))]
    assert ends[1] == pytest.approx(ends[0], abs=0.03)
    assert 0.5 < ends[1][0] < ends[1][1] < 1.3
    assert float((rounded - exact).norm() / exact.norm()) < 0.03


def test_an_update_with_products_in_bf16_equals_that_in_fp32(make_language_model: Any) -> None:
    """Only the orthogonal update of matrices is rounded; momentum, weights and AdamW's parameters stay in fp32."""
    changes, states = [], []
    for precision in ("fp32", "bf16"):
        model = make_language_model()
        config = OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=1e-3, weight_decay=0.1, precision=precision)
        optimizer, before = Optimizer(model, config), parameters_of(model)
        set_gradients(model, 0)
        optimizer.step(1.0)
        changes.append({name: tensor - before[name] for name, tensor in parameters_of(model).items()})
        states.append(optimizer.state_tensors())
    for name, change in changes[0].items():
        assert changes[1][name].dtype == torch.float32
        is_matrix = ".blocks." in name and change.ndim == 2
        assert float((changes[1][name] - change).norm() / change.norm()) < (0.03 if is_matrix else 1e-9), name
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def test_updating_all_matrices_at_once_equals_one_by_one(
    make_language_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU updates all at once, in few operations: the same bits."""
    models = [make_language_model(), make_language_model()]
    for model, is_gpu in zip(models, (False, True), strict=True):
        optimizer = Optimizer(model, OptimizerConfig(kind="muon", matrix_rate=0.1, other_rate=0.1, weight_decay=0.1))
        if is_gpu:
            monkeypatch.setattr(optimizer, "_groups", lambda optimizer=optimizer: [list(optimizer.matrices)])
        for step in range(3):
            set_gradients(model, step)
            optimizer.step(0.5)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_orthogonalising_ignores_the_scale() -> None:
    matrix = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(matrix), orthogonalise(1e-4 * matrix), atol=1e-3, rtol=1e-3)
    assert orthogonalise(torch.zeros(1, 4, 4)).abs().max() == 0


def muon(model: nn.Module, weight_decay: float = 0.0) -> Optimizer:
    return Optimizer(model, OptimizerConfig(kind="muon", matrix_rate=0.02, other_rate=1e-3, weight_decay=weight_decay))


def test_muon_splits_fused_projections(make_language_model: Any) -> None:
    """Each of query, key, value, gate and up gets its own orthogonal update, whatever the scale of the others."""
    model = make_language_model()
    optimizer, before = muon(model), parameters_of(model)
    set_gradients(model, 0)
    block = model.transformer.blocks[0]
    with torch.no_grad():
        block.qkv_proj.weight.grad[:32] *= 1e4  # the queries would drown the keys and values
        block.gate_up_proj.weight.grad[:48] *= 1e4
    optimizer.step(1.0)
    heights = {
        "transformer.blocks.0.qkv_proj.weight": [32, 32, 32],
        "transformer.blocks.0.gate_up_proj.weight": [48, 48],
        "transformer.blocks.1.out_proj.weight": [32],
        "transformer.blocks.1.down_proj.weight": [32],
    }
    after = parameters_of(model)
    for name, sizes in heights.items():
        for change in (before[name] - after[name]).split(sizes):
            size = max(1.0, change.shape[0] / change.shape[1]) ** 0.5
            singular = torch.linalg.svdvals(change / (0.02 * size))
            assert float(singular.min()) > 0.3, name
            assert float(singular.max()) < 1.4, name


def test_muon_splits_by_heads_not_by_width() -> None:
    """A model whose query heads are narrower in total than its hidden size, with fewer key heads."""
    config = ModelConfig(
        vocab_size=300, hidden_size=64, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48
    )
    model = LanguageModel(config)
    optimizer, name = muon(model), "transformer.blocks.0.qkv_proj.weight"
    before = parameters_of(model)[name]
    set_gradients(model, 0)
    with torch.no_grad():
        model.get_parameter(name).grad[:32] *= 1e4  # type: ignore[index]  # the queries would drown the others
    optimizer.step(1.0)
    change = (before - parameters_of(model)[name]) / 0.02
    assert change.shape == (64, 64)
    for piece in change.split([32, 16, 16]):
        singular = torch.linalg.svdvals(piece)
        assert float(singular.min()) > 0.6
        assert float(singular.max()) < 1.3


def test_muon_leaves_embeddings_and_norms_to_adamw(make_language_model: Any) -> None:
    with_muon, with_adamw = make_language_model(), make_language_model()
    one = muon(with_muon)
    two = Optimizer(with_adamw, OptimizerConfig(kind="adamw", matrix_rate=1.0, other_rate=1e-3, weight_decay=0.5))
    for step in range(3):
        for model, optimizer in ((with_muon, one), (with_adamw, two)):
            set_gradients(model, step)
            optimizer.step(1.0)
    other = parameters_of(with_adamw)
    for name, parameter in parameters_of(with_muon).items():
        is_matrix = ".blocks." in name and parameter.ndim == 2
        assert torch.equal(parameter, other[name]) != is_matrix, name


def test_muon_uses_nesterov_momentum(make_language_model: Any) -> None:
    model = make_language_model()
    optimizer, name = muon(model), "transformer.blocks.0.out_proj.weight"
    gradients = [torch.randn(32, 32, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    buffer = torch.zeros(32, 32)
    expected = parameters_of(model)[name]
    for gradient in gradients:
        dict(model.named_parameters())[name].grad = gradient.clone()
        optimizer.step(0.5)
        buffer = 0.95 * buffer + 0.05 * gradient
        update = 0.05 * gradient + 0.95 * buffer
        expected = expected - 0.5 * 0.02 * orthogonalise(update[None])[0]
    torch.testing.assert_close(parameters_of(model)[name], expected, atol=1e-5, rtol=1e-5)


def test_decay_shrinks_matrices_only(make_language_model: Any) -> None:
    model = make_language_model()
    optimizer, before = muon(model, weight_decay=0.5), parameters_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(1.0)
    for name, parameter in parameters_of(model).items():
        is_matrix = ".blocks." in name and parameter.ndim == 2
        torch.testing.assert_close(parameter, before[name] * (0.99 if is_matrix else 1.0))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_the_state_survives_a_file(tmp_path: Path, make_language_model: Any, kind: str) -> None:
    config = OptimizerConfig(kind=kind, matrix_rate=0.01, other_rate=1e-3, weight_decay=0.1)
    model, other = make_language_model(), make_language_model(1)
    optimizer, resumed = Optimizer(model, config), Optimizer(other, config)
    for step in range(3):
        set_gradients(model, step)
        optimizer.step(1.0)
    save_file(optimizer.state_tensors(), tmp_path / "state.safetensors")
    other.load_state_dict(model.state_dict())
    resumed.load_state_tensors(load_file(tmp_path / "state.safetensors"))
    assert resumed.num_updates == 3
    for step in range(3, 6):
        for each, its in ((model, optimizer), (other, resumed)):
            set_gradients(each, step)
            its.step(0.5)
    assert all(torch.equal(p, dict(other.named_parameters())[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("damage", ["missing", "shape", "foreign"])
def test_a_state_that_does_not_fit_changes_nothing(make_language_model: Any, damage: str) -> None:
    model = make_language_model()
    optimizer = muon(model)
    set_gradients(model, 0)
    optimizer.step(1.0)
    tensors = {name: tensor + 1 for name, tensor in optimizer.state_tensors().items()}
    before = {name: tensor.clone() for name, tensor in optimizer.state_tensors().items()}
    name = sorted(tensors)[-2]
    if damage == "missing":
        del tensors[name]
    elif damage == "shape":
        tensors[name] = torch.zeros(3)
    else:
        tensors["first/elsewhere"] = torch.zeros(3)
    with pytest.raises(ValueError, match="belongs to another model"):
        optimizer.load_state_tensors(tensors)
    assert all(torch.equal(tensor, before[name]) for name, tensor in optimizer.state_tensors().items())
