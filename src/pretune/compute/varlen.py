"""Attention on a GPU over texts of any length laid end to end: what a block mask would hide is not computed at all.

The rows of a batch are read as one long row. A span is a stretch of it that sees only itself: a document's part of a
row, or a row's padding. FlashAttention-2 (arXiv:2307.08691), through torch.nn.attention.varlen.
"""

from __future__ import annotations

import inspect
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_LEAST_EDGES = 16
_LARGEST_HEAD = 256
_OLDEST_CHIP = (8, 0)  # compute capability: Ampere


class Run(NamedTuple):
    """The rows `first` to `last` (not included), which attend alike: all ahead as well, or only back.

    `edges` (N + 1) of int32 are the places among those of the run where spans begin, and the end of the last one. That
    end is repeated until N + 1 is a power of two, so that compiled code meets few shapes; empty spans cost little.
    """

    first: int
    last: int
    is_causal: bool
    edges: Tensor


class Spans(NamedTuple):
    """What sees what in a batch, as the kernel wants it; `dtype` is the precision to compute in."""

    runs: tuple[Run, ...]
    dtype: torch.dtype = torch.bfloat16


def find_spans(document_ids: Int[Tensor, "B T"], is_causal: Bool[Tensor, "B"] | None) -> Spans | None:
    """The spans of a batch that is on the CPU; None where a document comes back in its row after another one, which
    only a mask can say."""
    ids = document_ids.numpy()
    rows, length = ids.shape
    begins = np.ones(ids.shape, dtype=np.bool_)
    begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
    places = np.flatnonzero(begins)
    if len(np.unique(ids.reshape(-1)[places] * rows + places // length)) != len(places):
        return None
    modes = np.zeros(rows, dtype=np.bool_) if is_causal is None else is_causal.numpy()
    turns = (1 + np.flatnonzero(modes[1:] != modes[:-1])).tolist()
    runs = []
    for first, last in pairwise([0, *turns, rows]):
        start, end = np.searchsorted(places, [first * length, last * length])
        edges = _edges(places[start:end] - first * length, (last - first) * length)
        runs.append(Run(first, last, bool(modes[first]), edges))
    return Spans(tuple(runs))


def _edges(starts: npt.NDArray[np.int64], end: int) -> Int[Tensor, "P"]:
    size = max(_LEAST_EDGES, 1 << len(starts).bit_length())  # at least one more than there are starts
    edges = np.full(size, end, dtype=np.int32)
    edges[: len(starts)] = starts
    return torch.from_numpy(edges)


def can_attend(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernel is there for this precision and size; where it is not, a block mask says the same."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    return device.type == "cuda" and is_half and head_dim % 8 == 0 and head_dim <= _LARGEST_HEAD and _has_kernel()


@cache
def _has_kernel() -> bool:
    if torch.version.hip or torch.cuda.get_device_capability() < _OLDEST_CHIP:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch 2.9
        return False
    return {"window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()


def attend_spans(
    q: Float[Tensor, "B T H K"], k: Float[Tensor, "B T J K"], v: Float[Tensor, "B T J K"], spans: Spans
) -> Float[Tensor, "B T H K"]:
    """Softmax attention within each span; H is a multiple of J, and so many heads of `q` share one of `k` and `v`."""
    parts = []
    for run in spans.runs:
        rows = slice(run.first, run.last)
        parts.append(_attend_run(q[rows], k[rows], v[rows], run))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_run(q: Tensor, k: Tensor, v: Tensor, run: Run) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # takes a second to load, and only a GPU needs it

    # The length of a row instead of that of the longest span: compiled code is the same for all batches, and the kernel
    # ends at once where a span is shorter.
    longest = q.shape[1]
    mixed = varlen_attn(
        q.flatten(0, 1),
        k.flatten(0, 1),
        v.flatten(0, 1),
        run.edges,
        run.edges,
        longest,
        longest,
        window_size=(-1, 0 if run.is_causal else -1),
        enable_gqa=q.shape[2] != k.shape[2],
    )
    assert isinstance(mixed, Tensor)  # no more than that is asked for
    return mixed.view(q.shape)
