"""The arithmetic of the estimates, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pretune.compute.device import Compute
from pretune.model.config import PRESETS
from pretune.settings import PretrainConfig
from pretune.stages.pretrain import estimate
from pretune.training.budget import Pace
from pretune.training.schedule import plan_steps

CPU = Compute(
    device="cpu", threads=2, precision="bf16", is_compiled=False, torch_version="2.13.0", chip="Example", processes=1
)
CONFIG = PretrainConfig(minutes=10.0, initial_embedding="random", evaluations=4)
PACE = Pace(short_step_seconds=1.0, long_step_seconds=2.0, evaluation_seconds=5.0)
MODEL = PRESETS["tiny"](1000)


def seconds_before_plan(config: PretrainConfig, compute: Compute = CPU, *, has_long_rows: bool = False) -> float:
    return estimate.seconds_before_plan(config, MODEL, compute, PACE, 2_000_000, has_long_rows=has_long_rows)


def test_what_comes_before_the_plan_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "has_compiled_before", lambda: False)
    short = seconds_before_plan(CONFIG)
    assert short == 7 * 1.0 + 2 * 5.0
    assert seconds_before_plan(CONFIG, has_long_rows=True) == short + 7 * 2.0
    assert seconds_before_plan(CONFIG, replace(CPU, is_compiled=True)) == short + 30.0
    vectors = replace(CONFIG, initial_embedding="vectors")
    assert seconds_before_plan(vectors) == pytest.approx(short + 2.0 + 0.1)


def test_the_plan_takes_its_updates_and_one_more_evaluation() -> None:
    plan = plan_steps(100, warmup_fraction=0.1, decay_fraction=0.4, long_fraction=0.1, tokens_per_step=64)
    assert estimate.seconds_of_plan(plan, PACE, CONFIG) == 90 * 1.0 + 10 * 2.0 + 5 * 5.0 + 2.0
    compiled = estimate.pace_on(replace(CPU, is_compiled=True), PACE)
    assert compiled == Pace(short_step_seconds=0.9, long_step_seconds=1.8, evaluation_seconds=5.0)


def test_a_long_decay_leaves_one_checkpoint_more() -> None:
    def size(decay: float, minutes: float) -> int:
        plan = plan_steps(100, warmup_fraction=0.1, decay_fraction=decay, long_fraction=0.1, tokens_per_step=64)
        return estimate.disk_bytes(replace(CONFIG, checkpoint_minutes=minutes), MODEL, plan, PACE, 100)

    two, three = size(0.6, 2.0), size(0.6, 0.5)
    assert size(0.4, 0.75) == three  # a decay of 40 updates, a checkpoint every 45: one falls into the decay
    assert size(0.1, 0.5) == two  # one falls on its start
    model = 3 * two - 2 * three  # what is left without any checkpoint
    assert 0 < model < three - two < two


def test_only_the_files_that_a_tokenizer_has_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("12345")
    (tmp_path / "text.txt").write_text("text")
    assert estimate.tokenizer_bytes(tmp_path) == 5  # a foreign base may lack tokenizer_config.json
    (tmp_path / "special_tokens_map.json").write_text("{}")
    assert estimate.tokenizer_bytes(tmp_path) == 7


def test_the_gpu_keeps_no_attention_scores_in_bf16() -> None:
    assert estimate.memory_bytes(CONFIG, MODEL, replace(CPU, device="cuda"), 4096) < estimate.memory_bytes(
        CONFIG, MODEL, CPU, 4096
    )
    assert estimate.vector_bytes(CONFIG, MODEL, 2_000_000) == 0
    assert (
        estimate.vector_bytes(replace(CONFIG, initial_embedding="vectors"), MODEL, 2_000_000) == 20 * 10**6 + 90 * 10**6
    )
