from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import CorruptModelError, ModelNotFoundError
from pretune.text.clean.normalize import clean_text
from pretune.text.tokenizer.encoder import CleanTextEncoder
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle, load_tokenizer

TEXTS = [
    "The sun rises in the east.",
    "The moon doesn't rise in the west, he said.",
    "Über den Wolken: straße, naïve façade, 東京, 😀!",
    "What a film! The acting was great (really).",
] * 12
HARD = ["", " ", "  the  sun ", "[MASK]", "a [BOS] b", "😀", "é" * 3, "東京\n\nthe sun<br />rises", "x" * 200, "1234.5"]


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "words", "bpe lowercase", "wordpiece lowercase"])
def tokenizer(request: pytest.FixtureRequest, train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    kind, *lowercase = request.param.split()
    return train_tokenizer(TEXTS, kind, lowercase=bool(lowercase))


@pytest.fixture(scope="module")
def bpe(train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
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


@settings(max_examples=150)
@given(text=st.text(max_size=60))
def test_bpe_returns_every_clean_text(bpe: Tokenizer, text: str) -> None:
    text = clean_text(text)
    assert bpe.decode(bpe.encode(text)) == text


@pytest.fixture(scope="module")
def wordpiece(train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    return train_tokenizer(TEXTS * 3, "wordpiece")


@settings(max_examples=100)
@given(texts=st.lists(st.text(max_size=40).map(clean_text), max_size=6), is_bpe=st.booleans())
def test_the_fast_encoder_gives_the_same_ids(
    bpe: Tokenizer, wordpiece: Tokenizer, texts: list[str], is_bpe: bool
) -> None:
    tokenizer = bpe if is_bpe else wordpiece
    encoder = CleanTextEncoder(tokenizer)
    for _ in range(2):  # the second time from the table
        tokens, lengths = encoder.encode(texts)
        expected = tokenizer.encode_batch(texts)
        assert encoder.is_exact
        assert tokens.tolist() == [i for ids in expected for i in ids]
        assert lengths.tolist() == [len(ids) for ids in expected]


def test_the_fast_encoder_knows_when_it_is_wrong(bpe: Tokenizer) -> None:
    encoder = CleanTextEncoder(bpe)
    unclean = ["the sun\trises"]  # a tab is not a blank to it
    tokens, _ = encoder.encode([*TEXTS[:2], *unclean])
    expected = bpe.encode_batch([*TEXTS[:2], *unclean])
    assert tokens.tolist() == [i for ids in expected for i in ids]


def test_fill_gives_the_same_subwords_as_hiding_a_word(bpe: Tokenizer) -> None:
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


def test_encode_truncated_returns_whether_it_cut(bpe: Tokenizer) -> None:
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


def test_wordpiece_continues_inside_a_word(wordpiece: Tokenizer) -> None:
    text = "The sunrise (東京)."
    encoded = wordpiece.encode_with_offsets(text)
    surfaces = wordpiece.surfaces(encoded.ids)
    assert surfaces[:3] == ["[BOS]", "The", "sun"]
    assert surfaces[-5:] == ["東", "京", ")", ".", "[EOS]"]  # ideographs are words, as in BERT
    for token_id, surface, (start, end) in zip(encoded.ids[1:-1], surfaces[1:-1], encoded.offsets[1:-1], strict=True):
        assert text[start:end] == surface.removeprefix("##")
        assert bool(wordpiece.starts_word[token_id]) != surface.startswith("##")
        assert bool(wordpiece.is_sentence_end[token_id]) == (surface == ".")
    assert wordpiece.decode(wordpiece.encode("The sun rises")) == "The sun rises"
    assert wordpiece.encode("☃")[1:-1] == [wordpiece.unk_id]
    assert wordpiece.encode("s" * 101)[1:-1] == [wordpiece.unk_id]  # longer than BERT's longest word


def test_fill_of_wordpiece_gives_the_same_subwords_as_hiding_a_word(wordpiece: Tokenizer) -> None:
    ids = wordpiece.encode("The sun rises in the east.")
    place = wordpiece.surfaces(ids).index("east")
    hidden = [*ids[:place], wordpiece.mask_id, *ids[place + 1 :]]
    assert wordpiece.encode_for_fill("The sun rises in the [MASK].").ids == hidden
    assert wordpiece.mask_id not in wordpiece.encode("The sun rises in the [MASK].")
