"""Windows have every token of a row once, are few and nearly equal, and end where a sentence or a word does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.tokenizer.rows import encode_windows
from pretune.text.tokenizer.tokenizer import load_tokenizer
from pretune.text.tokenizer.windows import MOST_WINDOWS, WindowRule

VOCAB_SIZE, BOS, EOS = 50, 1, 2


def make_rule(max_seq_len: int, sentence_ends: tuple[int, ...] = (), starts_word: bool = True) -> WindowRule:
    ends = np.zeros(VOCAB_SIZE, dtype=np.bool_)
    ends[list(sentence_ends)] = True
    return WindowRule(
        max_seq_len=max_seq_len, is_sentence_end=ends, starts_word=np.full(VOCAB_SIZE, starts_word, dtype=np.bool_)
    )


@given(
    inside=st.lists(st.integers(3, VOCAB_SIZE - 1), max_size=400),
    max_seq_len=st.integers(8, 100),
    is_start=st.lists(st.booleans(), min_size=VOCAB_SIZE, max_size=VOCAB_SIZE),
    is_end=st.lists(st.booleans(), min_size=VOCAB_SIZE, max_size=VOCAB_SIZE),
)
def test_every_token_is_in_one_window(
    inside: list[int], max_seq_len: int, is_start: list[bool], is_end: list[bool]
) -> None:
    rule = WindowRule(max_seq_len=max_seq_len, is_sentence_end=np.array(is_end), starts_word=np.array(is_start))
    windows = rule.windows([BOS, *inside, EOS])
    room = max_seq_len - 2
    count = max(1, -(-len(inside) // room))
    assert rule.would_exceed(len(inside) + 2) == (count > MOST_WINDOWS)
    assert len(windows) == min(count, MOST_WINDOWS)
    assert all((window[0], window[-1]) == (BOS, EOS) and len(window) <= max_seq_len for window in windows)
    if count <= MOST_WINDOWS:
        assert [token for window in windows for token in window[1:-1]] == inside
    equal = len(inside) // count
    assert all(abs(len(window) - 2 - equal) <= 2 * (equal // 8) + 1 for window in windows)


def test_a_row_that_is_not_too_long_is_one_window() -> None:
    row = [BOS, *range(3, 15), EOS]
    assert make_rule(14).windows(row) == [row]
    assert [len(window) for window in make_rule(13).windows(row)] == [8, 8]


def test_a_window_ends_with_the_nearest_sentence() -> None:
    inside = [10] * 80
    inside[34] = inside[43] = 5
    first, second = make_rule(60, sentence_ends=(5,)).windows([BOS, *inside, EOS])
    assert (len(first), first[-2]) == (2 + 44, 5)
    assert len(second) == 2 + 36
    inside[34], inside[43], inside[30] = 10, 10, 5  # too far from the middle
    assert [len(window) for window in make_rule(60, sentence_ends=(5,)).windows([BOS, *inside, EOS])] == [42, 42]


def test_a_window_does_not_tear_a_word_if_it_can_end_before_one() -> None:
    rule = make_rule(60, starts_word=False)
    rule.starts_word[7] = True
    inside = [10] * 80
    assert [len(window) for window in rule.windows([BOS, *inside, EOS])] == [42, 42]
    inside[37] = 7
    first, second = rule.windows([BOS, *inside, EOS])
    assert (len(first), second[1]) == (2 + 37, 7)


def test_of_a_very_long_text_windows_are_spread_evenly_over_it() -> None:
    row = [BOS, *np.arange(100_000) % 40 + 4, EOS]
    rule = make_rule(512)
    spans = rule.spans(row)
    assert len(spans) == MOST_WINDOWS
    assert (spans[0][0], spans[-1][1]) == (1, 100_001)
    starts = np.diff([start for start, _ in spans])
    assert starts.max() - starts.min() <= 512
    assert max(map(len, rule.windows(row))) <= 512


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (0, 1)])
def test_a_tokenizer_may_have_fewer_special_tokens(before: int, after: int) -> None:
    whole = np.ones(VOCAB_SIZE, dtype=np.bool_)
    rule = WindowRule(max_seq_len=10, is_sentence_end=~whole, starts_word=whole, before=before, after=after)
    row = [*[BOS] * before, *range(3, 33), *[EOS] * after]
    windows = rule.windows(row)
    assert [token for window in windows for token in window[before : len(window) - after]] == [*range(3, 33)]
    assert all(
        window[:before] == [BOS] * before and window[len(window) - after :] == [EOS] * after for window in windows
    )


def test_texts_are_encoded_in_windows(tokenizer_folder: Path) -> None:
    bpe = load_tokenizer(tokenizer_folder)
    text = "The sun rises in the east. The film was never dreadful! " * 6
    rule = WindowRule.of(bpe, 32)
    [windows, short] = encode_windows(bpe, [(text, None), ("The sun", None)], 32, rule)
    assert short == [bpe.encode("The sun")]
    assert len(windows) > 1
    assert bpe.decode([token for window in windows for token in window]).split() == text.split()
    ends = [bpe.decode(window).rstrip() for window in windows]
    assert all(end.endswith((".", "!")) for end in ends)
    [cut] = encode_windows(bpe, [(text, None)], 32, None)
    assert cut == [bpe.encode_truncated(text, 32)[0]]
