"""The corpus of a student: which folder it is, and which of its sentences are read, of what length and from where.

Sentences are as long as the labelled rows usually are, and from all parts of the corpus, with neighbours enough from
each document to smooth over. ADR 0031 has the decision.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pretune.errors import UsageError
from pretune.model.hub import is_hub_name
from pretune.runtime.manifest import MANIFEST_NAME, read_manifest, read_manifest_if_any
from pretune.settings import LEAST_SENTENCES, FinetuneConfig
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.rows import texts_of
from pretune.text.document_store import iter_corpus
from pretune.text.sentences import split_sentences
from pretune.text.tokenizer.tokenizer import Tokenizer

_LENGTHS = (5, 95)  # percentiles of the labelled rows, between which a sentence is of a usual length
_SPARE = 1.5  # documents read for those whose sentences are too short, too long, or repeated
_STRETCH = 100  # sentences of one document, unless the others have too few: neighbours enough to smooth over
_EVEN_STEP = 0.5**0.5  # irrational: the parts after the point of its multiples fill the interval evenly
_CHARACTERS_OF_TOKEN = 5  # about
_BLOCK_CHARACTERS = 4_000_000

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """The texts that a student may read, and the number (N,) of the document of each."""

    texts: list[str]
    documents: IntArray


def choose_corpus(pretrained: Path, given: Path | None, config: FinetuneConfig) -> Path | None:
    """The corpus of a student, as `find_corpus` has it; None without self-training. Raises UsageError if one is given
    all the same."""
    if config.self_train:
        return find_corpus(pretrained, given)
    if given is not None:
        raise UsageError(f"The corpus {given} is given, which only --self-train reads; add it, or omit the corpus.")
    return None


def find_corpus(pretrained: Path, given: Path | None) -> Path:
    """The output folder of preprocess that was `given`, itself or by its run, or the one in the same run as the base.

    Raises UsageError if none is given and none is found, and InputDataError if what was given is none.
    """
    if given is not None:
        corpus = given / "preprocess" if (given / "preprocess" / MANIFEST_NAME).is_file() else given
        read_manifest(corpus, "preprocess")
        return corpus
    for run in () if is_hub_name(pretrained) else (pretrained, *pretrained.resolve().parents[:2]):
        base = read_manifest_if_any(run / "pretrain")
        found = read_manifest_if_any(run / "preprocess")
        if base is not None and found is not None and base.inputs.get("preprocessed") == found.fingerprint:
            return run / "preprocess"
    raise UsageError(
        f"--self-train needs unlabelled text, but there is no output folder of preprocess next to {pretrained}; name "
        "one with --corpus, or leave --self-train out."
    )


# -- the sentences -------------------------------------------------------------------------------------------------


def read_sentences(corpus: Path, data: PreparedRows, most: int) -> Sentences:
    """`most` sentences of the training documents of a corpus, or all if there are fewer, of documents that are evenly
    spread over it.

    They are as long as the labelled training rows usually are; a document that is no longer than that is taken as a
    whole. What has the letters of a labelled row, or of another sentence, is left out. Raises UsageError if there
    are too few to learn from.
    """
    summary = read_manifest(corpus, "preprocess").summary
    lengths = np.percentile(_lengths(data.tokenizer, [row["text"] for row in data.rows["train"]]), _LENGTHS)
    total = max(1, summary["train_documents"])
    usual = summary["train_tokens"] / total / max(1.0, lengths.mean())  # sentences of a document
    step = max(1, int(total / (_SPARE * most / min(max(1.0, usual), _STRETCH))))
    found = _find(corpus, data, step, _room(step * most / total, lengths[1]), *lengths.tolist())
    while step > 1 and (count := np.minimum(_counts(found), _STRETCH).sum()) < most:  # these documents have fewer
        step = max(1, min(step // 2, int(step * count / most / _SPARE)))
        found = _find(corpus, data, step, _room(step * most / total, lengths[1]), *lengths.tolist())
    if len(found.texts) < most:  # of all documents, so nothing is to be cut from them
        found = _find(corpus, data, step, sys.maxsize, *lengths.tolist())
    if len(found.texts) < LEAST_SENTENCES:
        shortest, longest = lengths.round().astype(int).tolist()
        raise UsageError(
            f"--self-train found {len(found.texts):,} sentences in {corpus} that are as long as the labelled rows "
            f"usually are ({shortest:,} to {longest:,} tokens) and not among them; expected at least "
            f"{LEAST_SENTENCES}: name another folder with --corpus, or leave --self-train out."
        )
    return thin(found, most)


def _room(wanted: float, longest: float) -> int:
    """The characters that are read of a document, from which so many sentences are wanted."""
    return int(max(5 * _STRETCH, 2 * _SPARE * wanted) * longest * _CHARACTERS_OF_TOKEN)


def _find(corpus: Path, data: PreparedRows, step: int, room: int, shortest: float, longest: float) -> Sentences:
    """The sentences of these lengths in so many characters of every document of a number that the step divides."""
    known = {_key(text) for rows in data.rows.values() for row in rows for text in texts_of(row)}
    texts: list[str] = []
    numbers: list[int] = []
    in_training = (document["text"] for document in iter_corpus(corpus) if document.get("split") == "train")
    chosen = ((number, middle_of(text, room)) for number, text in enumerate(in_training) if number % step == 0)
    for block in _blocks(chosen):
        for number, found in _sentences_of_each(data.tokenizer, block, shortest, longest):
            for text in found:
                key = _key(text)
                if key not in known:
                    known.add(key)
                    texts.append(text)
                    numbers.append(number)
    return Sentences(texts=texts, documents=np.array(numbers, dtype=np.int64))


def middle_of(text: str, room: int) -> str:
    """The text, or, of one with more characters than there is room for, the whole sentences in its middle."""
    if len(text) <= room:
        return text
    cut = text[(len(text) - room) // 2 :][:room]
    sentences = split_sentences(cut)
    if len(sentences) < 3:
        return ""
    start = cut.index(sentences[1], len(sentences[0]))
    end = cut.rindex(sentences[-2], start, len(cut) - len(sentences[-1])) + len(sentences[-2])
    return cut[start:end]


def _blocks(documents: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """The numbered documents in lists of about so many characters, whose tokens fit into memory."""
    block: list[tuple[int, str]] = []
    size = 0
    for number, text in documents:
        block.append((number, text))
        size += len(text)
        if size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _sentences_of_each(
    tokenizer: Tokenizer, block: Sequence[tuple[int, str]], shortest: float, longest: float
) -> list[tuple[int, list[str]]]:
    """For each numbered document: itself, or its sentences of a usual length in tokens; if most of them are shorter,
    stretches of several."""
    split = [split_sentences(text) for _, text in block]
    lengths = iter(_lengths(tokenizer, [sentence for sentences in split for sentence in sentences]).tolist())
    around = sum(tokenizer.num_around)
    found = []
    for (number, text), sentences in zip(block, split, strict=True):
        counts = [next(lengths) for _ in sentences]
        if shortest <= sum(counts) - around * (len(counts) - 1) <= longest:
            found.append((number, [text]))
            continue
        stretches = list(zip(sentences, counts, strict=True))
        if counts and np.median(counts) < shortest:
            stretches = join_sentences(text, stretches, around, (shortest + longest) / 2, longest)
        found.append((number, [stretch for stretch, count in stretches if shortest <= count <= longest]))
    return found


def join_sentences(
    text: str, sentences: Sequence[tuple[str, int]], around: int, usual: float, longest: float
) -> list[tuple[str, int]]:
    """Consecutive sentences of a text, given with their numbers of tokens (`around` of them special), joined until they
    are as long as usual, but no longer than the longest."""
    joined: list[tuple[int, int, int]] = []  # where each starts and ends in the text, and its tokens
    end = 0
    for sentence, count in sentences:
        start = text.index(sentence, end)
        end = start + len(sentence)
        if joined and joined[-1][2] < usual and joined[-1][2] + count - around <= longest:
            first, _, before = joined.pop()
            joined.append((first, end, before + count - around))
        else:
            joined.append((start, end, count))
    return [(text[start:end], count) for start, end, count in joined]


def _lengths(tokenizer: Tokenizer, texts: Sequence[str]) -> IntArray:
    return np.array([len(ids) for ids in tokenizer.encode_batch(texts)], dtype=np.int64)


class _Letters(dict[int, int | None]):
    """For `str.translate`: letters with their marks, digits and pictures as they are, and nothing else."""

    def __missing__(self, code: int) -> int | None:
        kind = unicodedata.category(chr(code))
        self[code] = code if kind[0] in "LMN" or kind == "So" else None
        return self[code]


_LETTERS = _Letters()


def _key(text: str) -> str:
    """The letters, digits and pictures of a text in lower case: "It's fine." has those of "it 's fine ."."""
    return text.casefold().translate(_LETTERS) or "".join(text.split())


def _counts(sentences: Sentences) -> IntArray:
    """The number of sentences of each document that has some."""
    return np.asarray(np.unique(sentences.documents, return_counts=True)[1])


def thin(sentences: Sentences, most: int) -> Sentences:
    """`most` of the sentences: those of as many documents as have about so many, evenly spread; then some less or more.

    Of a document with more than `_STRETCH`, or more than it takes, those in the middle are taken.
    """
    if len(sentences.texts) <= most:
        return sentences
    _, firsts, counts = np.unique(sentences.documents, return_index=True, return_counts=True)
    room = np.minimum(counts, max(_STRETCH, _share(counts, most)))
    wanted = int(most / room.sum() * len(room))
    even = np.arange(wanted) * len(room) // max(wanted, 1)
    others = np.setdiff1d(np.arange(len(room)), even)
    order = np.concatenate([each[np.argsort(np.arange(len(each)) * _EVEN_STEP % 1)] for each in (even, others)])
    before = np.cumsum(room[order]) - room[order]
    kept = np.zeros_like(room)
    kept[order] = np.clip(most - before, 0, room[order])
    starts = firsts + (counts - kept) // 2
    rows = np.concatenate([np.arange(start, start + num) for start, num in zip(starts, kept, strict=True)])
    return Sentences(texts=[sentences.texts[row] for row in rows.tolist()], documents=sentences.documents[rows])


def _share(counts: IntArray, most: int) -> int:
    """How many each document gives at most, if all together are to give `most` and none more than others have to."""
    low, high = 1, int(counts.max())
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if np.minimum(counts, middle).sum() >= most else (middle + 1, high)
    return low
