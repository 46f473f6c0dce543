"""What is chosen when the user does not: by the width of the model, the device, and the memory that is free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pretune.compute.device import choose_compute
from pretune.errors import OutOfResourcesError, UsageError
from pretune.model import cost
from pretune.model.config import ModelConfig, mini
from pretune.model.lora import TARGETS
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning import choices

SMALL = mini(8192)
SMOL = ModelConfig(  # the shape of SmolLM2-135M
    vocab_size=49_152, hidden_size=576, num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64, intermediate_size=1536
)


def rate_of(model: ModelConfig, **settings: object) -> float:
    config = ChatTuningConfig(**settings)  # type: ignore[arg-type]
    return choices.optimizer_config(config, model, choose_compute(precision="fp32", compile="off")).matrix_rate


def test_the_rate_is_lower_for_a_wide_model_and_higher_with_lora() -> None:
    assert rate_of(SMOL) < rate_of(SMALL) < rate_of(SMALL, adapter="lora")
    assert rate_of(SMOL) < rate_of(SMOL, adapter="lora") < rate_of(SMALL, adapter="lora")
    assert rate_of(SMOL, learning_rate=0.123) == 0.123


def test_only_from_scratch_is_muon_used_and_not_where_updates_are_slow() -> None:
    compute = choose_compute(precision="fp32", compile="off")
    configs = (ChatTuningConfig(), ChatTuningConfig(adapter="lora"), ChatTuningConfig(from_scratch=True))
    kinds = [choices.optimizer_config(config, SMALL, compute).kind for config in configs]
    assert kinds == ["adamw", "adamw", "muon"]
    assert choices.optimizer_config(ChatTuningConfig(from_scratch=True), SMOL, compute).kind == "adamw"


def test_alpha_is_twice_the_rank_and_all_matrices_are_corrected() -> None:
    found = choices.lora_config(ChatTuningConfig(adapter="lora", rank=4))
    assert found is not None and (found.alpha, found.scale, found.targets) == (8.0, 2.0, TARGETS)
    own = choices.lora_config(ChatTuningConfig(adapter="lora", rank=4, lora_alpha=2.0, lora_targets=("q_proj",)))
    assert own is not None and (own.scale, own.targets) == (0.5, ("q_proj",))
    assert choices.lora_config(ChatTuningConfig()) is None
    default = choices.lora_config(ChatTuningConfig(adapter="lora"))
    assert default is not None and default.rank == 16


def test_the_rank_in_the_identity_is_that_of_earlier_folders() -> None:
    for config in (ChatTuningConfig(), ChatTuningConfig(adapter="lora"), ChatTuningConfig(adapter="lora", rank=16)):
        assert choices.identity_of(config)["rank"] == 16
    assert choices.identity_of(ChatTuningConfig(adapter="lora", rank=4))["rank"] == 4


def test_a_large_model_on_a_cpu_has_small_updates() -> None:
    assert choices.batch_size_of(ChatTuningConfig(), SMALL, "cpu") == 32
    assert choices.batch_size_of(ChatTuningConfig(), SMOL, "cpu") == 8
    assert choices.batch_size_of(ChatTuningConfig(), SMOL, "cuda") == 32
    assert choices.batch_size_of(ChatTuningConfig(batch_size=5), SMOL, "cpu") == 5
    assert cost.evaluation_tokens(SMOL, "cpu") < 16_000 < cost.evaluation_tokens(SMALL, "cpu")


@pytest.mark.parametrize(("device", "expected"), [("cpu", 20), ("cuda", 12)])
def test_what_is_frozen_needs_no_gradient_and_no_moments(device: str, expected: int) -> None:
    whole = cost.count_parameters(SMOL)
    full = choices.memory_bytes(SMOL, whole, 1024, 256, 0.8, device)
    half = choices.memory_bytes(SMOL, whole // 2, 1024, 256, 0.8, device)
    assert full - half == pytest.approx(expected * whole / 2, rel=1e-6)


def test_a_micro_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cost.count_parameters(SMOL)
    fit = lambda: choices.fit_memory(SMOL, whole, 256, 8192, 0.8, "cpu")  # noqa: E731
    monkeypatch.setattr(choices, "available_bytes", lambda _device: None)
    assert fit() == 8192
    needed = choices.memory_bytes(SMOL, whole, 2048, 256, 0.8, "cpu")
    monkeypatch.setattr(choices, "available_bytes", lambda _device: needed / 0.8 + 1)
    assert fit() == 2048
    monkeypatch.setattr(choices, "available_bytes", lambda _device: 2_000_000_000)
    with pytest.raises(OutOfResourcesError, match=r"on a single row of 256 tokens needs about .* give --adapter lora"):
        fit()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"minutes": 5.0, "epochs": 2}, "More than one of --epochs, --minutes, --tokens and --updates"),
        ({"rank": 0}, "--rank is 0; expected at least 1"),
        ({"adapter": "lora", "freeze": 1}, "does not go with --freeze"),
        ({"adapter": "lora", "from_scratch": True}, "does not go with --from-scratch"),
        ({"lora_targets": ("q_proj",)}, "are for --adapter lora"),
        ({"lora_alpha": 2.0}, "are for --adapter lora"),
        ({"rank": 16}, "--rank, --lora-alpha and --lora-targets are for --adapter lora; add it, or omit them"),
        ({"freeze": 1, "from_scratch": True}, "would keep random weights"),
        ({"freeze": -1}, "--freeze is -1; expected at least 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ChatTuningConfig(**settings)  # type: ignore[arg-type]


def test_more_layers_than_there_are_cannot_be_frozen() -> None:
    choices.check_freeze(ChatTuningConfig(freeze=4), SMALL)
    with pytest.raises(UsageError, match="--freeze is 5, but the model has 4 layers"):
        choices.check_freeze(ChatTuningConfig(freeze=5), replace(SMALL))
