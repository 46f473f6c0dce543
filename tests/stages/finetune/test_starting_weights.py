"""The networks of several seeds start alike, so that their weights can be averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pretune.data.labelled_rows import LabeledShard
from pretune.model.folder import load_model_folder
from pretune.stages.finetune.starting_weights import StartingWeights
from pretune.text.labels.labelling import Labelling

NAMES = ("bad", "good")


def start(folder: Path, *, from_scratch: bool) -> StartingWeights:
    def read_train() -> LabeledShard:
        raise AssertionError("no head is to be fitted")

    loaded = load_model_folder(folder)
    return StartingWeights(
        loaded,
        Labelling(names=NAMES, task="classification", output_names=NAMES),
        loaded.config,
        "cpu",
        from_scratch=from_scratch,
        shared_seed=None if from_scratch else 0,
        fits_head=False,
        is_balanced=False,
        read_train=read_train,
    )


@pytest.mark.parametrize("from_scratch", [False, True])
def test_seeds_share_a_random_head_unless_they_start_from_scratch(run_folder: Path, from_scratch: bool) -> None:
    weights = start(run_folder / "pretrain" / "checkpoint", from_scratch=from_scratch)
    first, second = (weights.make(seed).state_dict() for seed in (0, 1))
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert bool(differing) == from_scratch
    assert bool(first["classifier.weight"].any())
