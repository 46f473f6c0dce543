"""A small trace whose texts attack a page, and a script and a style sheet that stand in for the bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pretune.page.assets import Assets
from pretune.run_trace.codec import from_json, to_json
from pretune.trace_schema import (
    Comparison,
    Evaluation,
    Missing,
    Phase,
    Phases,
    RunCard,
    RunTrace,
    StepSeries,
    Verdict,
)

ATTACK = '</script><img src=x onerror="alert(1)">\u202e\u2028\x00'


def run_card(**fields: Any) -> RunCard:
    given: dict[str, Any] = {
        "id": "r-1", "name": "reviews", "started": None, "status": "finished", "seed": 0, "is_synthetic": True,
        "task": "classification", "headline": "Pre-training helped.", "headline_figure": None,
        "detail": "30 test rows.", "command": "pretune run --out reviews", "versions": {}, "hardware": None,
        "seconds": None, "peak_memory_bytes": None,
    }  # fmt: skip
    return RunCard(**{**given, **fields})


def evaluation(**fields: Any) -> Evaluation:
    given: dict[str, Any] = {
        "step": 10, "epoch": 1.0, "tokens": None, "train_loss": 0.5, "train_accuracy": None, "loss": 0.25,
        "accuracy": 0.75, "accuracy_low": None, "accuracy_high": None, "accuracy_noise": 0.1, "n": 30, "macro_f1": None,
        "elapsed_seconds": None, "is_best": True, "summary": "Fell.", "observations": [],
    }  # fmt: skip
    return from_json(Evaluation, {**given, **fields})


@pytest.fixture
def trace() -> RunTrace:
    """A run with one phase of one evaluation, one verdict, and one section that is missing."""
    steps = StepSeries(
        kept=0, logged=0, step=[], epoch=[], loss=[], accuracy=[], learning_rate=[], grad_norm=[], tokens_per_second=[]
    )
    finetune = replace(
        from_json(Phase, {"stage": "finetune", "unit": "texts", "steps": to_json(steps)}), evaluations=[evaluation()]
    )
    verdict = from_json(
        Verdict,
        {
            "between": ["pre-trained", "from scratch"], "slice": ATTACK, "outcome": "better", "difference": 0.1,
            "low": 0.05, "high": 0.15, "sentence": f"Better on {ATTACK}.", "metric": "accuracy",
        },
    )  # fmt: skip
    return RunTrace(
        run=run_card(),
        stages=[],
        phases=Phases(pretrain=None, finetune=finetune, scratch=None),
        comparison=Comparison(models=[], verdicts=[verdict], coverage="", disagreements=[]),
        missing=[Missing(section="quiz", sentence="There is no quiz.", command=None)],
    )


@pytest.fixture
def assets(monkeypatch: pytest.MonkeyPatch) -> Assets:
    """What the page carries in these tests, whatever the bundle is."""
    found = Assets(script='document.title = "ä";', style="p { color: black }")
    monkeypatch.setattr("pretune.page.report.read_assets", lambda: found)
    return found
