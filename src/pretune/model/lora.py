"""LoRA (arXiv:2106.09685): the matrices of a model stay as they are, and each gets a small correction that is trained.

A corrected matrix computes W x + (alpha / rank) B A x, with A (rank, in) drawn at random and B (out, rank) zero at
first. Our query, key and value are rows of one matrix, and so are gate and up: each of these parts has its own A and B,
as in PEFT, where they are separate matrices.

N positions, P corrected parts of a matrix, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pretune.errors import UsageError
from pretune.model.config import ModelConfig
from pretune.model.transformer import Block, LanguageModel, Linear
from pretune.runtime.randomness import derive_seed

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The rank of the corrections, their strength `alpha`, and the matrices that get one, by Llama's names."""

    rank: int
    alpha: float
    targets: tuple[str, ...] = TARGETS

    @property
    def scale(self) -> float:
        """The factor of each correction."""
        return self.alpha / self.rank


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a matrix that have their own correction: `height` rows from `first` on."""

    name: str
    first: int
    height: int


class LoraLinear(Linear):
    """A linear layer whose weight is frozen, with the correction of each part.

    `lora_a` (P R, in) holds the A of one part below that of another, `lora_b` (H, R) holds their B, for the H rows that
    are corrected.
    """

    def __init__(self, layer: Linear, parts: Sequence[Part], config: LoraConfig) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = layer.weight
        self.register_parameter("bias", None)
        self.parts, self.rank, self.scale = tuple(parts), config.rank, config.scale
        height = sum(part.height for part in parts)
        device = layer.weight.device
        self.lora_a = nn.Parameter(torch.zeros(len(parts) * config.rank, self.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(height, config.rank, device=device))

    def forward(self, x: Float[Tensor, "*B in"]) -> Float[Tensor, "*B out"]:
        flat = x.reshape(-1, self.in_features)
        weight, a, b = (each.to(x.dtype) for each in (self.weight, self.lora_a, self.lora_b))
        y: Tensor = _Corrected.apply(flat, weight, a, b, self.parts, self.scale)
        return y.view(*x.shape[:-1], self.out_features)

    def factors(self) -> Iterator[tuple[Part, Tensor, Tensor]]:
        """Each part with its A (R, in) and its B (height, R), which share memory with the parameters."""
        a = self.lora_a.split(self.rank)
        b = self.lora_b.split([part.height for part in self.parts])
        yield from zip(self.parts, a, b, strict=True)

    @torch.no_grad()
    def merged_weight(self) -> Float[Tensor, "out in"]:
        """The weight with its corrections added."""
        weight = self.weight.detach().clone()
        for part, a, b in self.factors():
            weight[part.first : part.first + part.height].addmm_(b, a, alpha=self.scale)
        return weight


class _Corrected(torch.autograd.Function):
    """The product with a weight and its corrections, in the fewest passes over the activations.

    The corrections are added in place to their columns of the result, and backward to the gradient of the input. With
    plain operations, each of them would be another pass over memory.
    """

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, parts: Sequence[Part], scale: float
    ) -> Tensor:
        inner, y = x @ a.T, x @ weight.T  # (N, P R), (N, out)
        for columns, own, rows in _places(parts, b.shape[1]):
            y[:, columns].addmm_(inner[:, own], b[rows].T, alpha=scale)
        context.save_for_backward(x, inner, weight, a, b)
        context.parts, context.scale = parts, scale
        return y

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        (gradient,), scale = gradients, context.scale
        x, inner, weight, a, b = context.saved_tensors
        of_inner, of_b = torch.empty_like(inner), torch.empty_like(b)
        for columns, own, rows in _places(context.parts, b.shape[1]):
            of_part = gradient[:, columns]
            of_inner[:, own] = (of_part @ b[rows]).mul_(scale)
            of_b[rows] = (of_part.T @ inner[:, own]).mul_(scale)
        of_x = (gradient @ weight).addmm_(of_inner, a) if context.needs_input_grad[0] else None
        return of_x, None, of_inner.T @ x, of_b, None, None


def _places(parts: Sequence[Part], rank: int) -> Iterator[tuple[slice, slice, slice]]:
    """For each part: its columns of the result, its rows of A, and its rows of B."""
    row = 0
    for number, part in enumerate(parts):
        own = slice(number * rank, (number + 1) * rank)
        yield slice(part.first, part.first + part.height), own, slice(row, row + part.height)
        row += part.height


def parts_of(config: ModelConfig) -> dict[str, tuple[Part, ...]]:
    """The parts of each matrix of a block, by our name of the matrix; together they are all its rows."""
    queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    inner, hidden = config.intermediate_size, config.hidden_size
    heights = {
        "qkv_proj": {"q_proj": queries, "k_proj": keys, "v_proj": keys},
        "out_proj": {"o_proj": hidden},
        "gate_up_proj": {"gate_proj": inner, "up_proj": inner},
        "down_proj": {"down_proj": hidden},
    }
    found: dict[str, tuple[Part, ...]] = {}
    for matrix, named in heights.items():
        firsts = [sum(list(named.values())[:number]) for number in range(len(named))]
        found[matrix] = tuple(
            Part(name=name, first=first, height=height)
            for first, (name, height) in zip(firsts, named.items(), strict=True)
        )
    return found


def check_lora(config: LoraConfig, model: ModelConfig) -> None:
    """Raise UsageError for targets that a model does not have, or a rank above the smaller side of one of them."""
    unknown = [name for name in config.targets if name not in TARGETS]
    if unknown or not config.targets:
        found = ", ".join(unknown) if unknown else "empty"
        raise UsageError(f"--lora-targets is {found}; expected some of {', '.join(TARGETS)}.")
    widths = {"out_proj": model.num_heads * model.head_dim, "down_proj": model.intermediate_size}
    sides = {
        part.name: (part.height, widths.get(matrix, model.hidden_size))
        for matrix, parts in parts_of(model).items()
        for part in parts
    }
    name, (rows, columns) = min(((name, sides[name]) for name in config.targets), key=lambda each: min(each[1]))
    if config.rank > min(rows, columns):
        raise UsageError(
            f"--rank is {config.rank}, but {name} of this model is {rows} x {columns}, so no correction of it has a "
            f"rank above {min(rows, columns)}; give a smaller --rank, such as {max(1, min(rows, columns) // 8)}."
        )


def add_lora(model: LanguageModel, config: LoraConfig, seed: int) -> None:
    """Freeze a model and correct its target matrices; at first the corrections are zero.

    A is drawn as in PEFT, uniformly up to one over the root of its width. Raises UsageError as `check_lora` does.
    """
    check_lora(config, model.config)
    model.requires_grad_(False)
    matrices = parts_of(model.config)
    rng = torch.Generator().manual_seed(derive_seed(seed, "lora"))
    for block in model.transformer.blocks:
        assert isinstance(block, Block)
        for matrix, parts in matrices.items():
            chosen = [part for part in parts if part.name in config.targets]
            if not chosen:
                continue
            layer = LoraLinear(getattr(block, matrix), chosen, config)
            bound = layer.in_features**-0.5
            drawn = torch.empty(layer.lora_a.shape).uniform_(-bound, bound, generator=rng)
            with torch.no_grad():
                layer.lora_a.copy_(drawn)
            setattr(block, matrix, layer)


def lora_layers(model: nn.Module) -> dict[str, LoraLinear]:
    """The corrected matrices of a model, by their names in it."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLinear)}


@torch.no_grad()
def merged(model: LanguageModel) -> LanguageModel:
    """The same model with every correction added to its matrix: a plain one, with weights of its own."""
    layers = lora_layers(model)
    plain = LanguageModel(model.config)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith((".lora_a", ".lora_b"))}
    state |= {f"{name}.weight": layer.merged_weight() for name, layer in layers.items()}
    plain.load_state_dict(state)
    return plain.to(model.lm_head.weight.device).eval()
