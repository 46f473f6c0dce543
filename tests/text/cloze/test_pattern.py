"""A pattern is read and checked, and encoded exactly as the tokenizer encodes the whole sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import UsageError
from pretune.text.cloze.pattern import PatternEncoder, read_pattern
from pretune.text.tokenizer.tokenizer import EncodedText, Tokenizer, load_tokenizer

PATTERNS = ["{text} It was [MASK].", "This film is [MASK] : {text}", "[MASK] news: {text}", "{text} [MASK]"]
WORDS = st.lists(st.sampled_from("a wonderful film , the sun rises ... in 's 42 east".split()), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(tokenizer_folder)


@pytest.mark.parametrize(
    ("written", "has_pair", "expected"),
    [
        ("It was [MASK].", False, "{text} It was [MASK]."),
        ("Is it so? [MASK]", True, "{text} {text_pair} Is it so? [MASK]"),
        ("  A [MASK]   film:{text}", False, "A [MASK] film: {text}"),
        ("{text} ? [MASK], {text_pair}", True, "{text} ? [MASK], {text_pair}"),
    ],
)
def test_a_pattern_is_completed(written: str, has_pair: bool, expected: str) -> None:
    pattern = read_pattern(written, has_pair=has_pair)
    assert pattern.written == expected
    assert read_pattern(pattern.written, has_pair=has_pair) == pattern


@pytest.mark.parametrize(
    ("written", "has_pair", "sentence"),
    [
        ("{text} It was great.", False, "has no [MASK]; put one in place of the answer"),
        ("[MASK] {text} [MASK]", False, "has 2 times [MASK]"),
        ("{text} {text} [MASK]", False, "has 2 times {text}; expected it once"),
        ("{text} [MASK] {text_pair}", False, "has {text_pair}, and the rows have a single text"),
        ("{text} [MASK]", True, "has no {text_pair}, and the rows have two texts"),
        ("{text_pair} [MASK]", True, "has no {text}, and the rows have two texts"),
    ],
)
def test_a_pattern_that_cannot_work_gets_a_sentence(written: str, has_pair: bool, sentence: str) -> None:
    with pytest.raises(UsageError, match=f".*{_escaped(sentence)}"):
        read_pattern(written, has_pair=has_pair)


@given(words=WORDS, written=st.sampled_from(PATTERNS))
def test_the_ids_are_those_of_the_whole_sentence(tokenizer: Tokenizer, words: list[str], written: str) -> None:
    pattern, text = read_pattern(written), " ".join(words)
    ids = PatternEncoder(tokenizer, pattern, 200).encode(text)
    assert ids == tokenizer.encode_for_fill(pattern.fill_in(text)).ids
    assert ids.count(tokenizer.mask_id) == 1


@given(first=WORDS, second=WORDS, room=st.integers(24, 60))
def test_both_texts_are_cut_and_the_pattern_stays(
    tokenizer: Tokenizer, first: list[str], second: list[str], room: int
) -> None:
    pattern = read_pattern("{text} ? [MASK] , {text_pair}", has_pair=True)
    texts = [" ".join(words) for words in (first, second)]
    encoder = PatternEncoder(tokenizer, pattern, room)
    ids = encoder.encode(*texts)
    lengths = [len(tokenizer.encode(text)) - 2 for text in texts]
    empty = encoder.encode("", "")
    around, before = len(empty), empty.index(tokenizer.mask_id)
    assert len(ids) == min(room, around + sum(lengths))
    first_kept = ids.index(tokenizer.mask_id) - before
    kept = (first_kept, len(ids) - around - first_kept)
    for own, length, other in ((kept[0], lengths[0], kept[1]), (kept[1], lengths[1], kept[0])):
        assert own == length or own >= other - 1  # only the longer one is cut, down to the other's length


@given(words=WORDS, written=st.sampled_from(PATTERNS), room=st.integers(30, 60))
def test_the_offsets_are_those_of_the_whole_sentence(
    tokenizer: Tokenizer, words: list[str], written: str, room: int
) -> None:
    pattern, text = read_pattern(written), " ".join(words)
    encoder = PatternEncoder(tokenizer, pattern, room)
    sentence, encoded, kept = encoder.encode_with_offsets(text)
    whole = tokenizer.encode_for_fill(sentence)
    assert sentence == pattern.fill_in(text)
    assert encoded.ids == whole.ids
    covered = {place for start, end in encoded.offsets for place in range(start, end)}
    assert covered.issuperset(place for place, sign in enumerate(sentence) if not sign.isspace())
    spans = [
        (sentence[a:b].strip(), sentence[c:d].strip()) for (a, b), (c, d) in zip(*_spans(encoded, whole), strict=True)
    ]
    assert all(own == expected or not expected for own, expected in spans)  # a blank alone is a token of its own
    assert [encoded.ids[place] for place in kept] == encoder.encode(text)


@pytest.fixture(scope="module")
def without_frame(endless_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer that puts nothing around a text and has a mask token."""
    backend = load_tokenizer(endless_model).backend
    backend.add_special_tokens(["<mask>"])
    folder = tmp_path_factory.mktemp("without-frame")
    backend.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder)


@given(words=WORDS, written=st.sampled_from(["{text} It was [MASK].", "{text} [MASK]", "It was [MASK]. {text}"]))
def test_a_tokenizer_may_put_nothing_around_a_text(without_frame: Tokenizer, words: list[str], written: str) -> None:
    tokenizer, pattern, text = without_frame, read_pattern(written), " ".join(words)
    encoder = PatternEncoder(tokenizer, pattern, 24)
    ids = encoder.encode(text)
    assert tokenizer.num_around == (0, 0) and len(ids) <= 24
    assert ids.count(tokenizer.mask_id) == 1 and -1 not in ids
    sentence, encoded, kept = encoder.encode_with_offsets(text)
    assert (len(ids) < 24) <= (len(kept) == len(encoded.ids))
    assert [encoded.ids[place] for place in kept] == ids
    assert len(encoded.ids) == len(encoded.offsets)
    if pattern.parts[0] == "{text}":  # a text elsewhere has no blank before its first word here
        assert encoded.ids == tokenizer.encode_for_fill(sentence).ids


def test_special_tokens_typed_in_a_text_are_plain_text(tokenizer: Tokenizer) -> None:
    ids = PatternEncoder(tokenizer, read_pattern("{text} It was [MASK]."), 100).encode("a [MASK] film [EOS]")
    assert ids.count(tokenizer.mask_id) == 1
    assert ids.count(tokenizer.eos_id) == 1


def test_a_pattern_without_room_for_a_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match=r"leaves \d+ of 12 tokens for the text"):
        PatternEncoder(tokenizer, read_pattern("the sun rises in the east and the [MASK] film {text}"), 12)


def _spans(*encoded: EncodedText) -> list[list[tuple[int, int]]]:
    return [each.offsets for each in encoded]


def _escaped(sentence: str) -> str:
    import re

    return re.escape(sentence)
