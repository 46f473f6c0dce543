"""Every stage, and every use of a model, with WordPiece in the place of byte-level BPE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.inference.predict import fill, predict
from pretune.tracing.prediction import trace

SMALL = (
    "--tokenizer wordpiece --tokens 24000 --tokens-per-step 1024 --size tiny --compile off --evaluations 2 "
    "--finetune-epochs 1 --finetune-learning-rates 1e-3 --seeds 1 --quiet"
)


@pytest.mark.slow
def test_a_run_with_wordpiece(small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--corpus", str(small_world / "reviews.txt"), "--labels", str(small_world / "labelled.csv")]
    assert run_command_line(["run", *given, *SMALL.split(), "--out", str(tmp_path)]) == 0
    assert "different words." in capsys.readouterr().out  # the rule of the size is shown
    text = "The unforgettable soup was cold."
    (prediction,) = predict(tmp_path, [text])
    found = trace(tmp_path, text)
    tokens = found.tokens[1:-1]
    assert found.decision.probability == pytest.approx(prediction.probability, abs=1e-5)
    assert [token.surface for token in tokens] == [text[token.start : token.end] for token in tokens]
    assert "".join(token.surface for token in tokens) == text.replace(" ", "")
    assert found.reasons is not None and found.reasons.words == text.split()
    (words,) = fill(tmp_path, "The soup was [MASK].")["masks"]
    assert len(words) == 5 and all(not word["word"].startswith("[") for word in words)
    log = (tmp_path / "pretrain" / "events.jsonl").read_text(encoding="utf-8")
    assert any(row.get("sentences") for row in map(json.loads, log.splitlines()))
