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
    """Sums over W windows: `nats` (W,) and scored `tokens` (W,), the number of the `document` (W,) of each, and over
    the documents the `num_bytes` of their text in UTF-8 and the `num_unknown` tokens that stand for unknown words."""

    nats: FloatArray
    tokens: IntArray
    document: IntArray
    num_bytes: int
    num_unknown: int


@dataclass(frozen=True)
class _Window:
    ids: list[int]
    scored_from: int  # index of the first token that is scored
    document: int


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
    sums: list[tuple[float, int, int]] = []
    while chunk := list(islice(windows, _WINDOWS_AT_ONCE)):
        nats = _nats(generator, chunk)
        sums += [(each, len(w.ids) - w.scored_from, w.document) for each, w in zip(nats, chunk, strict=True)]
    return TextLoss(
        nats=np.array([each for each, _, _ in sums], dtype=np.float64),
        tokens=np.array([tokens for _, tokens, _ in sums], dtype=np.int64),
        document=np.array([document for _, _, document in sums], dtype=np.int64),
        num_bytes=reader.num_bytes,
        num_unknown=reader.num_unknown,
    )


class _Reader:
    """Texts in, windows out; counts what it has read."""

    def __init__(self, generator: TextGenerator, window: int, stride: int) -> None:
        self._generator, self._window, self._stride = generator, window, stride
        self._first, self._frame = first_ids_of(generator.model, generator.tokenizer), frame_ids_of(generator.tokenizer)
        self.num_bytes = self.num_unknown = 0

    def windows(self, texts: Iterable[str]) -> Iterator[_Window]:
        tokenizer = self._generator.tokenizer
        for document, text in enumerate(map(self._generator.clean, texts)):
            own = [token for token in tokenizer.encode(text) if token not in self._frame]
            ids = [*self._first, *own]
            if len(ids) < 2:  # nothing to predict
                continue
            unpredicted = b"" if self._first else tokenizer.token_bytes[ids[0]]
            self.num_bytes += len(text.encode("utf-8", "surrogatepass")) - len(unpredicted)
            self.num_unknown += own.count(tokenizer.unk_id) if tokenizer.unk_id is not None else 0
            yield from self._cut(ids, document)

    def _cut(self, ids: list[int], document: int) -> Iterator[_Window]:
        reached = 1  # the first token is not predicted
        for start in range(0, len(ids), self._stride):
            end = min(start + self._window, len(ids))
            yield _Window(ids[start:end], reached - start, document)
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
