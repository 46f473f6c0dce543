"""Which weights are delivered; test_stage_averaged.py has the choice itself."""

from __future__ import annotations

import pytest
import torch

from pretune.stages.finetune.delivered import average_weights


def test_the_soup_is_the_mean_of_the_weights() -> None:
    states = [{"a": torch.full((2, 3), float(value)), "b": torch.tensor([value])} for value in (1.0, 2.0, 6.0)]
    found = average_weights(states)
    assert torch.equal(found["a"], torch.full((2, 3), 3.0))
    assert torch.equal(found["b"], torch.tensor([3.0]))
    assert torch.equal(states[0]["a"], torch.full((2, 3), 1.0))
    with pytest.raises(ValueError, match="different weights"):
        average_weights([states[0], {"a": states[1]["a"]}])
