"""A base is opened with all that it fixes, or refused in a sentence before anything is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.errors import CorruptModelError, InputDataError, ModelError, UsageError
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.runtime.manifest import read_manifest, sealed
from pretune.settings import PretrainConfig
from pretune.stages.pretrain.base_model import fit_to_base, open_base

CONFIG = PretrainConfig()


def change_config(base: Path, target: Path, **fields: Any) -> Path:
    """A copy of a model folder without its manifest, with other fields in its config."""
    shutil.copytree(base, target, ignore=shutil.ignore_patterns("manifest.json"))
    known = json.loads((target / "config.json").read_text(encoding="utf-8"))
    (target / "config.json").write_text(json.dumps({**known, **fields}), encoding="utf-8")
    return target


def test_a_base_has_its_shape_weights_and_tokenizer(run_folder: Path, preprocessed_folder: Path) -> None:
    base = open_base(run_folder, CONFIG, read_manifest(preprocessed_folder))
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    assert base.config == loaded.config
    assert base.weights.keys() == loaded.model.state_dict().keys()
    assert all(torch.equal(base.weights[name], tensor) for name, tensor in loaded.model.state_dict().items())
    assert base.describe() == {"path": str(run_folder), "fingerprint": base.fingerprint, "splits": []}
    assert base.describe_start() == f"Training starts from {run_folder} (2x64), not from random weights."


def test_an_adapter_is_a_base_with_its_corrections(
    save_language_model: Callable[[Path, str], Path], save_adapter: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    folder = save_language_model(tmp_path / "base", "causal")
    adapter = save_adapter(tmp_path / "adapter", folder)
    opened, before = open_base(adapter, CONFIG), open_base(folder, CONFIG)
    assert opened.fingerprint != before.fingerprint
    assert (opened.config, opened.stop_ids) == (before.config, before.stop_ids)
    corrected = load_model_folder(adapter).model.state_dict()
    assert all(torch.equal(tensor, corrected[name]) for name, tensor in opened.weights.items())


def test_what_cannot_predict_missing_words_is_refused(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no language model, so it cannot go on to predict words"):
        open_base(run_folder / "finetune", CONFIG)
    llama = change_config(
        run_folder / "pretrain" / "checkpoint", tmp_path / "llama", model_type="llama", mask_token_id=None
    )
    with pytest.raises(ModelError, match="has no mask token, so it cannot learn to predict missing words"):
        open_base(llama, PretrainConfig(objective="masked"))
    assert open_base(llama, CONFIG).objective == "causal"
    bert = change_config(run_folder / "pretrain" / "checkpoint", tmp_path / "bert", model_type="t5")
    with pytest.raises(ModelError, match="t5"):
        open_base(bert, CONFIG)
    (llama / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CorruptModelError, match=r"model\.safetensors"):
        open_base(llama, CONFIG)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"size": "small"}, r"--size is small, but the base has its shape and weights already \(2x64\)"),
        ({"initial_embedding": "random"}, "--initial-embedding is random, but the base has its shape and weights"),
        ({"row_tokens": 513}, "--row-tokens is 513, but the base reads at most 512 tokens; give --row-tokens 512 or"),
        ({"long_row_tokens": 1024}, "--long-row-tokens is 1,024, but the base reads at most 512 tokens"),
    ],
)
def test_settings_of_what_the_base_fixes_are_refused(run_folder: Path, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_base(run_folder, PretrainConfig(**settings))


def test_rows_are_no_longer_than_the_base_reads(run_folder: Path, tmp_path: Path) -> None:
    short = change_config(run_folder / "pretrain" / "checkpoint", tmp_path / "short", max_position_embeddings=128)
    fitted = fit_to_base(CONFIG, open_base(short, CONFIG))
    assert (fitted.long_row_tokens, fitted.row_tokens, fitted.initial_embedding) == (128, 64, "random")
    assert fit_to_base(CONFIG, None) == replace(CONFIG, objective="masked", neighbour_weight=0.1)


@pytest.mark.parametrize("before", ["masked", "causal", "hybrid"])
def test_the_objective_is_that_of_the_base_unless_another_is_given(
    run_folder: Path, tmp_path: Path, before: Any
) -> None:
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    assert isinstance(loaded.model, LanguageModel)
    loaded.model.config = replace(loaded.config, objective=before)
    save_model_folder(tmp_path / "base", loaded.model, loaded.tokenizer_path)
    base = open_base(tmp_path / "base", CONFIG)
    assert (base.config.objective, base.objective) == (before, before)
    fitted = fit_to_base(CONFIG, base)
    assert (fitted.objective, fitted.causal_share) == (before, 0.25 if before == "hybrid" else None)
    assert "was trained to predict" not in base.describe_start()
    config = PretrainConfig(objective="hybrid", causal_share=0.4)
    other = open_base(tmp_path / "base", config)
    assert (fit_to_base(config, other).objective, fit_to_base(config, other).causal_share) == ("hybrid", 0.4)
    if before == "masked":
        said = "It was trained to predict missing words, and now learns to predict missing words and the next token."
        assert said in other.describe_start()


def test_a_causal_share_needs_rows_of_both_kinds() -> None:
    with pytest.raises(UsageError, match="--causal-share is given, but the objective is causal, which has rows"):
        PretrainConfig(objective="causal", causal_share=0.5)
    with pytest.raises(UsageError, match="--causal-share is given, but the objective is masked"):
        fit_to_base(PretrainConfig(causal_share=0.5), None)
    with pytest.raises(UsageError, match=r"--causal-share is 1\.0; expected a fraction between 0 and 1"):
        PretrainConfig(objective="hybrid", causal_share=1.0)


@pytest.mark.parametrize("objective", ["causal", "hybrid"])
def test_words_around_rows_need_masked_rows_of_the_base_too(run_folder: Path, tmp_path: Path, objective: Any) -> None:
    """It was trained without a word that nothing came of the weight."""
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    assert isinstance(loaded.model, LanguageModel)
    loaded.model.config = replace(loaded.config, objective=objective)
    save_model_folder(tmp_path / "base", loaded.model, loaded.tokenizer_path)
    config = PretrainConfig(neighbour_weight=0.3)
    with pytest.raises(UsageError, match=f"--neighbour-weight is given, but the objective is {objective}, which has"):
        open_base(tmp_path / "base", config)
    masked = PretrainConfig(neighbour_weight=0.3, objective="masked")
    assert fit_to_base(masked, open_base(tmp_path / "base", masked)).neighbour_weight == 0.3


def test_words_around_rows_are_predicted_by_masked_models_from_random_weights(run_folder: Path) -> None:
    assert fit_to_base(PretrainConfig(neighbour_weight=0.0), None).neighbour_weight == 0
    for objective in ("causal", "hybrid"):
        assert fit_to_base(PretrainConfig(objective=objective), None).neighbour_weight == 0
    assert fit_to_base(CONFIG, open_base(run_folder, CONFIG)).neighbour_weight == 0


def test_text_of_another_tokenizer_is_refused_with_the_command(run_folder: Path, preprocessed_folder: Path) -> None:
    source = read_manifest(preprocessed_folder)
    fields = sealed({**vars(source), "outputs": {**source.outputs, "tokenizer.json": {"sha256": "0" * 64}}})
    other = type(source)(**{name: value for name, value in fields.items() if name != "sha256"})
    with pytest.raises(InputDataError, match=f"run pretune preprocess COLLECTED --base {run_folder} --out DIR"):
        open_base(run_folder, CONFIG, other)
