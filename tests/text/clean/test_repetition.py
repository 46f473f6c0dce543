from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.arrays.word_hashes import fold_words, hash_words
from pretune.text.clean import repetition
from pretune.text.clean.repetition import break_ngram_rules, repeats_line_characters, repeats_lines
from pretune.text.clean.rule_measures import Sample


def page(*lines: str) -> Sample:
    return Sample(" ".join(lines), "\n".join(lines))


LONG = "This line is so much longer than the others that it makes up most of the characters."


def test_lines_at_their_limits() -> None:
    seven = [f"line {i}" for i in range(7)]
    assert not repeats_lines(page(*seven, "line 0", "line 1", "line 2", LONG))  # 3 of 11
    assert repeats_lines(page(*seven, "line 0", "line 1", "line 2"))  # 3 of 10 would be allowed, 18 of 69 letters not
    assert repeats_lines(page(*seven, "line 0", "line 1", "line 2", "line 3", LONG))  # 4 of 12
    assert repeats_lines(page(LONG, "a", "b", "c", "d", LONG))  # few lines, many characters
    assert repeats_lines(Sample("", "one\n\ntwo\n\none\n\ntwo"))
    assert not repeats_lines(page("one", "one"))


def test_characters_in_repeated_lines() -> None:
    other = [f"{letter * 20}" for letter in "abc"]
    assert repeats_line_characters(page(*other, "repeated", "repeated"))
    assert not repeats_line_characters(page(*other, "rep", "rep"))


def expected(text: str) -> tuple[bool, bool]:
    """The two rules, spelled out with words and loops."""
    words = fold_words(text)
    total = sum(len(word.encode()) + 1 for word in words)
    frequent = repeated = False
    if len(words) < repetition.FEWEST_WORDS:
        return False, False

    def size(gram: tuple[str, ...]) -> int:
        return sum(len(word.encode()) + 1 for word in gram)

    for n, most in repetition.TOP_NGRAMS:
        counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        times = max(counts.values())
        longest = max(size(gram) for gram, count in counts.items() if count == times)
        frequent |= times > 1 and times * longest > most * total
    for n, most in repetition.DUPLICATE_NGRAMS:
        seen: set[tuple[str, ...]] = set()
        covered: set[int] = set()
        for i in range(len(words) - n + 1):
            gram = tuple(words[i : i + n])
            covered |= set(range(i, i + n)) if gram in seen else set()
            seen.add(gram)
        repeated |= size(tuple(words[i] for i in covered)) > most * total
    return frequent, repeated


WORDS = st.sampled_from("a an the cat dog house garden window \u00e4rger".split())


@given(st.lists(st.lists(WORDS, max_size=160).map(" ".join), max_size=4))
def test_ngrams_are_counted_as_defined(texts: list[str]) -> None:
    frequent, repeated = break_ngram_rules(hash_words(texts))
    assert list(zip(frequent.tolist(), repeated.tolist(), strict=True)) == list(map(expected, texts))


@pytest.mark.parametrize(("times", "breaks"), [(20, False), (21, True)])
def test_the_most_frequent_pair_at_its_limit(times: int, breaks: bool) -> None:
    """20 times 8 characters are a fifth of 800, blanks included."""
    filler = [f"{i:03x}" for i in range((800 - 8 * times) // 4)]
    words = [word for i in range(times) for word in ("xyz", "uvw", filler[i])] + filler[times:]
    assert sum(len(word) + 1 for word in words) == 800
    frequent, _ = break_ngram_rules(hash_words([" ".join(words)]))
    assert frequent[0] == breaks


def test_a_text_repeated_is_caught_and_its_neighbours_are_not() -> None:
    plain = " ".join(f"w{i}" for i in range(120))
    texts = [plain, " ".join([plain[:350]] * 2), plain.replace("w", "x"), ""]
    _, repeated = break_ngram_rules(hash_words(texts))
    assert np.flatnonzero(repeated).tolist() == [1]
