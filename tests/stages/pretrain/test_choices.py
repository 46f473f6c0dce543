"""Muon's precision; on a GPU, larger micro-batches, and a notice if updates are too small to keep it busy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from pretune.compute import device
from pretune.compute.device import Compute
from pretune.data.pretraining_data import Corpus
from pretune.data.rank_slice import RankSlice
from pretune.data.special_ids import SpecialIds
from pretune.errors import OutOfResourcesError
from pretune.model import cost
from pretune.model.config import large, micro, mini
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.choices import (
    budget_of,
    check_memory,
    choose_size,
    describe_compute,
    most_predicted_fraction,
    optimizer_config,
    row_settings,
)
from pretune.text.token_shards import ShardWriter
from pretune.training.budget import Budget

CPU = Compute(
    device="cpu", threads=2, precision="bf16", is_compiled=False, torch_version="2.13.0", chip="Example", processes=1
)
GPU = replace(CPU, device="cuda", is_compiled=True)
CONFIG = PretrainConfig(minutes=10.0)
MICRO = micro(8_192)


def test_a_gpu_takes_more_at_once_unless_the_run_began_with_less() -> None:
    budget = budget_of(CONFIG)
    assert row_settings(CONFIG, budget).micro_batch_tokens == 16_384
    assert row_settings(CONFIG, budget, "cuda").micro_batch_tokens == 65_536
    assert row_settings(CONFIG, budget, "cuda", begun={"micro_batch_tokens": 16_384}).micro_batch_tokens == 16_384
    assert row_settings(CONFIG, budget, "cpu", begun={"micro_batch_tokens": 65_536}).micro_batch_tokens == 65_536


def test_a_large_base_is_evaluated_on_fewer_tokens_without_a_gpu_and_on_the_same_when_resumed() -> None:
    budget = budget_of(CONFIG)
    usual = row_settings(CONFIG, budget, "cpu", base=mini(8_192)).validation_tokens
    assert usual == 48_000
    assert row_settings(CONFIG, budget, "cuda", base=large(32_000)).validation_tokens == usual
    few = row_settings(CONFIG, budget, "cpu", base=large(32_000)).validation_tokens
    assert 2_000 < few < 10_000
    resumed = row_settings(CONFIG, budget, "cuda", base=large(32_000), begun={"validation_tokens": few})
    assert resumed.validation_tokens == few


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_only_a_wide_base_gets_low_rates(optimizer: Literal["muon", "adamw"]) -> None:
    config = replace(CONFIG, optimizer=optimizer)
    usual = optimizer_config(config, CPU)
    assert optimizer_config(config, CPU, mini(8_192)) == usual
    wide = optimizer_config(config, CPU, large(32_000))
    assert wide.matrix_rate <= usual.matrix_rate / 10
    assert wide.other_rate <= usual.other_rate / 10
    assert optimizer_config(replace(config, learning_rate=0.01), CPU, large(32_000)).matrix_rate == 0.01


@pytest.mark.parametrize("compute", [CPU, GPU], ids=["cpu", "gpu"])
def test_muon_computes_in_the_precision_of_the_model(compute: Compute) -> None:
    assert optimizer_config(CONFIG, compute).dtype == torch.bfloat16
    assert optimizer_config(CONFIG, replace(compute, precision="fp32")).dtype == torch.float32


def write_rows(folder: Path) -> None:
    """90 rows of 16 tokens for training, and as many for validation."""
    rng = np.random.default_rng(0)
    for name in ("train", "validation"):
        with ShardWriter(folder, name, 50) as writer:
            for _ in range(90):
                writer.add([1, *rng.integers(4, 50, size=14).tolist(), 2])


@pytest.mark.parametrize(("step", "at_once"), [(128, 4096), (512, 128), (640, 192), (1024, 16)])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.7])
def test_no_micro_batch_of_a_hybrid_predicts_more_than_expected(
    tmp_path: Path, step: int, at_once: int, share: float
) -> None:
    write_rows(tmp_path)
    config = PretrainConfig(objective="hybrid", causal_share=share, tokens_per_step=step, row_tokens=16)
    rows = replace(row_settings(config, budget_of(config)), micro_batch_tokens=at_once, long_row_tokens=16)
    corpus = Corpus(tmp_path, rows, SpecialIds(pad=0, mask=3, first_ordinary=4), np.zeros(50, dtype=np.bool_))
    most = max(len(batch.labels) for batch in corpus.short_batches(1))
    expected = most_predicted_fraction(config, corpus.micro_batch_tokens, corpus) * corpus.micro_batch_tokens
    assert most <= expected <= 1.2 * most  # one or two tokens of a row in sixteen are never predicted
    undivided = most_predicted_fraction(config, min(step, at_once)) * min(step, at_once)
    assert undivided >= 0.9 * most
    assert most_predicted_fraction(config, 16, corpus) == 1.0  # a single row, which is causal


def test_each_of_several_processes_needs_memory_for_its_part_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory was checked for a single process only, as if it had all that is free."""
    write_rows(tmp_path)
    config = PretrainConfig(objective="masked", tokens_per_step=1024, row_tokens=16)
    rows = replace(row_settings(config, budget_of(config)), long_row_tokens=16)

    def check(size: int, free: float) -> None:
        special, ends = SpecialIds(pad=0, mask=3, first_ordinary=4), np.zeros(50, dtype=np.bool_)
        corpus = Corpus(tmp_path, rows, special, ends, RankSlice(size=size))
        assert corpus.micro_batch_tokens == 1024 // size
        monkeypatch.setattr(device, "available_memory_bytes", lambda: int(free))
        check_memory(MICRO, config, corpus, "cpu")

    alone, share = (cost.train_memory_bytes(MICRO, tokens, 16, config.mask_prob) for tokens in (1024, 512))
    assert share < alone < 2 * share
    check(1, alone)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    check(2, 2 * share)
    with pytest.raises(OutOfResourcesError, match=r"512 tokens at once, .* GB are free for each process; .* would fit"):
        check(2, 2 * share - 3_000_000)
    with pytest.raises(OutOfResourcesError, match=r"so start fewer processes on a machine, or free some memory\.$"):
        check(2, 1000)


@pytest.mark.parametrize(
    ("budget", "on_cpu", "on_gpu"),
    [
        (Budget(tokens=1_000_000), "tiny", "tiny"),
        (Budget(tokens=400_000_000), "small", "small"),
        (Budget(tokens=1_000_000_000), "small", "medium"),
        (Budget(epochs=100.0), "small", "large"),
        (Budget(minutes=5.0), "micro", "small"),
        (Budget(minutes=30.0), "mini", "medium"),
        (Budget(minutes=240.0), "small", "large"),
    ],
)
def test_the_two_largest_sizes_are_chosen_for_a_gpu_only(budget: Budget, on_cpu: str, on_gpu: str) -> None:
    tokens_per_epoch = 30_000_000
    assert choose_size("auto", budget, tokens_per_epoch, CPU) == on_cpu
    assert choose_size("auto", budget, tokens_per_epoch, GPU) == on_gpu
    assert choose_size("large", budget, tokens_per_epoch, CPU) == "large"


def test_updates_too_small_for_a_gpu_give_a_notice() -> None:
    large = replace(CONFIG, tokens_per_step=65_536)
    assert len(describe_compute(GPU, large, MICRO, wants_compiling=True)) == 1
    [_, notice] = describe_compute(GPU, CONFIG, MICRO, wants_compiling=True)
    assert notice.startswith("An update of 4,096 tokens is too small to keep a GPU busy")
    assert len(describe_compute(CPU, CONFIG, MICRO, wants_compiling=False)) == 1


def test_a_large_model_without_a_gpu_gives_a_notice_until_its_updates_are_cheap() -> None:
    model, cheap = large(32_000), replace(CONFIG, optimizer="adamw", tokens_per_step=1024)
    [_, notice] = describe_compute(CPU, CONFIG, model, wants_compiling=False)
    assert "--optimizer adamw --tokens-per-step 1024" in notice
    for half in (replace(cheap, optimizer="muon"), replace(cheap, tokens_per_step=4096)):
        assert len(describe_compute(CPU, half, model, wants_compiling=False)) == 2
    assert len(describe_compute(CPU, cheap, model, wants_compiling=False)) == 1
    assert len(describe_compute(GPU, replace(CONFIG, tokens_per_step=65_536), model, wants_compiling=False)) == 1


def test_a_missing_compiler_gives_a_notice_if_it_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "can_compile", lambda _device: False)
    large = replace(CONFIG, tokens_per_step=65_536)
    for compute, needed in ((CPU, "a C++ compiler (g++"), (replace(GPU, is_compiled=False), "Triton, a C compiler")):
        [_, notice] = describe_compute(compute, large, MICRO, wants_compiling=True)
        assert notice.startswith(f"Training is not compiled and therefore slower: compiling needs {needed}")
        assert len(describe_compute(compute, replace(large, compile="off"), MICRO, wants_compiling=True)) == 1
