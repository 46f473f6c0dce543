from pathlib import Path

import numpy as np
import pytest

from pretune.text.arrays.word_hashes import hash_words
from pretune.text.dedup.contamination import (
    MOST_DOCUMENTS,
    find_contaminated,
    find_hits,
    load_protected,
    protect_texts,
    save_protected,
    shared_words,
    word_size,
)


def numbered(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


PROTECTED = [numbered(0, 40), numbered(100, 110), "a good film", numbered(200, 213)]


def contaminated(*batches: list[str], protected: list[str] = PROTECTED) -> list[list[tuple[int, int]]]:
    """Row and protected text of the contaminated documents in each batch."""
    index = protect_texts(protected)
    found = find_contaminated([find_hits(hash_words(batch), index) for batch in batches])
    return [[(int(row), int(text)) for row, text in each] for each in found]


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (f"x y z {numbered(5, 18)}, and more", 0),  # 13 in a row
        (f"x y z {numbered(5, 17)} and more and more", None),  # 12
        (numbered(5, 14).upper() + "!", 0),  # a short document: 8 are enough
        (numbered(5, 12), None),  # 7
        (f"{numbered(0, 30)}, then something of the writer's own {numbered(101, 109)}", 0),
        (f"something of the writer's own about it, then {numbered(101, 109)}", 1),  # the protected text is short
        (f"something of the writer's own about it, then {numbered(101, 108)}", None),
        (f"something of the writer's own about it, then {numbered(201, 210)} and more", None),
        ("A good film!", 2),  # too short for anything but a comparison of whole texts, of their words at least
        ("film good a", None),
        ("film", None),
        (f"a good film, {numbered(300, 340)}", None),
        ("", None),
    ],
)
def test_words_in_a_row(text: str, owner: int | None) -> None:
    assert contaminated([text]) == [[] if owner is None else [(0, owner)]]


def test_words_in_many_documents_are_a_phrase() -> None:
    texts = [f"{numbered(0, 13)} in document {i}" for i in range(MOST_DOCUMENTS + 1)]
    assert contaminated(texts) == [[]]
    assert len(contaminated(texts[1:])[0]) == MOST_DOCUMENTS
    apart = [texts[:6], texts[6:]]
    assert contaminated(*apart) == [[], []]
    assert contaminated([*texts, numbered(0, 20)]) == [[(len(texts), 0)]]  # it has more than the phrase


def test_a_phrase_is_one_for_long_and_short_documents_together() -> None:
    texts = [f"{numbered(100, 108)} {i}" for i in range(6)]
    texts += [f"{numbered(100, 108)} and then very much that is not the same as {i}" for i in range(6)]
    assert contaminated(texts) == [[]]
    assert len(contaminated(texts[1:-1])[0]) == 10


def test_the_outcome_does_not_depend_on_batches() -> None:
    rng = np.random.default_rng(0)
    texts = [
        f"{numbered(1000 * i, 1000 * i + 9)} {numbered(start, start + 14)}"
        for i, start in enumerate(rng.integers(0, 80, 60), 1)
    ]
    (whole,) = contaminated(texts)
    parts = contaminated(texts[:7], [], texts[7:40], texts[40:])
    firsts = (0, 7, 7, 40)
    assert [(row + first, text) for each, first in zip(parts, firsts, strict=True) for row, text in each] == whole
    assert whole


def test_nothing_protected() -> None:
    assert contaminated(["any text"], [], protected=[]) == [[], []]
    assert contaminated(protected=["x"]) == []


def test_protected_words_survive_the_disk(tmp_path: Path) -> None:
    for texts in (PROTECTED, []):
        protected = protect_texts(texts)
        save_protected(tmp_path / str(len(texts)), protected)
        words = hash_words([numbered(0, 50), numbered(100, 108), "a good film"])
        assert np.array_equal(find_hits(words, load_protected(tmp_path / str(len(texts)))), find_hits(words, protected))


def test_many_protected_texts_are_taken_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = protect_texts(PROTECTED * 2)
    monkeypatch.setattr("pretune.text.dedup.contamination._TEXTS_AT_ONCE", 3)
    parts = protect_texts(PROTECTED * 2)
    for name in ("long", "rest", "short", "whole"):
        for a, b in zip(getattr(whole[1], name), getattr(parts[1], name), strict=True):
            assert np.array_equal(a, b)


def test_the_shared_words_can_be_named() -> None:
    assert shared_words(f"x {numbered(5, 20)}", PROTECTED[0]) == numbered(5, 18)
    assert shared_words(f"x, {numbered(101, 109).upper()}!", PROTECTED[1]) == numbered(101, 109)
    assert shared_words("a good film", "a good film") == ""


HAN = "".join(map(chr, range(0x4E00, 0x4E50)))
THAI = "".join(map(chr, range(0x0E01, 0x0E2F)))  # a protected text of 46 letters: shorter than 13 words of 4 letters


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 1),
        ("a good film", 1),
        ("나는 새 카페에 갔다", 1),
        ("He wrote 三国演义 and more", 1),
        ("三国演义 (Sanguo)", 2),
        ("きのう先生は庭で茶碗を直した", 2),
        ("ครูซ่อมถ้วยที่ตลาด 2024", 4),
    ],
)
def test_word_size(text: str, size: int) -> None:
    assert word_size(text) == size


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (HAN[5:31] + "一会" * 9, 0),  # 26 characters are 13 words
        (HAN[5:30] + "的会" * 9, None),
        (HAN[5:21] + "的会", 0),  # a short document: 16 characters are 8 words
        (HAN[5:20] + "的会", None),
        (HAN[5:13], None),  # 8 characters are no more than 4 words
        ("的会" * 20 + THAI[5:37], 1),
        ("的会" * 20 + THAI[5:36], None),
        ("ครูซ่อมถ้วย!", 2),  # fewer than 32 letters: only a document with exactly these words
        ("ครูซ่อมถ้วย แล้วกลับบ้านไปกินข้าวกับเพื่อน", None),
        (f"something of the writer's own and then {numbered(5, 18)}", 3),
    ],
)
def test_characters_of_scripts_without_blanks_are_less_than_words(text: str, owner: int | None) -> None:
    protected = [HAN, THAI, "ครูซ่อมถ้วย", numbered(0, 40)]
    assert contaminated([text], protected=protected) == [[] if owner is None else [(0, owner)]]
    if owner == 0:
        assert len(shared_words(text, HAN).split()) in (26, 16)
