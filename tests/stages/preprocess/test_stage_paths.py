"""Workers of a cluster find all files, although they have another working folder than the command."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pretune.runtime.clusters import CLUSTERS
from pretune.runtime.workers import Engine, call
from pretune.settings import CollectConfig, PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.version import VERSION

ADDRESS = "dask://10.0.0.1:8786"
NEAR = "The old ferry crossed the wide river twice a day and carried cattle, carts and people for a very small fee"


class Elsewhere(Engine):
    """A cluster whose workers have another working folder."""

    name = "dask"

    def _submit(self, function: Any, task: tuple[Any, ...]) -> Future[Any]:
        future: Future[Any] = Future()
        with contextlib.chdir("elsewhere"):
            future.set_result(call(function, task, VERSION))
        return future

    def _stop(self) -> None:
        pass


def test_paths_are_given_relative_to_the_folder_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CLUSTERS, "dask", Elsewhere)
    Path("elsewhere").mkdir()
    lines = [f"Number {n} liked the {word} near the river." for n in range(80) for word in ("film", "hotel", "soup")]
    Path("text.txt").write_text("\n".join([*lines, NEAR, f"{NEAR} indeed", NEAR]) + "\n", encoding="utf-8")
    Path("test.txt").write_text(f"{lines[7]} {lines[8]}\n", encoding="utf-8")
    assert preprocess_in(Path("there"), ADDRESS) == preprocess_in(Path("here"), "threads")
    assert list(Path("elsewhere").iterdir()) == []


def preprocess_in(folder: Path, engine: str) -> list[Any]:
    """The outputs and fingerprints of both stages."""
    collected = collect(["./text.txt"], folder / "collect", CollectConfig(engine=engine))
    done = preprocess(folder / "collect", folder / "out", PreprocessConfig(engine=engine), protect=["test.txt"])
    return [(manifest.fingerprint, manifest.outputs) for manifest in (collected, done)]
