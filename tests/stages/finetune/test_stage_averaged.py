"""With rows enough to choose by, the mean of the seeds' weights is one more candidate, beside each seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pretune.inference.load import load_classifier
from pretune.model.folder import load_model_folder
from pretune.run_trace.predicted_rows import find_delivered_predictions
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import read_manifest
from pretune.scoring.prediction_files import AVERAGED_PREDICTIONS, PREDICTIONS, seed_predictions
from pretune.settings import FinetuneConfig
from pretune.stages.compare import compare
from pretune.stages.finetune import delivered
from pretune.stages.finetune.candidates import Candidates
from pretune.stages.finetune.stage import _Finetuning, finetune
from pretune.tracing.examples import read_test_rows

SETTINGS = FinetuneConfig(epochs=1, learning_rates=(1e-3,), seeds=3, stack=False)


@pytest.fixture(scope="module", autouse=True)
def picking() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretune.stages.finetune.prepared_rows.LEAST_PICKING_ROWS", 1)
        yield


@pytest.fixture(scope="module")
def means() -> list[dict[str, Tensor]]:
    """The means of more than one model, in the order in which they were taken."""
    return []


@pytest.fixture(scope="module")
def run(
    run_folder: Path, prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory, means: list[dict[str, Tensor]]
) -> Path:
    """A run whose validation cannot tell the mean from a seed; then it is the mean that is delivered."""
    folder, average = tmp_path_factory.mktemp("averaged"), delivered.average_weights

    def record(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        every = list(states)
        found = average(every)
        if len(every) > 1:
            assert not torch.equal(every[0]["classifier.weight"], every[1]["classifier.weight"])
            means.append(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Candidates, "score", lambda self, trial: (0.0, 0.0))
        patch.setattr(delivered, "average_weights", record)
        finetune(run_folder / "pretrain", prepared_folder, folder / "finetune", SETTINGS)
    (folder / "prepare").symlink_to(prepared_folder)
    return folder


def of_kind(folder: Path, kind: str) -> list[Event]:
    return [event for event in read_events(folder) if event["event"] == kind]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_choice_names_the_trials(run: Path) -> None:
    [event] = of_kind(run / "finetune", "chosen")
    assert event["averaged_trials"] == [0, 1, 2]
    assert "Chosen: the mean of the weights of 3 seeds at learning rate 0.001 (validation " in event["sentence"]
    assert "the best seed alone has" in event["sentence"]
    assert read_manifest(run / "finetune").summary["chosen"]["averaged_trials"] == [0, 1, 2]


def test_the_checkpoint_has_the_mean(run: Path, means: list[dict[str, Tensor]]) -> None:
    saved = load_model_folder(run / "finetune" / "checkpoint").model.state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in means[-1].items())


def test_every_seed_is_tested_and_so_is_the_mean(run: Path) -> None:
    tests = of_kind(run / "finetune", "test")
    assert [test["seed"] for test in tests] == [0, 1, 2, None]
    for test in tests:
        name = AVERAGED_PREDICTIONS if test["seed"] is None else seed_predictions(test["seed"])
        lines = lines_of(run / "finetune" / PREDICTIONS / name)
        assert np.mean([line["predicted"] == line["label"] for line in lines]) == pytest.approx(test["accuracy"])


def test_what_is_shown_of_the_delivered_network_is_of_the_mean(run: Path) -> None:
    assert find_delivered_predictions(run, 2) == (run / "finetune" / PREDICTIONS / AVERAGED_PREDICTIONS, None)
    rows = read_test_rows(run)
    assert rows is not None
    predicted = load_classifier(run / "finetune").predict(rows.texts[:5])
    names = load_classifier(run / "finetune").label_names
    for found, row in zip(predicted, rows.probabilities, strict=False):
        assert [found.probabilities[name] for name in names] == pytest.approx(row.tolist(), abs=1e-5)


def test_the_comparison_has_the_seeds_and_the_mean(run: Path) -> None:
    compare(run / "finetune", None, run / "prepare", run / "compare")
    [event] = of_kind(run / "compare", "comparison")
    rows = {row["kind"]: row for row in event["rows"]}
    assert (len(rows["pretrained"]["seeds"]), len(rows["averaged"]["seeds"])) == (3, 1)
    assert rows["averaged"]["name"] == "mean weights of 3 seeds"
    assert event["verdicts"][0]["between"][0] == "averaged"
    assert "the model as delivered (mean weights of 3 seeds" in event["verdicts"][0]["sentence"].replace("The", "the")


def test_a_seed_is_delivered_if_the_mean_is_worse(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    average = delivered.average_weights

    def spoil(states: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        every = list(states)
        return {name: (-1 if len(every) > 1 else 1) * tensor for name, tensor in average(every).items()}

    monkeypatch.setattr(delivered, "average_weights", spoil)
    out = tmp_path / "finetune"
    finetune(run_folder / "pretrain", prepared_folder, out, FinetuneConfig(**{**vars(SETTINGS), "seeds": 2}))
    [event], tests = of_kind(out, "chosen"), of_kind(out, "test")
    assert "averaged_trials" not in event
    assert "the best of 2 seeds" in event["sentence"]
    assert sorted(test["seed"] for test in tests) == [0, 1]
    assert not (out / PREDICTIONS / AVERAGED_PREDICTIONS).exists()


def test_the_mean_is_delivered_again_after_a_kill_at_the_end(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice is made again from the same weights, and what the attempt before it wrote is replaced."""
    monkeypatch.setattr(Candidates, "score", lambda self, trial: (0.0, 0.0))
    out, settings = tmp_path / "finetune", FinetuneConfig(**{**vars(SETTINGS), "seeds": 2})

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_Finetuning, "_finish", die)
        with pytest.raises(KeyboardInterrupt):
            finetune(run_folder / "pretrain", prepared_folder, out, settings)
    averaged = out / PREDICTIONS / AVERAGED_PREDICTIONS
    whole = averaged.read_bytes()
    averaged.write_text("of another attempt", encoding="utf-8")
    finetune(run_folder / "pretrain", prepared_folder, out, settings)
    assert averaged.read_bytes() == whole
    assert read_manifest(out).summary["chosen"]["averaged_trials"] == [0, 1]
