from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.run_trace.codec import as_written, from_json, read_run_trace, to_json
from pretune.trace_schema import Insight, Quantity, RunTrace


def test_a_trace_survives_its_file(traced: RunTrace, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(to_json(traced), allow_nan=False), encoding="utf-8")
    assert read_run_trace(path) == traced


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_has_six_digits_and_is_finite(value: float) -> None:
    insight = Insight(rule="x", sentence="x", numbers={"a": value}, derivations={}, pointers=[])
    written = to_json(insight)["numbers"]["a"]
    if math.isfinite(value):
        assert written == float(f"{value:.6g}")
        assert to_json(as_written(insight)) == to_json(insight)
    else:
        assert written is None


@pytest.mark.parametrize("value", [3, 3.5, "en", [3, 4]])
def test_a_member_of_several_types_keeps_its_type(value: Any) -> None:
    read = as_written(Quantity(name="x", value=value))
    assert read == Quantity(name="x", value=value)
    assert type(read.value) is type(value)


def test_unknown_members_are_ignored_and_missing_ones_are_none(traced: RunTrace) -> None:
    data = to_json(traced)
    data["phases"]["pretrain"]["evaluations"][0]["of_a_later_version"] = {"a": 1}
    del data["phases"]["pretrain"]["evaluations"][0]["macro_f1"], data["fingerprint"]
    assert from_json(RunTrace, data) == replace(traced, fingerprint=None)


def test_a_lone_surrogate_becomes_a_sign_that_can_be_written() -> None:
    assert to_json(Quantity(name="\ud800x", value=1))["name"] == "\ufffdx"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"schema": "trace/2.0"}', "is of version 'trace/2.0'; this version of pretune reads trace/1.x"),
        ('{"layers": {}, "text": "x"}', "has no version of a trace"),
        ("[1]", "has no version of a trace"),
        ('{"schema": "trace/1.7"}', "is damaged: /run: found nothing, expected an object"),
        ('{"schema": "trace/1.0", "run', "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputDataError) as caught:
        read_run_trace(path)
    assert sentence in str(caught.value)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        read_run_trace(tmp_path / "trace.json")


@pytest.mark.parametrize("value", [True, "0.5", None, [1.0]])
def test_a_member_of_another_type_is_named(traced: RunTrace, value: Any) -> None:
    data = to_json(traced)
    data["phases"]["pretrain"]["evaluations"][2]["loss"] = value
    with pytest.raises(ValueError, match=r"^/phases/pretrain/evaluations/2/loss: found .*, expected a number$"):
        from_json(RunTrace, data)
