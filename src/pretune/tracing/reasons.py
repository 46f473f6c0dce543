"""Why this label: two attributions next to each other, how far they agree, a random control, and what flips the label.

Erasing the words that an attribution ranks first must change the score faster than erasing words at random; otherwise
the ranking says nothing about this model. The words that flip the label are searched for, not derived from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.inference.classify import Classifier
from pretune.runtime.randomness import generator
from pretune.trace_schema import Flip, Reasons
from pretune.tracing.attribution import (
    FloatArray,
    WordMasking,
    integrate_gradients,
    rank_correlation,
)
from pretune.tracing.decision import explain, read_probabilities, write_decision
from pretune.tracing.words import Word

IntArray = npt.NDArray[np.int64]

MOST_TOKENS = 2048  # of a text whose words get attributions: every word costs the prediction of a window
DELETED_WORDS = 24  # at most, in a deletion curve
RANDOM_ORDERS, FEWEST_RANDOM_ORDERS = 20, 5
FLIPPED_WORDS = 4  # at most, in the smallest masking that flips the label
_FLIP_CANDIDATES = 32  # words tried at a time after the first
_CONTROL_TOKENS = 65_536  # read for the random orders; a long text gets fewer orders


def give_reasons(
    classifier: Classifier,
    ids: Sequence[int],
    words: Sequence[Word],
    logits: Float[Tensor, " C"],
    position: int | None = None,
    widths: Sequence[int] = (),
) -> tuple[Reasons, Flip | None] | None:
    """The reasons for the label, and the fewest words found whose masking flips it.

    `logits` are those of the text, or of its token at `position`. Deletion goes in the order of the integrated
    gradients, over at most DELETED_WORDS words; random orders are drawn from a fixed seed. `widths` are the numbers of
    tokens of the windows, if there are several. None if the model has a single class, or the text has no word or more
    than MOST_TOKENS tokens.
    """
    explained = explain(classifier, logits)
    if explained is None or not words or len(ids) > MOST_TOKENS:
        return None
    first, second = explained.first, explained.second
    masking = WordMasking(
        classifier=classifier,
        ids=list(ids),
        words=list(words),
        first=first,
        second=second,
        scale=explained.scale,
        offset=explained.offset,
        position=position,
        widths=tuple(widths),
    )
    score = float(masking.margin(logits[None].cpu())[0])
    masked_score = float(masking.scores([range(len(words))])[0])
    gradients = integrate_gradients(masking, score, masked_score)
    alone = masking.logits([[word] for word in range(len(words))])
    occlusion = score - masking.margin(alone)
    order = np.argsort(-gradients.words, kind="stable")
    unmasked_score = float(masking.scores([[]])[0])  # computed as the others are, so that it can be checked
    random_curve, orders = _delete_at_random(masking, unmasked_score)
    names = classifier.labelling.outputs
    reasons = Reasons(
        label=names[first],
        runner_up=None if second is None else names[second],
        score=score,
        masked_score=masked_score,
        words=[word.surface for word in words],
        integrated_gradients=gradients.words.tolist(),
        steps=gradients.steps,
        completeness_error=gradients.error,
        is_converged=gradients.is_converged,
        occlusion=occlusion.tolist(),
        rank_correlation=rank_correlation(gradients.words, occlusion),
        is_top_word_equal=int(gradients.words.argmax()) == int(occlusion.argmax()),
        deletion=_delete(masking, [order], unmasked_score)[0].tolist(),
        random_deletion=random_curve.tolist(),
        random_orders=orders,
    )
    return reasons, _find_flip(masking, alone, score) if explained.flips else None


def _delete(masking: WordMasking, orders: Sequence[IntArray], unmasked_score: float) -> FloatArray:
    """The score after masking the first 0, 1, 2, ... words of each order, a row for each order."""
    count = min(len(masking.words), DELETED_WORDS)
    scores = masking.scores([order[:masked].tolist() for order in orders for masked in range(1, count + 1)])
    return np.concatenate([np.full((len(orders), 1), unmasked_score), scores.reshape(len(orders), count)], axis=1)


def _delete_at_random(masking: WordMasking, unmasked_score: float) -> tuple[FloatArray, int]:
    """The mean curve over random orders, and how many there were."""
    count = min(len(masking.words), DELETED_WORDS)
    fitting = _CONTROL_TOKENS // (count * len(masking.ids))
    orders = min(RANDOM_ORDERS, max(FEWEST_RANDOM_ORDERS, fitting))
    drawn = [generator(0, "deletion", order).permutation(len(masking.words)) for order in range(orders)]
    return _delete(masking, drawn, unmasked_score).mean(0), orders


def _find_flip(masking: WordMasking, alone: Float[Tensor, "W C"], score: float = 1.0) -> Flip | None:
    """The word that flips the label most clearly, or else up to FLIPPED_WORDS words, added greedily; None if none do.

    `alone` has the logits without each single word. From the second word on, each word is the one, among the
    _FLIP_CANDIDATES whose masking alone costs the label most, after which its lead over the next class is smallest.
    Without a runner-up, the lead is the score, and a `score` below 0 flips when it rises above.
    """
    by_lead = _lead(masking, alone, score).argsort(stable=True).tolist()
    chosen: list[int] = []
    candidates, logits = list(range(len(masking.words))), alone
    while True:
        lead = _lead(masking, logits, score)
        best = int(lead.argmin())
        chosen.append(candidates[best])
        if lead[best] < 0:
            probabilities = read_probabilities(masking.classifier.task.name, logits[best])
            label = masking.first if masking.second is None else int(logits[best].argmax())
            name = write_decision(masking.classifier, logits[best])
            return Flip(words=sorted(chosen), label=name, probability=probabilities[label])
        candidates = [word for word in by_lead if word not in chosen][:_FLIP_CANDIDATES]
        if not candidates or len(chosen) == FLIPPED_WORDS:
            return None
        logits = masking.logits([[*chosen, word] for word in candidates])


def _lead(masking: WordMasking, logits: Float[Tensor, "N C"], score: float) -> Float[Tensor, " N"]:
    """How far the label is ahead of the next class, or on its side of its threshold; below 0 where it is no more."""
    if masking.second is None:
        lead = torch.from_numpy(masking.margin(logits))
        return lead if score >= 0 else -lead
    others = logits.clone()
    others[:, masking.first] = -torch.inf
    return logits[:, masking.first] - others.max(1).values
