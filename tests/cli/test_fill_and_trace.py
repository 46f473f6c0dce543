"""`fill` and `trace` as functions of a path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.inference.predict import fill
from pretune.tracing.prediction import trace


def test_fill_is_json(run_folder: Path) -> None:
    found = fill(run_folder, "The [MASK] rises in the [MASK].", top=3)
    assert json.loads(json.dumps(found)) == found
    assert [len(words) for words in found["masks"]] == [3, 3]
    assert set(found["masks"][0][0]) == {"word", "probability"}
    assert found["model"].endswith("pretrain/checkpoint")


def test_trace_is_json(run_folder: Path) -> None:
    found = trace(str(run_folder), "A wonderful film.")
    assert json.loads(json.dumps(found)) == found
    assert list(found["layers"]) == ["tokenization", "embedding", "transformer", "head", "decision"]


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
