"""`fill` and `trace` as functions of a path."""

from __future__ import annotations

import json
from pathlib import Path

from pretune.stages.fill import fill
from pretune.stages.trace import trace


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
