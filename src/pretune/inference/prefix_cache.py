"""What a model has read of a text that goes on, such as a conversation: only what is new in it is read again."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.model.key_value_cache import KeyValueCache
from pretune.model.transformer import Transformer
from pretune.text.tokenizer.rows import common_prefix_length


class PrefixCache:
    """The tokens that a model has read, with their keys and values, kept from one continuation to the next.

    Positions are counted from the beginning of the text, so everything from the first token that differs is read again.
    One continuation uses it at a time.
    """

    def __init__(self, transformer: Transformer) -> None:
        self._transformer, self._cache = transformer, transformer.new_cache(0)
        self._ids: list[int] = []  # those read, and those that are read next

    def open(self, ids: Sequence[int], max_seq_len: int) -> KeyValueCache:
        """A cache with room for `max_seq_len` positions, which has read as much of `ids` as is known, but not the last
        one: the scores of the next token come from reading it."""
        num_known = common_prefix_length(self._ids[: self._cache.length], ids[:-1])
        self._cache.keep(num_known)
        if self._cache.max_seq_len < max_seq_len:
            twice = min(2 * self._cache.max_seq_len, self._transformer.config.max_seq_len)
            larger = self._transformer.new_cache(max(max_seq_len, twice))
            larger.copy_from(self._cache)
            self._cache = larger
        self._ids = list(ids)
        return self._cache

    def add(self, token_id: int) -> None:
        """A token that was written, and that is read before the next one is."""
        self._ids.append(token_id)
