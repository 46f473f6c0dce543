"""Parts of held-out texts are held out with them, where texts that contain others are common."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pretune.text.labels.nested_texts import SHORTEST_PART, split_with_test, split_with_wholes
from pretune.text.splits import Split

SENTENCES = [f"w{number} x{number} y{number} z{number} and v{number}" for number in range(30)]
PARTS = [" ".join(sentence.split()[:3]) for sentence in SENTENCES]


def split_up(texts: list[str], splits: list[Split], strata: list[str] | None = None) -> list[Split]:
    return split_with_wholes(texts, splits, strata or [""] * len(texts))


def test_a_part_goes_where_its_whole_goes() -> None:
    texts, splits = [*SENTENCES, *PARTS], list[Split](["train"] * 60)
    splits[0] = splits[32] = "validation"  # a sentence, and a part of another
    splits[1] = "test"
    found = split_up(texts, splits)
    assert [place for place, split in enumerate(found) if split == "validation"] == [0, 30]
    assert [place for place, split in enumerate(found) if split == "test"] == [1, 31]


def test_a_part_of_two_wholes_is_held_out_for_the_test_rather_than_for_validation() -> None:
    texts = [*(f"{sentence} and so on" for sentence in SENTENCES), *PARTS, "and so on", "AND so  on"]
    splits = list[Split](["train"] * 62)
    splits[0], splits[1], splits[2] = "test", "validation", "validation"
    assert split_up(texts, splits)[-2:] == ["test", "test"]
    splits[0] = "train"
    assert split_up(texts, splits)[-2:] == ["validation", "validation"]


def test_files_without_nested_rows_keep_their_splits() -> None:
    texts, splits = [*SENTENCES, PARTS[0], "and", ""], list[Split](["validation"] + ["train"] * 32)
    assert split_up(texts, splits) == splits
    assert split_up([], []) == []


def test_single_words_and_long_texts_are_neither_parts_nor_wholes() -> None:
    long = " ".join(f"w{number}" for number in range(100))
    texts, splits = [long, "w1 w2 w3"] * 2, list[Split](["validation", "train", "validation", "train"])
    assert split_up(texts, splits) == splits
    texts, splits = [*SENTENCES, *PARTS, "x1", "z1 and"], list[Split](["train"] * 62)
    splits[1] = "validation"
    assert split_up(texts, splits)[-2:] == ["train", "train"]


def test_a_class_of_short_texts_that_others_contain_keeps_its_rows() -> None:
    """Were they parts, nearly all would lie in some held-out whole."""
    wholes = [f"{part} order {number}" for part in PARTS for number in range(10)]
    texts, strata = [*wholes, *PARTS], ["order"] * len(wholes) + ["affirm"] * len(PARTS)
    splits: list[Split] = ["validation" if place % 7 == 0 else "train" for place in range(len(texts))]
    assert split_up(texts, splits, strata) == splits
    assert split_up(texts, splits) != splits


def test_parts_of_test_texts_belong_to_the_test() -> None:
    texts, splits = [*PARTS, "z1 and", "something else entirely"], list[Split](["train"] * 32)
    splits[1] = "validation"
    strata = ["a", "b"] * 16
    found = split_with_test(texts, splits, strata, [SENTENCES[0].upper(), SENTENCES[1], "no part in this", "nor here"])
    assert found == ["test", *splits[1:]]


def test_test_texts_that_rarely_contain_others_take_none() -> None:
    texts, splits = list(PARTS), list[Split](["train"] * 30)
    others = [f"nothing in common {number}" for number in range(9)]
    assert split_with_test(texts, splits, [""] * 30, [SENTENCES[0], *others]) == splits
    assert split_with_test(texts, splits, [""] * 30, []) == splits
    assert split_with_test([], [], [], SENTENCES) == []


def test_test_texts_take_no_class_of_short_texts() -> None:
    texts, splits = [*PARTS, "something else entirely"], list[Split](["train"] * 31)
    assert split_with_test(texts, splits, ["affirm"] * 30 + ["other"], SENTENCES) == splits


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7).map(" ".join), min_size=1, max_size=12),
    st.data(),
)
def test_no_training_text_lies_in_a_held_out_whole(texts: list[str], data: st.DataObject) -> None:
    sides: list[Split] = ["train", "validation", "test"]
    chosen = {text: data.draw(st.sampled_from(sides)) for text in dict.fromkeys(texts)}
    splits = [chosen[text] for text in texts]
    found = split_up(texts, splits)
    assert all(a == b for x, a in zip(texts, found, strict=True) for y, b in zip(texts, found, strict=True) if x == y)
    if found == splits:
        return
    for text, split in zip(texts, found, strict=True):
        wholes = [
            side
            for other, side in zip(texts, found, strict=True)
            if other != text
            and f" {text} " in f" {other} "
            and not any(f" {other} " in f" {x} " for x in texts if x != other)
        ]
        if not wholes or len(text.split()) < SHORTEST_PART:
            assert split == chosen[text]
        else:
            assert sides.index(split) == max(sides.index(side) for side in wholes)
