"""A checkpoint folder goes unchanged into transformers' AutoTokenizer and pipelines, and they give our numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pretune.inference.load import load_classifier, load_filler
from pretune.text.tokenizer.tokenizer import Tokenizer, TokenizerKind

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

TEXTS = [
    "A wonderful film, warm and funny.",
    "The hotel was dreadful: cold soup, noisy rooms, and we never liked the food that the rude waiter brought us.",
    "x",
    "Großartig! 🙂 電話",
    "  two  blanks ",
    "special [MASK] words [PAD] typed [EOS] by a user",
    "",
]
MASKED = [
    "The sun rises in the [MASK].",
    "[MASK] bought this phone in May; the battery lasts two days!",
    "A wonderful [MASK], warm and funny, and the hotel was dreadful",
]


@pytest.fixture(scope="module")
def classifier_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that what transformers does there cannot matter to other tests."""
    return Path(shutil.copytree(run_folder / "finetune" / "checkpoint", tmp_path_factory.mktemp("c") / "model"))


@pytest.fixture(scope="module")
def language_model_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(run_folder / "pretrain" / "checkpoint", tmp_path_factory.mktemp("m") / "model"))


def test_auto_tokenizer_gives_our_ids(classifier_folder: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(classifier_folder)
    ours = load_classifier(classifier_folder).tokenizer
    assert [theirs(text)["input_ids"] for text in TEXTS] == [ours.encode(text) for text in TEXTS]
    ids = (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id, theirs.mask_token_id)
    assert ids == (ours.pad_id, ours.bos_id, ours.eos_id, ours.mask_id)
    assert theirs.model_max_length == 512
    assert set(theirs("a")) == {"input_ids", "attention_mask"}


def test_auto_tokenizer_knows_the_mask_of_a_language_model(language_model_folder: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(language_model_folder)
    ours = load_filler(language_model_folder).tokenizer
    assert [theirs(text)["input_ids"] for text in MASKED] == [ours.encode_for_fill(text).ids for text in MASKED]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "words"])
def test_auto_tokenizer_of_every_kind(
    tmp_path: Path, kind: TokenizerKind, train_tokenizer: Callable[..., Tokenizer]
) -> None:
    ours = train_tokenizer(TEXTS * 30, kind=kind, vocab_size=None, lowercase=True)
    ours.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "eurobert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["A WONDERFUL film,", "unheard-of words 🙂", *MASKED]:
        assert theirs(text)["input_ids"] == ours.encode_for_fill(text).ids


@pytest.mark.parametrize("batch_size", [1, 4])
def test_text_classification_pipeline(classifier_folder: Path, batch_size: int) -> None:
    pipeline = transformers.pipeline("text-classification", model=str(classifier_folder), device="cpu", top_k=None)
    for found, ours in zip(
        pipeline(TEXTS, batch_size=batch_size), load_classifier(classifier_folder).predict(TEXTS), strict=True
    ):
        if ours.is_empty:  # a blank text, which the pipeline labels all the same
            continue
        theirs = {each["label"]: each["score"] for each in found}
        assert theirs == pytest.approx(ours.probabilities, abs=1e-5)
        assert found[0]["label"] == ours.label


@pytest.mark.parametrize("batch_size", [1, 3])
def test_fill_mask_pipeline(language_model_folder: Path, batch_size: int) -> None:
    pipeline = transformers.pipeline("fill-mask", model=str(language_model_folder), device="cpu", top_k=20)
    filler = load_filler(language_model_folder)
    for text, found in zip(MASKED, pipeline(MASKED, batch_size=batch_size), strict=True):
        ours = {word.token_id: word for word in filler.fill(text, top=1000)[0]}
        ordinary = [each for each in found if each["token"] in ours]
        assert len(ordinary) >= 16
        for each in ordinary:
            assert each["score"] == pytest.approx(ours[each["token"]].probability, abs=1e-5)


def test_padded_batch_of_a_masked_language_model(language_model_folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(language_model_folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(language_model_folder).eval()
    batch = tokenizer(MASKED, padding=True, return_tensors="pt")
    assert (batch["attention_mask"] == 0).any()
    with torch.no_grad():
        logits = model(**batch).logits
    filler = load_filler(language_model_folder)
    for row, text in enumerate(MASKED):
        place = int((batch["input_ids"][row] == tokenizer.mask_token_id).nonzero()[0, 0])
        theirs = torch.softmax(logits[row, place], dim=-1)
        torch.testing.assert_close(filler.predict_masked(text)[0], theirs, atol=1e-5, rtol=0)
