"""The repetition rules of Gopher (Rae et al. 2021, table A1) and FineWeb: lines, paragraphs and n-grams that recur.

Rules about fractions of lines apply to texts of at least LINES_TO_JUDGE lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretune.text.arrays.word_hashes import Bools, HashedWords, Int64s
from pretune.text.clean.rule_measures import LINES_TO_JUDGE, Sample

MAX_DUPLICATE_FRACTION = 0.3  # of the lines, and of the paragraphs
MAX_DUPLICATE_CHARACTERS = 0.2  # in such lines, and in such paragraphs
TOP_NGRAMS = ((2, 0.20), (3, 0.18), (4, 0.16))  # n, and the fraction of the characters that one may make up
DUPLICATE_NGRAMS = (
    (5, 0.15),
    (6, 0.14),
    (7, 0.13),
    (8, 0.12),
    (9, 0.11),
    (10, 0.10),
)  # likewise, for all that recur
FEWEST_WORDS = 100  # of a text, for its n-grams to count: in fifty words, one long name used twice is a fifth
FINEWEB_DUPLICATE_CHARACTERS = 0.1  # in lines that repeat another


def repeats_lines(sample: Sample) -> bool:
    """Gopher: duplicate lines or paragraphs, as a fraction of their number or of the characters."""
    characters = max(1, len(sample.text))
    for parts in (sample.paragraphs, sample.lines):
        if len(parts) >= LINES_TO_JUDGE:
            count, length = _duplicates(parts)
            if count > MAX_DUPLICATE_FRACTION * len(parts) or length > MAX_DUPLICATE_CHARACTERS * characters:
                return True
    return False


def repeats_line_characters(sample: Sample) -> bool:
    """FineWeb: the fraction of the characters in lines that repeat another; 0.1 as in the paper, whereas datatrove's
    default is 0.01."""
    lines = sample.lines
    return len(lines) >= LINES_TO_JUDGE and _duplicates(lines)[1] >= FINEWEB_DUPLICATE_CHARACTERS * sum(map(len, lines))


def _duplicates(parts: Sequence[str]) -> tuple[int, int]:
    """The number of parts that repeat an earlier one, and their characters."""
    seen: set[str] = set()
    repeated = [part for part in parts if part in seen or seen.add(part)]  # type: ignore[func-returns-value]
    return len(repeated), sum(map(len, repeated))


def break_ngram_rules(words: HashedWords) -> tuple[Bools, Bools]:
    """(texts,) each: whether a text of at least FEWEST_WORDS words breaks the rules on TOP_NGRAMS and DUPLICATE_NGRAMS.

    Gopher: the fraction of the characters in the most frequent n-gram; and the fraction in all n-grams that repeat an
    earlier one, where characters shared by several n-grams count once. A word counts with one blank.

    All texts are processed together. A repetition of n words is also one of n - 1 words, so the longer n are searched
    for only where the shorter ones were found.
    """
    is_long = words.num_words >= FEWEST_WORDS
    words = words.only(is_long)
    texts = np.arange(len(words.offsets) - 1)
    has_frequent, has_repeated = np.zeros((2, len(texts)), dtype=bool)
    ends = np.concatenate([[0], np.cumsum(words.lengths + 1)])
    characters = np.diff(ends[words.offsets])
    positions, counts = words.ngram_positions(texts, TOP_NGRAMS[0][0])
    owner = np.repeat(texts, counts)
    top, duplicate = dict(TOP_NGRAMS), dict(DUPLICATE_NGRAMS)
    for n in sorted({*top, *duplicate}):
        is_whole = positions + n <= words.offsets[owner + 1]
        positions, owner = positions[is_whole], owner[is_whole]
        if not len(positions):
            break
        keys = (owner.astype(np.uint64) << np.uint64(40)) | (words.ngrams(n)[positions] >> np.uint64(24))
        order = np.argsort(keys, kind="stable")
        is_first = np.concatenate([[True], np.diff(keys[order]) != 0])
        starts = np.flatnonzero(is_first)
        times = np.diff(starts, append=len(order))
        if n in top:
            is_repeated = times > 1
            firsts = order[starts[is_repeated]]
            lengths = ends[positions[firsts] + n] - ends[positions[firsts]]
            most = _most_characters(owner[firsts], times[is_repeated], lengths, len(characters))
            has_frequent |= most > top[n] * characters
        if n in duplicate:
            again = np.sort(order[~is_first])
            begins = positions[again]
            stops = np.minimum(begins + n, np.append(begins[1:], len(ends) - 1))
            covered = np.bincount(owner[again], weights=ends[stops] - ends[begins], minlength=len(characters))
            has_repeated |= covered > duplicate[n] * characters
        recurs = np.sort(order[np.repeat(times > 1, times)])
        positions, owner = positions[recurs], owner[recurs]
    of_all = np.zeros((2, len(is_long)), dtype=bool)
    of_all[:, is_long] = has_frequent, has_repeated
    return of_all[0], of_all[1]


def _most_characters(owner: Int64s, times: Int64s, lengths: Int64s, num_texts: int) -> Int64s:
    """(texts,): the characters in the most frequent n-gram of each text, the longest one if there are several."""
    most_times = np.zeros(num_texts, dtype=np.int64)
    np.maximum.at(most_times, owner, times)
    is_most = times == most_times[owner]
    characters = np.zeros(num_texts, dtype=np.int64)
    np.maximum.at(characters, owner[is_most], times[is_most] * lengths[is_most])
    return characters
