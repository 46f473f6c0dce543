"""Known phrases are found again: the longest, as tagged most often, and never a type that training lacks."""

from __future__ import annotations

from pretune.scoring.gazetteer import predict_gazetteer
from pretune.scoring.tag_entities import TaggedRows

LOC, LOC_INSIDE, ORG, ORG_INSIDE = 1, 2, 3, 4


def find(words: list[list[str]], tags: list[list[int]], text: str) -> list[int]:
    return predict_gazetteer(TaggedRows(words=words, tags=tags), [text.split()]).tags[0].tolist()


def test_the_longest_known_phrase_wins() -> None:
    words = [["York", "lies", "north"], ["New", "York", "Times", "sells"], ["New", "York"]]
    tags = [[LOC, 0, 0], [ORG, ORG_INSIDE, ORG_INSIDE, 0], [LOC, LOC_INSIDE]]
    assert find(words, tags, "the New York Times of New York and York") == [
        0, ORG, ORG_INSIDE, ORG_INSIDE, 0, LOC, LOC_INSIDE, 0, LOC
    ]  # fmt: skip


def test_the_most_frequent_tags_win() -> None:
    words = [["Turkey"], ["Turkey"], ["Turkey"], ["May"], ["May"], ["May", "May"]]
    tags = [[ORG], [LOC], [LOC], [LOC], [0], [0, 0]]
    assert find(words, tags, "Turkey in May") == [LOC, 0, 0]


def test_the_end_of_a_row_ends_a_phrase() -> None:
    words = [["A", "B", "C"], ["A", "B"], ["A", "B"], ["A", "B"]]
    tags = [[LOC, LOC_INSIDE, LOC_INSIDE], [0, 0], [ORG, ORG_INSIDE], [ORG, ORG_INSIDE]]
    assert find(words, tags, "then A B") == [0, ORG, ORG_INSIDE]
    assert find(words, [*tags[:2], tags[2], [0, 0]], "A B") == [0, 0]
    assert find([["A"]], [[0]], "") == []
