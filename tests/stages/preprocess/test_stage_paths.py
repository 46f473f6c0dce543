"""Workers of a cluster find all files, although they have another working folder than the command."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import UsageError, WorkersError
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


def test_a_file_that_a_machine_lacks_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text was left out, as if the file were unreadable; those that other machines had read are kept."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text(f"Text {number} is about the old ferry.\n" * 20, encoding="utf-8")

    class Lacking(Elsewhere):
        def _submit(self, function: Any, task: tuple[Any, ...]) -> Future[Any]:
            change = changes.get(task[2], lambda: None)
            before = last.read_bytes()
            change()
            try:
                return super()._submit(function, task)
            finally:
                last.write_bytes(before)

    last, config = texts / "3.txt", CollectConfig(engine=ADDRESS)
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    monkeypatch.setitem(CLUSTERS, "dask", Lacking)
    monkeypatch.setattr("pretune.text.collect.work_units.LEAST_BYTES", 800)
    changes: dict[int, Any] = {3: last.unlink}
    with pytest.raises(WorkersError, match=r"Worker \S+ cannot use .*3\.txt \(No such file"):
        collect([texts], Path("out"), config)
    changes = {3: lambda: last.write_text("Text 3")}
    with pytest.raises(WorkersError, match=r"3\.txt has 6 bytes on the machine of worker .*, and 620 where"):
        collect([texts], Path("out"), config)
    assert len(list(Path("out/.work").glob("*/*/result.json"))) == 3
    changes = {}
    assert collect([texts], Path("out"), config).outputs == collect([texts], Path("here"), CollectConfig()).outputs


def test_only_this_machine_can_read_standard_input() -> None:
    with pytest.raises(UsageError, match="whose workers cannot read standard input; write the text to a file"):
        collect(["-"], Path("out"), CollectConfig(engine=ADDRESS))
