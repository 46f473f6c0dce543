from typing import Any

from pretune.reporting.sections.funnel import render_funnel
from pretune.terminal import Page, to_text

STEPS = [
    {"step": "found", "documents": 1000, "characters": 50_000},
    {"step": "repaired", "documents": 1000, "characters": 49_000},
    {"step": "near_duplicate", "documents": 750, "characters": 40_000},
]
LENGTHS = [{"words": "1-4", "documents": 250}, {"words": "5-9", "documents": 500}]

PAGE = Page()


def rendered(run: Any, page: Page = PAGE) -> str:
    return to_text(render_funnel(run.trace, page), page)


def test_every_step_has_its_remaining_documents(builder: Any) -> None:
    builder.add("preprocess", "funnel", steps=STEPS, lengths=LENGTHS)
    lines = [" ".join(line.split()) for line in rendered(builder).splitlines()]
    assert "found 1,000 50,000 - \u2588\u2588\u2588\u2588\u2588\u2588" in "\n".join(lines)
    assert any(line.startswith("near duplicate 750 40,000 250 ") and line.endswith("75.0 %") for line in lines)
    assert any(line.startswith("1-4 250 \u2588\u2588\u2588\u2588\u2588\u2588\u2591") for line in lines)


def test_languages_are_next_to_lengths_and_rare_ones_are_merged(builder: Any) -> None:
    languages = {"en": 900, **{f"x{i}": 10 - i for i in range(9)}}
    builder.add("preprocess", "funnel", steps=STEPS, lengths=LENGTHS, languages=languages)
    lines = rendered(builder).splitlines()
    assert any("1-4" in line and " en " in line for line in lines)
    assert any("others" in line and " 5 " in line for line in lines)
    assert "x7" not in rendered(builder)
    assert "language (of" not in rendered(builder)


def test_languages_of_a_sample_are_marked_as_such(builder: Any) -> None:
    builder.add("preprocess", "funnel", steps=STEPS, lengths=LENGTHS, languages={"en": 500}, languages_of=500)
    assert " language (of 500) " in rendered(builder)


def test_without_a_funnel_there_is_nothing_and_names_stay_text(builder: Any) -> None:
    assert rendered(builder) == ""
    hostile = "\x1b[2J[red]gone"
    steps = [{"step": hostile, "documents": 0, "characters": 0}]
    builder.add("preprocess", "funnel", steps=steps, lengths=[], languages={hostile: 1})
    text = rendered(builder, Page(80, "ascii"))
    assert "\x1b" not in text
    assert "[red]gone" in text
    assert text.isascii()
