"""Text that comes token by token consists of whole characters and adds up to the whole text, for every tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.tokenizer.stream_decoder import StreamDecoder
from pretune.text.tokenizer.tokenizer import Tokenizer

TEXTS = ["The sun rises in the east.", "Das Buch ist großartig, aber kurz.", "warm 🙂 und naïve 漢字, don't!"]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "words"])
def tokenizer(request: pytest.FixtureRequest, train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    return train_tokenizer(TEXTS * 20, request.param)


@settings(max_examples=60)
@given(st.data())
def test_the_parts_are_the_whole(tokenizer: Tokenizer, data: st.DataObject) -> None:
    text = " ".join(data.draw(st.lists(st.sampled_from(" ".join(TEXTS).split()), min_size=1, max_size=8)))
    ids = [i for i in tokenizer.encode(text) if i not in tokenizer.all_special_ids]
    at = data.draw(st.integers(0, len(ids)))
    before, after = ids[:at], ids[at:]
    decoder = StreamDecoder(tokenizer, before)
    parts = [*(decoder.add(token) for token in after), decoder.finish()]
    if "\ufffd" in tokenizer.decode(before):  # it was cut inside a character
        return
    assert tokenizer.decode(before) + "".join(parts) == tokenizer.decode(ids)
    assert all("\ufffd" not in part for part in parts)


def test_a_character_of_several_tokens_comes_whole(train_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = train_tokenizer(["plain words"] * 20)  # no token for more than a byte of these
    ids = tokenizer.encode("a 🙂 b")[1:-1]
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.add(token) for token in ids]
    assert "🙂" in "".join(parts) and "".join(parts) == "a 🙂 b"
    assert sum("🙂" in part for part in parts) == 1 and "" in parts
    cut = StreamDecoder(tokenizer)
    assert "".join(map(cut.add, ids[:4])) + cut.finish() == "a "


def test_bytes_that_are_no_text_do_not_hold_the_rest_back(train_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = train_tokenizer(["plain words"] * 20)
    first_byte = tokenizer.encode("🙂")[2]
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.add(token) for token in [first_byte] * 9 + tokenizer.encode("plain")]
    assert "".join(parts).endswith("plain") and any(parts[:5])


def test_special_tokens_have_no_text(tokenizer: Tokenizer) -> None:
    decoder = StreamDecoder(tokenizer, tokenizer.encode("The sun"))
    assert [decoder.add(token) for token in tokenizer.special_ids.values()] == [""] * len(tokenizer.special_ids)
