"""Anything wrong with the folder of a public encoder is an error of one sentence."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.inference.load import load_classifier, load_filler
from pretune.model.config import longest_row_of
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import SequenceClassifier
from pretune.text.labels.labelling import Labelling
from pretune.text.tokenizer.tokenizer import load_tokenizer


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_old_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")


def with_other_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"more{i}": 1000 + i for i in range(500)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


DAMAGES: list[tuple[Callable[[Path], object], type[Exception], str]] = [
    (lambda f: os.truncate(f / "model.safetensors", 2000), CorruptModelError, r"model\.safetensors is truncated"),
    (lambda f: os.truncate(f / "model.safetensors", 0), CorruptModelError, r"model\.safetensors is truncated"),
    (with_pickle_only, ModelError, r"only as a pickle \(pytorch_model\.bin\)"),
    (lambda f: (f / "tokenizer.json").unlink(), ModelNotFoundError, r"has no tokenizer\.json"),
    (with_old_tokenizer, ModelNotFoundError, r"older kind of tokenizer; transformers converts them: python -c"),
    (lambda f: (f / "tokenizer.json").write_text("{"), CorruptModelError, r"tokenizer\.json is damaged"),
    (lambda f: (f / "tokenizer_config.json").write_text("{"), CorruptModelError, r"tokenizer_config\.json is damaged"),
    (lambda f: edit_config(f, is_decoder=True), ModelError, r"type 'bert', which is not a text encoder"),
    (lambda f: edit_config(f, quantization_config={"quant_method": "bitsandbytes"}), ModelError, r"quantised weights"),
    (lambda f: edit_config(f, hidden_size="x"), CorruptModelError, r"config\.json lacks a field of type bert or has"),
    # With PEFT, transformers would have added it.
    (lambda f: (f / "adapter_config.json").write_text("{}"), ModelError, r"a whole model and adapter_config\.json, so"),
    (lambda f: edit_config(f, architectures=5, vocab_size=10**12), CorruptModelError, r"far fewer than config\.json"),
    (lambda f: edit_config(f, num_attention_heads=0), CorruptModelError, r"config\.json"),
    (lambda f: edit_config(f, num_hidden_layers=3), CorruptModelError, r"tensors are missing, the first is .*layer\.2"),
    # Compared before memory is taken for so many weights.
    (lambda f: edit_config(f, vocab_size=10**12), CorruptModelError, r"safetensors has [\d,]+ weights, far fewer than"),
    (lambda f: edit_config(f, num_hidden_layers=10**5), CorruptModelError, r"weights, far fewer than config\.json"),
    (lambda f: edit_config(f, vocab_size=1000), CorruptModelError, r"model\.safetensors"),
    (
        lambda f: edit_weights(f, lambda t: t.pop("encoder.layer.1.output.dense.weight")),
        CorruptModelError,
        r"1 tensors are missing, the first is encoder\.layer\.1\.output\.dense\.weight",
    ),
]


@pytest.mark.parametrize(("damage", "error", "sentence"), DAMAGES)
def test_damage_is_named(
    public_model: Callable[..., Path],
    tmp_path: Path,
    damage: Callable[[Path], object],
    error: type[Exception],
    sentence: str,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert"), folder)
    damage(folder)
    with pytest.raises(error, match=sentence) as raised:
        load_model_folder(folder)
    assert "\n" not in str(raised.value)
    assert type(raised.value) is error


def test_a_tokenizer_of_another_model_is_refused(public_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert"), folder)
    loaded = load_model_folder(folder)
    save_model_folder(tmp_path / "saved", SequenceClassifier(loaded.config, 2), folder, ["a", "b"])
    (tmp_path / "saved" / "manifest.json").unlink()
    with_other_tokenizer(tmp_path / "saved")
    with pytest.raises(CorruptModelError, match="belongs to another model"):
        load_classifier(tmp_path / "saved")


def test_a_base_neither_classifies_nor_fills_in_words(public_model: Callable[..., Path]) -> None:
    folder = public_model("bert")
    with pytest.raises(ModelError, match=r"is a base for fine-tuning and does not classify; fine-tune it first"):
        load_classifier(folder)
    with pytest.raises(ModelError, match=r"does not fill in words"):
        load_filler(folder)


def test_a_damaged_head_is_named(public_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = public_model("bert")
    model = SequenceClassifier(load_model_folder(folder).config, 2)
    save_model_folder(tmp_path / "saved", model, folder, ["a", "b"])
    (tmp_path / "saved" / "manifest.json").unlink()
    (tmp_path / "saved" / "labels.json").write_text('{"names": ["a", "b", "c"]}')
    with pytest.raises(CorruptModelError, match=r"does not match labels\.json"):
        load_model_folder(tmp_path / "saved")


def test_a_flipped_byte_in_a_saved_folder_is_noticed(public_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = public_model("bert")
    save_model_folder(tmp_path / "saved", SequenceClassifier(load_model_folder(folder).config, 2), folder, ["a", "b"])
    data = bytearray((tmp_path / "saved" / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 0x40
    (tmp_path / "saved" / "model.safetensors").write_bytes(data)
    with pytest.raises(CorruptModelError, match=r"model\.safetensors"):
        load_model_folder(tmp_path / "saved")


def test_without_transformers_a_sentence_names_the_extra(
    public_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = public_model("bert")
    real = importlib.import_module

    def refuse(name: str, *more: Any) -> Any:
        if name.partition(".")[0] == "transformers":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ModelError, match=r"pip install 'pretune\[hf\]'"):
        load_model_folder(folder)


def test_no_code_of_a_folder_is_run(public_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert"), folder)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    edit_config(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})
    assert load_model_folder(folder).model is not None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mark", ["", "_"])
def test_what_a_base_says_on_programs_is_not_written_for_a_model_made_from_it(
    public_model: Callable[..., Path], tmp_path: Path, mark: str
) -> None:
    """transformers would load a program from the Hub for the attention, and run it, wherever the model is sent."""
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert"), folder)
    names = [f"{mark}{part}_implementation" for part in ("attn", "experts")]
    edit_config(folder, auto_map={}, torch_dtype="float16", **dict.fromkeys(names, "kernels-community/x"))
    save_model_folder(tmp_path / "saved", SequenceClassifier(load_model_folder(folder).config, 2), folder, ["a", "b"])
    fields = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert not {*names, "auto_map", "torch_dtype"} & set(fields)
    assert fields["model_type"] == "bert" and fields["hidden_size"]


def test_the_longest_row_is_what_positions_and_tokenizer_allow() -> None:
    assert longest_row_of({"max_position_embeddings": 512, "model_type": "bert"}) == 512
    roberta = {"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1}
    assert longest_row_of(roberta) == 512
    assert longest_row_of(roberta, {"model_max_length": 128}) == 128
    assert longest_row_of(roberta, {"model_max_length": int(1e30)}) == 512
    assert longest_row_of({}) is None
    assert longest_row_of({}, {"model_max_length": 256}) == 256


@pytest.mark.parametrize("id2label", [{"0": "bad", "1": "good"}, None])
def test_a_regression_from_a_public_classifier_is_loaded_again(
    public_model: Callable[..., Path], tmp_path: Path, id2label: dict[str, str] | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert", "ForSequenceClassification"), folder)
    edit_config(folder, problem_type="single_label_classification", id2label=id2label)
    labelling = Labelling(names=("score",), task="regression")
    config = load_model_folder(folder).config
    save_model_folder(tmp_path / "saved", SequenceClassifier(config, 1), folder, labelling)
    assert load_model_folder(tmp_path / "saved").labelling == labelling
    fields = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert fields["problem_type"] == "regression"
    theirs = importlib.import_module("transformers").AutoConfig.from_pretrained(tmp_path / "saved")
    assert theirs.num_labels == 1


def test_a_negative_padding_id_is_replaced_by_that_of_the_tokenizer(
    public_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("distilbert", dim=32, n_layers=2, n_heads=4, hidden_dim=48), folder)
    edit_config(folder, pad_token_id=-1)
    loaded = load_model_folder(folder)
    assert loaded.config.pad_token_id == load_tokenizer(folder).pad_id
