"""A GGUF file, the format of llama.cpp, as a model folder: its weights in fp32, its tokenizer and its chat template.

The file is converted once: the package gguf computes the quantised weights in fp32, and transformers reads the
tokenizer. The folder is kept in the user's cache, under the hash of the file.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pretune.errors import CorruptModelError, FolderInTheWayError, ModelError, ModelNotFoundError, shorten_error
from pretune.runtime.atomic import write_json
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import MANIFEST_NAME, hash_input

if TYPE_CHECKING:
    from pretune.model.transformer import LanguageModel

ENDING = ".gguf"
CACHE_VARIABLE = "PRETUNE_CACHE"  # the folder of what can be made again; without it, pretune's in the user's cache
_MAGIC = b"GGUF"
_ARCHITECTURE = "llama"
_CONVERSION = "2"  # changes when folders of earlier versions are to be made again
_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}


def find_gguf(path: Path) -> Path | None:
    """The GGUF file at a path: the file itself, or the only one in a folder without a model in other files.

    Raises ModelError if such a folder has several.
    """
    if path.suffix.lower() == ENDING:
        return path
    if not path.is_dir() or (path / "config.json").is_file() or (path / MANIFEST_NAME).is_file():
        return None
    found = sorted(file for file in path.iterdir() if file.suffix.lower() == ENDING)
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:3])
        raise ModelError(f"{path} has {len(found)} GGUF files ({names}); give the path of one of them.")
    return found[0] if found else None


def converted_folder(file: Path) -> Path:
    """The model folder made from a GGUF file, which is written if there is none yet.

    Raises ModelNotFoundError if there is no such file, CorruptModelError if it is damaged, and ModelError if a package
    is missing, or if the model is not a Llama or has what its folder could not express; FolderInTheWayError if the file
    system of the cache has no locks.
    """
    if not file.is_file():
        raise ModelNotFoundError(f"{file} does not exist; expected a GGUF file, check the path.")
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise CorruptModelError(f"{file} is no GGUF file, although its name ends so; get it again.")
    cache = cache_folder() / "gguf"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{file.stem}-{hash_input(file)[:16]}-{_CONVERSION}"
    with (cache / ".lock").open("w") as lock:  # of several processes, one converts and the others wait
        _wait_for(lock, cache)
        if not (folder / MANIFEST_NAME).is_file():
            _convert(file, folder)
    return folder


def _wait_for(lock: IO[str], cache: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise FolderInTheWayError(
            f"{cache} cannot be locked against a second process ({error.strerror}): its file system has no locks. Set "
            f"{CACHE_VARIABLE} to a folder on a file system that has them, such as a local disk."
        ) from error


def cache_folder() -> Path:
    """The folder for files that can be made again."""
    if given := os.environ.get(CACHE_VARIABLE):
        return expand_home(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pretune"


def _convert(file: Path, folder: Path) -> None:
    from pretune.model.folder import save_model_folder

    reader = _open(file)
    model = _read_model(file, reader)
    with tempfile.TemporaryDirectory(prefix="pretune-") as name:
        _write_tokenizer(file, Path(name))
        save_model_folder(folder, model, Path(name), gguf=file.name)


def _open(file: Path) -> Any:
    """A reader of the file, if it is a Llama without anything that our transformer lacks."""
    try:
        reader = importlib.import_module("gguf").GGUFReader(file)
        architecture = _field(reader, "general.architecture")
        scaling = _field(reader, f"{_ARCHITECTURE}.rope.scaling.type", "none")
    except ImportError as error:
        raise ModelError(
            f"{file} is read with gguf and transformers, which are not installed: pip install 'pretune[hf]'."
        ) from error
    except Exception as error:  # of many classes, by where the file is cut off
        raise CorruptModelError(f"{file} is truncated or damaged ({shorten_error(error)}); get it again.") from error
    if architecture != _ARCHITECTURE:
        raise ModelError(
            f"{file} describes a model of the architecture {architecture!r}; of GGUF files, only {_ARCHITECTURE} can "
            "be read. Give a folder of transformers instead."
        )
    unknown = [tensor.name for tensor in reader.tensors if _rename(tensor.name) is None]
    if unknown or scaling != "none":
        found = f"a tensor {unknown[0]}" if unknown else f"stretched rotary positions ({scaling})"
        raise ModelError(
            f"{file} has {found}, which is not read from GGUF; give the folder of transformers, with config.json and "
            "model.safetensors, instead."
        )
    return reader


def _read_model(file: Path, reader: Any) -> LanguageModel:
    """The causal language model in fp32."""
    import torch

    from pretune.model.folder import from_transformers_state
    from pretune.model.native_config import config_from_fields
    from pretune.model.transformer import LanguageModel

    try:
        fields = _config_fields(reader)
    except (TypeError, ValueError, LookupError) as error:
        raise CorruptModelError(f"{file} is damaged ({shorten_error(error)}); get it again.") from error
    config = config_from_fields(fields, file)
    dequantize = importlib.import_module("gguf").dequantize
    heads = {"attn_q.weight": config.num_heads, "attn_k.weight": config.num_kv_heads}
    tensors: dict[str, torch.Tensor] = {}
    try:
        for tensor in reader.tensors:
            values = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            num_heads = heads.get(tensor.name.split(".", 2)[-1])
            if num_heads is not None:
                values = _in_halves(values, num_heads)
            tensors[_rename(tensor.name) or ""] = torch.from_numpy(values)
        tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
        state = from_transformers_state(tensors, config) | {"lm_head.weight": tensors["lm_head.weight"]}
        with torch.device("meta"):
            model = LanguageModel(config)
        model.load_state_dict(state, assign=True)  # without a copy
    except (KeyError, RuntimeError, ValueError, NotImplementedError, ArithmeticError) as error:
        reason = f"tensor {error} is missing" if isinstance(error, KeyError) else shorten_error(error)
        raise CorruptModelError(f"{file} cannot be read ({reason}); get it again.") from error
    return model


def _config_fields(reader: Any) -> dict[str, Any]:
    """The fields of a Llama's `config.json`, as far as the header has them."""
    names = {
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length",
        "max_position_embeddings": "context_length",
        "rope_theta": "rope.freq_base",
    }
    fields = {name: _field(reader, f"{_ARCHITECTURE}.{theirs}") for name, theirs in names.items()}
    tokens = {role: _field(reader, f"tokenizer.ggml.{role}_token_id") for role in ("bos", "eos", "padding")}
    shapes = {tensor.name: tensor.shape for tensor in reader.tensors}
    epsilon = _field(reader, f"{_ARCHITECTURE}.attention.layer_norm_rms_epsilon", 1e-5)
    return {
        **{name: value for name, value in fields.items() if value is not None},
        "model_type": _ARCHITECTURE,
        "vocab_size": int(shapes.get("token_embd.weight", (0, 0))[-1]),  # GGUF has the columns first
        "rms_norm_eps": float(f"{epsilon:.6g}"),  # in the file it is a float of 32 bits
        "tie_word_embeddings": "output.weight" not in shapes,
        "bos_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "pad_token_id": tokens["padding"],
    }


def _field(reader: Any, name: str, default: Any = None) -> Any:
    field = reader.fields.get(name)
    return default if field is None else field.contents()


def _rename(name: str) -> str | None:
    """A tensor's name in transformers; None for one that our transformer does not have."""
    if name in _OUTER:
        return _OUTER[name]
    block, _, rest = name.removeprefix("blk.").partition(".")
    is_inner = name.startswith("blk.") and block.isdigit() and rest in _INNER
    return f"model.layers.{block}.{_INNER[rest]}" if is_inner else None


def _in_halves(rows: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Rows of queries or keys, of which llama.cpp turns neighbours, in the order in which the halves of a head turn."""
    pairs = rows.reshape(num_heads, len(rows) // num_heads // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _write_tokenizer(file: Path, folder: Path) -> None:
    """The files of the tokenizer. The chat template is written where `save_model_folder` takes it over."""
    from pretune.text.tokenizer.files import TOKENIZER_CONFIG_NAME, TOKENIZER_NAME

    tokenizer = _read_tokenizer(file)
    (folder / TOKENIZER_NAME).write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    roles = ("bos_token", "eos_token", "pad_token", "unk_token")
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    settings |= {role: name for role in roles if (name := getattr(tokenizer, role)) is not None}
    if tokenizer.chat_template is not None:
        settings["chat_template"] = tokenizer.chat_template
    write_json(folder / TOKENIZER_CONFIG_NAME, settings)


def _read_tokenizer(file: Path) -> Any:
    from pretune.model.foreign_encoder import import_transformers, quietly

    with quietly(), tempfile.TemporaryDirectory(prefix="pretune-") as alone:
        try:
            _link(file, Path(alone) / file.name)
            return import_transformers().AutoTokenizer.from_pretrained(
                alone, gguf_file=file.name, local_files_only=True, trust_remote_code=False
            )
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"{file} has no tokenizer that transformers can read ({shorten_error(error)}); give a folder of "
                "transformers instead."
            ) from error


def _link(file: Path, link: Path) -> None:
    """Put the file into an empty folder: transformers takes what lies beside it for parts of the model, be it the
    tokenizer of another one or code."""
    try:
        link.symlink_to(file.resolve())
    except OSError:  # a file system without links
        shutil.copyfile(file, link)
