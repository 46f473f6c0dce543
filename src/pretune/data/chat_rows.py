"""Encoded conversations go in, causal batches come out, in which only the replies and their ends are predicted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pretune.data.batch import Attention, Batch
from pretune.data.packing import pack
from pretune.errors import InputDataError
from pretune.runtime.randomness import permutation
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.token_shards import TokenShard

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class EncodedChats:
    """Conversations one after another: conversation i is tokens[offsets[i] : offsets[i + 1]]."""

    tokens: npt.NDArray[np.unsignedinteger]
    is_supervised: BoolArray  # (tokens,): whether the model learns to predict a token
    offsets: IntArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """The number of tokens of each conversation."""
        return np.diff(self.offsets)

    @property
    def num_supervised(self) -> int:
        """How many tokens the model learns to predict."""
        return int(self.is_supervised.sum())

    def take(self, indices: IntArray) -> EncodedChats:
        """Some of the conversations, in the order of the indices."""
        spans = [slice(int(self.offsets[i]), int(self.offsets[i + 1])) for i in indices]
        return EncodedChats(
            tokens=np.concatenate([self.tokens[span] for span in spans]),
            is_supervised=np.concatenate([self.is_supervised[span] for span in spans]),
            offsets=np.concatenate([[0], np.cumsum(self.lengths[indices])]),
        )


def load_chats(folder: Path, split: str) -> EncodedChats:
    """The conversations of one split of a prepare folder. Raises InputDataError if the files do not fit together."""
    shard, lines = TokenShard(folder, split), read_chat_lines(folder, split)
    if len(shard) != len(lines):
        raise InputDataError(
            f"{folder} has {len(lines):,} conversations in {split}.jsonl and {len(shard):,} rows of tokens; "
            "move it away and run `pretune prepare --task chat` again."
        )
    lengths = shard.lengths
    learned = [lines.is_supervised(index, int(lengths[index])) for index in range(len(lines))]
    return EncodedChats(
        tokens=shard.tokens,
        is_supervised=np.concatenate(learned) if learned else np.zeros(0, dtype=np.bool_),
        offsets=np.asarray(shard.offsets, dtype=np.int64),
    )


class ChatRows:
    """Rows of whole conversations, as many as fit, which do not see each other.

    A position predicts the token after it, if that token is learned: it belongs to a reply, or ends one. The batches
    are a function of (conversations, row_tokens, rows_per_batch, seed, index).
    """

    def __init__(
        self, chats: EncodedChats, pad_id: int, *, row_tokens: int, rows_per_batch: int, seed: int = 0
    ) -> None:
        """`row_tokens` is at least the length of the longest conversation."""
        longest = int(chats.lengths.max(initial=0))
        if longest > row_tokens:
            raise ValueError(f"a conversation of {longest} tokens does not fit in rows of {row_tokens}")
        self.chats, self.pad_id, self.row_tokens, self.seed = chats, pad_id, row_tokens, seed
        # The conversations of row r are order[firsts[r] : firsts[r + 1]].
        self.order, self.firsts = pack(chats.lengths, row_tokens)
        self.rows_per_batch = min(rows_per_batch, len(self))
        self._known = (-1, np.empty(0, dtype=np.int64))  # an epoch and its order

    def __len__(self) -> int:
        return len(self.firsts) - 1

    @property
    def fill(self) -> float:
        """The fraction of the positions that have a token; the others are padding."""
        return len(self.chats.tokens) / max(1, len(self) * self.row_tokens)

    @property
    def batches_per_epoch(self) -> float:
        """How many batches read every conversation once."""
        return len(self) / self.rows_per_batch

    def batch(self, index: int) -> Batch:
        """The `index`-th batch of an endless sequence of rows: every row once per epoch, in a new order each time.

        All batches have the same number of rows: if an epoch does not fill its last batch, the next epoch starts in it.
        """
        return self.batch_from(index * self.rows_per_batch, self.rows_per_batch)

    def batch_from(self, first: int, count: int) -> Batch:
        """`count` rows of the endless sequence as a batch, from number `first` on; at most as many as an epoch has."""
        epoch, place = divmod(first, len(self))
        rows = self._epoch_order(epoch)[place : place + count]
        if missing := count - len(rows):
            rows = np.concatenate([rows, self._epoch_order(epoch + 1)[:missing]])
        return self.causal(rows)[0]

    def in_order(self) -> Iterator[tuple[Batch, IntArray]]:
        """All rows once, for evaluation; with each batch, the conversation (N,) that each of its labels belongs to."""
        for first in range(0, len(self), self.rows_per_batch):
            yield self.causal(np.arange(first, min(len(self), first + self.rows_per_batch)))

    def causal(self, rows: IntArray) -> tuple[Batch, IntArray]:
        """These rows as a batch, and the conversation (N,) of each label."""
        shape = (len(rows), self.row_tokens)
        input_ids, document_ids = np.full(shape, self.pad_id, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
        is_target = np.zeros(shape, dtype=np.bool_)
        members: list[int] = []
        for place, row in enumerate(rows.tolist()):
            start = 0
            for chat in self.order[self.firsts[row] : self.firsts[row + 1]].tolist():
                span = slice(int(self.chats.offsets[chat]), int(self.chats.offsets[chat + 1]))
                end = start + span.stop - span.start
                input_ids[place, start:end] = self.chats.tokens[span]
                is_target[place, start:end] = self.chats.is_supervised[span]
                is_target[place, start] = False  # nothing is before it
                document_ids[place, start:end] = len(members)
                members.append(chat)
                start = end
        targets = np.flatnonzero(is_target.reshape(-1)).astype(np.int64)
        batch = Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(input_ids.reshape(-1)[targets]),
            positions=torch.from_numpy(targets - 1),
            attention=Attention(
                document_ids=torch.from_numpy(document_ids), is_causal=torch.ones(len(rows), dtype=torch.bool)
            ),
            num_tokens=int((document_ids >= 0).sum()),
        )
        chats = np.array(members, dtype=np.int64)
        return batch, chats[document_ids.reshape(-1)[targets]]

    def _epoch_order(self, epoch: int) -> IntArray:
        known, order = self._known
        if known != epoch:
            order = permutation(len(self), self.seed, epoch)
            self._known = (epoch, order)
        return order
