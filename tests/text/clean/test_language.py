import sys

import pytest

from pretune.errors import UsageError
from pretune.text.clean import language
from pretune.text.clean.language import UNSURE, check_language, identify_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The weather was fine yesterday, and we went for a long walk by the river.", "en"),
        ("Gestern war das Wetter schön, und wir gingen lange am Fluss spazieren.", "de"),
        ("Hier, il faisait beau et nous nous sommes promenés longtemps au bord de la rivière.", "fr"),
        ("昨日は天気がよく、川沿いを長く散歩しました。", "ja"),
        ("ok", UNSURE),
        ("", UNSURE),
    ],
)
def test_languages(text: str, code: str) -> None:
    assert identify_language(text) == code


def test_a_language_that_is_not_known_is_refused() -> None:
    check_language("de")
    with pytest.raises(UsageError, match=r"--language is german; expected one of .*af, "):
        check_language("german")


def test_without_the_package_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    language._identifier.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'pretune\[language\]'"):
        check_language("en")
