"""Two processes equal one: updates, norms, evaluation and checkpoint tensors, with Muon and AdamW."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretune.compute.ranks import Ranks
from pretune.runtime.launch import Launch

SCRIPT = Path(__file__).with_name("ranks.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """The folder with the results of two processes."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(tokenizer_folder), "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("kind", ["masked", "labelled", "last"])
def test_the_gradient_of_two_processes_equals_that_of_one(
    script: ModuleType, by_two: Path, kind: str, dtype: torch.dtype, rounding: float
) -> None:
    alone = script.first_gradient(Ranks(Launch()), kind, dtype)
    shared = load_file(by_two / f"gradient-{kind}-{dtype}.safetensors")
    assert alone.keys() == shared.keys()
    one, two = (torch.cat([each[name].flatten() for name in sorted(alone)]) for each in (alone, shared))
    assert float((two - one).norm() / one.norm()) < rounding


def results(folder: Path, rank: int = 0) -> dict[str, Any]:
    return json.loads((folder / f"results-{rank}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_two_processes_equal_one(script: ModuleType, by_two: Path, kind: str) -> None:
    parallel, optimizer, found = script.train(Ranks(Launch()), kind)
    other = results(by_two)[kind]
    for one, two in zip(found["steps"], other["steps"], strict=True):
        assert (one["num_labels"], one["num_tokens"]) == (two["num_labels"], two["num_tokens"])
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    assert other["evaluation"] == pytest.approx(found["evaluation"], rel=1e-5)
    assert other["row_losses"] == pytest.approx(found["row_losses"], rel=1e-4)
    assert other["row_corrects"] == found["row_corrects"]
    assert other["steps"][0]["grad_norm"] == pytest.approx(found["steps"][0]["grad_norm"], rel=1e-5)
    whole, shared = script.state_of(parallel, optimizer), load_file(by_two / f"{kind}.safetensors")
    assert whole.keys() == shared.keys()
    for name, tensor in whole.items():
        if name.startswith(("first/", "second/", "momentum/")):
            # By its norm, since entries are as small as 1e-6. Rounding of the weights makes up to 4e-4 in four updates.
            assert float((shared[name] - tensor).norm()) < 5e-3 * float(tensor.norm()), name
        else:
            # Four updates later: both optimizers divide by values near zero, which amplifies rounding.
            torch.testing.assert_close(shared[name], tensor.detach(), atol=2e-4, rtol=0)


def test_gradients_are_exchanged_once_per_step(by_two: Path) -> None:
    of_one_micro_batch, of_three = results(by_two)["traffic"]
    assert of_one_micro_batch == of_three > 0


def test_a_bad_update_of_one_is_refused_and_rolled_back_by_all(by_two: Path) -> None:
    found, other = results(by_two, 0)["rollback"], results(by_two, 1)["rollback"]
    assert found["refusal"] == other["refusal"] == "not finite"
    assert found["is_kept_after_refusal"]
    assert not found["is_kept_after_update"]
    assert found["is_kept_after_rollback"]
    assert found["left"] == other["left"] == [1]
    assert found["num_updates"] == other["num_updates"] == 1
    assert found["guard"] == other["guard"]
    assert found["guard"]["losses"] == [1.0]


def test_all_processes_have_the_same_results(by_two: Path) -> None:
    first, second = results(by_two, 0), results(by_two, 1)
    assert first == second
    assert second["answer"] == {"rank": 0}
    assert second["refusal"] == "There is too little text."
