"""What a notebook shows: tables whose every text is escaped, and no script."""

from __future__ import annotations

import re

from pretune.page.notebook import (
    html_of_predictions,
    html_of_run,
    html_of_training,
)
from pretune.trace_schema import RunTrace

ATTACK = '<img src=x onerror="alert(1)">'


def cells(html: str) -> list[str]:
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", html)]


def test_a_run_shows_headline_phases_verdicts_and_what_is_missing(trace: RunTrace) -> None:
    html = html_of_run(trace)
    assert "Pre-training helped." in html
    assert "Synthetic data." in html
    assert cells(html) == ["fine-tuning", "1", "0.5", "0.25", "0.75", "kept", "Fell."]
    assert "&lt;/script&gt;&lt;img" in html
    assert "There is no quiz." in html
    assert "<script" not in html
    assert "<img" not in html


def test_a_training_shows_its_rows() -> None:
    html = html_of_training([{"epoch": 1.0, "loss": 0.5, "accuracy": None}])
    assert cells(html) == ["1", "-", "0.5", "-"]


def test_predictions_stand_beside_what_was_expected() -> None:
    html = html_of_predictions(
        [((ATTACK,), "bad", 0.75), (("",), None, None)], ["good", None], ["accuracy 0.000 (n = 1)"]
    )
    assert cells(html) == ["&lt;img src=x onerror=&quot;alert(1)&quot;&gt;", "bad", "0.75", "good", "", "-", "-", "-"]
    assert "<p>accuracy 0.000 (n = 1)</p>" in html


def test_predictions_for_pairs_show_both_texts() -> None:
    html = html_of_predictions([(("a", ATTACK), "b", 0.5)], None, [])
    assert cells(html) == ["a", "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;", "b", "0.5"]
    assert "text_pair" in html


def test_a_figure_stands_right_and_a_word_left() -> None:
    html = html_of_predictions([(("a",), "b", 0.5)], None, [])
    assert re.findall(r'<td style="text-align:(\w+)"', html) == ["left", "left", "right"]
