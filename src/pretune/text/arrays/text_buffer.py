"""Many texts in one buffer of bytes with offsets, for vectorised code and for files that steps pass on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

_LEVEL = 1
_COUNT_BYTES = 8


@dataclass(frozen=True)
class FlatText:
    """Texts in UTF-8, one after another: text i is `data[offsets[i] : offsets[i + 1]]`.

    `data` is (bytes,) uint8, `offsets` is (texts + 1,) int64 and begins with 0.
    """

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> FlatText:
        """The buffer of some texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        part = self.data[self.offsets[index] : self.offsets[index + 1]]
        return part.tobytes().decode("utf-8", "surrogatepass")

    def texts(self) -> list[str]:
        """All texts as strings."""
        text = self.data.tobytes().decode("utf-8", "surrogatepass")
        ends = self.offsets if len(text) == len(self.data) else self.offsets - self._continuing_before()
        return [text[start:end] for start, end in pairwise(ends.tolist())]

    def num_characters(self) -> npt.NDArray[np.int64]:
        """(texts,): the number of characters of each."""
        return np.diff(self.offsets - self._continuing_before())

    def count(self, byte: int) -> npt.NDArray[np.int64]:
        """(texts,): how often a byte occurs in each."""
        return np.diff(np.searchsorted(np.flatnonzero(self.data == byte), self.offsets))

    def _continuing_before(self) -> npt.NDArray[np.int64]:
        """(texts + 1,): the number of UTF-8 continuation bytes before each text."""
        return np.searchsorted(np.flatnonzero((self.data & 0xC0) == 0x80), self.offsets)

    def joined_bytes(self, rows: npt.NDArray[np.integer[Any]], between: bytes) -> bytes:
        """The texts of `rows` in UTF-8, joined by `between`."""
        data = self.data.tobytes()
        starts, ends = self.offsets[:-1][rows].tolist(), self.offsets[1:][rows].tolist()
        return between.join([data[start:end] for start, end in zip(starts, ends, strict=True)])

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> FlatText:
        """The texts of `rows`, in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return FlatText(self.data[places], offsets)

    @classmethod
    def joined(cls, parts: Sequence[FlatText]) -> FlatText:
        """Several buffers, one after another."""
        data = np.concatenate([np.zeros(0, dtype=np.uint8), *(part.data for part in parts)])
        lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(part.offsets) for part in parts)])
        return cls(data, np.concatenate([[0], np.cumsum(lengths)]))

    def save(self, path: Path) -> None:
        """Write one compressed file."""
        head = np.array([len(self)], dtype="<i8").tobytes()
        body = head + self.offsets.astype("<i8").tobytes() + self.data.tobytes()
        path.write_bytes(zstandard.ZstdCompressor(level=_LEVEL).compress(body))

    @classmethod
    def load(cls, path: Path) -> FlatText:
        """Read what `save` wrote."""
        body = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        count = int(np.frombuffer(body, dtype="<i8", count=1)[0])
        offsets = np.frombuffer(body, dtype="<i8", count=count + 1, offset=_COUNT_BYTES)
        return cls(np.frombuffer(body, dtype=np.uint8, offset=_COUNT_BYTES * (count + 2)), offsets)
