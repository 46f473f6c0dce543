"""A base model, texts and labels go in; a fine-tuned classifier, and its logits for other texts, come out.

This is the product's loop, objective and optimizer with settings that the product does not have (updates instead of
epochs, the head at the start, crops), and without choosing an epoch on validation: the last weights count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from linear import fit_probe

from pretune.compute.cpu_threads import lanes_for
from pretune.data.batch import Attention, Batch
from pretune.data.padding import group_by_length, pad_rows
from pretune.data.special_ids import SpecialIds, special_ids
from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel, SequenceClassifier, initialize, mean_over_text
from pretune.runtime.randomness import derive_seed, generator
from pretune.tasks.registry import task_named
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle, load_tokenizer
from pretune.training.guard import Guard
from pretune.training.loop import train_steps
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TaskObjective
from pretune.training.optimizer import Optimizer, OptimizerConfig
from pretune.training.threaded_objective import ThreadedObjective

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_POOL_BATCHES = 32
_WARMUP_FRACTION, _CLIP_NORM, _WEIGHT_DECAY = 0.06, 1.0, 0.05
_PREDICTION_TOKENS = 8192
LONGEST = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to fine-tune. `updates` takes precedence over `epochs`; `head` is "shared" (the same random head for all
    seeds), "own" (a head for each seed) or "probe" (from a logistic regression on frozen vectors)."""

    seed: int
    rate: float
    batch: int
    epochs: float = 1.0
    updates: int | None = None
    head: str = "shared"
    mask: float = 0.1
    crop: int | None = None  # train on random crops of so many tokens, and predict from all windows of this length
    whole_fraction: float = 0.0  # of the updates, at the end, on whole texts instead of crops
    from_scratch: bool = False


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pre-trained model with its tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer
    special: SpecialIds


def load_base(folder: Path) -> Base:
    """The model at a checkpoint folder."""
    loaded = load_model_folder(folder)
    assert isinstance(loaded.model, LanguageModel)
    tokenizer = load_tokenizer(loaded.tokenizer_path)
    return Base(model=loaded.model, tokenizer=tokenizer, special=special_ids(tokenizer))


def encode(base: Base, texts: Sequence[str]) -> list[IntArray]:
    """Whole texts as ids, between [BOS] and [EOS]."""
    return [np.array(ids, dtype=np.int64) for ids in base.tokenizer.encode_batch(texts)]


def make_classifier(base: Base, settings: Settings, num_classes: int) -> SequenceClassifier:
    """The network before its first update, with a random head."""
    model = SequenceClassifier(base.model.config, num_classes)
    head_seed = settings.seed if settings.head == "own" or settings.from_scratch else 0
    initialize(model, derive_seed(head_seed, "classifier"))
    if not settings.from_scratch:
        model.transformer.load_state_dict(base.model.transformer.state_dict())
    return model


@torch.no_grad()
def set_probe_head(base: Base, model: SequenceClassifier, texts: Sequence[IntArray], labels: IntArray) -> None:
    """Start the head from a logistic regression on the mean vectors of these texts."""
    weights, bias = fit_probe(pooled(base, model, texts, None), labels)
    model.classifier.weight.copy_(torch.from_numpy(weights.T))
    model.classifier.bias.copy_(torch.from_numpy(bias))


class Rows:
    """Training batches: rows in random order, sorted by length in pools of 32 batches; tokens hidden; crops drawn."""

    def __init__(
        self, base: Base, texts: Sequence[IntArray], targets: npt.NDArray[np.generic], settings: Settings
    ) -> None:
        self.special, self.eos = base.special, base.tokenizer.eos_id
        self.texts, self.targets, self.settings = texts, targets, settings
        self.per_epoch = -(-len(texts) // settings.batch)
        self.updates = settings.updates or max(1, round(settings.epochs * self.per_epoch))
        self.tokens = 0
        self._epoch, self._batches, self._now = -1, list[IntArray](), list[IntArray]()

    def step(self, step: int) -> list[Batch]:
        """The one micro-batch of an update, from 1."""
        epoch, place = divmod(step - 1, self.per_epoch)
        is_whole = step > self.updates * (1 - self.settings.whole_fraction)
        if epoch != self._epoch:
            self._epoch = epoch
            self._now = self._shorten(epoch)
            self._batches = self._order(epoch)
        rows = self._batches[place]
        texts = [cut(self.texts[row]) if is_whole else self._now[row] for row in rows]
        input_ids, document_ids = pad_rows(texts, self.special.pad)
        is_ordinary = input_ids >= self.special.first_ordinary
        drawn = generator(self.settings.seed, "hide", epoch, place).random(int(is_ordinary.sum()))
        hidden = torch.from_numpy(drawn < self.settings.mask)
        input_ids[is_ordinary] = input_ids[is_ordinary].masked_fill(hidden, self.special.mask)
        num_tokens = sum(map(len, texts))
        self.tokens += num_tokens
        return [
            Batch(
                input_ids=input_ids,
                labels=torch.from_numpy(self.targets[rows]),
                attention=Attention(document_ids=document_ids),
                num_tokens=num_tokens,
            )
        ]

    def _shorten(self, epoch: int) -> list[IntArray]:
        size = self.settings.crop
        if size is None:
            return [cut(text) for text in self.texts]
        rng = generator(self.settings.seed, "crop", epoch)
        draws = rng.random((len(self.texts), 2))
        return [_crop(text, size, *draw, self.eos) for text, draw in zip(self.texts, draws, strict=True)]

    def _order(self, epoch: int) -> list[IntArray]:
        lengths = np.array([len(text) for text in self._now])
        order = generator(self.settings.seed, "rows", epoch).permutation(len(lengths))
        pool, size = self.settings.batch * _POOL_BATCHES, self.settings.batch
        batches: list[IntArray] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(lengths[rows], kind="stable")]
            batches += [rows[i : i + size] for i in range(0, len(rows), size)]
        places = generator(self.settings.seed, "batches", epoch).permutation(len(batches))
        return [batches[place] for place in places]


def _crop(text: IntArray, size: int, kind: float, place: float, eos: int) -> IntArray:
    """[BOS], `size` - 2 tokens in a row, [EOS]. Half of the crops end where the text ends: verdicts stand there."""
    inside, room = text[1:-1], size - 2
    spare = len(inside) - room
    if spare <= 0:
        return text
    start = spare if kind < 0.5 else int(place * (spare + 1))
    return np.concatenate([text[:1], inside[start : start + room], [eos]])


def cut(text: IntArray) -> IntArray:
    """At most 512 tokens, the product's way: a quarter from the start, the rest from the end."""
    return text if len(text) <= LONGEST else np.array(cut_middle(text.tolist(), LONGEST), dtype=np.int64)


def finetune(
    base: Base,
    model: SequenceClassifier,
    texts: Sequence[IntArray],
    labels: npt.NDArray[np.generic],
    settings: Settings,
) -> dict[str, float]:
    """Train the model in place; returns its tokens, updates and mean training loss over the last tenth.

    Labels are classes (N,), or probabilities (N, C) of float32.
    """
    rows = Rows(base, texts, labels, settings)
    losses_of = task_named("classification").losses if labels.ndim == 1 else _soft_losses
    objective = TaskObjective(model, losses_of, torch.float32, compiled=False)
    optimizer = Optimizer(
        model,
        OptimizerConfig(kind="adamw", matrix_rate=settings.rate, other_rate=settings.rate, weight_decay=_WEIGHT_DECAY),
    )
    total, warmup = rows.updates, max(1, math.ceil(rows.updates * _WARMUP_FRACTION))
    steps = train_steps(
        model,
        ThreadedObjective(objective, model, lanes_for("cpu")),
        optimizer,
        rows.step,
        rate=lambda step: min(step / warmup, (total - step + 1) / max(1, total - warmup)),
        first_step=1,
        clip_norm=_CLIP_NORM,
        guard=Guard(watches_spikes=False),
        microbatch_split=MicrobatchSplit(count=1),
    )
    losses = []
    for result in steps:
        losses.append(result.loss)
        if result.step >= total:
            break
    last = losses[-max(1, total // 10) :]
    return {"tokens": rows.tokens, "updates": total, "training_loss": sum(last) / len(last)}


def _soft_losses(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets.argmax(-1)


@torch.no_grad()
def pooled(
    base: Base, model: SequenceClassifier, texts: Sequence[IntArray], window: int | None
) -> npt.NDArray[np.float64]:
    """Mean vectors (N, D) of texts, cut to 512 tokens; with `window`, of all their windows, weighted by length."""
    parts, owners = [], []
    for owner, text in enumerate(texts):
        found = [cut(text)] if window is None else windows(text, window)
        parts += found
        owners += [owner] * len(found)
    lengths = np.array([len(part) for part in parts], dtype=np.float64)
    vectors = np.empty((len(parts), model.config.hidden_size))

    def compute(indices: list[int]) -> None:
        input_ids, document_ids = pad_rows([parts[i] for i in indices], base.special.pad)
        vectors[indices] = mean_over_text(model.transformer(input_ids, document_ids), document_ids).double().numpy()

    lanes_for("cpu").map(compute, list(group_by_length([len(part) for part in parts], _PREDICTION_TOKENS)))
    sums = np.zeros((len(texts), model.config.hidden_size))
    np.add.at(sums, owners, vectors * lengths[:, None])
    return sums / np.bincount(owners, weights=lengths, minlength=len(texts))[:, None]


def windows(text: IntArray, size: int) -> list[IntArray]:
    """The whole text in windows of nearly equal length, each between [BOS] and [EOS] and of at most `size` tokens."""
    inside = text[1:-1]
    count = max(1, -(-len(inside) // (size - 2)))
    edges = [len(inside) * i // count for i in range(count + 1)]
    return [np.concatenate([text[:1], inside[first:last], text[-1:]]) for first, last in pairwise(edges)]


def logits_of(
    base: Base, model: SequenceClassifier, texts: Sequence[IntArray], window: int | None = None
) -> FloatArray:
    """Logits (N, C): the head on the mean vectors."""
    vectors = torch.from_numpy(pooled(base, model, texts, window)).float()
    with torch.no_grad():
        return np.asarray(model.classifier(vectors).double().numpy())
