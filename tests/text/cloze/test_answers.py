"""The pattern and the words of a cloze classifier survive `labels.json`, and damaged values are noticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pretune.text.cloze.answers import ClozeAnswers
from pretune.text.cloze.pattern import read_pattern

ANSWERS = ClozeAnswers(
    pattern=read_pattern("{text} ? [MASK], {text_pair}", has_pair=True),
    words=(("Yes",), ("No", "no")),
    word_ids=((7,), (8, 9)),
)


def test_answers_are_read_again() -> None:
    assert ClozeAnswers.from_dict(json.loads(json.dumps(ANSWERS.to_dict()))) == ANSWERS


@pytest.mark.parametrize("damage", [{"label_word_ids": [[7]]}, {"label_word_ids": [[7], []]}, {"label_words": []}])
def test_damaged_values_are_noticed(damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        ClozeAnswers.from_dict({**ANSWERS.to_dict(), **damage})
