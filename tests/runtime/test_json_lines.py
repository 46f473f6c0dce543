"""JSON lines come back as they were written; a missing or damaged file is named in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.runtime.json_lines import read_json_lines


def test_texts_may_contain_other_line_separators(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028two\x85three", "label": 0}, {"text": "four"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_json_lines(tmp_path / "x.jsonl") == rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"row": 0}\n{"row": ', r"\(line 2: Expecting value"),
        (b'{"row": 0}\n\n', r"\(line 2: Expecting value"),
        (b'{"row": 0}\n[1]\n', r"\(line 2: found no JSON object\)"),
        (b'{"row": 0}\n{"text": "\xff"}\n', r"\('utf-8' codec can't decode"),
        (b"[" * 100_000, r"\(line 1: "),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(InputDataError, match=rf"x\.jsonl is damaged {reason}.*restore it or rerun"):
        read_json_lines(tmp_path / "x.jsonl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"x\.jsonl does not exist; rerun the command that writes it"):
        read_json_lines(tmp_path / "x.jsonl")
