"""A foreign tokenizer encodes as it would by itself, and typed special tokens stay text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pretune.data.special_ids import special_ids
from pretune.text.tokenizer.encoder import CleanTextEncoder
from pretune.text.tokenizer.fast_encoder import can_encode
from pretune.text.tokenizer.rows import encode_rows
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle, load_tokenizer

KINDS = {"bert": "wordpiece", "roberta": "bpe", "xlm-roberta": "sentencepiece"}
LONG = "The waiter was rude and the hotel was cold. " * 5
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "<s>", "</s>", "<mask>", "<pad>", "<unk>"]


@pytest.fixture(scope="module", params=list(KINDS))
def tokenizer(request: pytest.FixtureRequest, public_model: Callable[..., Path]) -> Tokenizer:
    return load_tokenizer(public_model(request.param))


def names(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    return [str(tokenizer.backend.id_to_token(token_id)) for token_id in ids]


def test_a_text_stands_between_what_the_post_processor_adds(tokenizer: Tokenizer) -> None:
    row = tokenizer.encode("the hotel")
    frame = ("[CLS]", "[SEP]") if tokenizer.kind == "wordpiece" else ("<s>", "</s>")
    assert (names(tokenizer, row)[0], names(tokenizer, row)[-1]) == frame
    assert (row[0], row[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
    assert tokenizer.kind in KINDS.values()
    assert not tokenizer.is_own


def test_a_text_that_has_an_end_gets_no_other_one_as_a_document(tokenizer: Tokenizer) -> None:
    texts = ["the hotel", "the waiter was rude"]
    assert tokenizer.end_id == tokenizer.eos_id
    assert tokenizer.encode_documents(texts) == tokenizer.encode_batch(texts)
    assert tokenizer.num_special_of_document == 2


def test_a_document_ends_with_the_token_that_the_settings_name(endless_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(endless_model)
    assert names(tokenizer, [tokenizer.end_id]) == ["<|endoftext|>"]
    text = "the <|endoftext|> was cold"  # typed, so it is text
    ids = tokenizer.encode(text)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (-1, -1) and tokenizer.end_id not in ids  # a text has no end
    assert tokenizer.encode_documents([text, "a"]) == [[*ids, tokenizer.end_id], [*tokenizer.encode("a"), 0]]
    assert tokenizer.decode(tokenizer.encode_documents([text])[0]) == text
    tokens, lengths = CleanTextEncoder(tokenizer).encode([text])
    assert (tokens.tolist(), lengths.tolist()) == ([*ids, tokenizer.end_id], [len(ids) + 1])
    shutil.copyfile(endless_model / "tokenizer.json", tmp_path / "tokenizer.json")
    unnamed = load_tokenizer(tmp_path)
    assert unnamed.end_id == -1 and unnamed.encode_documents([text]) == [ids]
    assert (tokenizer.num_special_of_document, unnamed.num_special_of_document) == (1, 0)


def test_its_own_cutting_and_padding_is_off(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(LONG)) > 20
    assert len(tokenizer.encode("the")) < 10


def test_typed_special_tokens_are_text(tokenizer: Tokenizer) -> None:
    for name in SPECIAL:
        inside = tokenizer.encode(f"the {name} hotel")[1:-1]
        assert not set(inside) & (tokenizer.all_special_ids - {tokenizer.unk_id}), name


def test_mask_stands_for_the_mask_token_where_it_is_asked_for(tokenizer: Tokenizer) -> None:
    text = "the [MASK] was cold"
    encoded = tokenizer.encode_for_fill(text)
    assert encoded.ids.count(tokenizer.mask_id) == 1
    start, end = encoded.offsets[encoded.ids.index(tokenizer.mask_id)]
    assert text[start:end].strip() == "[MASK]"
    assert tokenizer.encode(text).count(tokenizer.mask_id) == 0


def test_ordinary_tokens_begin_after_the_special_ones(tokenizer: Tokenizer) -> None:
    assert tokenizer.first_ordinary_id == (5 if tokenizer.kind == "wordpiece" else 4)
    assert all(token_id >= tokenizer.first_ordinary_id for token_id in tokenizer.encode("the hotel")[1:-1])


def test_the_middle_is_cut_between_the_special_tokens(tokenizer: Tokenizer) -> None:
    row = tokenizer.encode(LONG)
    cut = cut_middle(row, 12)
    assert (len(cut), cut[0], cut[-1]) == (12, tokenizer.bos_id, tokenizer.eos_id)


@pytest.mark.parametrize("room", [14, 20])
def test_a_long_pair_keeps_every_special_token_of_its_template(tokenizer: Tokenizer, room: int) -> None:
    [whole] = encode_rows(tokenizer, [("the hotel", "was cold")], 500)
    assert whole == tokenizer.backend.encode("the hotel", "was cold").ids
    [row] = encode_rows(tokenizer, [(LONG, LONG)], room)
    expected = [i for i in tokenizer.backend.encode("", "").ids]
    assert len(row) == room
    assert [i for i in row if i in tokenizer.all_special_ids and i != tokenizer.unk_id] == expected


def test_whether_a_token_stands_between_two_texts(
    tokenizer: Tokenizer, endless_model: Path, tokenizer_folder: Path
) -> None:
    assert tokenizer.separates_pairs
    assert load_tokenizer(tokenizer_folder).separates_pairs
    assert not load_tokenizer(endless_model).separates_pairs


def test_surfaces_are_the_text_of_the_tokens(tokenizer: Tokenizer) -> None:
    text = "A wonderful film, warm and funny."
    encoded = tokenizer.encode_with_offsets(text)
    joined = "".join(surface.removeprefix("##") for surface in tokenizer.surfaces(encoded.ids[1:-1]))
    expected = text.lower() if tokenizer.kind == "wordpiece" else text
    assert joined.replace(" ", "") == expected.replace(" ", "")
    assert tokenizer.decode(encoded.ids).replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("word", [" hotels", " wonderfully"])
def test_only_the_first_token_of_a_word_starts_it(tokenizer: Tokenizer, word: str) -> None:
    text = "The hotels were wonderfully warm."
    place = range(text.index(word), text.index(word) + len(word))
    encoded = tokenizer.encode_with_offsets(text)
    inside = [i for i, (start, _) in zip(encoded.ids, encoded.offsets, strict=True) if start in place]
    assert len(inside) > 1
    assert tokenizer.starts_word[inside].tolist() == [True, *[False] * (len(inside) - 1)]


def test_fast_encoders_leave_the_work_to_it(tokenizer: Tokenizer) -> None:
    assert not can_encode(tokenizer)
    ids, lengths = CleanTextEncoder(tokenizer).encode(["the hotel", "was cold"])
    assert ids.tolist() == tokenizer.encode("the hotel") + tokenizer.encode("was cold")
    assert lengths.sum() == len(ids)


def test_roles_come_from_the_settings_beside_it(public_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(public_model("bert"), folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": {"content": "[UNK]"}, "pad_token": 3}))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.mask_id == tokenizer.backend.token_to_id("[UNK]")
    assert tokenizer.pad_id == tokenizer.backend.token_to_id("[PAD]")
    (folder / "special_tokens_map.json").unlink()
    assert load_tokenizer(folder).mask_id == tokenizer.backend.token_to_id("[MASK]")


def test_an_ordinary_token_that_pads_stands_for_text(unpadded_model: Path) -> None:
    tokenizer = load_tokenizer(unpadded_model)
    [exclamation] = tokenizer.encode("!")[1:]
    assert exclamation == tokenizer.pad_id == tokenizer.first_ordinary_id == 0
    special = [tokenizer.backend.token_to_id(name) for name in ("<|begin_of_text|>", "<|end_of_text|>")]
    assert tokenizer.all_special_ids == frozenset(special)
    assert special_ids(tokenizer).are_ordinary(np.array([0, 1, *special])).tolist() == [True, True, False, False]
    assert tokenizer.token_bytes[0] == b"!" and bool(tokenizer.is_sentence_end[0])
    assert tokenizer.decode([0, 0]) == "!!"


def test_our_own_tokenizers_are_told_apart(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    assert tokenizer.is_own
    assert tokenizer.all_special_ids == frozenset(tokenizer.special_ids.values())
    assert tokenizer.hiding_id == tokenizer.mask_id
