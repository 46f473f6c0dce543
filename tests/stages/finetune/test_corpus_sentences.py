"""Which sentences of a corpus a student reads: of what length, of which documents, and none of a labelled row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import UsageError
from pretune.runtime.stage_folder import open_stage
from pretune.stages.finetune.corpus_sentences import Sentences, join_sentences, middle_of, read_sentences, thin
from pretune.text.document_store import CorpusWriter
from pretune.text.sentences import split_sentences
from pretune.text.tokenizer.tokenizer import load_tokenizer

WORDS = "the film food hotel phone book was and very battery days".split()


def make(counts: list[int]) -> Sentences:
    """Sentences of documents with so many each; each text is a number of its own."""
    documents = np.repeat(np.arange(len(counts)), counts)
    return Sentences(texts=[str(row) for row in range(len(documents))], documents=documents)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 4000))
def test_as_many_sentences_as_asked_for_or_all_that_there_are(counts: list[int], most: int) -> None:
    given = make(counts)
    found = thin(given, most)
    assert len(found.texts) == len(found.documents) == min(most, sum(counts))
    rows = [int(text) for text in found.texts]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(given.documents[rows], found.documents)
    for document in set(found.documents.tolist()):  # neighbours, which smoothing needs
        of_document = [row for row, number in zip(rows, found.documents, strict=True) if number == document]
        assert of_document == list(range(of_document[0], of_document[-1] + 1))


@given(st.lists(st.integers(1, 20), min_size=200, max_size=400), st.integers(200, 1000))
def test_ordinary_documents_are_taken_whole_and_from_all_parts(counts: list[int], most: int) -> None:
    found = thin(make(counts), most)
    taken, kept = np.unique(found.documents, return_counts=True)
    assert (kept < np.array(counts)[taken]).sum() <= 1
    gaps = np.diff([-1, *taken, len(counts)])
    assert gaps.max() <= 6 * len(counts) / len(taken) + 1


@pytest.mark.parametrize(
    ("counts", "most", "num_documents"),
    [([100_000], 60_000, 1), ([10, 100_000], 60_000, 2), ([100_000] * 5, 60_000, 5), ([5000] * 1000, 60_000, 600)],
    ids=str,
)
def test_long_documents_give_a_stretch_each(counts: list[int], most: int, num_documents: int) -> None:
    found = thin(make(counts), most)
    assert len(found.texts) == most
    assert len(set(found.documents.tolist())) == num_documents


def test_short_sentences_are_joined_up_to_the_usual_length() -> None:
    text = "One two. Three four.\n Five six seven eight. Nine."
    sentences = [("One two.", 4), ("Three four.", 4), ("Five six seven eight.", 6), ("Nine.", 3)]
    joined = join_sentences(text, sentences, 2, 6.0, 8.0)
    assert joined == [("One two. Three four.", 6), ("Five six seven eight.", 6), ("Nine.", 3)]
    assert join_sentences(text, sentences, 2, 20.0, 30.0) == [(text, 11)]


@given(st.integers(1, 400), st.integers(1, 3000))
def test_the_middle_of_a_text_has_whole_sentences(count: int, room: int) -> None:
    text = document(0, count)
    middle = middle_of(text, room)
    assert len(middle) <= max(room, 0)
    of_text, of_middle = split_sentences(text), split_sentences(middle)
    assert middle == text if len(text) <= room else len(of_middle) < count
    start = of_text.index(of_middle[0]) if of_middle else 0
    assert of_middle == of_text[start : start + len(of_middle)]


@dataclass
class Corpus:
    """A corpus of some documents, and rows with a text each, as the stage has them."""

    folder: Path
    tokenizer: Any

    def read(self, most: int, **rows: list[str]) -> Sentences:
        given = {split: [{"text": text} for text in texts] for split, texts in rows.items()}
        data: Any = SimpleNamespace(rows=given, tokenizer=self.tokenizer)
        return read_sentences(self.folder, data, most)


@pytest.fixture
def make_corpus(tmp_path: Path, tokenizer_folder: Path) -> Callable[[list[str]], Corpus]:
    def make_corpus(documents: list[str]) -> Corpus:
        folder = open_stage(tmp_path / "preprocess", "preprocess", config={}, inputs={}, redo=False)
        with CorpusWriter(folder.path) as writer:
            for text in documents:
                writer.write(text, split="train")
            writer.write(document(90_000, 50), split="validation")
        tokenizer = load_tokenizer(tokenizer_folder)
        folder.finish(train_documents=len(documents), train_tokens=sum(map(len, tokenizer.encode_batch(documents))))
        return Corpus(folder.path, tokenizer)

    return make_corpus


def sentence(number: int) -> str:
    return f"The {WORDS[number % 11]} was {WORDS[number // 11 % 11]} and {WORDS[number // 121 % 11]} {number}."


# What occurs nowhere else, of lengths that are more different than those of other sentences.
ROWS = ["the film"] * 2 + [sentence(number) for number in range(80_000, 80_016)] + [" ".join(WORDS * 2)] * 2


def document(first: int, count: int) -> str:
    return " ".join(sentence(number) for number in range(first, first + count))


def test_labelled_rows_and_repeated_sentences_are_left_out(make_corpus: Callable[[list[str]], Corpus]) -> None:
    """Also as a tokenised row, with blanks before its marks."""
    corpus = make_corpus([f"{document(10 * number, 10)} It's very fine, always." for number in range(60)])
    known = {split: sentence(number) for split, number in (("train", 3), ("validation", 44), ("test", 105))}
    rows = {split: [text.lower().replace(".", " .")] for split, text in known.items()}
    rows["train"] += ROWS
    found = corpus.read(10_000, **rows)
    assert len(found.texts) > 500
    assert not set(known.values()) & set(found.texts)
    assert found.texts.count("It's very fine, always.") == 1
    rows["test"] += ["it 's very fine , always ."]
    assert "It's very fine, always." not in corpus.read(10_000, **rows).texts


def test_a_few_long_documents_are_read_all(make_corpus: Callable[[list[str]], Corpus]) -> None:
    corpus = make_corpus([document(1000 * number, 500) for number in range(4)])
    found = corpus.read(300, train=ROWS)
    assert len(found.texts) == 300
    assert len(set(found.documents.tolist())) >= 3
    assert not any(sentence(number) in found.texts for number in range(90_000, 90_050))  # of another split


def test_pictures_tell_sentences_apart(make_corpus: Callable[[list[str]], Corpus]) -> None:
    texts = [f"{document(10 * number, 10)} The film was 👍 👎!" for number in range(60)]
    found = make_corpus([*texts, "The film was 👍!"]).read(10_000, train=ROWS, test=["the film was 👍"])
    assert "The film was 👍 👎!" in found.texts
    assert "The film was 👍!" not in found.texts


def test_documents_that_are_shorter_than_the_mean_are_found(make_corpus: Callable[[list[str]], Corpus]) -> None:
    """A long document among many short ones: those that are read first have fewer sentences than usual."""
    corpus = make_corpus([*(document(10 * number, 3) for number in range(300)), document(5000, 2000)])
    found = corpus.read(400, train=ROWS)
    assert len(found.texts) == 400
    assert len(set(found.documents.tolist())) > 60


def test_rows_longer_than_a_sentence_find_stretches(make_corpus: Callable[[list[str]], Corpus]) -> None:
    corpus = make_corpus([document(100 * number, 100) for number in range(40)])
    found = corpus.read(250, train=[document(9000 + 10 * number, 4 + number % 3) for number in range(20)])
    assert len(found.texts) == 250
    assert {text.count(".") for text in found.texts} <= set(range(3, 10))


def test_too_few_sentences_are_counted(make_corpus: Callable[[list[str]], Corpus]) -> None:
    corpus = make_corpus([document(10 * number, 10) for number in range(15)])
    with pytest.raises(
        UsageError, match=r"found 150 sentences in .* tokens\) and not among them; expected at least 200"
    ):
        corpus.read(60_000, train=ROWS)
