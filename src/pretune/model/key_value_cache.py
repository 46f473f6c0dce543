"""Keys and values of the positions that a causal model has read, so that each further token costs one position.

B batch, T new positions, S positions so far, K head dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pretune.model.config import ModelConfig


class CachedPositions(NamedTuple):
    """The positions start:end that a cache takes in, their rotary tables (T, K) or (B, T, K), and the attention bias
    (1 or B, 1, T, S), which is None if the only new position sees all others."""

    start: int
    end: int
    cos: Tensor
    sin: Tensor
    bias: Tensor | None


class KeyValueCache:
    """Keys and values in every layer; room for all positions is taken at once.

    Rows of different lengths end together: row b begins with `padding[b]` positions that no other position sees, and
    its first real position is number 0.
    """

    def __init__(
        self,
        config: ModelConfig,
        rotary: tuple[Float[Tensor, "S K"], Float[Tensor, "S K"]],
        padding: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        """`rotary` are the tables of all positions there is room for; `dtype` is the precision of the computation."""
        self._cos, self._sin = rotary
        self.max_seq_len, self.dtype, self.length = len(self._cos), dtype, 0
        device = self._cos.device
        shape = (config.num_layers, 2, len(padding), config.num_kv_heads, self.max_seq_len, config.head_dim)
        layers = torch.zeros(shape, device=device, dtype=dtype)
        self.layers: list[tuple[Tensor, Tensor]] = [(keys, values) for keys, values in layers]
        self._padding = torch.tensor(padding, device=device) if any(padding) else None
        self._columns = torch.arange(self.max_seq_len, device=device)

    def keep(self, length: int) -> None:
        """Forget all positions from `length` on."""
        self.length = min(self.length, length)

    def copy_from(self, other: KeyValueCache) -> None:
        """Begin with the positions in another cache of the same model and rows, which may have less room."""
        for ours, theirs in zip(self.layers, other.layers, strict=True):
            for kept, known in zip(ours, theirs, strict=True):
                kept.narrow(2, 0, other.length).copy_(known.narrow(2, 0, other.length))
        self.length = other.length

    def begin(self, count: int) -> CachedPositions:
        """The next `count` positions, which are in the cache once every layer has them and `end` was called, so that a
        reading that is interrupted leaves none behind. Raises ValueError if there is no room for them."""
        start, end = self.length, self.length + count
        if end > self.max_seq_len:
            raise ValueError(f"the cache has room for {self.max_seq_len} positions, not for {end}")
        if self._padding is None:
            cos, sin = self._cos[start:end], self._sin[start:end]
        else:
            place = (self._columns[start:end] - self._padding[:, None]).clamp(min=0)
            cos, sin = self._cos[place], self._sin[place]
        return CachedPositions(start, end, cos, sin, self._bias(start, end))

    def end(self, at: CachedPositions) -> None:
        """Count positions as read."""
        self.length = at.end

    def _bias(self, start: int, end: int) -> Float[Tensor, "R 1 T S"] | None:
        """0 where a new position sees an earlier one or itself, and a very negative number elsewhere."""
        if self._padding is None and end - start == 1:
            return None
        columns = self._columns[:end]
        visible = (columns <= self._columns[start:end, None])[None]
        if self._padding is not None:
            visible = visible & (columns >= self._padding[:, None, None])
        bias = torch.zeros(visible.shape, dtype=self.dtype, device=visible.device)
        return bias.masked_fill_(~visible, -1e9)[:, None]
