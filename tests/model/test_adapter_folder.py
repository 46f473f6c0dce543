"""An adapter folder gives back the trained model, equals PEFT's, and is refused for any other base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.model.adapter_folder import apply_adapter, hash_weights, load_adapter_folder, save_adapter_folder
from pretune.model.added_tokens import train_only_rows, with_added_tokens
from pretune.model.base_folder import fingerprint_of, read_base_folder
from pretune.model.folder import load_model_folder, read_stop_ids, save_model_folder
from pretune.model.lora import TARGETS, LoraConfig, add_lora, lora_layers, merged
from pretune.model.transformer import LanguageModel

LORA = LoraConfig(rank=4, alpha=12.0)
ADDED = (50, 51)
MakeModel = Callable[..., LanguageModel]
LogitsOf = Callable[..., torch.Tensor]
Train = Callable[..., LanguageModel]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT, of transformers


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


@pytest.fixture
def train_and_save(tmp_path: Path, tokenizer_folder: Path, make_model: MakeModel) -> Train:
    """A function: saves a base and an adapter for it with arbitrary corrections, and returns the corrected model."""

    def train(lora: LoraConfig = LORA, added: tuple[int, ...] = (), *, tied: bool = True) -> LanguageModel:
        base = make_model(tied=tied)
        save_model_folder(tmp_path / "base", base, tokenizer_folder)
        base_hash = hash_weights(base)
        model = with_added_tokens(base, added, 50 + len(added), seed=0)
        add_lora(model, lora, seed=0)
        train_only_rows(model, added)
        with torch.no_grad():
            for layer in lora_layers(model).values():
                layer.lora_b.normal_(0.0, 0.1)
            model.transformer.embed_tokens.weight[list(added)] += 0.3
        save_adapter_folder(
            tmp_path / "adapter",
            model,
            tokenizer_folder,
            lora,
            base=tmp_path / "base",
            base_hash=base_hash,
            added=added,
        )
        return model

    return train


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("added", [(), ADDED])
def test_loading_gives_the_merged_model(
    tmp_path: Path, train_and_save: Train, logits_of: LogitsOf, tied: bool, added: tuple[int, ...]
) -> None:
    model = train_and_save(added=added, tied=tied)
    for loaded in (load_adapter_folder(tmp_path / "adapter"), load_model_folder(tmp_path / "adapter")):
        assert isinstance(loaded.model, LanguageModel)
        assert loaded.tokenizer_path == tmp_path / "adapter"
        assert torch.equal(logits_of(loaded.model), logits_of(merged(model)))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("added", [(), ADDED])
@pytest.mark.parametrize("targets", [TARGETS, ("q_proj", "v_proj", "up_proj")])
def test_logits_equal_those_of_peft(
    tmp_path: Path,
    train_and_save: Train,
    logits_of: LogitsOf,
    tied: bool,
    added: tuple[int, ...],
    targets: tuple[str, ...],
) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    model = train_and_save(replace(LORA, targets=targets), added, tied=tied)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    if added:
        theirs.resize_token_embeddings(52)
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    ids = torch.arange(12).reshape(2, 6)
    if added:
        ids[0, 0], ids[1, 3] = ADDED
    ours = logits_of(model, ids)
    torch.testing.assert_close(theirs(ids).logits.detach(), ours, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.merge_and_unload()(ids).logits.detach(), ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_adapters_of_peft_are_loaded(
    tmp_path: Path, tokenizer_folder: Path, make_model: MakeModel, logits_of: LogitsOf, tied: bool
) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    save_model_folder(tmp_path / "base", make_model(tied=tied), tokenizer_folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False)
    theirs = peft.get_peft_model(theirs, lora).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    ours = load_adapter_folder(tmp_path / "adapter").model
    assert isinstance(ours, LanguageModel)
    torch.testing.assert_close(
        logits_of(ours), theirs(torch.arange(12).reshape(2, 6)).logits.detach(), rtol=1e-4, atol=1e-4
    )


@pytest.fixture
def peft_adapter(
    tmp_path: Path, tokenizer_folder: Path, make_model: MakeModel
) -> Callable[..., Callable[[torch.Tensor], torch.Tensor]]:
    """A function: saves a base and an adapter that PEFT made for it, with rows of these tokens, and returns PEFT's
    model as a function from ids to logits."""
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")

    def make(rows: object, *, tied: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        save_model_folder(tmp_path / "base", make_model(tied=tied), tokenizer_folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        lora = peft.LoraConfig(
            r=3, target_modules=["q_proj"], init_lora_weights=False, trainable_token_indices=rows, task_type="CAUSAL_LM"
        )
        theirs = peft.get_peft_model(theirs, lora).eval()
        with torch.no_grad():
            for name, parameter in theirs.named_parameters():
                if "trainable_tokens_delta" in name:
                    parameter.normal_(0.0, 0.3)
        theirs.save_pretrained(tmp_path / "adapter")
        return lambda ids: theirs(ids).logits.detach()

    return make


@pytest.mark.parametrize(
    ("rows", "tied"),
    [
        ([7, 2, 9], True),
        ({"embed_tokens": [7, 2], "lm_head": [7, 2]}, True),
        ({"embed_tokens": [7, 2, 9], "lm_head": [3, 9, 1, 8]}, False),
        ([7, 2, 9], False),
        ({"model.embed_tokens": [7, 2, 9]}, False),
        ({"lm_head": [7, 2, 9]}, False),
    ],
)
def test_rows_of_peft_belong_to_its_tokens_in_the_listed_order(
    tmp_path: Path, peft_adapter: Callable[..., Any], logits_of: LogitsOf, rows: object, tied: bool
) -> None:
    theirs = peft_adapter(rows, tied=tied)
    ours = load_adapter_folder(tmp_path / "adapter").model
    assert isinstance(ours, LanguageModel)
    torch.testing.assert_close(logits_of(ours), theirs(torch.arange(12).reshape(2, 6)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "tied", "found"),
    [
        ({"embed_tokens": [50, 51], "lm_head": [51, 50]}, True, "its lm_head has other token rows than its embedding"),
        ([7, 51, 50], False, "neither it nor the model has rows of lm_head for tokens 50, 51"),
        ({"embed_tokens": [50], "lm_head": [50, 51]}, False, "neither it nor the model has rows of embed_tokens for"),
        ({"wte": [50, 51]}, True, "it has token rows of wte; expected those of embed_tokens and lm_head"),
        ([50, 10**12], True, "it has a row for token 1000000000000, but the model has 50 tokens"),
        ([50, -1], True, "it has a row for token -1"),
        ([50, 51.0], True, r"it has a row for token 51\.0"),
        ([50], True, r"found a matrix of \(2, 64\), expected \(1, 64\)"),
    ],
)
def test_token_rows_that_do_not_fit_are_refused(
    tmp_path: Path, train_and_save: Train, rows: object, tied: bool, found: str
) -> None:
    train_and_save(added=ADDED, tied=tied)
    folder = tmp_path / "adapter"
    (folder / "manifest.json").unlink()
    fields = json.loads((folder / "adapter_config.json").read_text())
    fields["trainable_token_indices"] = rows
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=found):
        load_model_folder(folder)


def test_all_files_of_the_tokenizer_go_with_an_adapter(
    tmp_path: Path, tokenizer_folder: Path, train_and_save: Train
) -> None:
    (tokenizer_folder / "special_tokens_map.json").write_text('{"eos_token": "</s>"}')
    train_and_save()
    for file in tokenizer_folder.iterdir():
        assert (tmp_path / "adapter" / file.name).read_bytes() == file.read_bytes()


def test_another_base_is_refused(
    tmp_path: Path, tokenizer_folder: Path, train_and_save: Train, make_model: MakeModel
) -> None:
    train_and_save()
    other = make_model()
    with torch.no_grad():
        other.transformer.final_norm.weight[0] += 1e-3
    with pytest.raises(ModelError, match="is an adapter for another model: it was made for weights with the hash"):
        apply_adapter(tmp_path / "adapter", other)
    save_model_folder(tmp_path / "base", other, tokenizer_folder)
    with pytest.raises(ModelError, match="give the base that it was trained on"):
        load_model_folder(tmp_path / "adapter")


def test_a_base_that_is_gone_is_named(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(ModelNotFoundError, match=r"is an adapter for .*base, which does not exist"):
        load_model_folder(tmp_path / "adapter")


def test_a_base_that_was_moved_is_found_where_the_sentence_says_to_write_it(
    tmp_path: Path, train_and_save: Train, tokenizer_folder: Path, make_model: MakeModel
) -> None:
    train_and_save()
    before = load_model_folder(tmp_path / "adapter").model.state_dict()
    (tmp_path / "base").rename(tmp_path / "moved")
    file = tmp_path / "adapter" / "adapter_config.json"
    with pytest.raises(ModelNotFoundError, match="write its present place as base_model_name_or_path into"):
        load_model_folder(tmp_path / "adapter")
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": str(tmp_path / "moved")}))
    after = load_model_folder(tmp_path / "adapter").model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    other = make_model()
    with torch.no_grad():
        other.transformer.final_norm.weight[0] += 1e-3
    save_model_folder(tmp_path / "moved", other, tokenizer_folder)
    with pytest.raises(ModelError, match="give the base that it was trained on"):
        load_model_folder(tmp_path / "adapter")


@pytest.mark.parametrize("names", [("one",), ("one", "two"), ("one", "two", "three")])
def test_adapters_that_correct_each_other_are_refused(
    tmp_path: Path, train_and_save: Train, names: tuple[str, ...]
) -> None:
    """They were followed until Python gave up."""
    train_and_save()
    for name, following in zip(names, (*names[1:], names[0]), strict=True):
        shutil.copytree(tmp_path / "adapter", tmp_path / name)
        file = tmp_path / name / "adapter_config.json"
        file.write_text(
            json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": str(tmp_path / following)})
        )
    for read in (load_model_folder, read_stop_ids, read_base_folder, fingerprint_of):
        with pytest.raises(CorruptModelError, match=r"one is an adapter for .*, which leads from adapter to adapter"):
            read(tmp_path / "one")


def test_an_adapter_may_correct_another_one(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    shutil.copytree(tmp_path / "adapter", tmp_path / "second")
    (tmp_path / "second" / "manifest.json").unlink()  # which says that it was made for another model
    file = tmp_path / "second" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": str(tmp_path / "adapter")}))
    once, twice = (load_model_folder(tmp_path / name).model for name in ("adapter", "second"))
    assert isinstance(once, LanguageModel) and isinstance(twice, LanguageModel)
    assert not torch.equal(once.transformer.blocks[0].qkv_proj.weight, twice.transformer.blocks[0].qkv_proj.weight)
    assert read_stop_ids(tmp_path / "second") == read_stop_ids(tmp_path / "base")


def test_the_tokens_that_end_a_text_are_those_of_the_base_too(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    assert read_stop_ids(tmp_path / "adapter") == read_stop_ids(tmp_path / "base")
    (tmp_path / "base" / "generation_config.json").write_text('{"eos_token_id": [8, 9]}')
    (tmp_path / "adapter" / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert read_stop_ids(tmp_path / "adapter") == read_stop_ids(tmp_path / "base") | {7}
    assert read_stop_ids(tmp_path / "base") >= {8, 9}


def test_an_altered_adapter_is_refused(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptModelError, match=r"adapter_model\.safetensors was altered"):
        load_model_folder(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"peft_type": "IA3"}, "peft_type IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_parameters": ["experts.down_proj"]}, "target_parameters"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": [5, "q_proj"]}, "5"),
        ({"target_modules": 5}, "5"),
        ({"bias": "all"}, "target_modules or bias"),
        ({"r": 2}, r"found a matrix of \(4, 64\), expected \(2, 64\)"),
        ({"r": 65}, "--rank is 65"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(
    tmp_path: Path, train_and_save: Train, change: dict[str, object], found: str
) -> None:
    train_and_save()
    folder = tmp_path / "adapter"
    (folder / "manifest.json").unlink()  # as an adapter from elsewhere
    fields = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(fields | change))
    with pytest.raises(ModelError, match=found):
        load_model_folder(folder)


@pytest.mark.parametrize("change", [{"r": None}, {"r": 0}, {"r": float("inf")}, {"lora_alpha": "much"}])
def test_numbers_that_are_none_are_named(tmp_path: Path, train_and_save: Train, change: dict[str, object]) -> None:
    train_and_save()
    folder = tmp_path / "adapter"
    (folder / "manifest.json").unlink()
    fields = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(fields | change))
    with pytest.raises(CorruptModelError, match="has no usable r and lora_alpha"):
        load_model_folder(folder)


def test_a_missing_tensor_is_named(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    folder = tmp_path / "adapter"
    (folder / "manifest.json").unlink()
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight")
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.lora_B\.weight' is missing"):
        load_model_folder(folder)


def test_a_tensor_that_belongs_nowhere_is_named(tmp_path: Path, train_and_save: Train) -> None:
    train_and_save()
    folder = tmp_path / "adapter"
    (folder / "manifest.json").unlink()
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.model.layers.0.mlp.up_proj.lora_B.bias"] = torch.ones(96)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"its tensor .*layers\.0\.mlp\.up_proj\.lora_B\.bias has no place in it"):
        load_model_folder(folder)
