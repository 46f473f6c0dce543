"""A prepare folder of conversations in; the micro-batches of each update, and the held-out ones, out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pretune.data.batch import Batch
from pretune.data.chat_rows import ChatRows, EncodedChats, load_chats
from pretune.data.rank_slice import ALONE, RankSlice
from pretune.errors import InputDataError, UsageError
from pretune.runtime.randomness import permutation
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.chat.tokens import turn_end_id
from pretune.text.splits import SPLITS, Split
from pretune.text.tokenizer.tokenizer import load_tokenizer

HeldOut = Literal["test", "validation"]

_EVALUATION_BATCH_TOKENS = 8_192
_TEST_FACTOR = 2  # the test conversations are read twice, those of validation at every evaluation
_CHOICE_SEED = 20_26  # which held-out conversations are read does not depend on --seed


class PreparedChat:
    """The conversations of a prepare folder, as token ids.

    Raises InputDataError if the files do not fit together, if there are no training or no held-out conversations, or if
    they are longer than the model reads.
    """

    def __init__(self, folder: Path, max_seq_len: int) -> None:
        self.folder = folder
        self.chats: dict[Split, EncodedChats] = {split: load_chats(folder, split) for split in SPLITS}
        tokenizer = load_tokenizer(folder)
        self.pad_id, self.turn_end_id = max(0, tokenizer.pad_id), turn_end_id(tokenizer)
        for split in ("train", "validation"):
            if not len(self.chats[split]):
                raise InputDataError(
                    f"{folder} has no {split} conversations; prepare more of them, or with another "
                    "--validation-fraction."
                )
        # Rows as long as the longest conversation: packing fills them, and attention to longer ones costs more.
        self.row_tokens = max(int(chats.lengths.max(initial=1)) for chats in self.chats.values())
        if self.row_tokens > max_seq_len:
            raise InputDataError(
                f"{folder} has conversations of up to {self.row_tokens:,} tokens, and the model reads at most "
                f"{max_seq_len:,}; run prepare again with --max-seq-len {max_seq_len}."
            )

    @property
    def train(self) -> EncodedChats:
        return self.chats["train"]

    @property
    def supervised_fraction(self) -> float:
        """The fraction of the training tokens that the model learns to predict."""
        return self.train.num_supervised / len(self.train.tokens)

    def step_tokens(self, batch_size: int) -> int:
        """About how many positions an update of so many conversations has."""
        return max(self.row_tokens, round(batch_size * len(self.train.tokens) / len(self.train)))

    def training_texts(self) -> list[str]:
        """Every message that the model was trained on."""
        chats = read_chat_lines(self.folder, "train").conversations
        return [message.content for chat in chats for message in chat.messages]


@dataclass(frozen=True, kw_only=True)
class ChatShape:
    """Conversations per update, positions of a micro-batch at most, and tokens that an evaluation reads at most."""

    batch_size: int
    micro_batch_tokens: int
    evaluation_tokens: int


class ChatCorpus:
    """The rows of a run (see `pretune.training.pretraining_run.TrainingRows`). All of them have the same length.

    Raises UsageError if several processes cannot divide an update among themselves.
    """

    long: None = None

    def __init__(self, chat: PreparedChat, shape: ChatShape, seed: int, rank_slice: RankSlice = ALONE) -> None:
        self.chat, self.shape, self.rank_slice = chat, shape, rank_slice
        train, width = chat.train, chat.row_tokens
        self.rows = rows = ChatRows(train, chat.pad_id, row_tokens=width, rows_per_batch=1, seed=seed)
        # As many rows as the conversations of an update fill on average.
        self.rows_per_step = max(1, min(len(rows), round(shape.batch_size * len(rows) / len(train))))
        self.micro_batches = -(-self.rows_per_step // max(1, shape.micro_batch_tokens // width))
        # The first row of each micro-batch within its update, and the end; their sizes differ by one row at most.
        self.edges = [self.rows_per_step * index // self.micro_batches for index in range(self.micro_batches + 1)]
        self.fewest_rows = self.rows_per_step // self.micro_batches
        if not rank_slice.can_divide(self.micro_batches, self.fewest_rows):
            raise UsageError(
                f"{rank_slice.size} processes cannot divide an update of {self.rows_per_step} rows of {width:,} "
                "tokens; give a larger --batch-size, or start fewer processes."
            )
        self.num_conversations, self.tokens_per_epoch = len(train), len(train.tokens)
        self.tested_on: HeldOut = "test" if len(chat.chats["test"]) else "validation"
        self.validation = self._held_out("validation", shape.evaluation_tokens)
        self.test = self._held_out(self.tested_on, _TEST_FACTOR * shape.evaluation_tokens)

    def _held_out(self, split: Split, tokens: int) -> list[Batch]:
        """The batches of as many conversations as have this number of tokens together; at least one."""
        chats, width = self.chat.chats[split], self.chat.row_tokens
        order = permutation(len(chats), _CHOICE_SEED, 0)
        count = max(1, int(np.searchsorted(np.cumsum(chats.lengths[order]), tokens, side="right")))
        rows = ChatRows(
            chats.take(np.sort(order[:count])),
            self.chat.pad_id,
            row_tokens=width,
            rows_per_batch=max(1, min(_EVALUATION_BATCH_TOKENS, self.shape.micro_batch_tokens) // width),
        )
        return [batch for batch, _ in rows.in_order()]

    @property
    def conversations_per_step(self) -> int:
        """About how many conversations an update has: those of its whole rows."""
        return round(self.rows_per_step * self.num_conversations / len(self.rows))

    @property
    def tokens_per_step(self) -> float:
        """Mean number of real tokens in one update."""
        return self.rows_per_step * self.chat.row_tokens * self.rows.fill

    @property
    def micro_batch_tokens(self) -> int:
        """The most positions that a process computes at once, padding included."""
        most = -(-self.rows_per_step // self.micro_batches)
        return self.rank_slice.rows_at_once(self.micro_batches, self.fewest_rows, most) * self.chat.row_tokens

    def first_validation(self) -> list[Batch]:
        """A batch to warm up on."""
        return self.validation[:1]

    def batches(self, step: int, long_start_step: int, shift: int = 0) -> list[Batch]:  # noqa: ARG002
        """The micro-batches of update number `step`, read `shift` steps ahead."""
        return self.short_batches(step + shift)

    def short_batches(self, step: int) -> list[Batch]:
        first = (step - 1) * self.rows_per_step

        def make(index: int) -> Batch:
            start, end = self.edges[index : index + 2]
            return self.rows.batch_from(first + start, end - start)

        return self.rank_slice.micro_batches(self.micro_batches, self.fewest_rows, make)

    def long_batches(self, step: int) -> list[Batch]:
        raise NotImplementedError("all rows have the same length")
