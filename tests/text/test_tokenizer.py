import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import CorruptModelError, InputDataError, ModelNotFoundError
from pretune.text.encoding import CleanTextEncoder
from pretune.text.normalize import clean_text
from pretune.text.tokenizer import Tokenizer, cut_middle, load_tokenizer, train_tokenizer

TEXTS = [
    "The sun rises in the east.",
    "The moon doesn't rise in the west, he said.",
    "Über den Wolken: straße, naïve façade, 東京, 😀!",
    "What a film! The acting was great (really).",
] * 12
HARD = ["", " ", "  the  sun ", "[MASK]", "a [BOS] b", "😀", "é" * 3, "東京\n\nthe sun<br />rises", "x" * 200, "1234.5"]


@pytest.fixture(scope="module", params=["bpe", "words", "bpe lowercase"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    kind, *lowercase = request.param.split()
    return train_tokenizer(TEXTS, kind, lowercase=bool(lowercase))


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return train_tokenizer(TEXTS)


def test_special_tokens_have_the_first_ids(tokenizer: Tokenizer) -> None:
    ids = list(tokenizer.special_ids.values())
    assert ids == list(range(len(ids)))
    assert tokenizer.first_ordinary_id == len(ids)
    assert (tokenizer.unk_id is None) == (tokenizer.kind == "bpe")


@pytest.mark.parametrize("text", HARD)
def test_typed_special_tokens_are_plain_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_id
    assert ids[-1] == tokenizer.eos_id
    special = set(tokenizer.special_ids.values()) - {tokenizer.unk_id}
    assert not special & set(ids[1:-1])


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_bpe_returns_every_clean_text(bpe: Tokenizer, text: str) -> None:
    text = clean_text(text)
    assert bpe.decode(bpe.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=40).map(clean_text), max_size=6))
def test_the_fast_encoder_gives_the_same_ids(bpe: Tokenizer, texts: list[str]) -> None:
    encoder = CleanTextEncoder(bpe)
    for _ in range(2):  # the second time from the table
        tokens, lengths = encoder.encode(texts)
        expected = bpe.encode_batch(texts)
        assert encoder.is_exact
        assert tokens.tolist() == [i for ids in expected for i in ids]
        assert lengths.tolist() == [len(ids) for ids in expected]


def test_the_fast_encoder_knows_when_it_is_wrong(bpe: Tokenizer) -> None:
    encoder = CleanTextEncoder(bpe)
    unclean = ["the sun\trises"]  # a tab is no blank to it
    tokens, _ = encoder.encode([*TEXTS[:2], *unclean])
    expected = bpe.encode_batch([*TEXTS[:2], *unclean])
    assert tokens.tolist() == [i for ids in expected for i in ids]


def test_fill_gives_the_pieces_that_hiding_a_word_gives(bpe: Tokenizer) -> None:
    ids = bpe.encode("The sun rises in the east.")
    place = bpe.surfaces(ids).index(" the")
    hidden = [*ids[:place], bpe.mask_id, *ids[place + 1 :]]
    assert bpe.encode_for_fill("The sun rises in [MASK] east.").ids == hidden
    end = bpe.encode("sun.")
    assert bpe.encode_for_fill("the [MASK].").ids == [*bpe.encode("the")[:-1], bpe.mask_id, *end[-2:]]


def test_offsets_give_the_surfaces_of_the_text(bpe: Tokenizer) -> None:
    text = "The sun, 東京 😀!"
    encoded = bpe.encode_with_offsets(text)
    assert encoded.ids == bpe.encode(text)
    assert encoded.offsets[0] == encoded.offsets[-1] == (0, 0)
    assert "".join(dict.fromkeys(text[a:b] for a, b in encoded.offsets if (a, b) != (0, 0))).startswith("The sun,")
    assert all(0 <= a <= b <= len(text) for a, b in encoded.offsets)


def test_white_space_breaks_and_unicode_forms_change_no_id(tokenizer: Tokenizer) -> None:
    expected = tokenizer.encode("The façade rises.")
    assert tokenizer.encode(" The\n\nfac\u0327ade<br /><br />rises. ") == expected


def test_cut_keeps_head_and_tail() -> None:
    ids = list(range(100))
    cut = cut_middle(ids, 20)
    assert cut == [*range(5), *range(85, 100)]
    assert cut_middle(ids, 100) is ids


def test_encode_truncated_says_whether_it_cut(bpe: Tokenizer) -> None:
    ids, was_cut = bpe.encode_truncated("the sun " * 100, 32)
    assert (len(ids), was_cut) == (32, True)
    assert (ids[0], ids[-1]) == (bpe.bos_id, bpe.eos_id)
    assert bpe.encode_truncated("the sun", 32) == (bpe.encode("the sun"), False)


def test_word_starts_and_sentence_ends(bpe: Tokenizer) -> None:
    ids = bpe.encode("The sun.")
    starts = bpe.starts_word[ids]
    assert bool(starts[1])
    assert not starts[0]
    assert bool(bpe.is_sentence_end[ids[-2]])
    assert not bpe.is_sentence_end[: bpe.first_ordinary_id].any()


def test_a_small_text_gets_a_small_vocabulary(bpe: Tokenizer) -> None:
    assert 260 < bpe.vocab_size < 400


def test_a_vocabulary_that_the_text_does_not_support_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"supports a vocabulary of [\d,]+ tokens, and 5,000 were asked for"):
        train_tokenizer(TEXTS, vocab_size=5000)


def test_training_is_deterministic_and_scaling_changes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the {'very ' * (i % 3)}old house number {i} is {'red' if i % 2 else 'blue'}." for i in range(2000)]
    one, two = train_tokenizer(texts), train_tokenizer(iter(texts))
    assert one.backend.to_str() == two.backend.to_str()
    monkeypatch.setattr("pretune.text.tokenizer.TRAINING_CHARACTERS", 20_000)
    scaled = train_tokenizer(texts)
    same = set(one.backend.get_vocab()) & set(scaled.backend.get_vocab())
    assert len(same) > 0.9 * one.vocab_size


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert [loaded.encode(text) for text in HARD] == [tokenizer.encode(text) for text in HARD]
    assert loaded.kind == tokenizer.kind
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorruptModelError, match=r"tokenizer.json is damaged"):
        load_tokenizer(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"has no tokenizer.json"):
        load_tokenizer(tmp_path / "elsewhere")


def test_transformers_loads_the_folder_unchanged(tokenizer: Tokenizer, tmp_path: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["The sun rises in the [MASK].", *(text for text in HARD if "[" not in text), *TEXTS[:4]]:
        encoded = theirs(text)
        assert encoded["input_ids"] == tokenizer.encode_for_fill(text).ids
        assert set(encoded) == {"input_ids", "attention_mask"}
    assert (theirs.pad_token_id, theirs.mask_token_id) == (tokenizer.pad_id, tokenizer.mask_id)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)
    assert theirs.model_max_length == 512
    clean = "The sun rises in the east."
    if tokenizer.kind == "bpe" and "Lowercase" not in repr(tokenizer.backend.normalizer):
        assert theirs.decode(theirs(clean)["input_ids"], skip_special_tokens=True) == clean
