from __future__ import annotations

from typing import Any

from pretune.reporting.sections.flow import render_example, render_flow
from pretune.terminal import Page, to_text


def rendered(run: Any, width: int = 100) -> str:
    page = Page(width)
    return to_text(render_flow(run.trace, page), page)


def test_every_stage_has_its_shapes_dropped_documents_and_time(full_run: Any) -> None:
    text = rendered(full_run)
    assert " 2 preprocess  200,000 documents       186,940 train documents       9,245      14.1 s  210 MB" in text
    assert " 5 finetune    9,000 train             2 classes                         -  2 min 01 s  210 MB" in text
    assert " preprocess  exact duplicate  9,214  the same text, white space and case" in text
    assert "as rows    190,000 x 50 with one document per row, 72.5 % padding · 52,300 x 50 packed, 0.20 %" in text
    assert "The text has 11,203,112 characters" in text
    assert "tokenizer  byte-level BPE · vocabulary of 8,192 tokens · 1.31 tokens per word" in text
    assert "trained with tokenizers, encoded with gigatoken" in " ".join(text.split())
    assert "synthetic data, written by the built-in generator" in text
    assert "total" in text and "4 min 53 s" in text


def test_one_example_goes_through_all_stages(full_run: Any) -> None:
    page = Page(100)
    text = to_text(render_example(full_run.trace, page), page)
    assert [line.split()[1] for line in text.splitlines() if line[1:2].isdigit()] == [
        "collect", "preprocess", "pretrain", "prepare", "finetune",
    ]  # fmt: skip
    assert "[BOS] | The | sun | rises" in text
    assert 'predicted: "east" 61.0 %, "west" 20.0 %; the masked word is "east"' in text
    assert 'predicted "positive" with probability 98.7 %, which is correct' in text


def test_pieces_of_a_word_are_joined_by_a_point(builder: Any) -> None:
    builder.add("preprocess", "example", text="x", tokens=["[BOS]", " The", " sun", "rise", ".", "[EOS]"], ids=[])
    text = to_text(render_example(builder.trace, Page()), Page())
    assert "[BOS] | The | sun·rise | . | [EOS]" in text


def test_pieces_of_wordpiece_are_joined_by_a_point(builder: Any) -> None:
    builder.add("preprocess", "example", text="x", tokens=["[BOS]", "The", "sun", "##rise", "##", ".", "[EOS]"], ids=[])
    text = to_text(render_example(builder.trace, Page()), Page())
    assert "[BOS] | The | sun·rise | ## | . | [EOS]" in text


def test_the_tokens_of_a_long_text_that_a_trace_has_are_not_said_to_be_all(builder: Any) -> None:
    builder.add("preprocess", "example", text="x", tokens=[" a"] * 700, ids=[])
    text = to_text(render_example(builder.trace, Page()), Page())
    assert "its first 512 tokens: a | a" in text


def test_a_wrong_prediction_of_the_example_is_shown_as_such(builder: Any) -> None:
    builder.add("finetune", "example", text="x", label="positive", predicted="negative", probability=0.6)
    assert 'predicted "negative" with probability 60.0 %; the label is "positive"' in rendered(builder)


def test_stages_that_did_not_run_or_finish_are_marked(full_run: Any) -> None:
    full_run.events = [e for e in full_run.events if e["stage"] in ("collect", "preprocess")][:-1]
    lines = rendered(full_run).splitlines()
    assert any("2 preprocess" in line and "not finished" in line for line in lines)
    assert any("5 finetune" in line and "not run" in line for line in lines)


def test_a_lone_stage_folder_shows_itself_only(full_run: Any) -> None:
    full_run.events = [e for e in full_run.events if e["stage"] == "collect"]
    text = rendered(full_run)
    assert "1 collect" in text
    assert "not run" not in text


def test_hostile_text_stays_text(builder: Any) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]gone[/red]\r\nnext"
    dropped = [{"rule": hostile, "count": 1, "reason": hostile, "examples": [hostile]}]
    builder.add("collect", "stage_started", config={}, inputs={}, synthetic=False)
    builder.add(
        "collect", "flow", shape_in=[{"name": hostile, "value": hostile}], shape_out=[], dropped=dropped, seconds=1
    )
    builder.add("collect", "example", text=hostile, source=hostile)
    builder.add("collect", "warning", sentence=hostile)
    builder.add("collect", "stage_finished", seconds=1.0)
    for colour in (False, True):
        text = to_text(render_flow(builder.trace, Page()), Page(), colour=colour)
        assert "\x1b[2J" not in text and "\x07" not in text and "\r" not in text and "\x1b]" not in text
        assert "[red]gone[/red]" in text


def test_values_of_a_shape_are_written_with_their_unit(builder: Any) -> None:
    shape = [{"name": "bytes", "value": 12_300_000}, {"name": "tokens", "value": [10_000, 50]},
             {"name": "language", "value": "de"}, {"name": "tokens per row", "value": 19.5}]  # fmt: skip
    builder.add("prepare", "flow", shape_in=shape, shape_out=[], dropped=[], seconds=1)
    builder.add("prepare", "stage_finished", seconds=1.0)
    text = rendered(builder)
    for part in ("12 MB", "10,000 x 50 tokens", "language: de", "19.5 tokens per row"):
        assert part in text


def test_one_of_a_thing_is_in_the_singular(builder: Any) -> None:
    builder.add("collect", "flow", shape_in=[{"name": "files", "value": 1}, {"name": "bytes", "value": 2}])
    builder.add("collect", "stage_finished", seconds=1.0)
    text = to_text(render_flow(builder.trace, Page(100)), Page(100))
    assert "1 file\n" in text or "1 file " in text
    assert "1 files" not in text
