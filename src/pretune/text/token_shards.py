"""Token shards: documents as a flat file of ids and one of offsets, raw little-endian and mapped on reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pretune.errors import InputDataError

TOKENS_ENDING = ".tokens"
OFFSETS_ENDING = ".offsets"
SHARD_ENDINGS = (TOKENS_ENDING, OFFSETS_ENDING)
_OFFSET_TYPE = np.dtype("<i8")
_BUFFER_TOKENS = 1 << 20

TokenArray = npt.NDArray[np.unsignedinteger]


def token_type(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest type that fits every id: two bytes up to 65,536 tokens, four beyond."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class ShardWriter:
    """Writes `<name>.tokens` and `<name>.offsets`; both get their final names only on `close`."""

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.folder = folder
        self.name = name
        self.dtype = token_type(vocab_size)
        self.num_tokens = 0
        self.num_documents = 0
        self._tokens = _open_temporary(folder / (name + TOKENS_ENDING))
        self._offsets = _open_temporary(folder / (name + OFFSETS_ENDING))
        self._offsets.write(np.zeros(1, dtype=_OFFSET_TYPE).tobytes())
        self._pending: list[int] = []
        self._pending_lengths: list[int] = []

    def add(self, ids: Sequence[int]) -> None:
        """Append one document."""
        self._pending.extend(ids)
        self._pending_lengths.append(len(ids))
        if len(self._pending) >= _BUFFER_TOKENS:
            self._flush()

    def add_many(self, tokens: TokenArray, lengths: npt.NDArray[np.int64]) -> None:
        """Append documents that are one after another in `tokens`; `lengths` has the length of each."""
        self._flush()
        self._write(tokens.astype(self.dtype, copy=False), lengths)

    def close(self) -> None:
        """Write the rest and give the files their final names."""
        self._flush()
        for file, ending in ((self._tokens, TOKENS_ENDING), (self._offsets, OFFSETS_ENDING)):
            file.close()
            path = self.folder / (self.name + ending)
            _temporary(path).replace(path)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._tokens.close()
            self._offsets.close()

    def _flush(self) -> None:
        if self._pending_lengths:
            tokens, lengths = self._pending, self._pending_lengths
            self._pending, self._pending_lengths = [], []
            self._write(np.array(tokens, dtype=self.dtype), np.array(lengths, dtype=np.int64))

    def _write(self, tokens: TokenArray, lengths: npt.NDArray[np.int64]) -> None:
        if int(lengths.sum()) != len(tokens):
            raise ValueError(f"{len(tokens)} tokens do not fill documents of {int(lengths.sum())} tokens")
        ends = self.num_tokens + np.cumsum(lengths)
        self._tokens.write(tokens.tobytes())
        self._offsets.write(ends.astype(_OFFSET_TYPE).tobytes())
        self.num_tokens += len(tokens)
        self.num_documents += len(lengths)


class TokenShard:
    """The documents of one split, mapped: document i is `tokens[offsets[i] : offsets[i + 1]]`.

    Raises InputDataError if a file is missing, or if its size does not match the offsets.
    """

    def __init__(self, folder: Path, name: str) -> None:
        tokens_path, offsets_path = folder / (name + TOKENS_ENDING), folder / (name + OFFSETS_ENDING)
        for path in (tokens_path, offsets_path):
            if not path.is_file():
                raise InputDataError(f"{path} does not exist; expected the token shard that an earlier stage wrote.")
        # As a plain array: every slice of a `memmap` is another `memmap`, which takes far longer.
        self.offsets: npt.NDArray[np.int64] = np.empty(0, dtype=_OFFSET_TYPE)
        count = offsets_path.stat().st_size // _OFFSET_TYPE.itemsize
        if count:
            self.offsets = np.asarray(np.memmap(offsets_path, _OFFSET_TYPE, "r", shape=(count,)))
        size = tokens_path.stat().st_size
        num_tokens = int(self.offsets[-1]) if len(self.offsets) else -1
        bytes_per_token = size // num_tokens if num_tokens > 0 else 2
        if (
            offsets_path.stat().st_size % 8
            or num_tokens < 0
            or bytes_per_token not in (2, 4)
            or size != (num_tokens * bytes_per_token)
        ):
            raise InputDataError(
                f"{tokens_path} has {size:,} bytes, which does not match the {num_tokens:,} tokens that "
                f"{offsets_path.name} lists; move {tokens_path.parent} away and rerun the command that made it."
            )
        dtype = np.dtype(f"<u{bytes_per_token}")
        # An empty file cannot be mapped.
        self.tokens: TokenArray = (
            np.memmap(tokens_path, dtype=dtype, mode="r") if num_tokens else np.empty(0, dtype=dtype)
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of tokens of every document."""
        return np.diff(self.offsets)

    def doc(self, index: int) -> TokenArray:
        """The ids of one document."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def _open_temporary(path: Path) -> BinaryIO:
    return _temporary(path).open("wb")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")
