"""Packing loses no token, mixes no documents, overfills no row, and cuts at sentence ends if it can."""

from __future__ import annotations

import hashlib
import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.data import packing
from pretune.data.packing import SentenceEnds, build_rows, cut_documents, pack

Lengths = st.lists(st.integers(0, 90), min_size=1, max_size=40)
RowTokens = st.sampled_from([4, 8, 16, 33, 64])


def offsets_of(lengths: list[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def draw_ends(count: int, seed: int) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random(count) < 0.15


@given(Lengths, RowTokens, st.integers(0, 3))
def test_every_token_is_in_exactly_one_chunk_of_its_document(lengths: list[int], row_tokens: int, seed: int) -> None:
    offsets = offsets_of(lengths)
    table = build_rows(offsets, row_tokens, draw_ends(sum(lengths), seed))
    seen = np.zeros(sum(lengths), dtype=int)
    document_of = np.repeat(np.arange(len(lengths)), lengths)
    for start, length in zip(table.starts, table.lengths, strict=True):
        assert length > 0
        seen[start : start + length] += 1
        assert len(set(document_of[start : start + length].tolist())) == 1
    assert (seen == 1).all()
    assert table.num_tokens == sum(lengths)


@given(Lengths, RowTokens)
def test_no_row_is_empty_or_overfull(lengths: list[int], row_tokens: int) -> None:
    table = build_rows(offsets_of(lengths), row_tokens, draw_ends(sum(lengths), 0))
    filled = [int(table.lengths[a:b].sum()) for a, b in pairwise(table.firsts)]
    assert all(0 < tokens <= row_tokens for tokens in filled)
    assert table.firsts[-1] == len(table.lengths)
    assert sum(filled) == table.num_tokens
    assert not filled or table.fill == sum(filled) / (len(filled) * row_tokens)


@given(st.integers(1, 300), RowTokens, st.integers(0, 20))
def test_a_cut_is_at_the_last_sentence_end_near_the_end_of_the_row(length: int, row_tokens: int, seed: int) -> None:
    ends = draw_ends(length, seed)
    starts, lengths = cut_documents(offsets_of([length]), row_tokens, ends)
    near = max(1, row_tokens // 8)
    for start, chunk in list(zip(starts.tolist(), lengths.tolist(), strict=True))[:-1]:
        window = range(start + row_tokens - near, start + row_tokens)
        wanted = [place + 1 for place in window if ends[place]]
        assert start + chunk == (wanted[-1] if wanted else start + row_tokens)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=80))
def test_packing_is_close_to_the_fewest_possible_rows(lengths: list[int]) -> None:
    order, firsts = pack(np.array(lengths, dtype=np.int64), 64)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    fewest = -(-sum(lengths) // 64)
    assert len(firsts) - 1 <= 11 / 9 * max(fewest, sum(x > 32 for x in lengths)) + 6 / 9 + 1


def test_a_chunk_goes_to_the_fullest_row_that_it_fits_in() -> None:
    order, firsts = pack(np.array([10, 9, 6, 5, 1]), 16)
    rows = [order[a:b].tolist() for a, b in pairwise(firsts)]
    assert rows == [[0, 2], [1, 3, 4]]


@given(st.lists(st.integers(1, 16), min_size=1, max_size=60))
def test_blocks_of_chunks_are_packed_like_all_at_once(lengths: list[int]) -> None:
    whole = pack(np.array(lengths), 16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_CHUNKS_AT_ONCE", 7)
        in_blocks = pack(np.array(lengths), 16)
    assert [array.tolist() for array in in_blocks] == [array.tolist() for array in whole]


def test_the_rows_of_many_documents_are_those_of_earlier_versions() -> None:
    """A resumed run must find the same rows."""
    offsets = offsets_of([1 + number * 7919 % 199 for number in range(500)])
    tokens = np.arange(100_000) * 104_729 % 101
    table = build_rows(offsets, 64, SentenceEnds(tokens.astype(np.uint16), np.arange(101) < 3))
    found = b"".join(array.tobytes() for array in (table.starts, table.lengths, table.firsts))
    assert hashlib.sha256(found).hexdigest()[:16] == "bb733cd19e5a4254"


@given(Lengths, RowTokens, st.integers(0, 3))
def test_sentence_ends_are_found_where_they_are_read(lengths: list[int], row_tokens: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 20, size=sum(lengths)).astype(np.uint16)
    of_id = np.arange(20) < 3
    looked_up = cut_documents(offsets_of(lengths), row_tokens, SentenceEnds(tokens, of_id))
    at_once = cut_documents(offsets_of(lengths), row_tokens, of_id[tokens])
    assert [array.tolist() for array in looked_up] == [array.tolist() for array in at_once]


def test_building_rows_takes_less_memory_than_a_few_numbers_for_each_chunk() -> None:
    """Lists of numbers, and a truth value for every token, took twice as much."""
    rng = np.random.default_rng(0)
    offsets = offsets_of(rng.integers(200, 600, size=1000).tolist())
    tokens, of_id = rng.integers(0, 100, size=int(offsets[-1])).astype(np.uint16), np.arange(100) < 3
    tracemalloc.start()
    try:
        table = build_rows(offsets, 64, SentenceEnds(tokens, of_id))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 16 * len(table.starts) + 20_000


def test_a_document_that_fits_is_not_cut() -> None:
    ends = np.ones(16, dtype=np.bool_)
    starts, lengths = cut_documents(np.array([0, 16]), 16, ends)
    assert (starts.tolist(), lengths.tolist()) == ([0], [16])


def test_short_documents_fill_their_rows() -> None:
    lengths = np.random.default_rng(0).integers(5, 40, size=2000)
    table = build_rows(offsets_of(lengths.tolist()), 64, np.zeros(int(lengths.sum()), dtype=np.bool_))
    assert table.fill > 0.97
