"""What it costs to add gradients in a fixed order: `python benchmarks/scatter_adds.py PREPROCESSED --report NAME`.

Two operations of a step add many gradients into one place: the embedding's, and that of the vectors picked at masked
positions. The product computes both outside of compiled code, in a fixed order. Beside it stands a step that adds in
no fixed order: uncompiled, the embedding is an indexing (whose gradient is added by all threads at once); compiled, the
whole pass is one graph. Both do the same updates on the same rows, taking turns; the machine must be quiet.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import pretune  # noqa: F401  sets how idle threads wait, before torch is loaded

# isort: split
import torch
from machine import median, say, write_result
from profile_step import Step
from torch import Tensor, nn

from pretune.data.batch import Batch
from pretune.model import cost
from pretune.training.loop import backward, total_weight
from pretune.training.objective import LossSum, MaskedObjective, predict_tokens_sum

_WARM_STEPS = 2


class Indexed(nn.Module):
    """An embedding by indexing, whose gradient all threads add at once."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight[ids]


class OneGraph:
    """Masked prediction compiled as a whole, embedding and picking of positions included."""

    def __init__(self, objective: MaskedObjective) -> None:
        model, dtype = objective.model, objective.dtype

        def sums(ids: Tensor, documents: Tensor, positions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            hidden = model.transformer(ids, documents, None, dtype, positions)
            return predict_tokens_sum(hidden, model.lm_head.weight, labels, dtype)

        self.sums = torch.compile(sums, dynamic=False)

    def __call__(self, batch: Batch) -> LossSum:
        documents, positions = batch.attention.document_ids, batch.positions
        loss, correct = self.sums(batch.input_ids, documents, positions, batch.labels)
        return LossSum(loss=loss, weight=float(len(batch.labels)), correct=correct, count=len(batch.labels))


def unordered(step: Step, *, compiled: bool) -> Step:
    """The same step, adding gradients in no fixed order."""
    if compiled:
        step.objective = OneGraph(step.objective)  # type: ignore[assignment]
    else:
        step.model.transformer.embed_tokens = Indexed(step.model.lm_head.weight)  # type: ignore[assignment]
    return step


def count_gradients(step: Step, times: int = 5) -> int:
    """How many different gradients the same pass gives, by their bits."""
    batches, found = step.corpus.short_batches(1), set[bytes]()
    for _ in range(times):
        for batch in batches:
            backward(step.objective, batch, total_weight(batches))
        gradients = [parameter.grad for parameter in step.parameters if parameter.grad is not None]
        found.add(b"".join(gradient.numpy().tobytes() for gradient in gradients))
        for parameter in step.parameters:
            parameter.grad = None
    return len(found)


def time_in_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each step, one of each kind after the other, beginning with another one each round."""
    milliseconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(_WARM_STEPS + rounds):
        for name in sorted(steps, reverse=number % 2 == 1):
            start = time.perf_counter()
            steps[name].run()
            if number >= _WARM_STEPS:
                milliseconds[name].append(1000 * (time.perf_counter() - start))
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--row-tokens", type=int, default=64)
    parser.add_argument("--tokens-per-step", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--report", help="the name of a result to write")
    given = parser.parse_args()

    def make() -> Step:
        return Step(given.folder, given.size, given.row_tokens, given.tokens_per_step, compiled=given.compiled)

    steps = {"ordered": make(), "unordered": unordered(make(), compiled=given.compiled)}
    different = {name: count_gradients(step) for name, step in steps.items()}
    found = time_in_turns(steps, given.rounds)
    medians = {name: median(values) for name, values in found.items()}
    ratios = [one / other for one, other in zip(found["ordered"], found["unordered"], strict=True)]
    fields: dict[str, Any] = {
        "size": given.size,
        "parameters": cost.count_parameters(steps["ordered"].config),
        "compiled": given.compiled,
        "threads": torch.get_num_threads(),
        "different_gradients_in_5_passes": different,
        "step_milliseconds": medians,
        "ordered_over_unordered": median(ratios),
        "ratios": [round(ratio, 4) for ratio in ratios],
    }
    say(f"{fields}")
    if given.report:
        say(str(write_result(given.report, fields)))


if __name__ == "__main__":
    main()
