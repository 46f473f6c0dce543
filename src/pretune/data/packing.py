"""Document offsets go in, rows of chunks come out: long documents are cut, short ones share a row; no token is lost."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
_CHUNKS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class RowTable:
    """The chunks of the token stream that make up each row.

    Chunk i is tokens[starts[i] : starts[i] + lengths[i]]; row r consists of the chunks firsts[r] : firsts[r + 1].
    """

    row_tokens: int
    starts: IntArray
    lengths: IntArray
    firsts: IntArray

    def __len__(self) -> int:
        return len(self.firsts) - 1

    @property
    def num_tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def fill(self) -> float:
        """Fraction of the positions that have a token; the others are padding."""
        return self.num_tokens / max(1, len(self) * self.row_tokens)


@dataclass(frozen=True)
class SentenceEnds:
    """Like an array with a truth value for every token of a stream, but looked up where it is read: a corpus of ten
    billion tokens would need ten gigabytes for them."""

    tokens: npt.NDArray[np.unsignedinteger]
    of_id: npt.NDArray[np.bool_]  # whether a token of this id may end a sentence

    def __getitem__(self, places: slice) -> npt.NDArray[np.bool_]:
        return self.of_id[self.tokens[places]]


Ends = npt.NDArray[np.bool_] | SentenceEnds


def build_rows(offsets: IntArray, row_tokens: int, is_sentence_end: Ends) -> RowTable:
    """Cut documents into chunks of at most `row_tokens` and pack the chunks into rows.

    `offsets` are the document boundaries in the token stream; `is_sentence_end` is true for tokens that may end a
    sentence. Every token of every document is in exactly one chunk.
    """
    starts, lengths = cut_documents(offsets, row_tokens, is_sentence_end)
    order, firsts = pack(lengths, row_tokens)
    return RowTable(row_tokens=row_tokens, starts=starts[order], lengths=lengths[order], firsts=firsts)


def cut_documents(offsets: IntArray, row_tokens: int, is_sentence_end: Ends) -> tuple[IntArray, IntArray]:
    """Starts and lengths of the chunks, in document order. Cuts are made at the last sentence end in the last eighth
    of a row, if there is one, and otherwise at the end of the row."""
    doc_lengths = np.diff(offsets)
    fits = (doc_lengths <= row_tokens) & (doc_lengths > 0)
    starts, lengths = [offsets[:-1][fits]], [doc_lengths[fits]]
    long_starts, long_lengths = array("q"), array("q")  # a list of numbers takes five times the memory
    near = max(1, row_tokens // 8)
    for document in np.flatnonzero(doc_lengths > row_tokens):
        start, end = int(offsets[document]), int(offsets[document + 1])
        while end - start > row_tokens:
            ends = np.flatnonzero(is_sentence_end[start + row_tokens - near : start + row_tokens])
            length = row_tokens - near + int(ends[-1]) + 1 if len(ends) else row_tokens
            long_starts.append(start)
            long_lengths.append(length)
            start += length
        long_starts.append(start)
        long_lengths.append(end - start)
    starts.append(np.array(long_starts, dtype=np.int64))
    lengths.append(np.array(long_lengths, dtype=np.int64))
    all_starts, all_lengths = np.concatenate(starts), np.concatenate(lengths)
    order = np.argsort(all_starts, kind="stable")
    return all_starts[order], all_lengths[order]


def pack(lengths: IntArray, row_tokens: int) -> tuple[IntArray, IntArray]:
    """Best-fit decreasing: the order of the chunks row by row, and where each row begins in it.

    There is one list of rows for each number of free positions; a bit mask finds the fullest row that a chunk fits in.
    """
    by_length = np.argsort(-lengths, kind="stable")
    row_of = np.empty(len(lengths), dtype=np.int64)  # of each chunk in this order
    rows_by_room = [array("q") for _ in range(row_tokens + 1)]
    num_rows = 0
    has_room = 0  # bit r is set if rows_by_room[r] is not empty
    for first in range(0, len(lengths), _CHUNKS_AT_ONCE):
        places = slice(first, first + _CHUNKS_AT_ONCE)
        found = []
        for length in lengths[by_length[places]].tolist():
            fitting = has_room >> length
            if fitting:
                room = length + (fitting & -fitting).bit_length() - 1
                row = rows_by_room[room].pop()
                if not rows_by_room[room]:
                    has_room &= ~(1 << room)
            else:
                room, row = row_tokens, num_rows
                num_rows += 1
            found.append(row)
            if room > length:
                rows_by_room[room - length].append(row)
                has_room |= 1 << (room - length)
        row_of[places] = found
    order = by_length[np.argsort(row_of, kind="stable")]
    firsts = np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=num_rows))]).astype(np.int64)
    return order, firsts
