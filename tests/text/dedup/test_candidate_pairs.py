import resource
import threading
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from pretune.text.arrays.word_hashes import Int64s
from pretune.text.dedup import candidate_pairs
from pretune.text.dedup.candidate_pairs import PairArray, Signed, find_pairs, key_ranges
from pretune.text.dedup.minhash import BANDS, sign_texts, write_signatures

OPEN_FILES = Path("/dev/fd")
WORDS = [f"w{number}" for number in range(60)]
TEXTS = [
    " ".join([*WORDS[start : start + 20], *([f"x{copy}"] if copy else [])])
    for start in (0, 20, 40)
    for copy in range(4)
]


def signed(folder: Path, shards: list[list[str]]) -> Signed:
    """The signatures of some shards, each in a file of its own."""
    signatures = [sign_texts(texts, 0.8) for texts in shards]
    files = [folder / f"signatures-{number}" for number in range(len(shards))]
    for file, shard in zip(files, signatures, strict=True):
        file.unlink(missing_ok=True)
        write_signatures(file, shard)
    return Signed.of(files, list(map(len, shards)), [len(shard.text) for shard in signatures])


def pairs_of(corpus: Signed, looked_for: Int64s | None = None) -> PairArray:
    marks = np.zeros(corpus.num_documents, dtype=np.uint8)
    return np.concatenate(
        [find_pairs(corpus, marks, keys_of, 0.8, looked_for) for keys_of in key_ranges(corpus.num_entries)]
    )


def as_set(pairs: PairArray) -> set[tuple[int, int]]:
    return set(zip(pairs["number"].tolist(), pairs["of"].tolist(), strict=True))


def test_pairs_are_similar_and_the_first_comes_before(tmp_path: Path) -> None:
    found = as_set(pairs_of(signed(tmp_path, [TEXTS])))
    alike = {(b, a) for a, b in combinations(range(len(TEXTS)), 2) if a // 4 == b // 4}
    assert {(number, number // 4 * 4) for number in range(len(TEXTS)) if number % 4} <= found <= alike


def test_shards_and_ranges_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = as_set(pairs_of(signed(tmp_path, [TEXTS])))
    corpus = signed(tmp_path, [TEXTS[:5], [], TEXTS[5:6], TEXTS[6:]])
    monkeypatch.setattr(candidate_pairs, "ENTRIES_AT_ONCE", 4)
    assert len(key_ranges(12)) == 4 * BANDS
    assert len(key_ranges(12, 2000)) == 2 * BANDS  # tasks are twice as large
    assert as_set(pairs_of(corpus)) == expected
    # A range with many shingles, over more files than may be open.
    monkeypatch.setattr(candidate_pairs, "_MOST_SHINGLES_HELD", 0)
    monkeypatch.setattr(candidate_pairs, "_MOST_OPEN", 2)
    assert as_set(pairs_of(signed(tmp_path, [TEXTS[:5], [], TEXTS[5:6], TEXTS[6:]]))) == expected


def test_files_are_read_again_in_every_task(tmp_path: Path) -> None:
    """A later run of the same process, in a folder of the same name, was compared with the texts of the one before."""
    for number, texts in enumerate((TEXTS[:4], TEXTS[::4], TEXTS[:4])):
        (tmp_path / str(number)).mkdir()
        assert as_set(pairs_of(signed(tmp_path, [texts]))) == as_set(pairs_of(signed(tmp_path / str(number), [texts])))


def test_only_pairs_with_the_wanted_documents_and_without_marked_ones(tmp_path: Path) -> None:
    corpus = signed(tmp_path, [TEXTS])
    found = as_set(pairs_of(corpus, np.array([5])))
    assert found
    assert all(5 in pair for pair in found)
    marks = np.zeros(len(TEXTS), dtype=np.uint8)
    marks[4] = 1
    without = np.concatenate([find_pairs(corpus, marks, keys_of, 0.8) for keys_of in key_ranges(corpus.num_entries)])
    assert all(4 not in pair for pair in as_set(without))


@pytest.mark.parametrize(
    ("limit", "threads", "most"),
    [(1024, 1, 400), (1024, 16, 51), (256, 1, 204), (100, 200, 1), (resource.RLIM_INFINITY, 16, 400)],
)
def test_threads_share_the_files_that_a_process_may_open(
    monkeypatch: pytest.MonkeyPatch, limit: int, threads: int, most: int
) -> None:
    """With as many files for each thread as for a process, `--engine threads` failed with "Too many open files"."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(threading, "active_count", lambda: threads)
    assert candidate_pairs.most_open() == most


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts the open files in /dev/fd")
def test_a_task_keeps_no_more_files_open_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = signed(tmp_path, [[text] for text in TEXTS])
    monkeypatch.setattr(candidate_pairs, "most_open", lambda: 5)
    before = len(list(OPEN_FILES.iterdir()))
    for number in range(len(TEXTS)):
        assert len(corpus[number].text)
    assert len(list(OPEN_FILES.iterdir())) == before + 5
    monkeypatch.setattr(candidate_pairs, "most_open", lambda: 2)  # more threads have begun
    assert len(corpus[5].text)
    assert len(list(OPEN_FILES.iterdir())) == before + 2
