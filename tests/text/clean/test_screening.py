from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.rules import quality_rules
from pretune.text.clean.screening import LANGUAGE_RULE, clean_document, screen_documents

PIECES = st.sampled_from(
    ["the film ", "was good. ", "a@b.org ", "\n", "<br>", "&amp;", "\x00", "\u00e2\u20ac\u2122", "\ufffd", "\ud800",
     "lorem ipsum ", "\u6771\u4eac", "\u0b95\u0bbe ", "# ", "... ", "{", "same words again and again ", "\u202e"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.text(), st.lists(PIECES, max_size=80).map("".join)), max_size=8)


@given(TEXTS, st.sampled_from(["short", "auto", "long"]), st.booleans())
def test_the_outcome_for_a_text_does_not_depend_on_the_others(texts: list[str], profile: str, replaced: bool) -> None:
    rules = quality_rules(profile)  # type: ignore[arg-type]
    together = screen_documents(texts, rules, is_personal_replaced=replaced)
    alone = [screen_documents([text], rules, is_personal_replaced=replaced) for text in texts]
    assert together.texts == [each.texts[0] for each in alone]
    assert together.broken == [each.broken[0] for each in alone]
    assert sum(together.repairs.values()) == sum(sum(each.repairs.values()) for each in alone)
    assert together.is_kept().sum() + sum(rule is not None for rule in together.broken) == len(texts)
    assert all(text.isprintable() or not text.isascii() for text in together.texts)


def test_languages_are_counted_and_the_unsure_stay() -> None:
    texts = [
        "The weather was fine, and we went for a long walk by the river.",
        "Das Wetter war schön, und wir gingen lange am Fluss spazieren.",
        "ok",
        "*** ***",
    ]
    screened = screen_documents(texts, quality_rules(), language="de")
    assert [rule and rule.name for rule in screened.broken] == [LANGUAGE_RULE, None, None, "max_symbol_ratio"]
    assert screened.languages == {"en": 1, "de": 1, "unsure": 1}


def test_personal_data_is_replaced_on_request_only() -> None:
    assert clean_document("<b>a@b.org</b>", is_personal_replaced=False) == "a@b.org"
    assert clean_document("<b>a@b.org</b>", is_personal_replaced=True) == "[email]"
