"""Texts seen before: exact duplicates after normalisation, of which the first is kept."""

from __future__ import annotations

from collections.abc import Iterable

_KEY_BYTES = 12  # of a hash: two different texts share them once in 10^28 pairs


class SeenTexts:
    """A set of texts, given as `splits.hash_text` of each: about a hundred bytes of memory a text."""

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        self._keys = {digest[:_KEY_BYTES] for digest in hashes}

    def __contains__(self, digest: bytes) -> bool:
        return digest[:_KEY_BYTES] in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, digest: bytes) -> bool:
        """Remember a text; whether it was new."""
        before = len(self._keys)
        self._keys.add(digest[:_KEY_BYTES])
        return len(self._keys) > before
