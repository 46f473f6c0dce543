"""`fill` and `trace` as functions of a path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.inference.predict import fill
from pretune.run_trace.codec import as_written, from_json
from pretune.trace_schema import PredictionTrace
from pretune.tracing.prediction import trace


def test_fill_is_json(run_folder: Path) -> None:
    found = fill(run_folder, "The [MASK] rises in the [MASK].", top=3)
    assert json.loads(json.dumps(found)) == found
    assert [len(words) for words in found["masks"]] == [3, 3]
    assert set(found["masks"][0][0]) == {"word", "probability"}
    assert found["model"].endswith("pretrain/checkpoint")


def test_trace_is_json(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["trace", str(run_folder), "A wonderful film.", "--json"]) == 0
    found = from_json(PredictionTrace, json.loads(capsys.readouterr().out))
    assert found == as_written(trace(str(run_folder), "A wonderful film."))
    assert found.reasons is not None and found.reasons.words == ["A", "wonderful", "film."]


def test_trace_shows_five_layers_and_the_reasons(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["trace", str(run_folder), "A wonderful film."]) == 0
    shown = capsys.readouterr().out
    titles = ["1 Tokenization", "2 Embedding", "3 Transformer layers", "4 Head", "5 Decision", "Reasons"]
    assert [shown.index(title) for title in titles] == sorted(shown.index(title) for title in titles)


@pytest.mark.parametrize("words", [["trace", ""], ["trace", " \n"], ["trace", "<p></p>"], ["fill", ""], ["fill", "  "]])
def test_a_blank_text_is_answered_with_one_sentence(
    run_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    verb, text = words
    assert run_command_line([verb, str(run_folder), text]) == 2
    said = capsys.readouterr()
    expected = "There is no text to trace" if verb == "trace" else "The text has no [MASK]"
    assert said.err.startswith(expected) and len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("verb", ["trace", "fill"])
def test_no_text_is_a_usage_error(run_folder: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run_command_line([verb, str(run_folder)]) == 2
    assert "TEXT" in capsys.readouterr().err
