"""Muon for the matrices inside the blocks, AdamW for everything else; the whole state is a flat dict of tensors.

Muon: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); AdamW: arXiv:1711.05101.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from pretune.model.transformer import Block

# One odd polynomial per iteration, a s + b s^3 + c s^5 of a singular value s: the best approximation of one on the
# interval that the previous ones leave, widened by a hundredth for rounding (Polar Express, arXiv:2505.16932; here for
# 0.0025 to 1). Four of them end between 0.74 and 1.26, five equal ones (the Muon post's) between 0.68 and 1.20.
_NEWTON_SCHULZ = (
    (7.6346, -21.4634, 15.4601),
    (4.1359, -3.4122, 0.7213),
    (3.7202, -2.9425, 0.6140),
    (2.6364, -1.9567, 0.4504),
)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Peak rates and decay. `matrix_rate` is Muon's, or AdamW's for matrices if `kind` is adamw."""

    kind: str
    matrix_rate: float
    other_rate: float
    weight_decay: float
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    precision: str = "fp32"  # of Muon's matrix products; bf16 is enough if the chip is faster in it

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


class Optimizer:
    """Updates the parameters of a model in place from their gradients."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.num_updates = 0
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        is_matrix = {name: _is_matrix(name, p) for name, p in named}
        self.matrices = {name: p for name, p in named if is_matrix[name]}
        self.others = {name: p for name, p in named if not is_matrix[name]}
        self.fused = _heights_of_fused(model)
        with_adam = dict(self.others) if config.kind == "muon" else dict(named)
        self.momentum = {name: torch.zeros_like(p) for name, p in self.matrices.items() if name not in with_adam}
        self.first = {name: torch.zeros_like(p) for name, p in with_adam.items()}
        self.second = {name: torch.zeros_like(p) for name, p in with_adam.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update at `rate` times the peak rates."""
        self.num_updates += 1
        if self.momentum:
            self._muon(rate)
        else:
            self._adamw(self.matrices, rate * self.config.matrix_rate, self.config.weight_decay)
        self._adamw(self.others, rate * self.config.other_rate, 0.0)

    def _adamw(self, parameters: dict[str, nn.Parameter], rate: float, decay: float) -> None:
        """PyTorch's fused kernel: it reads and writes every parameter once; single operations would pass over it nine
        times."""
        named = {name: parameter for name, parameter in parameters.items() if parameter.grad is not None}
        if not named:
            return
        weights: list[Tensor] = list(named.values())
        # One tensor made on the device: a number per weight would have to be copied there while the CPU waits.
        steps = torch.full((len(named),), self.num_updates - 1.0, device=weights[0].device)  # the kernel adds one
        adamw(
            weights,
            [cast(Tensor, parameter.grad) for parameter in named.values()],
            [self.first[name] for name in named],
            [self.second[name] for name in named],
            max_exp_avg_sqs=[],
            state_steps=list(steps.unbind()),
            fused=True,
            amsgrad=False,
            beta1=self.config.betas[0],
            beta2=self.config.betas[1],
            lr=rate,
            weight_decay=decay,
            eps=self.config.eps,
            maximize=False,
        )

    def _muon(self, rate: float) -> None:
        """Momentum (Nesterov), then the nearest orthogonal matrix, scaled by the root of its height over its width."""
        config, keep = self.config, 1 - rate * self.config.matrix_rate * self.config.weight_decay
        updates: dict[str, Tensor] = {}
        for names in self._groups():
            gradients = [cast(Tensor, self.matrices[name].grad) for name in names]
            buffers = [self.momentum[name] for name in names]
            torch._foreach_lerp_(buffers, gradients, 1 - config.momentum)
            updates |= zip(names, torch._foreach_lerp(gradients, buffers, config.momentum), strict=True)
        self._orthogonalise(updates)
        for names in self._groups():
            weights: list[Tensor] = [self.matrices[name] for name in names]
            torch._foreach_mul_(weights, keep)
            torch._foreach_add_(weights, [updates[name] for name in names], alpha=-rate * config.matrix_rate)

    def _groups(self) -> list[list[str]]:
        """Groups of matrices that are updated at once: all on a GPU, to launch few operations; one by one on a CPU, to
        work on data that is still in its cache."""
        names = [name for name, parameter in self.matrices.items() if parameter.grad is not None]
        is_gpu = any(self.matrices[name].is_cuda for name in names)
        return [names] if is_gpu else [[name] for name in names]

    def _orthogonalise(self, updates: dict[str, Tensor]) -> None:
        """Orthogonalise matrices in place, each scaled by the square root of its height over its width.

        Fused projections are split first: each of query, key, value, gate and up is a matrix of its own. Matrices of
        the same shape are orthogonalised together.
        """
        by_shape: dict[tuple[int, int], list[Tensor]] = {}
        for name, update in updates.items():
            for matrix in update.split(self.fused.get(name, update.shape[0])):
                by_shape.setdefault((matrix.shape[0], matrix.shape[1]), []).append(matrix)
        for (rows, columns), matrices in by_shape.items():
            orthogonal = orthogonalise(torch.stack(matrices), self.config.dtype)
            orthogonal *= max(1.0, rows / columns) ** 0.5
            torch._foreach_copy_(matrices, list(orthogonal.unbind()))

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, by name."""
        return {**self.state(), "num_updates": torch.tensor(self.num_updates)}

    @torch.no_grad()
    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load a state from `state_tensors`. Raises ValueError, and changes nothing, if it does not fit."""
        own = {**self.state(), "num_updates": torch.tensor(self.num_updates)}
        wrong = [name for name in own.keys() | tensors.keys() if _shape(own, name) != _shape(tensors, name)]
        if wrong:
            raise ValueError(f"{sorted(wrong)[0]} belongs to another model or optimizer")
        self.num_updates = int(tensors["num_updates"])
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])

    def state(self) -> dict[str, Tensor]:
        """The tensors that updates change, by name."""
        groups = {"momentum": self.momentum, "first": self.first, "second": self.second}
        return {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a matrix inside a layer, not a table of embeddings or a head."""
    is_inside = ".blocks." in name or (".encoder." in name and "embed" not in name)  # ours, or transformers' own
    return is_inside and parameter.ndim == 2


def _heights_of_fused(model: nn.Module) -> dict[str, list[int]]:
    """The heights of the matrices in each fused projection, by parameter name."""
    heights: dict[str, list[int]] = {}
    for name, block in model.named_modules():
        if isinstance(block, Block):
            c = block.config
            keys = c.num_kv_heads * c.head_dim
            heights[f"{name}.qkv_proj.weight"] = [c.num_heads * c.head_dim, keys, keys]
            heights[f"{name}.gate_up_proj.weight"] = [c.intermediate_size, c.intermediate_size]
    return heights


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Move all singular values of a stack of matrices (N, rows, columns) towards one, by Newton-Schulz iteration with
    products in `dtype`."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if is_tall else matrices
    x = (x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)).to(dtype)
    for a, b, c in _NEWTON_SCHULZ:
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # ax + (bG + cGG)x
    return x.transpose(1, 2) if is_tall else x
