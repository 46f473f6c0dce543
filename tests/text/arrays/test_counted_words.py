"""Counting in arrays gives the same as counting one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays import counted_words, word_hashes
from pretune.text.arrays.counted_words import Stretches, count_in_bytes, sum_stretches

TEXTS = st.lists(
    st.text(st.sampled_from("aB \x00\u00e9\ud800\U0001f600"), max_size=12) | st.text(max_size=8), max_size=12
)


def count(texts: Iterable[str]) -> Stretches:
    return count_in_bytes(" ".join(texts).encode("utf-8", "surrogatepass"))


def as_counter(found: Stretches) -> Counter[str]:
    assert len(set(found.texts.texts())) == len(found)
    return Counter(dict(zip(found.texts.texts(), found.counts.tolist(), strict=True)))


def counted(texts: list[str]) -> Counter[str]:
    return Counter(stretch for text in texts for stretch in text.split(" ") if stretch)


@given(TEXTS)
def test_counts_are_those_of_a_loop(texts: list[str]) -> None:
    assert as_counter(count(texts)) == counted(texts)


@given(TEXTS, TEXTS)
def test_sums_are_those_of_a_loop(some: list[str], others: list[str]) -> None:
    found = sum_stretches([count(some), count(others)])
    assert as_counter(found) == counted(some + others)
    assert np.all(np.diff(found.hashes.astype(np.float64)) >= 0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the number {n} of {n % 7} things" for n in range(500)]
    whole = count(texts)
    monkeypatch.setattr(word_hashes, "BLOCK_BYTES", 50)
    monkeypatch.setattr(counted_words, "_MOST_HELD", 20)
    pieces = sum_stretches(count(texts[first : first + 7]) for first in range(0, len(texts), 7))
    assert pieces.hashes.tolist() == whole.hashes.tolist()
    assert as_counter(pieces) == as_counter(whole) == counted(texts)


def test_ranges_share_out_all_stretches_also_on_disk(tmp_path: Path) -> None:
    whole = count(f"{n} {n * n}" for n in range(200))
    total: Counter[str] = Counter()
    for number in range(3):
        whole.in_range(number, 3).save(tmp_path, number)
        total += as_counter(Stretches.load(tmp_path, number))
    assert total == as_counter(whole)
    thinned = whole.thinned(3).as_dict()
    assert set(thinned.values()) == {3} and 0 < len(thinned) < 2 * len(total) / 3
    assert whole.thinned(1).as_dict() == whole.as_dict()
    assert len(count([]).thinned(2)) == 0
