"""Two attributions of a score to the words of a text: integrated gradients, and occlusion with [MASK].

The score is the logit of a class minus that of another. Both compare with a text whose words are masked and whose
special tokens and positions stay, which the model saw in pre-training. Integrated gradients (Sundararajan et al., 2017,
arXiv:1703.01365) follow the straight line from the embeddings of that text to those of the real one; their sum is the
difference of the scores, up to the error of the numeric integral, which is reported. Occlusion is a real prediction
without one word. Subwords are added up, or masked together.

T tokens, D hidden, C classes, W words, N rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pretune.inference.classify import Classifier
from pretune.tracing.forward import classify_embeddings, logits_of_rows
from pretune.tracing.words import Word

FIRST_STEPS, MOST_STEPS = 64, 512
TOKEN_STEPS = 32_768  # of the last doubling: the most steps of a text of 512 tokens are 64
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.02, 0.01
_TOKENS_PER_BATCH, _PAIRS_PER_BATCH = 2048, 1 << 19  # gradients keep T x T weights of each head and layer

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WordMasking:
    """A row of token ids whose words can be masked; `first` minus `second` is the pair of classes that is scored.

    Without a second one, the score is the first logit alone; `scale` and `offset` bring it to its unit. Of a model that
    labels tokens, the logits are those at `position`.
    """

    classifier: Classifier
    ids: list[int]
    words: list[Word]
    first: int
    second: int | None
    scale: float = 1.0
    offset: float = 0.0
    position: int | None = None
    widths: tuple[int, ...] = ()  # the numbers of tokens of the windows, if there are several

    @cached_property
    def spans(self) -> list[slice]:
        """The windows as positions in the row."""
        return [slice(start, end) for start, end in pairwise([0, *accumulate(self.widths or (len(self.ids),))])]

    @cached_property
    def _sums(self) -> Float[Tensor, "N D"]:
        """What each window adds to the vector of the text when nothing is masked, on the CPU."""
        return self.classifier.sum_windows([self.ids[span] for span in self.spans]).cpu().double()

    def rows(self, masked: Iterable[Collection[int]]) -> Int[Tensor, "N T"]:
        """One row for each collection of word indexes, with these words masked."""
        rows = []
        for words in masked:
            row = list(self.ids)
            for word in words:
                for position in self.words[word].positions:
                    row[position] = self.classifier.tokenizer.hiding_id
            rows.append(row)
        return torch.tensor(rows, dtype=torch.long)

    def logits(self, masked: Iterable[Collection[int]]) -> Float[Tensor, "N C"]:
        """The logits with these words masked, on the CPU."""
        rows = self.rows(masked)
        if len(self.spans) > 1:
            return self._logits_in_windows(rows)
        return logits_of_rows(self.classifier, rows, self.position)

    @torch.inference_mode()
    def _logits_in_windows(self, rows: Int[Tensor, "N T"]) -> Float[Tensor, "N C"]:
        """Only windows with a masked word are computed again: the others do not see it."""
        ids = torch.tensor(self.ids)
        totals = self._sums.sum(0).repeat(len(rows), 1)
        for span, unmasked in zip(self.spans, self._sums, strict=True):
            changed = (rows[:, span] != ids[span]).any(1).nonzero()[:, 0]
            if len(changed):
                sums = self.classifier.sum_windows(rows[changed, span].tolist())
                totals[changed] += sums.cpu().double() - unmasked
        head = self.classifier.model.classifier
        return head((totals / len(ids)).float().to(head.weight.device)).cpu()

    def scores(self, masked: Iterable[Collection[int]]) -> FloatArray:
        """The scores (N,) with these words masked."""
        return self.margin(self.logits(masked))

    def margin(self, logits: Float[Tensor, "N C"]) -> FloatArray:
        """The score (N,) of each row of logits."""
        score = logits[:, self.first].double()
        if self.second is not None:
            score = score - logits[:, self.second].double()
        found: FloatArray = (self.scale * score + self.offset).numpy()
        return found


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients:
    """`words` (W,) sum to `score` - `masked_score` + `error`."""

    words: FloatArray
    steps: int
    error: float
    is_converged: bool


def integrate_gradients(masking: WordMasking, score: float, masked_score: float) -> IntegratedGradients:
    """Integrated gradients by the midpoint rule, with twice as many steps until the sum is close enough.

    Close enough is an error of 2 % of the difference, or of 0.01 of a logit; of a number, whose unit may have any size,
    0.01 of its deviation. A text of up to 64 tokens gets up to 512 steps, a longer one fewer, at least 64: their
    product is TOKEN_STEPS at most, or the time of a text of 512 tokens once.
    """
    table = masking.classifier.model.transformer.embed_tokens
    device = table.weight.device
    with torch.no_grad():
        start = table(masking.rows([range(len(masking.words))])[0].to(device))
        end = table(torch.tensor(masking.ids, device=device))
    change = score - masked_score
    tolerance = max(RELATIVE_TOLERANCE * abs(change), ABSOLUTE_TOLERANCE * abs(masking.scale))
    most = max(FIRST_STEPS, min(MOST_STEPS, TOKEN_STEPS // len(masking.ids)))
    steps = FIRST_STEPS
    while True:
        gradient = _mean_gradient(masking, start, end, steps)
        by_token = ((end - start).double() * gradient).sum(-1).cpu().numpy()
        error = float(by_token.sum() - change)
        if abs(error) <= tolerance or 2 * steps > most:
            break
        steps *= 2
    return IntegratedGradients(
        words=sum_by_word(by_token, masking.words), steps=steps, error=error, is_converged=abs(error) <= tolerance
    )


def _mean_gradient(
    masking: WordMasking, start: Float[Tensor, "T D"], end: Float[Tensor, "T D"], steps: int
) -> Float[Tensor, "T D"]:
    """The mean gradient of the score at the midpoints of `steps` equal parts of the line, in double precision.

    The score is linear in the mean over all positions, so the gradient in a window does not depend on the others: it is
    that of a text of this window alone, times the window's fraction of the positions.
    """
    parts = []
    for span in masking.spans:
        fraction = (span.stop - span.start) / len(start)
        parts.append(fraction * _mean_gradient_alone(masking, masking.ids[span], start[span], end[span], steps))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _mean_gradient_alone(
    masking: WordMasking, ids: list[int], start: Float[Tensor, "T D"], end: Float[Tensor, "T D"], steps: int
) -> Float[Tensor, "T D"]:
    """The mean gradient for a text of one window."""
    tokens = len(start)
    rows = max(1, min(_TOKENS_PER_BATCH // tokens, _PAIRS_PER_BATCH // tokens**2))
    fractions = (torch.arange(steps, device=start.device, dtype=torch.float32) + 0.5) / steps
    total = torch.zeros_like(start, dtype=torch.float64)
    for batch in fractions.split(rows):
        with torch.inference_mode(False), torch.enable_grad():
            points = (start + batch[:, None, None] * (end - start)).requires_grad_()
            logits = classify_embeddings(masking.classifier.model, points, ids, masking.position)
            scores = logits[:, masking.first]
            if masking.second is not None:
                scores = scores - logits[:, masking.second]
            [gradient] = torch.autograd.grad(scores.sum(), [points])
        total += gradient.double().sum(0)
    return masking.scale * total / steps


def occlude(masking: WordMasking, score: float) -> FloatArray:
    """How far the score (W,) falls when each word is masked alone."""
    return score - masking.scores([[word] for word in range(len(masking.words))])


def sum_by_word(by_token: FloatArray, words: Sequence[Word]) -> FloatArray:
    """The sum (W,) over each word's tokens."""
    return np.array([by_token[list(word.positions)].sum() for word in words])


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Spearman's rank correlation; None for fewer than 3 values, or if all values of one are equal."""
    if len(first) < 3:
        return None
    a, b = (_ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 0 else None


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1; equal values have the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
