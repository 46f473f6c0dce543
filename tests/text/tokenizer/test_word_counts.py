from collections import Counter
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.counted_words import count_in_bytes
from pretune.text.tokenizer.word_counts import (
    least_count,
    load_word_counts,
    num_word_ranges,
    save_counts,
    sum_word_counts,
)

TEXTS = ["the sun and the moon", "the sun, again", "", "größer\u00a0als the moon", "moon"]


def summed(folder: Path, parts: list[list[str]], ranges: int) -> Counter[str]:
    for number, texts in enumerate(parts):
        (folder / f"part{number}").mkdir(parents=True)
        save_counts(folder / f"part{number}", count_in_bytes(" ".join(texts).encode()), ranges)
    outs, by_count = [], Counter[int]()
    for number in range(ranges):
        outs.append(folder / f"range{number}")
        outs[-1].mkdir()
        task = {"shards": [str(folder / f"part{n}") for n in range(len(parts))], "range": number}
        found = sum_word_counts(outs[-1], task)["stretches_by_count"]
        by_count.update({int(count): stretches for count, stretches in found.items()})
    return Counter(load_word_counts(outs, by_count).as_dict())


def test_sums_do_not_depend_on_the_parts(tmp_path: Path) -> None:
    expected = Counter(stretch for text in TEXTS for stretch in text.split(" ") if stretch)
    shuffled = Random(0).sample(TEXTS, len(TEXTS))
    assert summed(tmp_path / "a", [TEXTS], 1) == expected
    assert summed(tmp_path / "b", [shuffled[:2], shuffled[2:], []], 3) == expected


@given(st.dictionaries(st.integers(1, 50), st.integers(1, 20)), st.integers(1, 200))
def test_the_least_count_fills_the_room(stretches_by_count: dict[int, int], most: int) -> None:
    least = least_count(Counter(stretches_by_count), most)
    kept = sum(n for count, n in stretches_by_count.items() if count >= least)
    assert kept <= most
    if least > 1:
        assert kept + stretches_by_count[least - 1] > most


def test_ranges_go_by_the_amount_of_text() -> None:
    assert num_word_ranges(0) == 4
    assert num_word_ranges(10**9) == num_word_ranges(10**12) == 5
