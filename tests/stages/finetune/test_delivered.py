"""Which weights are delivered; test_stage_averaged.py has the choice itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pretune.data.targets import Targets
from pretune.stages.finetune import delivered
from pretune.stages.finetune.delivered import AVERAGED, average_weights


def test_the_soup_is_the_mean_of_the_weights() -> None:
    states = [{"a": torch.full((2, 3), float(value)), "b": torch.tensor([value])} for value in (1.0, 2.0, 6.0)]
    found = average_weights(states)
    assert torch.equal(found["a"], torch.full((2, 3), 3.0))
    assert torch.equal(found["b"], torch.tensor([3.0]))
    assert torch.equal(states[0]["a"], torch.full((2, 3), 1.0))
    with pytest.raises(ValueError, match="different weights"):
        average_weights([states[0], {"a": states[1]["a"]}])


@pytest.mark.parametrize(("mean", "is_delivered"), [(0.92, True), (0.9, True), (0.89, False)])
def test_the_mean_must_not_be_below_the_best_seed(
    mean: float, is_delivered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are measured here, in the same precision, not as the seed was in training."""
    of_weights = {0.0: 0.9, 2.0: 0.8, 1.0: mean}
    weights = {0: 0.0, 1: 2.0}
    model = SimpleNamespace(classifier=SimpleNamespace(weight=torch.zeros(1)), state={})
    model.load_state_dict = model.state.update
    monkeypatch.setattr(delivered, "load_best", lambda path: {"w": torch.tensor(weights[int(path.name)])})
    monkeypatch.setattr(delivered, "predict_outputs", lambda *_: np.array([float(model.state["w"])]))
    trials: list[dict[str, Any]] = [{"trial": 0, "accuracy": 0.95}, {"trial": 1, "accuracy": 0.8}]
    choose: Any = getattr(delivered.average_seeds, "__wrapped__", delivered.average_seeds)
    found = choose(
        trials,
        trials[0],
        lambda number: Path(str(number)),
        SimpleNamespace(model=model),
        SimpleNamespace(targets=Targets.__new__(Targets)),
        None,
        None,
        lambda outputs: {"accuracy": of_weights[float(outputs[0])]},
        lambda trial: trial["accuracy"],
    )
    assert (AVERAGED in found) is is_delivered
    assert found["accuracy"] == (mean if is_delivered else 0.95)
