import errno
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.runtime.workers import open_engine
from pretune.text.arrays.word_hashes import fold_words
from pretune.text.dedup import candidate_pairs
from pretune.text.dedup.minhash import SHINGLE_WORDS, sign_texts, write_signatures
from pretune.text.steps import near_duplicates
from pretune.text.steps.clean_shard import SIGNATURES_NAME
from pretune.text.steps.exact_duplicates import DUPLICATE, load_duplicates, save_duplicates
from pretune.text.steps.near_duplicates import find_near_duplicates

BUCKETS = ((5, 9), (10, 24), (25, 49), (50, 120))


@lru_cache(maxsize=10_000)
def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    words = fold_words(text)
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def jaccard(a: str, b: str) -> float:
    """The measure, spelled out: n-grams by the length of the shorter text."""
    num_words = min(a.count(" "), b.count(" ")) + 1
    n = next(n for first, n in reversed(SHINGLE_WORDS) if num_words >= first)
    first, second = shingles(a, n), shingles(b, n)
    return len(first & second) / len(first | second)


def first_kept(texts: list[str], threshold: float) -> list[int]:
    """The texts that are dropped if every text is compared with every earlier one that is kept."""
    kept: list[int] = []
    dropped = []
    for number, text in enumerate(texts):
        if fold_words(text) and any(jaccard(texts[other], text) >= threshold for other in kept):
            dropped.append(number)
        elif fold_words(text):
            kept.append(number)
    return dropped


def planted(rng: np.random.Generator, count: int, shortest: int, longest: int) -> list[str]:
    """Texts of random words, a third of them an earlier one with some words replaced, removed or inserted."""
    texts: list[list[str]] = []
    for _ in range(count):
        if len(texts) > 5 and rng.random() < 0.35:
            words = list(texts[rng.integers(len(texts))])
            for _ in range(rng.integers(1, 2 + len(words) // 12)):
                at = int(rng.integers(len(words)))
                words[at : at + int(rng.integers(2))] = [f"w{rng.integers(3000)}"] * int(rng.integers(2))
        else:
            words = [f"w{i}" for i in rng.integers(3000, size=rng.integers(shortest, longest + 1))]
        texts.append(words or ["w"])
    return [" ".join(words) for words in texts]


@dataclass(frozen=True)
class Found:
    """By document number: `original` is the earlier document that each repeats, or -1."""

    original: np.ndarray[Any, np.dtype[np.int64]]
    similarity: np.ndarray[Any, np.dtype[np.float32]]

    def __len__(self) -> int:
        return int((self.original >= 0).sum())


def search(
    texts: list[str], shard_size: int = 1000, threshold: float = 0.8, exact_duplicates: Sequence[int] = ()
) -> Found:
    """Search the texts in shards of `shard_size`, ignoring those that `exact_duplicates` lists."""
    firsts = list(range(0, max(1, len(texts)), shard_size))
    with tempfile.TemporaryDirectory() as name, open_engine("threads", 1) as engine:
        cleaned: dict[str, list[Any]] = {"shards": [], "texts": [], "entries": []}
        for first in firsts:
            signed = sign_texts(texts[first : first + shard_size], threshold)
            folder = Path(name, f"clean-{first}")
            folder.mkdir()
            write_signatures(folder / SIGNATURES_NAME, signed)
            for key, value in zip(cleaned, (str(folder), int(signed.num_texts[0]), len(signed.text)), strict=True):
                cleaned[key].append(value)
        exact = np.zeros(len(exact_duplicates), dtype=DUPLICATE)
        exact["shard"], exact["row"] = np.divmod(np.array(exact_duplicates, dtype=np.int64), shard_size)
        save_duplicates(Path(name), exact)
        folders = find_near_duplicates(engine, Path(name), cleaned, [name], threshold)
        found = Found(np.full(len(texts), -1, dtype=np.int64), np.zeros(len(texts), dtype=np.float32))
        for shard, first in enumerate(firsts):
            listed = load_duplicates([Path(folder) for folder in folders], shard)
            found.original[first + listed["row"]] = np.array(firsts)[listed["of_shard"]] + listed["of_row"]
            found.similarity[first + listed["row"]] = listed["similarity"]
        return found


@pytest.mark.parametrize("bucket", BUCKETS, ids=str)
def test_planted_duplicates_are_found_at_every_length(bucket: tuple[int, int]) -> None:
    texts = planted(np.random.default_rng(bucket[0]), 300, *bucket)
    expected = set(first_kept(texts, 0.8))
    found = search(texts)
    dropped = set(np.flatnonzero(found.original >= 0).tolist())
    assert len(expected) > 30
    assert len(dropped & expected) >= 0.97 * len(expected)
    for number in dropped:
        original = int(found.original[number])
        assert original < number
        assert original not in dropped
        assert jaccard(texts[original], texts[number]) == pytest.approx(found.similarity[number])
        assert found.similarity[number] >= 0.8


def test_texts_are_compared_across_length_limits() -> None:
    """Nine and ten words, 24 and 25, 49 and 50 are compared, though their own n differ."""
    for num_words in (9, 24, 49):
        words = [f"w{i}" for i in range(num_words)]
        assert len(search([" ".join(words), " ".join([*words, "more"])])) == 1
        assert len(search([" ".join([*words, "more"]), " ".join(words)])) == 1


def test_the_outcome_depends_on_nothing_but_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for bucket in BUCKETS for text in planted(np.random.default_rng(5), 30, *bucket)]
    together = search(texts)
    monkeypatch.setattr(candidate_pairs, "ENTRIES_AT_ONCE", 40)
    monkeypatch.setattr(candidate_pairs, "_SHINGLES_AT_ONCE", 100)
    monkeypatch.setattr(near_duplicates, "_DOCUMENTS_AT_ONCE", 13)
    for shard_size in (25, 100):
        apart = search(texts, shard_size)
        assert np.array_equal(apart.original, together.original)
        assert np.array_equal(apart.similarity, together.similarity)


def test_texts_that_have_little_to_compare_are_left_alone() -> None:
    """The known trap: texts with fewer words than n are not duplicates of each other."""
    assert len(search(["", "!!!", "yes", "no", "\U0001f600", "good film", "bad film", "\U0001f601 \U0001f602"])) == 0
    assert len(search(["good film", "Good film!!!"])) == 1
    assert (
        len(search(["\u6771\u4eac\u306f\u5927\u304d\u3044\u3002", "\u6771\u4eac\u306f\u5c0f\u3055\u3044\u3002"])) == 0
    )


def test_a_chain_of_similar_texts_does_not_collapse() -> None:
    words = [f"w{i}" for i in range(9)]
    chain = [" ".join(words)]
    for i in range(9):
        words[i] = f"x{i}"
        chain.append(" ".join(words))
    found = search(chain)
    assert np.flatnonzero(found.original < 0).tolist() == [0, 2, 4, 6, 8]
    assert found.original.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6, -1, 8]


def test_many_copies_in_one_bucket() -> None:
    words = [f"w{i}" for i in range(100)]
    copies = [" ".join([*words, f"x{i}", f"y{i}"]) for i in range(500)]
    found = search(copies, shard_size=64)
    assert found.original.tolist() == [-1] + [0] * 499


def test_duplicates_among_texts_from_one_template() -> None:
    """Every text is like every other, and only some are alike enough."""
    frame = "the report of day {} says that all is well in the house and that nothing happened to the guests in room {}"
    texts = [frame.format(f"x{i}", f"y{i}") for i in range(800)]
    copies = [f"{text} indeed" for text in texts[::8]]
    found = search(texts + copies)
    assert not (found.original[:800] >= 0).any()
    right = found.original[800:] == np.arange(0, 800, 8)
    assert right.mean() >= 0.95
    assert 0.6 < jaccard(texts[0], texts[1]) < 0.8


def test_exact_duplicates_are_ignored() -> None:
    texts = ["a b c d e", "A b c d e", "a b c d e!"]
    assert search(texts).original.tolist() == [-1, 0, 0]
    assert search(texts, exact_duplicates=[0]).original.tolist() == [-1, -1, 1]


def test_threshold() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x"]  # 7 of 9
    assert len(search(texts, threshold=0.8)) == 0
    assert len(search(texts, threshold=0.75)) == 1
    assert len(search([], threshold=0.8)) == 0


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_full_disk_is_an_error_before_marks_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the marks was sparse, so that a full disk killed the process when a mark was written."""
    with near_duplicates._new_marks(tmp_path, 1_000_000):
        found = (tmp_path / near_duplicates.MARKS_NAME).stat()
        assert found.st_blocks * 512 >= found.st_size

    def fail(number: int) -> None:
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(OSError(number, "")))

    fail(errno.ENOSPC)
    with pytest.raises(OSError), near_duplicates._new_marks(tmp_path, 10):
        pass
    fail(errno.EOPNOTSUPP)
    with near_duplicates._new_marks(tmp_path, 10) as marks:
        assert marks.tolist() == [0] * 10
