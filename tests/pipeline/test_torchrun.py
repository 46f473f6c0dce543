"""`torchrun` with two processes, one of which dies and then hangs: it is named, and the result is that of no mishap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.runtime.events import LOG_NAME, read_events
from pretune.runtime.manifest import hash_file, read_manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="finds a process by its rank in /proc"),
]

ROOT = Path(__file__).parents[2]
PRETRAIN = (
    "--size tiny --tokens 24000 --row-tokens 16 --long-row-tokens 32 --tokens-per-step 256 --evaluations 8 "
    "--optimizer adamw --compile off --checkpoint-minutes 0.005 --hang-seconds 6"
)
WAIT_SECONDS = 120.0


@contextmanager
def torchrun(preprocessed: Path, out: Path, *, restarts: int) -> Iterator[subprocess.Popen[str]]:
    """`pretune pretrain` in two processes; whatever is left of them at the end of the block is killed."""
    words = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts), "--monitor-interval", "0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", *words, "-m", "pretune", "pretrain", str(preprocessed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with (out.parent / f"{out.name}.stderr").open("a", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [*command, "--out", str(out), *PRETRAIN.split()],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for pid in (rank_pid(out, 0), rank_pid(out, 1)):
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            if process.poll() is None:
                process.kill()
            process.wait()


def rank_pid(out: Path, rank: int) -> int | None:
    """The process of a rank that writes to `out`, where there is one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(out).encode() in words and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    return None


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], told: Path) -> None:
    start = time.monotonic()
    while not what():
        assert process.poll() is None, told.read_text(encoding="utf-8")
        assert time.monotonic() - start < WAIT_SECONDS, told.read_text(encoding="utf-8")
        time.sleep(0.02)


def evaluations(out: Path) -> int:
    """How many there were so far, in all attempts."""
    log = out / LOG_NAME
    return log.read_text(encoding="utf-8").count('"event": "evaluation"') if log.is_file() else 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torchrun")


def test_a_run_with_mishaps_ends_as_one_without(
    folder: Path, preprocessed_folder: Path, run_together: Callable[..., list[list[tuple[int, str]]]]
) -> None:
    whole, out, told = folder / "whole", folder / "mishaps", folder / "mishaps.stderr"
    with torchrun(preprocessed_folder, out, restarts=1) as process:

        def next_rank_1(before: int | None) -> int:
            """The process of rank 1, once this attempt has gone on for a while."""
            wait_for(lambda: rank_pid(out, 1) not in (None, before), process, told)
            so_far = evaluations(out)
            wait_for(lambda: evaluations(out) >= so_far + 2, process, told)
            pid = rank_pid(out, 1)
            assert pid is not None
            return pid

        killed = next_rank_1(None)
        os.kill(killed, signal.SIGKILL)
        hanging = next_rank_1(killed)
        os.kill(hanging, signal.SIGSTOP)
        wait_for(lambda: f"Process 1 (pid {hanging} on " in told.read_text(encoding="utf-8"), process, told)
        os.kill(hanging, signal.SIGKILL)
        assert process.wait(WAIT_SECONDS) != 0
    with pytest.raises(InputDataError, match="is not finished"):
        read_manifest(out)
    words = ["pretrain", str(preprocessed_folder), *PRETRAIN.split(), "--out"]
    found = run_together([{"words": [*words, str(each)], "size": 2} for each in (out, whole)])
    assert [status for each in found for status, _ in each] == [0] * 4, found
    name = "checkpoint/model.safetensors"
    assert hash_file(out / name) == hash_file(whole / name)
    one, other = (
        [(event["step"], event["loss"]) for event in read_events(run) if event["event"] == "evaluation"]
        for run in (whole, out)
    )
    assert one == other
