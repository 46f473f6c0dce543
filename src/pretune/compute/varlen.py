"""Attention on a GPU over texts of any length laid end to end, without computing what a block mask would hide.

The rows of a batch are read as one long row. A span is a section of it that attends only to itself: the tokens of one
document in a row, or a row's padding. FlashAttention-2 (arXiv:2307.08691), through torch.nn.attention.varlen.
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

_MIN_EDGES = 16
_MAX_HEAD_DIM = 256
_OLDEST_CHIP = (8, 0)  # compute capability: Ampere


class Run(NamedTuple):
    """The rows from `first` up to but not including `last`, all either causal or bidirectional.

    `edges` (N + 1, int32) are the positions within the run where spans begin, followed by the end of the last one. That
    end is repeated until N + 1 is a power of two, so that compiled code sees few shapes; empty spans cost little.
    """

    first: int
    last: int
    is_causal: bool
    edges: Tensor


class Spans(NamedTuple):
    """The attention mask of a batch in the form that the kernel takes; `dtype` is the precision to compute in."""

    runs: tuple[Run, ...]
    dtype: torch.dtype = torch.bfloat16


def find_spans(document_ids: Int[Tensor, "B T"], is_causal: Bool[Tensor, "B"] | None) -> Spans | None:
    """The spans of a batch that is on the CPU; None if a document continues in its row after another one, which only a
    mask can express, or if there are no rows."""
    ids = document_ids.numpy()
    rows, length = ids.shape
    if not rows:  # the slice of a process for which a batch has no text
        return None
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
    size = max(_MIN_EDGES, 1 << len(starts).bit_length())  # at least one more than there are starts
    edges = np.full(size, end, dtype=np.int32)
    edges[: len(starts)] = starts
    return torch.from_numpy(edges)


def can_attend(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the kernel supports this device, precision and head size; if not, a block mask does the same."""
    is_half = dtype in (torch.bfloat16, torch.float16)
    return device.type == "cuda" and is_half and head_dim % 8 == 0 and head_dim <= _MAX_HEAD_DIM and _has_kernel()


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
    """Softmax attention within each span; H is a multiple of J, and H / J heads of `q` share one of `k` and `v`."""
    outputs = []
    for run in spans.runs:
        rows = slice(run.first, run.last)
        outputs.append(_attend_run(q[rows], k[rows], v[rows], run))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _attend_run(q: Tensor, k: Tensor, v: Tensor, run: Run) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # takes a second to import, and only a GPU needs it

    # The length of a row, not of the longest span, so that compiled code is the same for all batches; the kernel stops
    # early for shorter spans.
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
    assert isinstance(mixed, Tensor)  # it returns a tuple only if asked for more
    return mixed.view(q.shape)
