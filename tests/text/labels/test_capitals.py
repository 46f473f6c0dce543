"""The tokenizer converts text to lower case only if the labelled texts are and the corpus is not."""

from __future__ import annotations

import pytest

from pretune.text.labels.capitals import are_in_lower_case, describe_lower_case


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["warm and kind"] * 200, True),
        (["warm and kind"] * 199 + ["Warm"], True),
        (["warm and kind"] * 9 + ["an ÉCLAIR"], False),
        (["太陽が昇る"] * 5, False),
        (["12:30"], False),
        ([], False),
    ],
)
def test_labelled_texts_are_in_lower_case_if_they_have_small_letters_alone(texts: list[str], expected: bool) -> None:
    assert are_in_lower_case(texts) == expected


def test_the_words_of_the_corpus_decide_by_how_often_they_occur() -> None:
    assert describe_lower_case({"the": 99, "Paris": 1}) is None
    assert describe_lower_case({"the": 90, "Paris": 10, "ÉCLAIR": 0}) is not None
    assert describe_lower_case({}) is None


def test_the_reason_has_the_share_and_the_way_out() -> None:
    found = describe_lower_case({"the": 88, "The": 12})
    assert found is not None
    assert "12%" in found
    assert "--no-lowercase" in found
