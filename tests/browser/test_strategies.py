"""The page of four ways to a chatbot: its figures, and all replies side by side, which are only ever text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pretune.page.report import write_report
from pretune.run_trace.build import build_run_trace

ATTACKS = json.loads((Path(__file__).parent / "attacks.json").read_text(encoding="utf-8"))
NAMES = {
    "as_is": "as it is", "scratch": "from scratch", "finetuned": "fine-tuned",
    "further": "pre-trained further, then fine-tuned",
}  # fmt: skip
LOSSES = {"as_is": (5.8, 6.1), "scratch": (4.7, 7.0), "finetuned": (4.2, 6.07), "further": (4.65, 6.09)}
STYLE = {
    "n": 2, "mean_words": 12.5, "empty_fraction": 0.25, "distinct_1": 0.5, "distinct_2": 0.64, "distinct_3": 0.9,
    "repeated_fraction": 0.031, "copied_fraction": 0.125, "longest_shared_words": 17,
}  # fmt: skip


def event(answered: Sequence[tuple[str, str]], name: str) -> dict[str, Any]:
    """What stage strategies logs; questions, replies to them and the `name` of conversations are texts of the user."""
    return {
        "budget": "Every strategy that trains had 24,000 tokens.",
        "base": "The base is novels.",
        "held_out": [
            {"name": "held-out conversations", "conversations": 60, "tokens": 4838},
            {"name": name, "conversations": 61, "tokens": 6661},
        ],
        "strategies": [
            {
                "kind": kind,
                "name": NAMES[kind],
                "training": f"{NAMES[kind][0].upper()}{NAMES[kind][1:]}: 0.2 passes over the conversations.",
                "minutes": 1.25,
                "losses": [
                    {"loss": loss, "loss_interval": [loss - 0.1, loss + 0.1], "perplexity": 99.5, "seeds": [loss]}
                    for loss in losses
                ],
                "style": None if kind == "scratch" else STYLE,
            }
            for kind, losses in LOSSES.items()
        ],
        "reference_style": STYLE | {"mean_words": 22.0},
        "verdicts": [
            verdict("scratch", "finetuned", None, -0.5, [-0.6, -0.4]),
            verdict("finetuned", "as_is", name, 0.037, [-0.047, 0.122]),
        ],
        "conclusion": "Best here: fine-tuning.",
        "reason": "What may explain it: the budget was small.",
        "coverage": "The intervals cover the choice of the conversations.",
        "answers": [
            {
                "question": question,
                "replies": [
                    {"kind": "reference", "text": "The true reply."},
                    {"kind": "further", "text": reply},
                    *({"kind": kind, "text": f"A reply, {kind}."} for kind in ("finetuned", "scratch")),
                    {"kind": "as_is", "text": ""},
                ],
            }
            for question, reply in answered
        ],
        "notice": "This is no medical advice.",
    }


def verdict(one: str, other: str, name: str | None, difference: float, interval: list[float]) -> dict[str, Any]:
    sentence = f"{one} against {other}: {difference}."
    return {
        "between": [one, other], "metric": "reply_loss", "slice": name, "difference": difference,
        "difference_interval": interval, "p_value": 0.0001 if difference < 0 else 0.758, "sentence": sentence,
    }  # fmt: skip


def write_page(folder: Path, answered: Sequence[tuple[str, str]], name: str = "covid") -> Path:
    """The page of a comparison, from its log."""
    folder.mkdir()
    every = [
        {"event": "stage_started", "time": 1.0, "config": {}, "inputs": {}, "synthetic": False},
        {"event": "strategies", "time": 2.0, **event(answered, name)},
        {"event": "stage_finished", "time": 3.0, "seconds": 2.0, "peak_memory_bytes": 1_000_000},
    ]
    lines = [json.dumps(each | {"stage": "strategies"}) + "\n" for each in every]
    (folder / "events.jsonl").write_text("".join(lines), encoding="utf-8")
    write_report(build_run_trace(folder), folder.parent / "report.html")
    return folder.parent / "report.html"


def rows_of(table: Any) -> list[list[str]]:
    """The cells of the rows of a table, with ordinary blanks and minus signs."""
    return table.evaluate(
        """(table) => [...table.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) =>
            cell.innerText.replace(/[\\u2068\\u2069]/g, "").replace(/\\s+/g, " ").replace(/\\u2212/g, "-").trim()))"""
    )


def unfolded(watched: Any) -> Any:
    """The section, with everything in it open."""
    section = watched.page.locator("#help")
    section.locator("h3").first.wait_for()
    section.evaluate("(it) => { for (const fold of it.querySelectorAll('details')) fold.open = true }")
    section.locator("details dd").first.wait_for()
    return section


def test_the_figures_and_the_replies_are_shown(tmp_path: Path, open_page: Any) -> None:
    watched = open_page(write_page(tmp_path / "strategies", [("Is it contagious?", "It is.\nNot now.")]))
    section = unfolded(watched)
    shown = " ".join(section.inner_text().split())
    for words in ("Which strategy was best?", "Best here: fine-tuning.", "the budget was small", "no medical advice"):
        assert words in shown
    losses, differences, styles = (rows_of(section.locator("table").nth(place)) for place in range(3))
    assert losses[0] == ["As it is", "5.80", "5.70 to 5.90", "6.10", "6.00 to 6.20", "99.5", "1.3"]
    assert [row[0].lower() for row in losses] == list(NAMES.values())
    assert differences[0] == ["On held-out conversations"] and differences[2] == ["On covid"]
    of_scratch = ["From scratch, against fine-tuned", "", "-0.500", "-0.600 to -0.400", "p < 0.001"]
    of_tuned = ["Fine-tuned, against as it is: no clear difference", "", "+0.037", "-0.047 to +0.122", "p = 0.758"]
    assert [differences[1], differences[3]] == [of_scratch, of_tuned]
    assert styles[0] == ["As it is", "12.5", "25.0 %", "0.64", "3.1 %", "12.5 %", "17"]
    assert [row[0] for row in styles] == [
        *(n.capitalize() for k, n in NAMES.items() if k != "scratch"),
        "Held-out replies",
    ]
    answer = section.locator("details", has_text="Is it contagious?")
    assert [name.lower() for name in answer.locator("dt").all_inner_texts()] == [*NAMES.values(), "held-out replies"]
    replies = [" ".join(text.split()) for text in answer.locator("dd").all_inner_texts()]
    assert replies == ["(nothing)", "A reply, scratch.", "A reply, finetuned.", "It is. Not now.", "The true reply."]
    assert watched.page.locator("section").count() == 3  # no section that only says that it is empty
    assert watched.page.locator("section .missing").count() == 0
    assert watched.complaints() == []


@pytest.mark.parametrize("name", [ATTACKS[0], "W" * 10_000])
def test_a_text_of_the_comparison_is_never_markup(tmp_path: Path, open_page: Any, name: str) -> None:
    texts = [*ATTACKS, "W" * 10_000]
    page = write_page(tmp_path / "strategies", list(zip(texts, texts, strict=True)), name)
    watched = open_page(page, viewport={"width": 390, "height": 800})
    section = unfolded(watched)
    assert section.locator("dd .user").count() == 5 * len(texts) + sum(len(text) > 120 for text in texts)
    assert "<script>" in section.inner_text()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert watched.complaints() == []
