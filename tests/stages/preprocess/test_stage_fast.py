"""The fast encoder of stage 2: if its ids differ, the tokenizer is used instead, with a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.runtime.events import read_events
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.text.tokenizer import fast_encoder
from pretune.text.tokenizer.encoder import CleanTextEncoder
from pretune.text.tokenizer.tokenizer import Tokenizer


class Different:
    """A library whose ids are not the tokenizer's."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Any:
        ids, lengths = CleanTextEncoder(self.tokenizer).encode(texts)
        return ids[::-1].copy(), lengths


def test_a_failed_check_falls_back_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"In the year {number} a boat {number * 7} went by the house of number {number}." for number in range(300)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    collect([tmp_path / "text.jsonl"], tmp_path / "collect")
    monkeypatch.setattr(fast_encoder, "can_encode", lambda _: False)
    expected = preprocess(tmp_path / "collect", tmp_path / "without")
    monkeypatch.setattr(fast_encoder, "can_encode", lambda _: True)
    monkeypatch.setattr(fast_encoder, "_Gigatoken", Different)
    assert preprocess(tmp_path / "collect", tmp_path / "with").outputs == expected.outputs
    logged = list(read_events(tmp_path / "with"))
    (warning,) = (event for event in logged if event.get("rule") == "fast_encoder_refused")
    assert warning["sentence"] == (
        "gigatoken is installed, but it failed or its ids differ from the tokenizer's, which was used instead."
    )
    (report,) = (event for event in logged if event["event"] == "tokenizer_report")
    assert (report["trainer"], report["encoders"]) == ("tokenizers", ["tokenizers"])
