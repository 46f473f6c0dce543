"""The benchmarks for GPUs run where there is none: as a smoke test, or with a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpu_quality import delivered_figures, first_words

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PRETUNE_DATA"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=200, env=environment
    )


@pytest.mark.slow
def test_a_tiny_model_shows_that_it_works(tmp_path: Path) -> None:
    done = run("--smoke", "--work", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "smoke, uncompiled" in done.stdout
    assert "failed" not in done.stdout
    assert "aten::mm" in done.stdout  # among the longest operations


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = run("--work", str(tmp_path))
    assert done.returncode == 2
    assert "there is no GPU here; --smoke shows on a processor that the script works" in done.stderr


@pytest.mark.slow
def test_quality_after_some_minutes_is_measured(real_data: Path, tmp_path: Path) -> None:
    script = SCRIPT.with_name("gpu_quality.py")
    words = [sys.executable, str(script), "--smoke", "--work", str(tmp_path)]
    environment = {**os.environ, "PRETUNE_DATA": str(real_data)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Left out" not in done.stdout
    assert "BLiMP after 400,000 words of novels" in done.stdout


def test_the_figures_are_those_of_the_model_that_is_delivered() -> None:
    known = {"n": 100, "accuracy_interval": [0.8, 0.9]}
    seeds = [{"seed": seed, "accuracy": 0.85 + seed / 100, **known} for seed in (0, 1)]
    assert delivered_figures(seeds[:1]) == {"accuracy": 0.85, **known}
    assert delivered_figures([*seeds, {"seed": None, "accuracy": 0.88, **known}]) == {"accuracy": 0.88, **known}


def test_the_first_words_go_over_several_texts() -> None:
    assert list(first_words(iter(["one two\nthree ", "", "four five", "six"]), 4)) == ["one two\nthree", "four"]
