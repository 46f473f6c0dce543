"""Killed wherever it may be and given again, a stage ends with the bytes and the log of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import read_manifest

LIMIT_SECONDS = 850  # some sixty attempts, which neighbours slow down
pytestmark = pytest.mark.timeout(LIMIT_SECONDS + 50)

RunAll = Callable[[list[str], Path, dict[str, list[tuple[str, str]]]], dict[str, Any]]
PRETRAIN = (
    "--size tiny --tokens 6000 --row-tokens 16 --long-row-tokens 32 --tokens-per-step 128 --evaluations 5 "
    "--compile off --quiet"
)
MUON = "--tokens 3000 --checkpoint-minutes 0.004"
FINETUNE = "--epochs 2 --learning-rates 1e-3,4e-3 --seeds 1 --search-rows 96 --batch-size 16 --quiet"
CHAT = "--updates 30 --batch-size 16 --evaluations 3 --quiet"
TIMES = ("time", "elapsed_seconds", "tokens_per_second", "seconds", "peak_memory_bytes", "minutes")
# Of an estimate: how many checkpoints there will be. They come by the clock, and each attempt that is killed before the
# first one measures its own pace.
BY_PACE = ("disk_bytes",)
OF_THE_CLOCK = ("train", "checkpoint")  # events whose number depends on how fast the machine is

# Where a process ends, and by what: attempts of one command, in order. The last one ends by itself.
PRETRAINING = {
    "before the first checkpoint": [
        ("inside manifest 1", "SIGKILL"),
        ("torn stage_started 1", "SIGKILL"),
        ("inside update 9", "SIGKILL"),
        ("after plan 1", "SIGKILL"),
        ("inside save 3", "SIGKILL"),
        ("inside rename 1", "SIGKILL"),
        ("before checkpoint 1", "SIGKILL"),
        ("inside update 1", "SIGKILL"),
    ],
    "in the middle": [
        ("inside update 34", "SIGKILL"),
        ("torn evaluation 1", "SIGKILL"),
        ("inside save 4", "SIGKILL"),
        ("inside rename 1", "SIGKILL"),
        ("before checkpoint 1", "SIGKILL"),
        ("inside update 11", "SIGKILL"),
        ("inside retention 1", "SIGKILL"),
    ],
    "at the end": [
        ("before evaluation 6", "SIGKILL"),
        ("before example 1", "SIGKILL"),
        ("after example 1", "SIGKILL"),
        ("torn flow 1", "SIGKILL"),
        ("after stage_finished 1", "SIGKILL"),
        ("inside finish 1", "SIGKILL"),
        ("inside manifest 1", "SIGKILL"),
    ],
    "by signals that let it save": [
        ("inside update 5", "SIGTERM"),
        ("inside update 7", "SIGINT"),
        ("inside update 1", "SIGTERM"),
        ("after evaluation 1", "SIGINT"),
        ("inside update 12", "SIGTERM"),
    ],
    "on a disk that fills": [
        ("inside manifest 2", "FULL"),
        ("inside save 2", "FULL"),
        ("inside update 34", "FULL"),
        ("inside save 9", "NOSPACE"),
        ("before evaluation 1", "NOSPACE"),
        ("inside save 3", "READONLY"),
        ("inside finish 1", "FULL"),
    ],
    "in evaluations": [
        ("inside evaluation 2", "SIGKILL"),
        ("inside evaluation 3", "SIGTERM"),
        ("inside evaluation 4", "SIGKILL"),
    ],
}
WITH_MUON = {  # the default, and with checkpoints as the clock says
    "at random moments": [("random", "SIGKILL")] * 2,
    "inside two saves": [("inside save 10", "SIGKILL"), ("inside update 3", "SIGKILL"), ("inside save 5", "SIGKILL")],
}
FROM_BASE = {  # killed before the base's weights are in a checkpoint, and after
    "at the start and later": [
        ("before started_from 1", "SIGKILL"),
        ("inside update 9", "SIGKILL"),
        ("before checkpoint 1", "SIGKILL"),
        ("inside update 11", "SIGTERM"),
        ("inside save 2", "SIGKILL"),
        ("inside finish 1", "SIGKILL"),
    ],
}
OBJECTIVES = {  # of which a hybrid has two kinds of rows, and of row losses, to resume with
    objective: [
        ("inside update 9", "SIGKILL"),
        ("before checkpoint 1", "SIGKILL"),
        ("inside update 23", "SIGTERM"),
        ("torn evaluation 1", "SIGKILL"),
        ("inside save 4", "SIGKILL"),
        ("before evaluation 3", "SIGKILL"),
        ("before flow 1", "SIGKILL"),
    ]
    for objective in ("causal", "hybrid")
}
FINETUNING = {
    "in the first trial": [
        ("inside manifest 1", "SIGKILL"),
        ("after stage_started 1", "SIGKILL"),
        ("before trial_started 1", "SIGKILL"),
        ("inside update 3", "SIGKILL"),
        ("torn evaluation 1", "SIGKILL"),
        ("inside save 2", "SIGKILL"),
        ("inside update 8", "SIGKILL"),
    ],
    "between trials": [
        ("before trial_finished 1", "SIGKILL"),
        ("after trial_finished 1", "SIGKILL"),
        ("inside manifest 1", "SIGKILL"),
        ("after trial_finished 2", "SIGKILL"),
        ("before trial_started 1", "SIGKILL"),
        ("after trial_started 1", "SIGKILL"),
        ("inside update 13", "SIGKILL"),
    ],
    "after the last trial": [
        ("after trial_finished 3", "SIGKILL"),
        ("before chosen 1", "SIGKILL"),
        ("after chosen 1", "SIGKILL"),
        ("after test 1", "SIGKILL"),
        ("inside rename 1", "SIGKILL"),
        ("after example 1", "SIGKILL"),
        ("after stage_finished 1", "SIGKILL"),
        ("inside finish 1", "SIGKILL"),
    ],
    "at random moments": [("random", "SIGKILL")] * 3,
    "by signals that let it save": [
        ("inside update 2", "SIGINT"),
        ("after trial_finished 1", "SIGTERM"),
        ("inside update 9", "SIGTERM"),
    ],
    "on a disk that fills": [
        ("inside save 2", "FULL"),
        ("before evaluation 1", "NOSPACE"),
        ("inside save 9", "NOSPACE"),
        ("inside update 5", "FULL"),
        ("inside save 4", "READONLY"),
        ("before chosen 1", "FULL"),
    ],
    "at the end of an epoch": [
        ("inside epoch 1", "SIGKILL"),
        ("inside epoch 2", "SIGTERM"),
        ("inside epoch 1", "SIGKILL"),
    ],
}
CHAT_TUNING = {
    "before the first checkpoint": [
        ("inside manifest 1", "SIGKILL"),
        ("after started_from 1", "SIGKILL"),
        ("inside measuring 1", "SIGKILL"),
        ("inside update 5", "SIGKILL"),
        ("after plan 1", "SIGKILL"),
        ("inside save 3", "SIGKILL"),
    ],
    "in the middle": [
        ("before evaluation 2", "SIGKILL"),
        ("inside update 14", "SIGTERM"),
        ("inside measuring 1", "SIGKILL"),
        ("inside save 2", "SIGKILL"),
        ("torn evaluation 1", "SIGKILL"),
        ("inside update 3", "SIGINT"),
        ("inside rename 1", "SIGKILL"),
    ],
    "at the end": [
        ("before chosen 1", "SIGKILL"),
        ("after replies 1", "SIGKILL"),
        ("inside rename 1", "SIGKILL"),
        ("torn flow 1", "SIGKILL"),
        ("after stage_finished 1", "SIGKILL"),
        ("inside finish 1", "SIGKILL"),
    ],
}
EXPECTED = {"SIGKILL": -9, "SIGTERM": 75, "SIGINT": 130, "FULL": 5, "NOSPACE": 5, "READONLY": 2}
SAID = {
    "FULL": "The disk is full",
    "NOSPACE": "The disk is full",
    "READONLY": "cannot be written (Read-only file system)",
    "SIGTERM": "the same command",
    "SIGINT": "the same command",
}


@pytest.fixture(scope="module")
def run_all(run_attempts: Callable[..., Any]) -> RunAll:
    """One undisturbed command, then each case, all by one script; statuses and seconds of the attempts, by case."""

    def run(words: list[str], folder: Path, cases: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
        plan = [{"words": [*words, "--out", str(folder / "whole")], "attempts": [("", "")]}]
        for name, attempts in cases.items():
            plan.append({"words": [*words, "--out", str(folder / name)], "attempts": [*attempts, ("", "")]})
        return dict(zip(["whole", *cases], run_attempts(plan, seconds=LIMIT_SECONDS), strict=True))

    return run


@pytest.fixture(scope="module")
def pretrainings(
    tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path, run_all: RunAll
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pretrain")
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), "--optimizer", "adamw"]
    return folder, run_all(words, folder, PRETRAINING)


@pytest.fixture(scope="module")
def with_muon(
    tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path, run_all: RunAll
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("muon")
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), *MUON.split()]
    return folder, run_all(words, folder, WITH_MUON)


@pytest.fixture(scope="module")
def from_base(
    tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path, run_folder: Path, run_all: RunAll
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("from-base")
    settings = PRETRAIN.removeprefix("--size tiny ").split()
    words = ["pretrain", str(preprocessed_folder), "--from", str(run_folder), *settings, "--optimizer", "adamw"]
    return folder, run_all(words, folder, FROM_BASE)


@pytest.fixture(scope="module", params=OBJECTIVES)
def of_objective(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, preprocessed_folder: Path, run_all: RunAll
) -> tuple[str, Path, dict[str, Any]]:
    folder, objective = tmp_path_factory.mktemp("objective"), request.param
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), "--objective", objective]
    return objective, folder, run_all(words, folder, {objective: OBJECTIVES[objective]})


@pytest.fixture(scope="module")
def finetunings(
    tmp_path_factory: pytest.TempPathFactory, run_folder: Path, prepared_folder: Path, run_all: RunAll
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("finetune")
    words = ["finetune", str(run_folder / "pretrain"), str(prepared_folder), *FINETUNE.split()]
    return folder, run_all(words, folder, FINETUNING)


@pytest.fixture(scope="module", params=["all weights", "lora"])
def chat_tunings(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    chat_folders: tuple[Path, Path],
    run_all: RunAll,
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("chat")
    words = ["finetune", *map(str, chat_folders), *CHAT.split()]
    words += ["--adapter", "lora", "--rank", "4"] if request.param == "lora" else []
    return folder, run_all(words, folder, CHAT_TUNING)


def tables_of(folder: Path) -> list[Event]:
    """The log as displays read it, without times and without what the clock alone decides."""
    found = []
    for event in read_events(folder):
        if event["event"] not in OF_THE_CLOCK:
            found.append({name: value for name, value in event.items() if name not in (*TIMES, *BY_PACE)})
    return found


def assert_undisturbed(folder: Path, case: str, attempts: list[tuple[str, str]], results: dict[str, Any]) -> None:
    said = f"{case}: {list(zip([*attempts, ('', '')], results[case], strict=True))}"
    *ended, last = [status for status, *_ in results[case]]
    assert last == 0, said
    wanted = [EXPECTED[number] for _, number in attempts]
    if not any(place == "random" for place, _ in attempts):  # a random moment may come after the end
        assert ended == wanted, said
        for (_, what), (_, _, told) in zip(attempts, results[case], strict=False):
            assert SAID.get(what, "") in told, said
            assert told.count("\n") == (what in SAID), said
    whole, other = folder / "whole", folder / case
    name = "checkpoint/model.safetensors"
    assert (whole / name).read_bytes() == (other / name).read_bytes(), said
    one, two = read_manifest(whole), read_manifest(other)
    states = sorted((whole / "checkpoints").glob("step-*/training_state/optimizer.safetensors"))
    assert bool(states) == (one.stage == "pretrain"), said  # the other stages remove theirs at the end
    for state in states[-1:]:
        assert state.read_bytes() == (other / state.relative_to(whole)).read_bytes(), said
    assert one.outputs == two.outputs, said
    assert one.summary == two.summary, said
    assert tables_of(other) == tables_of(whole), said
    hidden = [path.name for path in other.rglob(".*") if path.name != ".lock"]
    assert hidden == [], said


@pytest.mark.parametrize("case", PRETRAINING)
def test_pretraining_ends_as_if_nothing_had_been(pretrainings: tuple[Path, dict[str, Any]], case: str) -> None:
    assert_undisturbed(pretrainings[0], case, PRETRAINING[case], pretrainings[1])


@pytest.mark.slow
@pytest.mark.precision
@pytest.mark.parametrize("case", WITH_MUON)
def test_pretraining_with_muon_does_too(with_muon: tuple[Path, dict[str, Any]], case: str) -> None:
    assert_undisturbed(with_muon[0], case, WITH_MUON[case], with_muon[1])


@pytest.mark.slow
@pytest.mark.parametrize("case", FROM_BASE)
def test_pretraining_from_a_base_does_too(from_base: tuple[Path, dict[str, Any]], case: str) -> None:
    assert_undisturbed(from_base[0], case, FROM_BASE[case], from_base[1])


@pytest.mark.slow
def test_pretraining_with_another_objective_does_too(of_objective: tuple[str, Path, dict[str, Any]]) -> None:
    objective, folder, results = of_objective
    assert_undisturbed(folder, objective, OBJECTIVES[objective], results)
    assert read_manifest(folder / objective).summary["model"]["objective"] == objective


@pytest.mark.slow
@pytest.mark.precision
@pytest.mark.parametrize("case", FINETUNING)
def test_finetuning_ends_as_if_nothing_had_been(finetunings: tuple[Path, dict[str, Any]], case: str) -> None:
    assert_undisturbed(finetunings[0], case, FINETUNING[case], finetunings[1])


@pytest.mark.slow
@pytest.mark.parametrize("case", CHAT_TUNING)
def test_tuning_on_conversations_ends_as_if_nothing_had_been(
    chat_tunings: tuple[Path, dict[str, Any]], case: str
) -> None:
    assert_undisturbed(chat_tunings[0], case, CHAT_TUNING[case], chat_tunings[1])
    adapters = [chat_tunings[0] / name / "adapter" / "adapter_model.safetensors" for name in ("whole", case)]
    assert adapters[0].is_file() == adapters[1].is_file()
    assert not adapters[0].is_file() or adapters[0].read_bytes() == adapters[1].read_bytes()


def test_an_undisturbed_log_has_no_trace_of_a_resume(pretrainings: tuple[Path, dict[str, Any]]) -> None:
    kinds = [event["event"] for event in tables_of(pretrainings[0] / "whole")]
    assert kinds.count("evaluation") == 6
    assert "resumed" not in kinds
    assert "warning" not in kinds
