import textwrap

import pytest

from pretune.text.readers.hard_wrap import LONG_BLOCK_LINES, ends_paragraph, is_wrapped, paragraph_width

PARAGRAPHS = [
    f"On day {n} nobody came to the house by the river. The old man sat there, looked at the water and thought of what "
    f"he had been told when he was young. It was not much; but enough for a life of {n} years, as he used to say."
    for n in range(40)
]


def wrapped(width: int, between: str = "\n") -> str:
    return between.join(textwrap.fill(paragraph, width) for paragraph in PARAGRAPHS)


@pytest.mark.parametrize("width", [50, 72, 110])
def test_broken_sentences_are_seen_and_paragraphs_end_with_a_short_line(width: int) -> None:
    text = wrapped(width)
    assert is_wrapped(text.split("\n"))
    usual = paragraph_width(text)
    assert usual is not None
    assert 0.8 * width < usual <= width
    ends = [line for line in text.split("\n") if ends_paragraph(line, usual)]
    assert set(ends) <= {textwrap.wrap(paragraph, width)[-1] for paragraph in PARAGRAPHS}
    assert len(ends) > 20


def test_lines_of_uneven_length_may_be_wrapped_too() -> None:
    text = "\n".join(textwrap.fill(p, 45 + 15 * (n % 5)) for n, p in enumerate(PARAGRAPHS))
    assert is_wrapped(text.split("\n"))


@pytest.mark.parametrize(
    "lines",
    [
        PARAGRAPHS,  # a document a line
        [f"why did the man near house {n} go home at noon of a day in june ?" for n in range(99)],  # of the same length
        [f"word{n} NNP B-NP O" for n in range(99)],  # columns
        [f"lol that was number {n} and i did not even see it coming at all" for n in range(0, 99, 7)] * 3 + ["?!" * 70],
        ["a", "b"],
    ],
    ids=["paragraphs", "questions", "columns", "chat", "two"],
)
def test_lines_that_are_documents_are_not_wrapped(lines: list[str]) -> None:
    assert not is_wrapped(lines)
    assert paragraph_width("\n".join(lines)) is None


def test_where_blank_lines_are_between_paragraphs_they_tell() -> None:
    assert paragraph_width(wrapped(72, "\n\n")) is None
    chapters = ["\n".join(wrapped(60).split("\n")[: LONG_BLOCK_LINES + 9])] * 3
    assert paragraph_width("\n\n".join(chapters)) is not None
