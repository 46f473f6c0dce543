"""Texts seen before: exact duplicates after normalisation, of which the first is kept."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from pretune.text.splits import normalise_for_hash

_KEY_BYTES = 12  # two different texts share a key once in 10^28 pairs


def text_key(text: str) -> bytes:
    """Equal for texts that differ only in case, Unicode form and white space."""
    normalised = text.lower() if text.isascii() else normalise_for_hash(text)
    if "  " in normalised or not normalised.isprintable() or normalised != normalised.strip():
        normalised = normalise_for_hash(text)
    return blake2b(normalised.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


class SeenTexts:
    """A set of texts, held as keys: about a hundred bytes of memory a text, however long it is."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._keys = {text_key(text) for text in texts}

    def __contains__(self, text: str) -> bool:
        return text_key(text) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, text: str) -> bool:
        """Remember a text; whether it was new."""
        before = len(self._keys)
        self._keys.add(text_key(text))
        return len(self._keys) > before
