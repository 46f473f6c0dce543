"""The loss of running text under a causal model: every token predicted from those before it, also in long documents.

A document that is longer than a window is read in windows that overlap. Each token is scored once, in the first window
that reaches it, so that but for the beginning of the document at least `window - stride` tokens stand before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.padding import group_by_length, pad_rows
from pretune.errors import UsageError
from pretune.inference.generate import TextGenerator
from pretune.inference.token_scores import first_ids_of, frame_ids_of, log_probabilities, tokens_per_batch

_WINDOWS_AT_ONCE = 512
_USUAL_WINDOW = 1024  # the most tokens of a window that nobody chose

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TextLoss:
    """Sums over W windows: `nats` (W,), scored `tokens` (W,) and the `num_bytes` (W,) of their text in UTF-8; the
    number of the `document` (W,) of each; and over all windows the `num_unknown` tokens that stand for unknown words.
    """

    nats: FloatArray
    tokens: IntArray
    num_bytes: IntArray
    document: IntArray
    num_unknown: int


@dataclass(frozen=True)
class _Window:
    ids: list[int]
    scored_from: int  # index of the first token that is scored
    document: int
    num_bytes: int  # of the text of the tokens that are scored


def check_windows(generator: TextGenerator, window: int | None, stride: int | None) -> tuple[int, int]:
    """Window and stride in tokens: by default the whole context, at most 1,024, and half a window.

    Memory grows with the square of the window: 8,192 tokens would take SmolLM2 gigabytes. Raises UsageError.
    """
    longest = generator.max_seq_len
    window = min(longest, _USUAL_WINDOW) if window is None else window
    if not 2 <= window <= longest:
        raise UsageError(f"--window is {window:,}; expected 2 to {longest:,} tokens, which is what the model reads.")
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride < window:
        raise UsageError(
            f"--stride is {stride:,}; expected 1 to {window - 1:,} tokens, less than a window, so that windows overlap."
        )
    return window, stride


def text_loss(generator: TextGenerator, texts: Iterable[str], window: int, stride: int) -> TextLoss:
    """The loss of the tokens of some texts; those that begin and end a text are not scored. Blank texts have none."""
    reader = _Reader(generator, window, stride)
    windows = reader.windows(texts)
    nats, counts = list[float](), list[tuple[int, int, int]]()
    while chunk := list(islice(windows, _WINDOWS_AT_ONCE)):
        nats += _nats(generator, chunk)
        counts += [(len(each.ids) - each.scored_from, each.num_bytes, each.document) for each in chunk]
    tokens, num_bytes, document = np.array(counts, dtype=np.int64).reshape(-1, 3).T
    return TextLoss(
        nats=np.array(nats, dtype=np.float64),
        tokens=tokens,
        num_bytes=num_bytes,
        document=document,
        num_unknown=reader.num_unknown,
    )


class _Reader:
    """Texts in, windows out; counts the unknown words that it has read."""

    def __init__(self, generator: TextGenerator, window: int, stride: int) -> None:
        self._generator, self._window, self._stride = generator, window, stride
        self._first, self._frame = first_ids_of(generator.model, generator.tokenizer), frame_ids_of(generator.tokenizer)
        self.num_unknown = 0

    def windows(self, texts: Iterable[str]) -> Iterator[_Window]:
        tokenizer = self._generator.tokenizer
        for document, text in enumerate(map(self._generator.clean, texts)):
            encoded = tokenizer.encode_with_offsets(text)
            own = [pair for pair in zip(encoded.ids, encoded.offsets, strict=True) if pair[0] not in self._frame]
            ids = [*self._first, *(token for token, _ in own)]
            if len(ids) < 2:  # nothing to predict
                continue
            self.num_unknown += ids.count(tokenizer.unk_id) if tokenizer.unk_id is not None else 0
            ends = [*(0 for _ in self._first), *(end for _, (_, end) in own)]
            ends[-1] = len(text)  # also what no token stands for
            yield from self._cut(ids, ends, text, document)

    def _cut(self, ids: list[int], ends: list[int], text: str, document: int) -> Iterator[_Window]:
        """The windows of a text whose tokens end at the characters `ends`."""
        reached = 1  # the first token is not predicted
        for start in range(0, len(ids), self._stride):
            end = min(start + self._window, len(ids))
            scored = text[ends[reached - 1] : ends[end - 1]]
            yield _Window(ids[start:end], reached - start, document, len(scored.encode("utf-8", "surrogatepass")))
            reached = end
            if end == len(ids):
                return


def _nats(generator: TextGenerator, windows: Sequence[_Window]) -> list[float]:
    """The loss of each window, summed over its scored tokens."""
    model, totals = generator.model, np.zeros(len(windows))
    for indices in group_by_length([len(each.ids) for each in windows], tokens_per_batch(model)):
        input_ids, document_ids = pad_rows([windows[i].ids for i in indices], max(generator.tokenizer.pad_id, 0))
        starts = torch.tensor([windows[i].scored_from for i in indices])
        is_scored = (document_ids >= 0) & (torch.arange(input_ids.shape[1]) >= starts[:, None])
        row, place = torch.nonzero(is_scored, as_tuple=True)
        before, targets = row * input_ids.shape[1] + place - 1, input_ids[row, place]
        values = log_probabilities(model, input_ids, document_ids, before, targets, is_causal=True)
        np.subtract.at(totals, np.array(indices)[row.numpy()], values.double().cpu().numpy())
    return [float(total) for total in totals]
