from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It was good. I liked it!", ["It was good.", "I liked it!"]),
        ('"Why?" she asked. He left...', ['"Why?"', "she asked.", "He left..."]),
        ("At 3.5 stars it is fine", ["At 3.5 stars it is fine"]),
        ("A title\nand a text.\n\n", ["A title", "and a text."]),
        ("早晨。他说：“好。”走了", ["早晨。", "他说：“好。”", "走了"]),
        ("（好。）走了……他回來。", ["（好。）", "走了……", "他回來。"]),
        ("ﾎﾝ｡ﾖｲ｡", ["ﾎﾝ｡", "ﾖｲ｡"]),
        ("यह अच्छा है।वह नहीं॥ हाँ", ["यह अच्छा है।", "वह नहीं॥", "हाँ"]),
        ("یہ اچھا ہے۔وہ نہیں؟ ہاں", ["یہ اچھا ہے۔", "وہ نہیں؟", "ہاں"]),
        ("Լավ է։ Ոչ։", ["Լավ է։", "Ոչ։"]),
        ("ጥሩ ነው።አይደለም፧ አዎ", ["ጥሩ ነው።", "አይደለም፧", "አዎ"]),
        ("བཟང་།མིན།", ["བཟང་།", "མིན།"]),
        ("A title\u2028and\u2029a\u0085text\r\n.", ["A title", "and", "a", "text", "."]),
        ("ดีมาก ไม่ดี\nใช่", ["ดีมาก ไม่ดี", "ใช่"]),
        ('他说。"你好。"再见。" 好', ["他说。", '"你好。', '"再见。"', "好"]),
        ("  ", []),
    ],
)  # fmt: skip
def test_a_sentence_ends_with_its_mark(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(st.text(alphabet="ab .!?\n\u3002\u201d\u2026\u06d4\u2028", max_size=40))
def test_nothing_but_blanks_is_lost(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
