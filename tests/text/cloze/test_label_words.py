"""Words for labels are read, checked and suggested; each is one token, and no two labels have the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pretune.errors import UsageError
from pretune.text.cloze.label_words import (
    LabelWords,
    check_label_words,
    describe_words,
    read_label_words,
    suggest_label_words,
)
from pretune.text.tokenizer.tokenizer import Tokenizer

NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def tokenizer(train_tokenizer: Callable[..., Tokenizer]) -> Tokenizer:
    return train_tokenizer(
        ["it was great and good , not terrible or bad .", "yes or no , the sports news of Tuesday ."] * 50
    )


def test_words_are_read_in_the_order_of_the_names() -> None:
    found = read_label_words(("positive=great/good", "negative = bad"), NAMES)
    assert list(found.items()) == [("negative", ("bad",)), ("positive", ("great", "good"))]
    assert read_label_words(describe_words(found).split(","), NAMES) == found


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("positive",), "has 'positive'; expected a label and its words"),
        (("positive=",), "has 'positive='; expected a label and its words"),
        (("positive=great", "positive=good"), "has the label 'positive' twice"),
        (("positive=great", "bad=bad"), "has the label 'bad', which is not one of 'negative', 'positive'"),
        (("positive=great",), "has no word for 'negative'; add negative=WORD"),
    ],
)
def test_items_that_do_not_fit_get_a_sentence(given: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_label_words(given, NAMES)
    assert sentence in str(caught.value)


def test_without_names_there_are_at_least_two_labels() -> None:
    assert list(read_label_words(("b=good", "a=bad"))) == ["b", "a"]
    with pytest.raises(UsageError, match="1 labels; expected at least two"):
        read_label_words(("b=good",))


def test_each_word_is_one_token(tokenizer: Tokenizer) -> None:
    found = check_label_words({"n": ("bad", "terrible"), "p": ("good",)}, tokenizer, "given")
    assert [len(ids) for ids in found.ids] == [2, 1]
    assert [tokenizer.decode(list(ids)).split() for ids in found.ids] == [["bad", "terrible"], ["good"]]
    with pytest.raises(UsageError) as caught:
        check_label_words({"n": ("bad",), "positive": ("wonderfully",)}, tokenizer, "given")
    assert "'wonderfully' for the label 'positive' is" in str(caught.value)
    assert "tokens (" in str(caught.value)
    with pytest.raises(UsageError, match=r"choose another word, such as 'great'\.$"):
        check_label_words({"n": ("bad",), "good": ("wonderfully",)}, tokenizer, "given")
    with pytest.raises(UsageError, match=r"choose another word, such as 'great'\.$"):
        check_label_words({"n": ("bad",), "p": ("greatness",)}, tokenizer, "given")


def test_two_labels_do_not_have_the_same_word(tokenizer: Tokenizer) -> None:
    with pytest.raises(UsageError, match="'good' stands for two labels, 'n' and 'p'"):
        check_label_words({"n": ("bad", "good"), "p": ("good",)}, tokenizer, "given")
    with pytest.raises(UsageError, match="'great' stands for two labels, 'p' and 'n'"):  # 'bad' was named
        check_label_words({"p": ("great",), "n": ("bad", "bad", "great")}, tokenizer, "given")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("negative", "positive"), (("terrible", "bad"), ("great", "good"))),
        (("pos", "neg"), (("great", "good"), ("terrible", "bad"))),
        (("no", "yes"), (("no",), ("yes",))),
        (("sports", "Tuesday"), (("sports",), ("Tuesday",))),
    ],
)
def test_words_are_suggested_from_the_names(
    tokenizer: Tokenizer, names: tuple[str, ...], words: tuple[tuple[str, ...], ...]
) -> None:
    found = suggest_label_words(names, tokenizer)
    assert isinstance(found, LabelWords)
    assert found.words == words


@pytest.mark.parametrize("names", [("0", "1"), ("card_arrival", "exchange_rate"), ("good", "Good")])
def test_names_that_are_no_words_have_no_suggestion(tokenizer: Tokenizer, names: tuple[str, ...]) -> None:
    assert suggest_label_words(names, tokenizer) is None
