"""Documents on disk between two stages: compressed JSON lines in numbered files, written and read as a stream.

A file is one shard of the corpus, the input of one task of the next stage.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from pretune.errors import InputDataError, StoppedError
from pretune.text.raw.text_stream import TextStream

CHARACTERS_PER_FILE = 8_000_000
CORPUS_ENDING = ".jsonl.zst"  # of the names of the files
_BUFFER_CHARACTERS = 1 << 20
_LEVEL = 1  # three times as fast as 3, with files a seventh larger


class DocumentWriter:
    """Writes one file of documents; it is complete once it is closed.

    All documents of a writer have the same fields, with numbers, strings, true, false or null as values.
    """

    def __init__(self, path: Path) -> None:
        self.num_documents = 0
        self.num_characters = 0
        self._texts: list[str] = []
        self._fields: dict[str, list[Any]] = {}
        self._buffered = 0
        self._file = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(path.open("wb"), closefd=True)

    def write(self, text: str, **fields: Any) -> None:
        """Append one document with its other fields."""
        if not self._texts:
            self._fields = {name: [] for name in fields}
        for name, value in fields.items():
            self._fields[name].append(value)
        self._texts.append(text)
        self._buffered += len(text)
        if self._buffered >= _BUFFER_CHARACTERS:
            self._flush()

    def write_many(self, texts: Sequence[str], **fields: Sequence[Any]) -> None:
        """Append documents, given field by field."""
        self._flush()
        start = 0
        for end in _ends_of_blocks(texts):
            self._texts = list(texts[start:end])
            self._fields = {name: list(values[start:end]) for name, values in fields.items()}
            self._buffered = sum(map(len, self._texts))
            self._flush()
            start = end

    def close(self) -> None:
        """Write the rest of the documents; without it the file is incomplete."""
        self._flush()
        self._file.close()

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        if not self._texts:
            return
        columns = {"text": self._texts, **self._fields}
        form = "{" + ",".join(f'"{name}":%s' for name in columns) + "}\n"
        lines = "".join([form % values for values in zip(*map(_encode_column, columns.values()), strict=True)])
        self._file.write(lines.encode("utf-8", "backslashreplace"))  # a lone surrogate as a JSON escape
        self.num_documents += len(self._texts)
        self.num_characters += self._buffered
        self._texts, self._buffered = [], 0


def _ends_of_blocks(texts: Sequence[str]) -> Iterator[int]:
    """The ends of blocks of a million characters or a little more."""
    ends = list(accumulate(map(len, texts)))
    start = 0
    while start < len(ends):
        characters = ends[start - 1] if start else 0
        start = min(bisect_left(ends, characters + _BUFFER_CHARACTERS) + 1, len(ends))
        yield start


def _encode_column(values: list[Any]) -> list[str]:
    """Every value as JSON, with one call of the encoder: line feeds within a value are written as escapes."""
    return json.dumps(values, ensure_ascii=False, separators=("\n", ":"))[1:-1].split("\n")


class CorpusWriter:
    """Writes documents-00000.jsonl.zst and so on; leftovers of an interrupted writer are removed first."""

    def __init__(self, folder: Path, characters_per_file: int | None = None) -> None:
        self.folder = folder
        self.num_documents = 0
        self.num_characters = 0
        self._characters_per_file = characters_per_file or CHARACTERS_PER_FILE
        self._num_files = 0
        self._room = 0
        self._file: DocumentWriter | None = None
        for left in corpus_files(folder):
            left.unlink()

    def write(self, text: str, **fields: Any) -> None:
        """Append one document with its other fields."""
        self._file_with_room().write(text, **fields)
        self._room -= len(text) + 1
        self.num_documents += 1
        self.num_characters += len(text)

    def write_many(self, texts: Sequence[str], **fields: Sequence[Any]) -> None:
        """Append documents, given field by field; they are divided into files as by `write`."""
        ends = list(accumulate([size + 1 for size in map(len, texts)]))
        start = 0
        while start < len(texts):
            file = self._file_with_room()
            before = ends[start - 1] if start else 0
            end = min(bisect_left(ends, before + self._room) + 1, len(texts))  # the last document fills the file
            file.write_many(texts[start:end], **{name: values[start:end] for name, values in fields.items()})
            self._room -= ends[end - 1] - before
            self.num_characters += ends[end - 1] - before - (end - start)
            start = end
        self.num_documents += len(texts)

    def _file_with_room(self) -> DocumentWriter:
        if self._room <= 0 or self._file is None:
            self.close()
            self._file = DocumentWriter(corpus_file(self.folder, self._num_files))
            self._num_files += 1
            self._room = self._characters_per_file
        return self._file

    def close(self) -> None:
        """Write the rest of the documents; without it the last file is incomplete."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def corpus_file(folder: Path, number: int) -> Path:
    """The document file with a number."""
    return folder / f"documents-{number:05d}{CORPUS_ENDING}"


def corpus_files(folder: Path) -> list[Path]:
    """The document files of a stage folder, in order."""
    return sorted(folder.glob("documents-*.jsonl.zst"), key=lambda path: (len(path.name), path.name))


def iter_corpus(folder: Path) -> Iterator[dict[str, Any]]:
    """The documents of a stage folder, in the order in which they were written."""
    files = corpus_files(folder)
    if not files:
        raise InputDataError(f"{folder} contains no documents-*.jsonl.zst; expected the files that the stage wrote.")
    for path in files:
        yield from iter_corpus_file(path)


def iter_corpus_file(path: Path) -> Iterator[dict[str, Any]]:
    """The documents of one file. Raises StoppedError if the system cannot read it: then the input is not at fault."""
    rest = ""
    for block in _iter_blocks(path):
        text = rest + block
        end = text.rfind("\n")
        rest = text[end + 1 :]
        if end > 0:
            yield from json.loads("[" + text[:end].replace("\n", ",") + "]")
    if rest:
        yield json.loads(rest)


def _iter_blocks(path: Path) -> Iterator[str]:
    try:
        yield from TextStream(path).blocks()
    except InputDataError as error:
        cause = error.__context__
        if not isinstance(cause, OSError):
            raise
        raise StoppedError(
            f"{path} could not be read ({cause.strerror}); check that its disk or network folder is there on every "
            "machine that does the work, and run the same command again to resume."
        ) from cause
