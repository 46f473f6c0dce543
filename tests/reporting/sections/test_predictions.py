"""A prediction is shown with all of its texts, harmless and short."""

from __future__ import annotations

from pretune.reporting.sections.predictions import render_predictions
from pretune.terminal import Page, to_text

PAGE = Page(100)


def test_both_texts_of_a_pair_are_shown() -> None:
    rows = [(("A man sleeps.", "A man is awake."), "contradiction", 0.75), (("", ""), None, None)]
    text = to_text(render_predictions(rows, ["neutral", None], PAGE), PAGE)
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["text", "text_pair", "label", "probability", "expected"]
    assert cells[2] == ["A man sleeps.", "A man is awake.", "contradiction", "0.750", "neutral"]
    assert cells[3] == ["-", "-", "-"]


def test_a_single_text_has_no_second_column() -> None:
    text = to_text(render_predictions([(("\x1b[31mred\n" + "long " * 100,), "a", 0.5)], None, PAGE), PAGE)
    assert text.splitlines()[0].split() == ["text", "label", "probability"]
    assert "\x1b" not in text
    assert 0 < text.count("long") <= 40
    assert to_text(render_predictions([], None, PAGE), PAGE).split()[0] == "text"
