"""Work that does not fit the machine or the budget gets a sentence with what would fit, and leaves no files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.compute import device
from pretune.errors import EXIT_DATA, EXIT_DONE, EXIT_RESOURCES, EXIT_USAGE
from pretune.runtime.workers import num_cores
from pretune.stages.pretrain import choices

TOO_MANY = num_cores() + 1
ROWS = "--row-tokens 16 --tokens-per-step 128 --long-row-tokens 32 --evaluations 2 --compile off"


@dataclass(frozen=True)
class Case:
    """The words typed after `pretrain PREPROCESSED --out OUT`, and the words on stderr; `memory` is the free memory."""

    name: str
    options: str
    code: int
    words: tuple[str, ...]
    memory: int | None = None
    has_compiler: bool = True


CASES = [
    Case("threads beyond the cores", f"--threads {TOO_MANY}", EXIT_USAGE, (f"--threads is {TOO_MANY}", "cores")),
    Case("no thread at all", "--threads 0", EXIT_USAGE, ("--threads is 0", "at least 1")),
    Case("threads that are no number", "--threads all", EXIT_USAGE, ("--threads", "whole number")),
    Case("no compiler", "--compile on", EXIT_USAGE, ("--compile on", "g++"), has_compiler=False),
    Case(
        "a size that does not fit",
        "--size small --tokens 4200",
        EXIT_RESOURCES,
        ("small with", "0.6 GB are free", "--size mini would fit"),
        memory=600_000_000,
    ),
    Case(
        "a batch that does not fit",
        "--size tiny --tokens-per-step 2048 --tokens 99999",
        EXIT_RESOURCES,
        ("tiny with", "--tokens-per-step", "would fit"),
        memory=532_000_000,
    ),
    Case("nothing that fits", "--tokens 4200", EXIT_RESOURCES, ("no smaller size or step would fit",), memory=1_000),
    Case("tokens too few to warm up", "--tokens 1000", EXIT_DATA, ("updates", "--tokens 2")),
    Case(
        "minutes too few to warm up",
        "--minutes 0.0001 --size tiny",
        EXIT_DATA,
        ("minutes are enough for 0 updates", "--minutes"),
    ),
]


@pytest.mark.parametrize("dry", ["", " --dry-run"], ids=["run", "dry run"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_gets_a_sentence_with_what_would_fit(
    case: Case,
    dry: str,
    preprocessed_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if case.memory is not None:
        monkeypatch.setattr(choices, "available_bytes", lambda _device: case.memory)
    if not case.has_compiler:
        monkeypatch.setattr(device, "can_compile", lambda _device: False)
    out = tmp_path / "out"
    words = ["pretrain", str(preprocessed_folder), "--out", str(out), *f"{ROWS} {case.options}{dry}".split()]
    code = run_command_line(words)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == case.code, error
    assert not [word for word in case.words if word not in error], error
    assert not out.exists()


@pytest.mark.parametrize("verb", ["finetune a {} --out c", "predict a text", "run --out c", "run --out c --dry-run"])
def test_every_verb_with_threads_refuses_too_many(
    verb: str, prepared_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([*verb.format(prepared_folder).split(), "--threads", str(TOO_MANY)]) == EXIT_USAGE
    assert f"--threads is {TOO_MANY}" in capsys.readouterr().err


def test_a_dry_run_of_all_stages_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run_command_line(["run", "--out", str(out), "--minutes", "2", "--dry-run"]) == EXIT_DONE
    said = capsys.readouterr().out
    assert "Expected: about" in said
    assert "pre-training 2 min" in said
    assert not out.exists()
