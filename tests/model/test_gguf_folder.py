"""A GGUF file becomes a model folder with the logits, ids and chat template that transformers gives it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.errors import CorruptModelError, FolderInTheWayError, ModelError, ModelNotFoundError
from pretune.inference.load import load_matching_tokenizer, load_scorer
from pretune.model.base_folder import read_base_folder
from pretune.model.folder import load_model_folder
from pretune.model.gguf_folder import CACHE_VARIABLE, cache_folder
from pretune.model.hub import local_folder
from pretune.model.transformer import LanguageModel
from pretune.runtime import manifest
from pretune.runtime.manifest import hash_file
from pretune.text.tokenizer.tokenizer import load_tokenizer

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def vocabulary(folder: Path) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE, with other special tokens before them."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    ordinary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return [*SPECIAL, *(token for token in ordinary if not token.startswith("["))], merges


def paired(rows: np.ndarray[Any, np.dtype[np.float32]], heads: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """As llama.cpp writes queries and keys: row i of a head's first half, then row i of its second."""
    halves = rows.reshape(heads, 2, -1, rows.shape[1])
    return np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(rows.shape)


@pytest.fixture
def write_gguf(tmp_path: Path, tokenizer_folder: Path) -> Write:
    """A function that writes a tiny Llama with grouped queries, and the same as a folder of transformers."""

    def write(*, is_tied: bool = True, change: Callable[[Any], None] = lambda writer: None, **named: Any) -> Path:
        tokens, merges = vocabulary(tokenizer_folder)
        config = transformers.LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            rms_norm_eps=1e-5,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
            tie_word_embeddings=is_tied,
        )
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(tmp_path / "theirs")
        file = tmp_path / "gguf" / "tiny.gguf"
        file.parent.mkdir(exist_ok=True)
        writer = gguf.GGUFWriter(file, named.get("architecture", "llama"))
        writer.add_name("tiny")
        writer.add_context_length(64)
        writer.add_embedding_length(32)
        writer.add_block_count(2)
        writer.add_feed_forward_length(64)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_rope_freq_base(500.0)
        writer.add_rope_dimension_count(8)
        if "epsilon" in named:
            writer.add_string("llama.attention.layer_norm_rms_epsilon", named["epsilon"])
        else:
            writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(len(tokens))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_merges(merges)
        writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_pad_token_id(2)
        writer.add_chat_template(TEMPLATE)
        for name, tensor in model.state_dict().items():
            if name == "lm_head.weight" and is_tied:
                continue
            rows = tensor.numpy()
            if "q_proj" in name or "k_proj" in name:
                rows = paired(rows, 4 if "q_proj" in name else 2)
            writer.add_tensor(theirs_to_gguf(name), rows)
        change(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return file

    return write


def theirs_to_gguf(name: str) -> str:
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    inner = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    stem = name.removesuffix(".weight")
    if stem in outer:
        return f"{outer[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{inner[rest]}.weight"


@pytest.mark.parametrize("is_tied", [True, False])
def test_logits_are_those_of_the_model_that_was_written(tmp_path: Path, write_gguf: Write, is_tied: bool) -> None:
    folder = local_folder(write_gguf(is_tied=is_tied))
    loaded = load_model_folder(folder)
    assert isinstance(loaded.model, LanguageModel)
    assert (loaded.config.objective, loaded.config.tie_word_embeddings) == ("causal", is_tied)
    assert (loaded.config.num_kv_heads, loaded.config.rope_theta, loaded.config.norm_eps) == (2, 500.0, 1e-5)
    rows = torch.tensor([[1, 7, 9, 30, 200, 55, 41, 8, 2]])
    reference = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "theirs").eval()
    with torch.no_grad():
        expected = reference(rows).logits
        found = loaded.model(rows, torch.zeros_like(rows), is_causal=torch.ones(1, dtype=torch.bool))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_tokenizer_and_the_template_are_the_files_own(write_gguf: Write) -> None:
    file = write_gguf()
    folder = local_folder(file.parent)  # a folder that has only the file
    tokenizer = load_matching_tokenizer(load_model_folder(folder))
    theirs = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    text = "The sun rises in the east; das Buch ist großartig."
    assert tokenizer.encode(text) == theirs(text)["input_ids"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not set(tokenizer.encode("<|im_end|>")) & {0, 1, 2}, "a typed special token is text"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings["chat_template"] == TEMPLATE
    assert (settings["bos_token"], settings["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    again = transformers.AutoTokenizer.from_pretrained(folder)
    assert again.apply_chat_template([{"role": "user", "content": "A film."}], tokenize=False) == "user: A film."
    assert (tokenizer.mask_id, load_model_folder(folder).config.eos_token_id) == (-1, 2)


@pytest.mark.parametrize("has_links", [True, False])
def test_files_beside_it_are_not_part_of_the_model(
    tmp_path: Path, write_gguf: Write, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """transformers took the tokenizer of another model there, and asked on stdin whether to run its code."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    file = write_gguf()
    expected = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).get_vocab()
    ran = tmp_path / "ran"
    (file.parent / "own_code.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nclass Own: ...\n")
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own_code.Own", None]}}
    (file.parent / "tokenizer_config.json").write_text(json.dumps(own))
    other = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"other": 0, "[UNK]": 1}, "unk_token": "[UNK]"}}
    (file.parent / "tokenizer.json").write_text(json.dumps(other))
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert load_tokenizer(local_folder(file)).backend.get_vocab() == expected
    assert not ran.exists()


def test_a_file_is_converted_once(write_gguf: Write, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    file = write_gguf()
    folder = local_folder(file)
    assert folder.is_relative_to(cache) and folder.name.startswith("tiny-")
    base = read_base_folder(file)
    assert (base.path, base.max_seq_len) == (folder, 64)
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert local_folder(file) == folder
    assert load_scorer(file).scoring == "causal"


def test_a_file_is_read_once_to_find_its_folder(write_gguf: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run asks for the folder several times, and each time the whole file was read."""
    file, read = write_gguf(), list[Path]()

    def counted(path: Path) -> str:
        read.append(path)
        return hash_file(path)

    now = time.time()
    monkeypatch.setattr(manifest.time, "time", lambda: now + 60)
    monkeypatch.setattr(manifest, "hash_file", counted)
    assert local_folder(file) == local_folder(file)
    assert read.count(file) == 1


def test_a_missing_package_is_named(write_gguf: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf()
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"read with gguf and transformers.*pip install 'pretune\[hf\]'"):
        local_folder(file)


def test_what_the_transformer_lacks_is_refused(write_gguf: Write) -> None:
    with pytest.raises(ModelError, match="architecture 'qwen2'; of GGUF files, only llama"):
        local_folder(write_gguf(architecture="qwen2"))
    with pytest.raises(ModelError, match=r"a tensor rope_freqs\.weight, which is not read from GGUF"):
        local_folder(
            write_gguf(change=lambda writer: writer.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32)))
        )
    with pytest.raises(ModelError, match=r"a tensor blk\.0\.attn_q\.bias"):
        local_folder(
            write_gguf(change=lambda writer: writer.add_tensor("blk.0.attn_q.bias", np.ones(32, dtype=np.float32)))
        )
    with pytest.raises(ModelError, match=r"stretched rotary positions \(linear\)"):
        local_folder(write_gguf(change=lambda writer: writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)))


def test_damage_and_absence(tmp_path: Path, write_gguf: Write) -> None:
    file = write_gguf()
    content = file.read_bytes()
    with pytest.raises(ModelNotFoundError, match="does not exist; expected a GGUF file"):
        local_folder(tmp_path / "none.gguf")
    file.write_bytes(b"PK\x03\x04" + content[4:])
    with pytest.raises(CorruptModelError, match="is no GGUF file"):
        local_folder(file)
    for length in (200, len(content) // 2, len(content) - 4000):
        file.write_bytes(content[:length])
        with pytest.raises(CorruptModelError, match="truncated or damaged"):
            local_folder(file)
    (file.parent / "other.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"2 GGUF files \(other\.gguf, tiny\.gguf\); give the path of one"):
        local_folder(file.parent)


def test_a_text_in_place_of_a_number_is_a_damage(write_gguf: Write) -> None:
    with pytest.raises(CorruptModelError, match=r"tiny\.gguf is damaged"):
        local_folder(write_gguf(epsilon="small"))


def test_a_cache_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FolderInTheWayError, match=r"gguf cannot be locked .*has no locks\. Set PRETUNE_CACHE to a"):
        local_folder(tmp_path / "model.gguf")


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pretune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pretune"


def test_other_folders_are_left_alone(tmp_path: Path, run_folder: Path, tokenizer_folder: Path) -> None:
    for path in (tmp_path, run_folder, tokenizer_folder, tmp_path / "none"):
        assert local_folder(path) == path
    assert load_tokenizer(tokenizer_folder).is_own
