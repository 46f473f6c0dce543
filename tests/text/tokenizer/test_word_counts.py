from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.counted_words import Stretches, count_in_bytes
from pretune.text.tokenizer.word_counts import (
    MOST_STRETCHES,
    TextSize,
    least_count,
    load_word_counts,
    num_word_ranges,
    save_counts,
    sum_word_counts,
)

TEXTS = ["the sun and the moon", "the sun, again", "", "größer\u00a0als the moon", "moon"]


def summed(folder: Path, parts: list[list[str]], ranges: int, most: int = MOST_STRETCHES) -> tuple[Stretches, TextSize]:
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
    return load_word_counts(outs, by_count, most)


def test_sums_do_not_depend_on_the_parts(tmp_path: Path) -> None:
    expected = Counter(stretch for text in TEXTS for stretch in text.split(" ") if stretch)
    shuffled = Random(0).sample(TEXTS, len(TEXTS))
    size = TextSize(sum(len(stretch) * count for stretch, count in expected.items()), len(expected))
    for name, parts, ranges in (("a", [TEXTS], 1), ("b", [shuffled[:2], shuffled[2:], []], 3)):
        counts, found = summed(tmp_path / name, parts, ranges)
        assert (counts.as_dict(), found) == (expected, size)


def test_text_without_blanks_is_sampled_and_not_dropped(tmp_path: Path) -> None:
    """In Chinese, a stretch is a sentence that occurs once; all of them were dropped together if they were too many."""
    draw = Random(0)
    sentences = ["".join(draw.choices("日月山水火木金土人大小中上下東西", k=20)) for _ in range(20_000)]
    text = sentences + ["版權所有"] * 500
    counts, size = summed(tmp_path, [text[::2], text[1::2]], 3, most=2000)
    assert size == TextSize(402_000, 20_001, least_count=11)
    kept = counts.as_dict()
    assert kept.pop("版權所有") == 500
    assert set(kept.values()) == {11}
    assert 1600 < len(kept) < 2000
    assert sum(kept.values()) == pytest.approx(20_000, rel=0.05)
    scaled = counts.scaled(100)  # what training does
    assert int(scaled.counts.sum()) == pytest.approx(205, rel=0.25)


@given(st.dictionaries(st.integers(1, 50), st.integers(1, 20)), st.integers(1, 200))
def test_the_least_count_fills_the_room(stretches_by_count: dict[int, int], most: int) -> None:
    def expected(least: int) -> float:
        return sum(number * min(1.0, count / least) for count, number in stretches_by_count.items())

    least = least_count(Counter(stretches_by_count), most)
    assert expected(least) <= most + 1e-6
    assert least == 1 or expected(least - 1) > most


def test_ranges_go_by_the_amount_of_text() -> None:
    assert num_word_ranges(0) == 4
    assert num_word_ranges(10**9) == num_word_ranges(10**12) == 5
