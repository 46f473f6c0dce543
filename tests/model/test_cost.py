"""Predictions before a run match the real model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pretune.model import cost
from pretune.model.config import PRESETS, tiny
from pretune.model.transformer import LanguageModel
from pretune.training.optimizer import Optimizer, OptimizerConfig


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_exactly(name: str) -> None:
    config = PRESETS[name](777)
    with torch.device("meta"):
        model = LanguageModel(config)
    assert cost.count_parameters(config) == sum(p.numel() for p in model.parameters())
    blocks = sum(p.numel() for p in model.transformer.blocks.parameters())
    assert cost.count_block_parameters(config) == blocks


def test_grouped_heads_are_counted_too() -> None:
    config = replace(tiny(50), num_heads=4, num_kv_heads=2, head_dim=16)
    model = LanguageModel(config)
    assert cost.count_parameters(config) == sum(p.numel() for p in model.parameters())


def test_a_head_of_its_own_is_counted_too() -> None:
    """As in most public models, from which pre-training may start."""
    config = replace(tiny(50), tie_word_embeddings=False)
    assert cost.count_parameters(config) == sum(p.numel() for p in LanguageModel(config).parameters())


def test_a_checkpoint_takes_no_more_than_predicted(tmp_path: Path) -> None:
    model = LanguageModel(tiny(300))
    config = OptimizerConfig(kind="adamw", matrix_rate=1e-3, other_rate=1e-3, weight_decay=0.0)
    save_file({**model.transformer.state_dict()}, tmp_path / "weights")
    save_file(Optimizer(model, config).state_tensors(), tmp_path / "state")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert cost.checkpoint_bytes(tiny(300)) == pytest.approx(size, rel=0.01)


def test_operations_are_six_per_weight_with_head_and_last_half_layer_only_at_masks() -> None:
    config = tiny(1000)
    everywhere = cost.train_flops_per_token(config, seen_tokens=0.0, predicted_fraction=1.0)
    assert everywhere == 6 * (cost.count_block_parameters(config) + 1000 * 128)
    half = cost.train_flops_per_token(config, seen_tokens=0.0, predicted_fraction=0.5)
    last_half = 128 * 128 + 3 * 128 * 352  # the output of attention, then gate, up and down
    assert everywhere - half == pytest.approx(0.5 * 6 * (1000 * 128 + last_half))
    # Per layer and head: q.k and p.v, each 2 operations a weight forwards and 4 backwards, over all places of a row.
    assert (
        cost.train_flops_per_token(config, seen_tokens=64.0, predicted_fraction=1.0) - everywhere
        == 2 * 2 * 6 * 128 * 64
    )


def test_a_gpu_keeps_half_of_the_activations_and_no_scores() -> None:
    config = tiny(1000)
    cases = [(False, 64), (False, 512), (True, 64), (True, 512)]
    apart = [cost.train_memory_bytes(config, 1024, row, 0.2, device="cuda", by_spans=spans) for spans, row in cases]
    assert apart[0] < apart[1]
    assert apart[2] == apart[3] < apart[0]
    kept = cost.train_memory_bytes(config, 2048, 64, 0.0, by_spans=True) - cost.train_memory_bytes(
        config, 1024, 64, 0.0, by_spans=True
    )
    assert kept == 1024 * 2 * (20 * 128 + 6 * 352)


def test_two_lanes_of_a_cpu_have_gradients_of_their_own() -> None:
    config = tiny(1000)
    on_cpu, on_gpu = (cost.train_memory_bytes(config, 1024, 64, 0.2, device=device) for device in ("cpu", "cuda"))
    assert on_cpu - on_gpu == 2 * 4 * cost.count_parameters(config)


def test_memory_grows_with_the_batch_and_the_vocabulary() -> None:
    small_batch = cost.train_memory_bytes(tiny(1000), 1024, 64, 0.2)
    assert small_batch < cost.train_memory_bytes(tiny(1000), 4096, 64, 0.2)
    assert small_batch < cost.train_memory_bytes(tiny(8000), 1024, 64, 0.2)
    assert small_batch > 500_000_000 + 4 * 4 * cost.count_parameters(tiny(1000))
