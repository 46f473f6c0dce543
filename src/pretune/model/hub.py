"""The local folder of a model that is named `hf:OWNER/NAME[@REVISION]` or is a GGUF file.

The Hugging Face hub is asked only for such names. Of a repository, only the weights as safetensors, the configs, the
files of the tokenizer and its chat template are fetched: no pickle and no code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pretune.errors import ModelError, ModelNotFoundError, UsageError
from pretune.model.gguf_folder import converted_folder, find_gguf
from pretune.runtime.home import expand_home
from pretune.text.sources.hub import PREFIX, REPOSITORY
from pretune.text.tokenizer.files import TOKENIZER_FILES

_NAME = re.compile(REPOSITORY)
_WANTED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    *TOKENIZER_FILES,
)


def is_hub_name(path: Path | str) -> bool:
    """Whether this is typed as the name of a model on the hub."""
    return str(path).startswith(PREFIX)


def local_folder(path: Path | str) -> Path:
    """The path itself; the local copy of `hf:OWNER/NAME[@REVISION]`, which is downloaded if there is none yet; or the
    folder made from a GGUF file.

    Raises UsageError if the name does not parse or huggingface_hub is not installed, ModelNotFoundError if the model
    cannot be fetched, ModelError if the repository has no safetensors, and the errors of `converted_folder`.
    """
    if not is_hub_name(path):
        file = find_gguf(expand_home(path))
        return Path(path) if file is None else converted_folder(file)
    parsed = _NAME.fullmatch(str(path))
    if parsed is None:
        raise UsageError(f"{path} does not name a model; expected hf:OWNER/NAME[@REVISION].")
    repository, revision = parsed.groups()
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise UsageError(
            f"{path} needs huggingface_hub, which is not installed: pip install 'pretune[hf]', or download the files "
            "by hand and give their folder."
        ) from error
    try:
        info = hub.HfApi().model_info(repository, revision=revision)
    except Exception as error:  # of the hub's client or of the libraries it uses
        return _folder_in_cache(hub, repository, revision, str(path), error)
    names = choose_files([file.rfilename for file in info.siblings or []], str(path))
    try:
        files = [Path(hub.hf_hub_download(repository, name, revision=info.sha)) for name in names]
    except Exception as error:
        raise _cannot_fetch(str(path), error) from error
    # The cache notes which commit a branch or tag has only for files that are asked for by that name, and without the
    # note this copy would not be found offline; it is of use now all the same.
    with suppress(Exception):
        hub.hf_hub_download(repository, "config.json", revision=revision)
    return files[0].parent


def choose_files(names: Sequence[str], requested: str) -> list[str]:
    """The files of a repository that are fetched. Raises ModelError if they do not make a model."""
    chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in _WANTED)]
    if "config.json" not in chosen or not any(name.endswith(".safetensors") for name in chosen):
        pickles = [name for name in names if name.endswith((".bin", ".pt", ".ckpt"))]
        found = f"it has its weights only as a pickle ({pickles[0]})" if pickles else "it has no model.safetensors"
        raise ModelError(
            f"{requested} cannot be used: {found}; expected config.json and safetensors. Choose another model, or "
            "convert a copy with transformers and give its folder."
        )
    return chosen


def _folder_in_cache(hub: Any, repository: str, revision: str | None, name: str, reason: Exception) -> Path:
    """The copy of an earlier download, if the hub cannot be reached now."""
    try:
        found = hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(_WANTED), local_files_only=True
        )
        # A branch that moved during the download is noted with its new commit, of which only one file is here.
        choose_files([file.name for file in Path(found).iterdir()], name)
        return Path(found)
    except Exception:
        raise _cannot_fetch(name, reason) from reason


def _cannot_fetch(name: str, error: Exception) -> ModelNotFoundError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return ModelNotFoundError(
        f"{name} cannot be downloaded from the Hugging Face hub ({reason}); check the name and the connection, or "
        "download the files by hand and give their folder."
    )
