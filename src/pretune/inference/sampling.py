"""From the scores of the next token to the token that is taken: greedily, or drawn from the most probable ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.errors import ModelError
from pretune.runtime.randomness import generator
from pretune.settings import Sampling


class Sampler:
    """Takes one token of one row after another."""

    def __init__(
        self, sampling: Sampling, prompt_ids: Sequence[int], row: int = 0, never: Int[Tensor, " N"] | None = None
    ) -> None:
        """Tokens in `never` are not taken. Each `row` has random numbers of its own, whatever else is in its batch."""
        self.sampling, self._never = sampling, never
        self._seen = list(dict.fromkeys(prompt_ids))
        self._random = generator(sampling.seed, "generate", row)

    def take(self, logits: Float[Tensor, " V"]) -> int:
        """The next token. Raises ModelError if the scores are not finite numbers."""
        sampling = self.sampling
        if sampling.repetition_penalty != 1:
            logits = penalized(logits, self._seen, sampling.repetition_penalty)
        if self._never is not None:
            logits = logits.index_fill(0, self._never, -math.inf)
        if sampling.temperature == 0:
            taken = int(logits.argmax())
            refuse_damage(float(logits[taken]))
        else:
            ids, probabilities = most_probable(logits, sampling)
            taken = int(ids[draw(probabilities, float(self._random.random()))])
        if sampling.repetition_penalty != 1 and taken not in self._seen:
            self._seen.append(taken)
        return taken


def penalized(logits: Float[Tensor, " V"], seen: Sequence[int], penalty: float) -> Float[Tensor, " V"]:
    """Scores with those of the tokens `seen` divided by the penalty, or multiplied by it if they are negative.

    CTRL (arXiv:1909.05858) only divides, which would raise a negative score; this is what transformers does.
    """
    index = torch.tensor(seen, dtype=torch.long, device=logits.device)
    found = logits[index]
    return logits.index_copy(0, index, torch.where(found > 0, found / penalty, found * penalty))


def most_probable(logits: Float[Tensor, " V"], sampling: Sampling) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """The tokens that can be drawn, most probable first, and their probabilities, whose sum is 1."""
    count = min(sampling.top_k, len(logits)) if sampling.top_k else len(logits)
    best = torch.topk(logits.float(), count) if count < len(logits) else torch.sort(logits.float(), descending=True)
    values, ids = best
    probabilities = torch.softmax((values - values[0]) / sampling.temperature, dim=0)
    if sampling.top_p < 1:
        before = probabilities.cumsum(0) - probabilities  # of the more probable tokens
        kept = max(1, int((before < sampling.top_p).sum()))
        ids, probabilities = ids[:kept], probabilities[:kept] / probabilities[:kept].sum()
    return ids, probabilities


def draw(probabilities: Float[Tensor, " N"], number: float) -> int:
    """The index in which a number from 0 to 1 falls, if each has a stretch as long as its probability.

    Raises ModelError if the probabilities are not finite numbers.
    """
    up_to = probabilities.cumsum(0)
    refuse_damage(float(up_to[-1]))
    place = int(torch.searchsorted(up_to, number * float(up_to[-1]), right=True))
    return min(place, int((probabilities > 0).sum()) - 1)


def refuse_damage(score: float) -> None:
    """Raise ModelError if a score, or the sum of some scores, is not a finite number."""
    if not math.isfinite(score):
        raise ModelError("The model's scores are not finite numbers; its weights are damaged or its training diverged.")
