from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.splits import hash_text
from pretune.text.steps.clean_shard import save_hashes
from pretune.text.steps.exact_duplicates import find_exact_duplicates, load_duplicates, num_ranges


def duplicates_of(folder: Path, shards: list[list[str]], ranges: int) -> list[tuple[int, int, int, int]]:
    for number, texts in enumerate(shards):
        (folder / f"shard{number}").mkdir(parents=True)
        save_hashes(folder / f"shard{number}", [hash_text(text) for text in texts])
    names = [str(folder / f"shard{number}") for number in range(len(shards))]
    outs = [folder / f"range{number}" for number in range(ranges)]
    for number, out in enumerate(outs):
        out.mkdir()
        find_exact_duplicates(out, {"shards": names, "range": number, "ranges": ranges})
    return [tuple(map(int, row)) for shard in range(len(shards)) for row in load_duplicates(outs, shard)]


def test_the_first_of_equal_texts_is_kept(tmp_path: Path) -> None:
    shards = [["The  Café", "b"], [], ["B", "the cafe\u0301", "the cafe", "b\n"]]
    assert duplicates_of(tmp_path, shards, 3) == [(2, 0, 0, 1), (2, 1, 0, 0), (2, 3, 0, 1)]


@settings(max_examples=20)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=8), min_size=1, max_size=4), st.integers(1, 5))
def test_as_a_set_finds_them(tmp_path_factory: pytest.TempPathFactory, shards: list[list[str]], ranges: int) -> None:
    first: dict[str, tuple[int, int]] = {}
    expected = []
    for shard, texts in enumerate(shards):
        for row, text in enumerate(texts):
            if text in first:
                expected.append((shard, row, *first[text]))
            first.setdefault(text, (shard, row))
    assert duplicates_of(tmp_path_factory.mktemp("d"), shards, ranges) == expected


def test_ranges_go_by_the_number_of_texts() -> None:
    assert [num_ranges(count) for count in (0, 1, 500_000, 500_001)] == [1, 1, 1, 2]
    assert [num_ranges(10**9, shards) for shards in (1, 1000, 2000, 14_000)] == [2000, 2000, 1000, 143]
