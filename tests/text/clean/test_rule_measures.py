"""One rule after the other, with a text on either side of its limit."""

from collections.abc import Callable

import pytest

from pretune.text.arrays.word_hashes import hash_words
from pretune.text.clean import rule_measures
from pretune.text.clean.rule_measures import Sample, num_words
from pretune.text.clean.rules import Profile, quality_rules


def words(count: int) -> str:
    return " ".join(["word"] * count)


def lines(*parts: tuple[str, int]) -> Sample:
    """A text of lines, each kind so many times."""
    found = "\n".join(line for line, count in parts for _ in range(count))
    return Sample(" ".join(found.split()), found)


@pytest.mark.parametrize(
    ("rule", "kept", "dropped"),
    [
        (rule_measures.has_few_words, Sample(words(50)), Sample(words(49))),
        (rule_measures.has_odd_word_length, Sample("abc abc abc"), Sample("abc ab abc")),
        (rule_measures.has_odd_word_length, Sample("나는 새 카페에 갔다"), Sample("я и ты тут")),
        (rule_measures.has_odd_word_length, Sample("老师 在 花园 里 修理 茶杯"), Sample("1 2 3 4 €")),
        (rule_measures.has_odd_word_length, Sample("abcdefghij abcdefghij"), Sample("abcdefghij abcdefghijk")),
        (rule_measures.has_many_marks, Sample("#" + words(10)), Sample("# #" + words(10))),
        (rule_measures.has_many_marks, Sample(words(20) + "... ok\u2026"), Sample(words(20) + "... ok\u2026 \u2026")),
        (rule_measures.is_bullet_list, lines(("- item", 9), ("text", 1)), lines(("- item", 10), ("text", 1))),
        (rule_measures.is_bullet_list, lines(("\u2022 item", 3)), lines(("\u2022 item", 4))),
        (rule_measures.is_cut_off, lines(("read more...", 3), ("All.", 7)), lines(("read more...", 4), ("All.", 6))),
        (rule_measures.has_few_words_with_letters, Sample("one 2 three four 5a"), Sample("one 2 three four 5")),
        (rule_measures.has_few_stop_words, Sample("The house with lamps"), Sample("The house without lamps")),
        (rule_measures.has_few_stop_words, Sample("the end of the end"), Sample("the end the end the end")),
        (rule_measures.has_few_sentences, Sample("One. Two! Three?"), Sample("One. Two!")),
        (rule_measures.has_curly_bracket, Sample("a (b)"), Sample("a {b}")),
        (
            rule_measures.asks_for_javascript,
            lines(("Please enable JavaScript.", 1), ("All of it is here.", 2)),
            lines(("Please enable JavaScript.", 2), ("All of it is here.", 2)),
        ),
        (
            rule_measures.is_policy,
            lines(("Read our Privacy Policy.", 1), ("All of it is here.", 2)),
            lines(("Read our Privacy Policy.", 1), ("This site uses cookies.", 1), ("All of it is here.", 2)),
        ),
        (
            rule_measures.has_open_line_ends,
            lines(("It ends.", 13), ("It does not end", 87)),
            lines(("It ends.", 12), ("It does not end", 88)),
        ),
        (
            rule_measures.has_short_lines,
            lines(("short", 66), ("This line is much longer than thirty characters.", 34)),
            lines(("short", 67), ("This line is much longer than thirty characters.", 33)),
        ),
        (rule_measures.has_lorem_ipsum, Sample("Lorem and ipsum"), Sample("It says lorem ipsum.")),
        (rule_measures.is_broken, Sample("\ufffd" + "a" * 19), Sample("\ufffd" + "a" * 18)),
        (rule_measures.has_long_words, Sample("a" * 40), Sample("a" * 41)),
    ],
)  # fmt: skip
def test_a_rule_at_its_limit(rule: Callable[[Sample], bool], kept: Sample, dropped: Sample) -> None:
    assert not rule(kept)
    assert rule(dropped)


@pytest.mark.parametrize(
    ("text", "drops"), [("a-b-c-d", True), ("a-b-cd", False), ("\u00e4-\u00f6-\u00fc-\u00df", True)]
)
def test_symbols(text: str, drops: bool) -> None:
    assert rule_measures.has_too_many_symbols(Sample(text), 0.4) == drops


def test_lines_are_those_of_the_text_as_it_was_found() -> None:
    assert Sample("a b", "a<br /><br>b").lines == ["a", "b"]
    assert Sample("a b", "a\n\n\nb\n").paragraphs == ["a", "b"]
    assert Sample("a b").lines == ["a b"]
    wrapped = (
        "This paragraph was broken to the width of a page\nas many of the old ones were, and is not a list\nof lines."
    )
    assert len(Sample("", wrapped).lines) == 1
    assert len(Sample("", "A list\nof three short\nlines.").lines) == 3


CHINESE = "昨天老师在花园里修理一个茶杯，邻居周末也借走雨伞。冬天孩子在车站旁等待朋友，司机晚上喜欢喝茶。"
THAI = (
    "เมื่อวานนี้ครูซ่อมถ้วยชาในสวนและเพื่อนบ้านยืมร่มไปในวันหยุดสุดสัปดาห์ส่วนเด็กรอเพื่อนอยู่ข้างสถานีรถไฟในฤดูหนาว"
    "คนขับรถชอบดื่มชาตอนเย็นหมอทำกาน้ำหายใกล้สระน้ำแล้วจึงเดินกลับบ้านพร้อมกับตะกร้าใบใหม่"
)


def test_scripts_without_blanks_are_counted_in_characters() -> None:
    assert num_words("a good film") == 3
    assert num_words("") == 0
    assert num_words("ein schöner Film – ja") == 5
    assert num_words(CHINESE) == 1 + sum(character.isalpha() for character in CHINESE) // 2
    assert num_words("きのう先生は庭で茶碗を直した") == 8
    assert num_words(THAI) > 80


@pytest.mark.parametrize("text", [CHINESE, THAI, 4 * THAI], ids=["chinese", "thai", "long thai"])
@pytest.mark.parametrize("profile", ["auto", "short"])
def test_text_without_blanks_is_not_dropped_for_its_script(text: str, profile: Profile) -> None:
    rules = quality_rules(profile, min_words=5)
    assert rules.judge([text], [text], hash_words([text])) == [None]


def test_text_without_blanks_that_repeats_itself_is_dropped() -> None:
    text = "好的好的" * 60
    [rule] = quality_rules("auto").judge([text], [text], hash_words([text]))
    assert rule is not None and rule.name == "repetition"
