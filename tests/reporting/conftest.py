"""Runs from formulas, shared with the tests of run_trace, and one prediction trace."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from pretune.run_trace.codec import from_json
from pretune.trace_schema import PredictionTrace

_spec = spec_from_file_location("run_trace_runs", Path(__file__).parents[1] / "run_trace" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_runs = module_from_spec(_spec)
_spec.loader.exec_module(_runs)
builder, full_run = _runs.builder, _runs.full_run


@pytest.fixture
def trace() -> PredictionTrace:
    """A prediction trace of two classes whose contributions add up."""
    path = Path(__file__).parent / "trace.json"
    return from_json(PredictionTrace, json.loads(path.read_text(encoding="utf-8")))
