"""One model trained by several processes: DDP, where each holds all of it, or FSDP2, where each holds a part.

Every process does its share of a step's rows. The gradient, its norm and the counts are those of the whole step, so a
step is the same for any number of processes up to rounding. FSDP2: torch.distributed.fsdp.fully_shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MethodType
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretune.compute.distributed import ALONE, Ranks, part, take_part, whole
from pretune.data.batch import Batch
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel
from pretune.training.objective import LossSum, Objective

Mode = Literal["none", "ddp", "fsdp"]
Parts = tuple[Tensor, float, Tensor, int, Tensor | None]  # those of a LossSum, as hooks let them pass
_DDP_SHARE = 0.25  # of a GPU's memory that weights, gradients and optimizer may take before they are sharded


def choose_mode(setting: str, num_ranks: int, model: ModelConfig, gpu_bytes: int | None) -> Mode:
    """How to train on so many processes: as the setting says; `auto` shards what would take over a quarter of a GPU."""
    if num_ranks == 1:
        return "none"
    if setting != "auto":
        return "fsdp" if setting == "fsdp" else "ddp"
    is_large = gpu_bytes is not None and cost.state_bytes(model) > _DDP_SHARE * gpu_bytes
    return "fsdp" if is_large else "ddp"


class Parallel:
    """How a model is trained by some processes, and what they must tell each other when.

    With FSDP2 the parameters of `model` become sharded here, so its optimizer and its objective are made afterwards.
    """

    def __init__(self, model: nn.Module, ranks: Ranks, mode: Mode) -> None:
        self.model, self.ranks, self.mode = model, ranks, mode
        if mode == "fsdp":
            _shard(model, ranks)
        self.parameters = dict(model.named_parameters())  # while they are sharded: a forward pass may replace them
        # DDP and FSDP2 average gradients over the processes, where the sum is wanted.
        self.gradient_scale = ranks.size
        self._ddp: nn.parallel.DistributedDataParallel | None = None

    # -- a step --------------------------------------------------------------------------------------------------

    def wrap(self, objective: Objective) -> Objective:
        """The objective with the hooks through which gradients and sharded weights travel."""
        if self.mode == "none":
            return objective
        if self.mode == "ddp":
            sums = _Sums(self.model, objective)
            is_cuda = next(self.model.parameters()).device.type == "cuda"
            self._ddp = nn.parallel.DistributedDataParallel(
                sums,
                device_ids=[self.ranks.local_rank] if is_cuda else None,
                gradient_as_bucket_view=True,
            )
            return _through(self._ddp)
        from torch.distributed.fsdp import register_fsdp_forward_method

        model: Any = self.model
        model.sum_loss = MethodType(lambda _model, batch: _parts(objective(batch)), model)
        register_fsdp_forward_method(model, "sum_loss")
        return _through(lambda batch: model.sum_loss(batch))

    def accumulating(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass of a micro-batch: gradients travel after the last one of a step only."""
        if self.mode == "ddp" and not is_last:
            assert self._ddp is not None
            return self._ddp.no_sync()
        if self.mode == "fsdp":
            self.model.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        return nullcontext()

    @property
    def device(self) -> str:
        """The kind of device that the parameters are on."""
        return next(iter(self.parameters.values())).device.type

    def agree_on_pieces(self, count: int, micro_batches: Sequence[Batch]) -> int:
        """Into how many pieces all processes cut each micro-batch: `count`, or as many as the smallest has rows.

        With FSDP2 every pass needs all processes, so they must do equally many, and one may have a row less.
        """
        if count == 1 or self.ranks.size == 1:
            return count
        rows = [0.0] * self.ranks.size
        rows[self.ranks.rank] = min(len(batch.input_ids) for batch in micro_batches)
        return min(count, int(min(self.ranks.sum(rows, "cutting a step into pieces"))))

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradient of the whole model to at most this norm; returns the norm before."""
        if self.mode != "fsdp":
            return nn.utils.clip_grad_norm_(self.parameters.values(), max_norm)
        gradients = [part(p.grad) for p in self.parameters.values() if p.grad is not None]
        total = torch.stack([gradient.square().sum(dtype=torch.float64) for gradient in gradients]).sum()
        with self.ranks.naming_losses():
            dist.all_reduce(total)
        norm = total.sqrt()
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0).to(torch.float32)
        for gradient in gradients:
            gradient.mul_(scale)
        return norm

    def sum(self, values: Sequence[float], place: str) -> list[float]:
        """Each value summed over all processes."""
        return self.ranks.sum(values, place)

    def deal(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, bool]]:
        """This process's share of some batches, each with whether it counts: all processes do equally many, since with
        FSDP2 a forward pass needs all of them, so the last round may repeat a batch that another one counts."""
        size = self.ranks.size
        for start in range(0, len(batches), size):
            index = start + self.ranks.rank
            yield batches[min(index, len(batches) - 1)], index < len(batches)

    # -- whole weights -------------------------------------------------------------------------------------------

    def spread(self, write: Callable[[nn.Module], None]) -> None:
        """Give all processes the weights that `write` puts into a whole model; it is called in the first one only."""
        if self.mode == "none":
            write(self.model)
            return
        model = self.model if self.mode == "ddp" else self.whole_model()
        if self.ranks.is_first:
            write(model)
        self.spread_tensors(dict(model.named_parameters()), self.parameters)

    def gather(self) -> nn.Module:
        """A whole model with the present weights: the model itself where every process holds one. All must ask."""
        if self.mode != "fsdp":
            return self.model
        state = self.gather_tensors(self.parameters)
        model = self.whole_model()
        if self.ranks.is_first:
            model.load_state_dict({**state, **_tied(model, state)})
        return model

    def gather_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the CPU in the first process, none in the others. All must ask."""
        found = {}
        for name, tensor in tensors.items():
            gathered = whole(tensor.detach())
            if self.ranks.is_first:
                found[name] = gathered.cpu()
        return found

    def spread_tensors(self, tensors: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
        """Put the first process's whole tensors into these tensors of every process, sharded or not."""
        with torch.no_grad():
            for name, target in into.items():
                given = tensors[name] if self.ranks.is_first else torch.empty(target.shape, dtype=target.dtype)
                take_part(target, self.ranks.spread(given.cpu()))

    def whole_model(self) -> nn.Module:
        """A model of the same shape on the CPU that is whole, for the first process to fill."""
        config = self.model.config
        assert isinstance(config, ModelConfig)
        return LanguageModel(config)


def alone(model: nn.Module) -> Parallel:
    """A model trained by this process only."""
    return Parallel(model, ALONE, "none")


class _Sums(nn.Module):
    """An objective as a module, which is what DDP hooks into."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Parts:
        return _parts(self.objective(batch))


def _parts(sums: LossSum) -> Parts:
    return sums.loss, sums.weight, sums.correct, sums.count, sums.losses


def _through(forward: Callable[[Batch], Parts]) -> Objective:
    """An objective whose passes go through a wrapper."""

    def objective(batch: Batch) -> LossSum:
        loss, weight, correct, count, losses = forward(batch)
        return LossSum(loss=loss, weight=weight, correct=correct, count=count, losses=losses)

    return objective


def _tied(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a model that share the memory of another and so are no parameters of their own."""
    shared = {name for name in model.state_dict() if name not in state}
    return {name: state["transformer.embed_tokens.weight"] for name in shared}


def _shard(model: nn.Module, ranks: Ranks) -> None:
    """Let every process hold some rows of every parameter; a block's are together only while it is computed."""
    assert isinstance(model, LanguageModel)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (ranks.size,))
    for block in model.transformer.blocks:
        fully_shard(block, mesh=mesh)
        for half in ("mix", "finish"):  # which are called instead of the block
            register_fsdp_forward_method(block, half)
    # Also at the root weights go back to their parts after each pass, so that none is ever out of date.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
