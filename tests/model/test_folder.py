"""A model survives saving and loading bit for bit; anything wrong with a folder is an error of one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pretune.errors import CorruptModelError, ModelError, ModelNotFoundError
from pretune.model.config import ModelConfig, ObjectiveName
from pretune.model.folder import (
    Model,
    describe_native_head,
    describe_native_windows,
    from_transformers_state,
    load_model_folder,
    save_model_folder,
    to_transformers_state,
)
from pretune.model.transformer import ClozeClassifier, EncoderModel, LanguageModel, SequenceClassifier
from pretune.text.cloze.answers import ClozeAnswers
from pretune.text.cloze.pattern import read_pattern
from pretune.text.labels.labelling import Labelling

CONFIG = ModelConfig(
    vocab_size=100, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=16, intermediate_size=96
)


def randomize(model: Model, seed: int = 0) -> Model:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.2, generator=rng)
    return model


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    return folder


@pytest.fixture
def language_model_folder(tmp_path: Path, tokenizer_folder: Path) -> Path:
    save_model_folder(tmp_path / "model", randomize(LanguageModel(CONFIG)), tokenizer_folder)
    return tmp_path / "model"


def assert_same_weights(one: Model, other: Model) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_language_model_round_trip(tmp_path: Path, tokenizer_folder: Path, is_tied: bool, num_kv_heads: int) -> None:
    config = ModelConfig(
        vocab_size=70,
        hidden_size=64,
        num_layers=3,
        num_heads=4,
        num_kv_heads=num_kv_heads,
        head_dim=32,
        intermediate_size=80,
        max_seq_len=99,
        rope_theta=5000.0,
        norm_eps=1e-6,
        pad_token_id=4,
        bos_token_id=5,
        eos_token_id=6,
        mask_token_id=7,
        tie_word_embeddings=is_tied,
    )
    model = randomize(LanguageModel(config))
    save_model_folder(tmp_path / "model", model, tokenizer_folder)
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.config == config
    assert loaded.label_names is None
    assert json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())["model_max_length"] == 99
    assert_same_weights(model, loaded.model)
    assert ("lm_head.weight" in load_file(tmp_path / "model" / "model.safetensors")) != is_tied


@pytest.mark.parametrize(
    ("objective", "architecture"),
    [("masked", "EuroBertForMaskedLM"), ("causal", "LlamaForCausalLM"), ("hybrid", "EuroBertForMaskedLM")],
)
def test_what_a_model_predicts_is_kept(
    tmp_path: Path, tokenizer_folder: Path, objective: ObjectiveName, architecture: str
) -> None:
    config = replace(CONFIG, objective=objective)
    save_model_folder(tmp_path / "model", LanguageModel(config), tokenizer_folder)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"] == [architecture]
    assert load_model_folder(tmp_path / "model").config == config
    edit_config(tmp_path / "model", pretune_objective="diffusion")
    (tmp_path / "model" / "manifest.json").unlink()
    with pytest.raises(CorruptModelError, match="expected masked, causal or hybrid"):
        load_model_folder(tmp_path / "model")


@pytest.mark.parametrize("classes", [2, 3, 32, 33, 77])
def test_classifier_round_trip(tmp_path: Path, tokenizer_folder: Path, classes: int) -> None:
    names = [f"class {index}" for index in range(classes)]
    model = randomize(SequenceClassifier(CONFIG, classes))
    assert isinstance(model, SequenceClassifier)
    save_model_folder(tmp_path / "model", model, tokenizer_folder, names)
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.label_names == tuple(names)
    assert isinstance(loaded.model, SequenceClassifier)
    assert_same_weights(model, loaded.model)
    assert (describe_native_head(model) is None) == (classes <= 32)
    assert json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())["split_special_tokens"] is True


@pytest.mark.parametrize("is_tied", [True, False])
def test_cloze_round_trip(tmp_path: Path, tokenizer_folder: Path, is_tied: bool) -> None:
    """A head of its own was not saved, so a cloze on such a base could be trained but never loaded."""
    ids = ((7, 9), (11,))
    answers = ClozeAnswers(
        pattern=read_pattern("{text} It was [MASK].", has_pair=False), words=(("a", "b"), ("c",)), word_ids=ids
    )
    model = randomize(ClozeClassifier(replace(CONFIG, tie_word_embeddings=is_tied), ids))
    labelling = Labelling(names=("good", "bad"), answers=answers)
    save_model_folder(tmp_path / "model", model, tokenizer_folder, labelling)
    loaded = load_model_folder(tmp_path / "model")
    assert isinstance(loaded.model, ClozeClassifier)
    assert loaded.labelling == labelling
    assert_same_weights(model, loaded.model)


def test_the_way_of_reading_long_texts_is_kept(tmp_path: Path, tokenizer_folder: Path) -> None:
    model = randomize(SequenceClassifier(CONFIG, 2))
    assert isinstance(model, SequenceClassifier)
    for reads_windows in (True, False):
        labelling = Labelling(names=("a", "b"), reads_windows=reads_windows)
        save_model_folder(tmp_path / "model", model, tokenizer_folder, labelling)
        assert load_model_folder(tmp_path / "model").labelling == labelling
        notice = describe_native_windows(model, labelling)
        assert (notice is not None) == reads_windows
        assert (
            notice is None
            or f"Texts of up to {CONFIG.max_seq_len} tokens get the same result from transformers" in notice
        )


@settings(max_examples=15)
@given(
    classes=st.integers(2, 40),
    num_heads=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([8, 16]),
    intermediate_size=st.integers(1, 40),
    num_layers=st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_any_geometry_survives(
    tmp_path_factory: pytest.TempPathFactory,
    classes: int,
    num_heads: int,
    head_dim: int,
    intermediate_size: int,
    num_layers: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    config = ModelConfig(
        vocab_size=11,
        hidden_size=num_heads * 8,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=1,
        head_dim=head_dim,
        intermediate_size=intermediate_size,
    )
    model = randomize(SequenceClassifier(config, classes), seed)
    save_model_folder(folder / "model", model, folder, [str(index) for index in range(classes)])
    assert_same_weights(model, load_model_folder(folder / "model").model)


def test_more_files_and_facts_are_committed_with_the_model(tmp_path: Path, tokenizer_folder: Path) -> None:
    def write_state(folder: Path) -> None:
        (folder / "training_state").mkdir()
        (folder / "training_state" / "state.json").write_text("{}")

    model = randomize(LanguageModel(CONFIG))
    save_model_folder(tmp_path / "model", model, tokenizer_folder, write_more=write_state, step=12)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert manifest["step"] == 12
    assert "training_state/state.json" in manifest["files"]


def test_label_names_must_fit_the_model(tmp_path: Path, tokenizer_folder: Path) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        save_model_folder(tmp_path / "model", SequenceClassifier(CONFIG, 3), tokenizer_folder, ["a", "b"])
    with pytest.raises(ValueError, match="do not fit"):
        save_model_folder(tmp_path / "model", LanguageModel(CONFIG), tokenizer_folder, ["a", "b"])


def test_missing_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"nothing does not exist; expected a model folder"):
        load_model_folder(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelNotFoundError, match=r"file is a file"):
        load_model_folder(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"empty contains no model"):
        load_model_folder(tmp_path / "empty")


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def drop_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
DAMAGES: list[tuple[Callable[[Path], object], type[Exception], str]] = [
    (lambda f: os.truncate(f / "model.safetensors", 1000), CorruptModelError, r"model\.safetensors is truncated"),
    (lambda f: os.truncate(f / "model.safetensors", 0), CorruptModelError, r"model\.safetensors is truncated"),
    (lambda f: (f / "model.safetensors").unlink(), CorruptModelError, r"model\.safetensors is missing"),
    (lambda f: (f / "config.json").unlink(), CorruptModelError, r"config\.json is missing"),
    (lambda f: (f / "config.json").write_text("{"), CorruptModelError, r"config\.json is not valid JSON"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), CorruptModelError, r"config\.json is not valid JSON"),
    (lambda f: (f / "config.json").write_text("[]"), CorruptModelError, r"config\.json is not a JSON object"),
    (lambda f: edit_config(f, hidden_size="x"), CorruptModelError, r"config\.json lacks a field or has an invalid"),
    (lambda f: edit_config(f, vocab_size=101), CorruptModelError, r"does not match config\.json"),
    (
        lambda f: (f / "config.json").write_text(DEEP),
        CorruptModelError,
        r"config\.json is not valid JSON \(lists or obj",
    ),
    (
        lambda f: edit_config(f, hidden_size=float("inf")),
        CorruptModelError,
        r"config\.json lacks a field or has an inv",
    ),
    (lambda f: edit_config(f, rope_parameters="linear"), CorruptModelError, r"has 'linear' as rope_parameters"),
    (lambda f: edit_config(f, rope_parameters=None, rope_scaling=[2.0]), CorruptModelError, r"has \[2\.0\] as rope"),
    # Compared before memory is taken for so many numbers.
    (lambda f: edit_config(f, vocab_size=10**13), CorruptModelError, r"does not match config\.json \(it describes "),
    (lambda f: edit_config(f, head_dim=2 * 10**12), CorruptModelError, r"does not match config\.json \(it describes "),
    (lambda f: edit_config(f, num_hidden_layers=3), CorruptModelError, r"layers\.2.* is missing"),
    (drop_tensor, CorruptModelError, r"model\.norm\.weight' is missing"),
    (
        lambda f: edit_config(f, model_type="resnet"),
        ModelError,
        r"type 'resnet', which is not a text encoder; expected",
    ),
    (lambda f: edit_config(f, model_type="gpt2"), ModelError, r"type 'gpt2', which is not a text encoder; expected"),
    (lambda f: edit_config(f, model_type="own", auto_map={}), ModelError, r"'own', which the installed transformers"),
    (lambda f: edit_config(f, model_type="own", auto_map={"AutoModel": "x.Own"}), ModelError, r"code is never run"),
    (lambda f: edit_config(f, hidden_act="gelu"), ModelError, r"hidden_act 'gelu'"),
    (lambda f: edit_config(f, mlp_bias=True), ModelError, r"mlp_bias True"),
    (lambda f: edit_config(f, rope_parameters={"rope_type": "yarn"}), ModelError, r"rope_type 'yarn'"),
]


@pytest.mark.parametrize(("damage", "error", "sentence"), DAMAGES)
def test_damage_is_named_without_a_manifest(
    language_model_folder: Path, damage: Callable[[Path], object], error: type[Exception], sentence: str
) -> None:
    (language_model_folder / "manifest.json").unlink()
    damage(language_model_folder)
    with pytest.raises(error, match=sentence) as raised:
        load_model_folder(language_model_folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json"]
)
def test_a_flipped_byte_in_any_file_is_noticed(language_model_folder: Path, name: str) -> None:
    data = bytearray((language_model_folder / name).read_bytes())
    data[len(data) // 2] ^= 0x40
    (language_model_folder / name).write_bytes(data)
    with pytest.raises(CorruptModelError, match=name.replace(".", r"\.")):
        load_model_folder(language_model_folder)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path, tokenizer_folder: Path) -> None:
    save_model_folder(tmp_path / "model", randomize(SequenceClassifier(CONFIG, 2)), tokenizer_folder, ["a", "b"])
    (tmp_path / "model" / "manifest.json").unlink()
    (tmp_path / "model" / "labels.json").write_text('{"names": ["a", "b", "c"]}')
    with pytest.raises(CorruptModelError, match=r"does not match config\.json"):
        load_model_folder(tmp_path / "model")
    (tmp_path / "model" / "labels.json").write_text('{"names": 3}')
    with pytest.raises(CorruptModelError, match="has no list of names"):
        load_model_folder(tmp_path / "model")


@pytest.mark.parametrize("names", [["a", "b"], {"first": "a", "second": "b"}, "ab", {"0": "a", "1": "b", "": "c"}])
def test_names_without_their_numbers_are_refused(tmp_path: Path, tokenizer_folder: Path, names: object) -> None:
    save_model_folder(tmp_path / "model", randomize(SequenceClassifier(CONFIG, 2)), tokenizer_folder, ["a", "b"])
    for name in ("manifest.json", "labels.json"):
        (tmp_path / "model" / name).unlink()
    edit_config(tmp_path / "model", id2label=names)
    with pytest.raises(CorruptModelError, match=r"config\.json has no names by their numbers as id2label"):
        load_model_folder(tmp_path / "model")


def _without_manifest(folder: Path, tensors: dict[str, torch.Tensor], **fields: object) -> Path:
    """The folder as others write it, with other tensors and more fields in config.json."""
    (folder / "manifest.json").unlink()
    save_file(tensors, folder / "model.safetensors")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    return folder


def test_a_merged_model_with_a_left_over_quantisation_is_read(language_model_folder: Path) -> None:
    """The field stays in config.json when an adapter is merged into a model that was loaded in 4 bits."""
    tensors = {n: t.bfloat16() for n, t in load_file(language_model_folder / "model.safetensors").items()}
    folder = _without_manifest(language_model_folder, tensors, quantization_config={"quant_method": "bitsandbytes"})
    assert isinstance(load_model_folder(folder).model, LanguageModel)


def test_quantised_weights_under_other_names_are_refused(language_model_folder: Path) -> None:
    """As GPTQ and AWQ write them: no matrix of a layer has its usual name."""
    tensors = load_file(language_model_folder / "model.safetensors")
    packed = {name.replace("proj.weight", "proj.qweight"): tensor for name, tensor in tensors.items()}
    folder = _without_manifest(language_model_folder, packed, quantization_config={"quant_method": "gptq"})
    with pytest.raises(
        ModelError, match=r"config\.json is of a model with quantised weights \(quantization_config: gptq"
    ):
        load_model_folder(folder)


def test_a_head_with_a_hidden_layer_is_left_aside(tmp_path: Path, tokenizer_folder: Path) -> None:
    save_model_folder(tmp_path / "model", randomize(SequenceClassifier(CONFIG, 2)), tokenizer_folder, ["a", "b"])
    (tmp_path / "model" / "manifest.json").unlink()
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors["dense.weight"][5, 5] = 1.0
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    loaded = load_model_folder(tmp_path / "model")
    assert isinstance(loaded.model, EncoderModel)
    assert loaded.notice is not None
    assert "trained elsewhere" in loaded.notice
    assert loaded.label_names is None


def test_a_chat_template_in_a_file_of_its_own_is_kept(tmp_path: Path, tokenizer_folder: Path) -> None:
    (tokenizer_folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    save_model_folder(tmp_path / "model", LanguageModel(CONFIG), tokenizer_folder)
    settings = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert (settings["chat_template"], settings["pad_token"]) == ("{{ messages[0]['content'] }}", "[PAD]")


def test_an_invalid_byte_in_a_chat_template_is_replaced(tmp_path: Path, tokenizer_folder: Path) -> None:
    """It ended pre-training with UnicodeDecodeError, although chats read the same file."""
    (tokenizer_folder / "chat_template.jinja").write_bytes(b"caf\xe9 {{ messages }}")
    save_model_folder(tmp_path / "model", LanguageModel(CONFIG), tokenizer_folder)
    settings = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == "caf\ufffd {{ messages }}"


def test_no_compiler_is_imported_to_load_a_model(language_model_folder: Path) -> None:
    """It took a second of every prediction from the command line."""
    program = "import sys; from pretune.model.folder import load_model_folder; load_model_folder(sys.argv[1]); "
    program += "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    words = [sys.executable, "-c", program, str(language_model_folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_loaded_model_has_weights_of_its_own_and_a_tied_head_once(
    tmp_path: Path, tokenizer_folder: Path, is_tied: bool
) -> None:
    saved = randomize(LanguageModel(replace(CONFIG, tie_word_embeddings=is_tied)))
    save_model_folder(tmp_path / "model", saved, tokenizer_folder)
    loaded = load_model_folder(tmp_path / "model").model
    assert isinstance(loaded, LanguageModel)
    assert (loaded.lm_head.weight is loaded.transformer.embed_tokens.weight) == is_tied
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in saved.named_parameters()]
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    weights = tmp_path / "model" / "model.safetensors"
    with weights.open("r+b") as file:  # in place, so that a mapping of it would change, too
        file.write(b"\xff" * weights.stat().st_size)
    assert_same_weights(saved, loaded)


def test_tensors_are_taken_out_as_they_are_used() -> None:
    """So that the parts of a matrix are not in memory beside it until all of them are read."""
    model = randomize(LanguageModel(CONFIG))
    tensors = to_transformers_state(model)
    found = from_transformers_state(tensors, CONFIG)
    assert tensors == {}
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in found.items())
