"""Whether only the labelled texts are in lower case: a word then has other tokens there than in the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MOST_LABELLED = 0.01  # of the labelled texts may have a capital letter
_LEAST_LABELLED = 0.5  # of them have small letters: a script without capitals has neither
_LEAST_WORDS = 0.02  # of the words of the corpus have a capital letter; in English prose, more than a tenth


def are_in_lower_case(texts: Sequence[str]) -> bool:
    """Whether the texts have small letters and next to no capital ones."""
    with_capitals = sum(text != text.lower() for text in texts)
    with_small = sum(text != text.upper() for text in texts)
    return with_capitals <= _MOST_LABELLED * len(texts) and with_small > _LEAST_LABELLED * len(texts)


def describe_lower_case(counts: Mapping[str, int]) -> str | None:
    """Why the tokenizer is to convert text to lower case, for labelled texts that are, or None if it need not.

    `counts` has how often each word occurs in the corpus.
    """
    with_capitals = sum(count for word, count in counts.items() if word != word.lower())
    fraction = with_capitals / max(1, sum(counts.values()))
    if fraction < _LEAST_WORDS:
        return None
    return (
        f"The labelled texts have next to no capital letters, and {fraction:.0%} of the words of the corpus have some, "
        "so the tokenizer converts text to lower case, and a word has the same tokens in both; --no-lowercase keeps "
        "capitals."
    )
