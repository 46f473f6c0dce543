"""The weights of a model folder: one safetensors file, or several with an index, in any float type; never a pickle."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pretune.errors import CorruptModelError, ModelError
from pretune.runtime.json_text import parse_json
from pretune.text.tokenizer.files import conversion_command

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

WEIGHTS_NAME, INDEX_NAME = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG_NAME, ADAPTER_WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"  # PEFT's names
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "pytorch_model.pt", "model.ckpt")
MOST_TIMES_AS_LARGE = 2  # a config.json may describe so many times the weights that there are: a head may be missing


def weights_file(folder: Path) -> Path:
    """The file of the weights, or the index of several files. Raises as `read_weights` does if there is neither."""
    for name in (WEIGHTS_NAME, INDEX_NAME):
        if (folder / name).is_file():
            return folder / name
    for name in _PICKLES:
        if (folder / name).is_file():
            raise ModelError(
                f"{folder} has its weights only as a pickle ({name}), which can run code when it is read, so it is "
                f"refused; expected {WEIGHTS_NAME}. If you trust the file, convert it once: "
                f"{conversion_command(folder, _class_of(folder))}"
            )
    raise CorruptModelError(f"{folder / WEIGHTS_NAME} is missing; restore it from a copy.")


def _class_of(folder: Path) -> str:
    """The class of transformers that the model was saved as, so that a conversion keeps its head."""
    try:
        found = parse_json((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return "AutoModel"
    return found if isinstance(found, str) and found.isidentifier() else "AutoModel"


def has_weights(folder: Path) -> bool:
    """Whether a folder has weights of any kind."""
    return any((folder / name).is_file() for name in (WEIGHTS_NAME, INDEX_NAME, *_PICKLES))


def read_weights(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """All tensors in fp32, by name; with a prefix, only those whose names begin with it are read.

    Raises CorruptModelError naming the file that is missing, truncated or damaged, and ModelError if the weights are
    quantised, or, with the command that converts it, if there is only a pickle.
    """
    from safetensors import safe_open  # here, so that what only looks for files does without torch

    def read(file: Path) -> dict[str, Tensor]:
        with safe_open(file, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name: _in_fp32(opened.get_tensor(name), name, file) for name in names}

    return {name: tensor for tensors in _read_each(folder, read) for name, tensor in tensors.items()}


def _in_fp32(tensor: Tensor, name: str, file: Path) -> Tensor:
    """A tensor in fp32. Raises ModelError for a matrix of integers or of floats with 8 bits: its scales are elsewhere,
    and without them, its numbers mean nothing. Buffers of integers, such as positions, are no weights."""
    import torch

    if name.endswith(".weight") and not (tensor.is_floating_point() and tensor.element_size() > 1):
        raise quantized_error(file, f"{name} has numbers of type {str(tensor.dtype).removeprefix('torch.')}")
    # A copy, because the file is mapped: a model must not change with it, and memory for products is aligned.
    return tensor.to(torch.float32, copy=True)


def quantized_error(file: Path, found: str) -> ModelError:
    """The error for a model with quantised weights."""
    return ModelError(
        f"{file} is of a model with quantised weights ({found}), which cannot be read; expected weights of 16 or 32 "
        "bits. Take the model that it was quantised from, or a GGUF file of it, which may be quantised."
    )


def count_weights(folder: Path) -> tuple[int, int]:
    """The number of tensors, and that of their numbers, by the headers of the files. Raises as `read_weights` does."""
    from safetensors import safe_open

    def read(file: Path) -> list[int]:
        with safe_open(file, framework="pt") as opened:
            return [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118

    sizes = [size for found in _read_each(folder, read) for size in found]
    return len(sizes), sum(sizes)


def _read_each(folder: Path, read: Callable[[Path], T]) -> Iterator[T]:
    from safetensors import SafetensorError

    path = weights_file(folder)
    for file in [path] if path.name == WEIGHTS_NAME else _files_of(path):
        if not file.is_file():
            raise CorruptModelError(f"{file} is missing, which {path.name} lists; restore it from a copy.")
        try:
            yield read(file)
        except (SafetensorError, ValueError) as error:
            raise CorruptModelError(f"{file} is truncated or damaged ({error}); restore it from a copy.") from error


def _files_of(index: Path) -> list[Path]:
    """The files of an index, each once. A name that leads out of the folder counts as damage."""
    try:
        names = sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("it lists no files of this folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptModelError(f"{index} is damaged ({error!r}); restore it from a copy.") from error
    return [index.parent / name for name in names]
