"""A fine-tuned model as the bytes of its files, which go where a program takes them and load as the same model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.runtime.manifest import MANIFEST_NAME


class ModelFiles:
    """The files of a model folder in memory. A copy or a pickle has the bytes of the files, and nothing else."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    @classmethod
    def read(cls, folder: Path) -> ModelFiles:
        """The files of a model folder, without its manifest: the sizes of the bytes in memory cannot change."""
        return cls({file.name: file.read_bytes() for file in sorted(folder.iterdir()) if _belongs(file)})

    @contextmanager
    def as_folder(self) -> Iterator[Path]:
        """A temporary folder with the files, which is deleted when the context ends."""
        with tempfile.TemporaryDirectory(prefix="pretune-") as name:
            folder = Path(name)
            for file, content in self.files.items():
                (folder / file).write_bytes(content)
            yield folder

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier, loaded on first use; on a GPU if there is one."""
        with self.as_folder() as folder:
            return load_classifier(folder, on_gpu=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files}

    def __repr__(self) -> str:
        return f"ModelFiles({len(self.files)} files, {sum(map(len, self.files.values())):,} bytes)"


def _belongs(file: Path) -> bool:
    return file.is_file() and file.name != MANIFEST_NAME
