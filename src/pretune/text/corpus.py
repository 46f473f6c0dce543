"""Documents on disk between two stages: compressed JSON lines in numbered files, written and read as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from pretune.errors import InputDataError
from pretune.text.streams import TextStream

CHARACTERS_PER_FILE = 200_000_000
_BUFFER_CHARACTERS = 1 << 20
_LEVEL = 3
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


class CorpusWriter:
    """Writes documents-00000.jsonl.zst and so on; what an interrupted writer left in the folder is removed first."""

    def __init__(self, folder: Path, characters_per_file: int = CHARACTERS_PER_FILE) -> None:
        self.folder = folder
        self.num_documents = 0
        self.num_characters = 0
        self._characters_per_file = characters_per_file
        self._num_files = 0
        self._room = 0
        self._lines: list[str] = []
        self._buffered = 0
        self._file: zstandard.ZstdCompressionWriter | None = None
        for left in corpus_files(folder):
            left.unlink()

    def write(self, text: str, **fields: Any) -> None:
        """Append one document with what is known of it."""
        if self._room <= 0:
            self._next_file()
        self._lines.append(_encode({"text": text, **fields}))
        self._buffered += len(text)
        self._room -= len(text) + 1
        self.num_documents += 1
        self.num_characters += len(text)
        if self._buffered >= _BUFFER_CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Write what is left; without it the last file is incomplete."""
        self._flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        if self._file is not None and self._lines:
            self._file.write(("\n".join(self._lines) + "\n").encode("utf-8", "backslashreplace"))
        self._lines, self._buffered = [], 0

    def _next_file(self) -> None:
        self.close()
        path = self.folder / f"documents-{self._num_files:05d}.jsonl.zst"
        self._file = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(path.open("wb"), closefd=True)
        self._num_files += 1
        self._room = self._characters_per_file


def corpus_files(folder: Path) -> list[Path]:
    """The document files of a stage folder, in order."""
    return sorted(folder.glob("documents-*.jsonl.zst"))


def iter_corpus(folder: Path) -> Iterator[dict[str, Any]]:
    """The documents of a stage folder, in the order in which they were written."""
    files = corpus_files(folder)
    if not files:
        raise InputDataError(f"{folder} holds no documents-*.jsonl.zst; expected those that the stage wrote.")
    for path in files:
        for line in TextStream(path).lines():
            yield _decode(line)[0]
