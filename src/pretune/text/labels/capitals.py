"""Whether only the labelled texts are in lower case: a word then has other tokens there than in the corpus."""

from __future__ import annotations

from collections.abc import Sequence

_WITHOUT, _WITH = 0.01, 0.5  # fractions of texts that have a capital letter: at most of labelled, at least of others


def fraction_with_capitals(texts: Sequence[str]) -> float:
    """The fraction of the texts that have a capital letter."""
    return sum(text != text.lower() for text in texts) / max(1, len(texts))


def describe_capitals(of_labelled: float, of_documents: float) -> str | None:
    """A sentence if capital letters are in the documents and not in the labelled texts, from the fractions of both
    that have some."""
    if of_labelled > _WITHOUT or of_documents < _WITH:
        return None
    return (
        f"The labelled texts have no capital letters, and {of_documents:.0%} of the documents have some, so many words "
        "have other tokens in the two; --lowercase makes them alike."
    )
