"""Nothing in an escaped text is markup, and nothing in it is invisible."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pretune.page.escaped import escaped


class NoMarkup(HTMLParser):
    """Fails at the first tag, comment or declaration."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        raise AssertionError(tag, attrs)

    handle_endtag = handle_comment = handle_decl = handle_pi = handle_starttag  # type: ignore[assignment]

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet=st.characters() | st.sampled_from("<>&\"'/!-\u202e\u2028\x00\ud800")))
def test_any_text_is_text(text: str) -> None:
    parser = NoMarkup()
    parser.feed(f"<bdi>{escaped(text)}</bdi>".removeprefix("<bdi>").removesuffix("</bdi>"))
    parser.close()
    assert not {unicodedata.category(character) for character in parser.text} & {"Cc", "Cs", "Zl", "Zp"}
    assert '"' not in escaped(text)


def test_what_cannot_be_seen_is_named() -> None:
    assert escaped("a\u202eb\x07") == "a&lt;U+202E&gt;b&lt;U+0007&gt;"


def test_emoji_and_words_stay_whole() -> None:
    assert escaped("👩\u200d👧 ünï שלום") == "👩\u200d👧 ünï שלום"


def test_lines_become_one() -> None:
    assert escaped("a\nb\tc") == "a b c"
