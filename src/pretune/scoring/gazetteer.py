"""The trivial baseline for entities: phrases that were entities in training are entities again, whatever the context.

Tags are numbers (IOB2, see `tag_entities`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pretune.scoring.tag_entities import OUTSIDE, IntArray, TagBaseline, TaggedRows, entities_of, first_tag

_NO_ENTITY = -1
_MAX_PHRASE_WORDS = 12  # longer entities are not looked up: they hardly recur

_Phrase = tuple[str, ...]


def predict_gazetteer(train: TaggedRows, test_words: Sequence[Sequence[str]]) -> TagBaseline:
    """Tag each known phrase as it was tagged most often in training; the longest match from left to right.

    A phrase is known if it was a whole entity somewhere in training; if it was no entity more often, it stays none.
    The baseline of CoNLL-2003 (Tjong Kim Sang and De Meulder 2003, section 4) looks up phrases in the same way.
    """
    types = _most_frequent_types(train)
    known = {phrase: entity_type for phrase, entity_type in types.items() if entity_type != _NO_ENTITY}
    lengths = _lengths_by_first_word(known)
    return TagBaseline(
        name="phrases known from training",
        kind="gazetteer",
        tags=[_tag(words, known, lengths) for words in test_words],
        chosen={"phrases": len(known)},
    )


def _most_frequent_types(rows: TaggedRows) -> dict[_Phrase, int]:
    """The type that each phrase had most often, or -1 for none; of equally frequent ones the type seen first.

    Occurrences that are part of an entity, or reach across its end, count for neither.
    """
    counts: defaultdict[_Phrase, Counter[int]] = defaultdict(Counter)
    for words, tags in zip(rows.words, rows.tags, strict=True):
        for start, end, entity_type in entities_of(tags):
            if end - start <= _MAX_PHRASE_WORDS:
                counts[tuple(words[start:end])][entity_type] += 1
    lengths = _lengths_by_first_word(counts)
    for words, tags in zip(rows.words, rows.tags, strict=True):
        for start, word in enumerate(words):
            for length in lengths.get(word, ()):
                phrase = tuple(words[start : start + length])
                if len(phrase) == length and phrase in counts and not any(tags[start : start + length]):
                    counts[phrase][_NO_ENTITY] += 1
    return {phrase: count.most_common(1)[0][0] for phrase, count in counts.items()}


def _lengths_by_first_word(phrases: Mapping[_Phrase, object]) -> dict[str, list[int]]:
    """For each word that begins a phrase, the numbers of words of these phrases, the longest first."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for phrase in phrases:
        found[phrase[0]].add(len(phrase))
    return {word: sorted(lengths, reverse=True) for word, lengths in found.items()}


def _tag(words: Sequence[str], known: Mapping[_Phrase, int], lengths: Mapping[str, list[int]]) -> IntArray:
    tags = np.full(len(words), OUTSIDE, dtype=np.int64)
    for start, end, entity_type in _iter_matches(words, known, lengths):
        tags[start:end] = first_tag(entity_type) + 1
        tags[start] = first_tag(entity_type)
    return tags


def _iter_matches(
    words: Sequence[str], known: Mapping[_Phrase, int], lengths: Mapping[str, list[int]]
) -> Iterator[tuple[int, int, int]]:
    start = 0
    while start < len(words):
        for length in lengths.get(words[start], ()):
            phrase = tuple(words[start : start + length])
            if phrase in known:
                yield start, min(start + length, len(words)), known[phrase]
                start += length
                break
        else:
            start += 1
