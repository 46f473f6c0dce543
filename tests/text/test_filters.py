import pytest

from pretune.errors import UsageError
from pretune.text.filters import quality_rules


def dropped_by(text: str, **settings: object) -> str | None:
    rules = quality_rules(**{"min_words": 1, "max_symbol_ratio": 0.5, **settings})  # type: ignore[arg-type]
    return next((rule.name for rule in rules if rule.applies(text)), None)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("Good film.", None),
        ("ok", None),
        ("... !!! ***", "max_symbol_ratio"),
        ("東京は大きい。", None),
        ("क्षेत्रीय समाचार में हिन्दी", None),  # vowel signs are no symbols
        ("😀😀😀 wow", None),
        ("😀😀😀😀😀 ok", "max_symbol_ratio"),
        ("aGVsbG8gd29ybGQ" * 5, "long_words"),
        ("東" * 90, None),  # no blanks, no long words
        ("buy now " * 20, "repetition"),
        ("the cat and the dog " * 3, None),
        ("lost \ufffd\ufffd", "broken_characters"),
        ("one \ufffd in a text that is long enough to bear it", None),
    ],
)
def test_rules(text: str, rule: str | None) -> None:
    assert dropped_by(text) == rule


def test_settings() -> None:
    assert dropped_by("two words", min_words=3) == "min_words"
    assert dropped_by("three short words", min_words=3) is None
    assert dropped_by("a-b-c-d", max_symbol_ratio=0.2) == "max_symbol_ratio"
    assert dropped_by("buy now " * 20, disabled=("repetition",)) is None


def test_only_rules_that_exist_can_be_switched_off() -> None:
    for name in ("nope", "empty"):
        with pytest.raises(
            UsageError, match=rf"There is no quality rule '{name}' to switch off; the rules are min_words"
        ):
            quality_rules(min_words=1, max_symbol_ratio=0.5, disabled=(name,))
