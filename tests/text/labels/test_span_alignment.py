"""After cleaning, a span covers the same words as before."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.normalize import clean_text
from pretune.text.labels.span_alignment import clean_spans, move_spans, restore_spans
from pretune.text.labels.spans import Span, word_offsets

WORDS = st.lists(st.text("abcé", min_size=1, max_size=4), min_size=1, max_size=12)


def spans_in(raw: str, *marked: str) -> list[Span]:
    return [Span(raw.index(part), raw.index(part) + len(part), "X") for part in marked]


@pytest.mark.parametrize(
    ("raw", "marked", "found"),
    [
        ("Ada  \n Lovelace lived", "Ada  \n Lovelace", "Ada Lovelace"),
        ("<b>Ada</b> lived in <i>London</i>", "London", "London"),
        ("<b>Ada</b> lived in <i>London</i>", "<b>Ada</b>", "Ada"),
        ("M&uuml;ller &amp; Co wohnt", "M&uuml;ller &amp; Co", "Müller & Co"),
        ("Herr MÃ¼ller aus KÃ¶ln", "KÃ¶ln", "Köln"),
        ("Herr MÃ¼ller aus KÃ¶ln", "MÃ¼ller", "Müller"),
        ("Herr Mu\u0308ller aus Ko\u0308ln", "Ko\u0308ln", "Köln"),
        ("an un\u00adusual Lon\u200bdon fog", "Lon\u200bdon", "London"),
        ("tab\tand\u00a0blank Paris", "Paris", "Paris"),
        ("Paris &amp; Paris &amp; Rome", "Rome", "Rome"),
        ("the<br />Hague<br />Tribunal", "Hague<br />Tribunal", "Hague Tribunal"),
    ],
)
def test_spans_after_each_repair(raw: str, marked: str, found: str) -> None:
    text, spans, num_vanished = clean_spans(raw, spans_in(raw, marked))
    assert [text[span.start : span.end] for span in spans] == [found]
    assert (text, num_vanished) == (clean_text(raw), 0)


def test_a_span_of_which_nothing_is_left_is_counted() -> None:
    raw = "Ada <br /> lived"
    text, spans, num_vanished = clean_spans(raw, spans_in(raw, "Ada", "<br />"))
    assert (text, spans, num_vanished) == ("Ada lived", (Span(0, 3, "X"),), 1)


@given(WORDS, st.lists(st.sampled_from([" ", "  ", "\n", "\t ", "\u00a0"]), min_size=13, max_size=13), st.data())
def test_white_space_is_exact(words: list[str], blanks: list[str], data: st.DataObject) -> None:
    raw, places = "", []
    for word, blank in zip(words, blanks, strict=False):
        places.append((len(raw), len(raw) + len(word)))
        raw += word + blank
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    text, spans, num_vanished = clean_spans(raw, [Span(places[first][0], places[last][1], "X")])
    assert [text[s.start : s.end] for s in spans] == [" ".join(words[first : last + 1])]
    assert num_vanished == 0
    assert spans[0].start == len(" ".join(words[:first])) + bool(first)


@given(WORDS, st.data())
def test_every_word_is_found_again_between_tags(words: list[str], data: st.DataObject) -> None:
    marked = data.draw(st.integers(0, len(words) - 1))
    parts = [f"<b>{word}</b>" if data.draw(st.booleans()) else word for word in words]
    raw = " ".join(parts)
    start = len(" ".join(parts[:marked])) + bool(marked) + 3 * parts[marked].startswith("<b>")
    text, spans, _ = clean_spans(raw, [Span(start, start + len(words[marked]), "X")])
    assert [text[s.start : s.end] for s in spans] == [words[marked]]
    assert spans[0].start == len(" ".join(words[:marked])) + bool(marked)


@given(st.text("ab <", max_size=20), st.text("ab <", max_size=20), st.data())
def test_any_two_texts_give_spans_in_order_within_the_text(raw: str, clean: str, data: st.DataObject) -> None:
    borders = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=6)))
    spans = [Span(a, b, "X") for a, b in zip(borders[::2], borders[1::2], strict=False)]
    moved = move_spans(raw, clean, spans)
    assert len(moved) <= len(spans)
    assert all(0 <= s.start < s.end <= len(clean) and clean[s.start : s.end].strip() for s in moved)
    assert all(one.end <= other.start for one, other in pairwise(moved))


def test_a_long_text_with_a_repair_in_each_tenth_word() -> None:
    words = [f"w{index % 997}" if index % 10 else "M&uuml;ller" for index in range(20_000)]
    raw = " ".join(words)
    start = raw.index("w996", 100_000)
    text, [span], _ = clean_spans(raw, [Span(start, start + 4, "X")])
    assert text[span.start : span.end] == "w996"
    assert span.start == len(clean_text(raw[:start])) + 1


@pytest.mark.parametrize(
    ("raw", "entity", "given"),
    [
        ("Ada  \n Lovelace lived", "Ada Lovelace", "Ada  \n Lovelace"),
        ("<b>Ada</b> lived in <i>London</i>", "London", "London"),
        ("M&uuml;ller &amp; Co wohnt", "Müller & Co", "M&uuml;ller &amp; Co"),
        ("Herr MÃ¼ller aus KÃ¶ln", "Köln", "KÃ¶ln"),
        ("Herr Mu\u0308ller aus Ko\u0308ln", "Köln", "Ko\u0308ln"),
        ("an un\u00adusual Lon\u200bdon fog", "London", "Lon\u200bdon"),
        ("the<br />Hague<br />Tribunal", "Hague Tribunal", "Hague<br />Tribunal"),
        ("plain Paris", "Paris", "Paris"),
    ],
)
def test_spans_of_the_clean_text_are_found_in_the_text_as_given(raw: str, entity: str, given: str) -> None:
    clean = clean_text(raw)
    start = clean.index(entity)
    [span] = restore_spans(raw, clean, [Span(start, start + len(entity), "X")])
    assert raw[span.start : span.end] == given


@given(st.text("aé& <>b/\n\t\u00a0;u\u0308Ã¼", max_size=30), st.data())
def test_a_restored_span_lies_in_the_text_as_given(raw: str, data: st.DataObject) -> None:
    clean = clean_text(raw)
    if not clean:
        return
    start, end = data.draw(st.sampled_from(word_offsets(clean)))
    [span] = restore_spans(raw, clean, [Span(start, end, "X")])
    assert 0 <= span.start < span.end <= len(raw)
