from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pretune.run_trace.text_overlap import count_shared_rows


def write(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    (folder / "prepare").mkdir(parents=True)
    for name in ("train", "validation", "test"):
        lines = [json.dumps(row) for row in splits.get(name, [])]
        (folder / "prepare" / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_a_text_in_two_splits_is_counted(tmp_path: Path) -> None:
    run = write(tmp_path, train=[{"text": "A b"}, {"text": "c"}], test=[{"text": "a  B"}, {"text": "d"}])
    assert count_shared_rows(run) == (1, 4)


def test_a_pair_is_shared_only_with_both_texts(tmp_path: Path) -> None:
    train = [{"text": "a", "text_pair": "b"}]
    test = [{"text": "a", "text_pair": "c"}, {"text": "a", "text_pair": "B"}, {"text": "b", "text_pair": "a"}]
    assert count_shared_rows(write(tmp_path, train=train, test=test)) == (1, 4)
