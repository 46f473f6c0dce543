"""Matrices of which every process holds some rows, put together where they are transformed, and dealt out again.

What Muon needs under FSDP2: an orthogonalisation sees a whole matrix. Every matrix has one owner, so the work is
shared, and the bytes that travel are those of the matrices, once there and once back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from pretune.compute.distributed import is_sharded, row_range


class MatrixExchange:
    """Moves matrices with the shapes and names of some sharded parameters (FSDP2: rows in order, as chunks)."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        first = next(iter(parameters.values()))
        assert is_sharded(first)
        mesh = first.device_mesh
        self.group, self.rank, self.size = mesh.get_group(), mesh.get_local_rank(), mesh.size()
        self.shapes = {name: (parameter.shape[0], parameter.shape[1]) for name, parameter in parameters.items()}
        self.owners = deal(self.shapes, self.size)

    @torch.no_grad()
    def transform(
        self, parts: Mapping[str, Tensor], transform: Callable[[dict[str, Tensor]], None]
    ) -> dict[str, Tensor]:
        """The rows that this process holds of every matrix after `transform`, which is given the whole matrices that
        this process owns and changes them in place. `parts` are the rows before; all processes must call."""
        names = [[name for name in parts if self.owners[name] == owner] for owner in range(self.size)]
        own = names[self.rank]
        sent = torch.cat([parts[name].flatten() for owned in names for name in owned])
        sent_sizes = [sum(parts[name].numel() for name in owned) for owned in names]
        sizes = [[self._numel(name, rank) for name in own] for rank in range(self.size)]
        received_sizes = [sum(each) for each in sizes]
        received = sent.new_empty(sum(received_sizes))
        dist.all_to_all_single(received, sent, received_sizes, sent_sizes, group=self.group)
        rows = [block.split(each) for block, each in zip(received.split(received_sizes), sizes, strict=True)]
        whole = {
            name: torch.cat([rows[rank][i] for rank in range(self.size)]).view(self.shapes[name])
            for i, name in enumerate(own)
        }
        transform(whole)
        back = [whole[name][self._rows(name, rank)].flatten() for rank in range(self.size) for name in own]
        dist.all_to_all_single(sent, torch.cat([received[:0], *back]), sent_sizes, received_sizes, group=self.group)
        ordered = [name for owned in names for name in owned]
        pieces = sent.split([parts[name].numel() for name in ordered])
        return {name: piece.view_as(parts[name]) for name, piece in zip(ordered, pieces, strict=True)}

    def _rows(self, name: str, rank: int) -> slice:
        return row_range(self.shapes[name][0], rank, self.size)

    def _numel(self, name: str, rank: int) -> int:
        rows = self._rows(name, rank)
        return (rows.stop - rows.start) * self.shapes[name][1]


def deal(shapes: Mapping[str, tuple[int, int]], size: int) -> dict[str, int]:
    """An owner for each matrix, so that all owners have about the same to do: the largest first, to whom has least.

    The work of an orthogonalisation is about rows x columns x the smaller of the two.
    """
    work = {name: rows * columns * min(rows, columns) for name, (rows, columns) in shapes.items()}
    load, owners = [0] * size, {}
    for name in sorted(shapes, key=lambda name: (-work[name], name)):
        owners[name] = load.index(min(load))
        load[owners[name]] += work[name]
    return owners
