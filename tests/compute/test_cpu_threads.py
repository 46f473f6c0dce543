"""Lanes return results in order, record gradients as the caller does, and leave the caller's threads alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pretune.compute.cpu_threads import Lanes, lanes_for, single_thread


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert Lanes(count, 2).map(lambda n: n * n, range(20)) == [n * n for n in range(20)]


def test_two_lanes_work_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)  # which one lane alone would never pass
    assert sorted(Lanes(2, 2).map(lambda _: both.wait(), range(2))) == [0, 1]


def test_lanes_divide_the_threads_and_the_caller_keeps_all() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert set(Lanes(2, 2).map(lambda _: torch.get_num_threads(), range(8))) == {1}
        assert torch.get_num_threads() == 2
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [2]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_are_recorded_if_the_caller_records_them(count: int) -> None:
    def modes(_item: int) -> tuple[bool, bool]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    lanes = Lanes(count, 2)
    assert set(lanes.map(modes, range(4))) == {(True, False)}
    with torch.no_grad():
        assert set(lanes.map(modes, range(4))) == {(False, False)}
    with torch.inference_mode():
        assert set(lanes.map(modes, range(4))) == {(False, True)}


def test_an_error_in_a_lane_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        Lanes(2, 2).map(lambda n: 1 / n, [1, 0])


def test_after_an_error_every_lane_has_stopped() -> None:
    """A lane that is still running would take memory from the next attempt with smaller batches."""
    both, begun, done = threading.Barrier(2, timeout=30), list[int](), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        if number < 2:
            both.wait()
        if number == 0:
            raise MemoryError
        time.sleep(0.1)
        done.append(number)

    with pytest.raises(MemoryError):
        Lanes(2, 2).map(work, range(40))
    assert sorted([0, *done]) == sorted(begun)
    assert len(begun) < 40  # items that had not begun are cancelled


@pytest.mark.parametrize(
    ("device", "threads", "expected"), [("cpu", 1, 1), ("cpu", 2, 2), ("cpu", 16, 2), ("cuda", 16, 1)]
)
def test_only_a_cpu_with_two_threads_has_two_lanes(
    monkeypatch: pytest.MonkeyPatch, device: str, threads: int, expected: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda _count: None)
    assert lanes_for(device).count == expected
    assert lanes_for(device) is lanes_for(device)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("is_wanted", "inside"), [(True, 1), (False, 2)])
def test_a_single_thread_computes_only_inside_and_only_if_wanted(is_wanted: bool, inside: int) -> None:
    with single_thread(is_wanted):
        assert torch.get_num_threads() == inside
    assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError, match="in between"), single_thread(is_wanted):
        raise RuntimeError("in between")
    assert torch.get_num_threads() == 2


_FORKING = """
import os, sys, multiprocessing
import torch
torch.set_num_threads(2)
from pretune.inference.predict import predict
model, texts = sys.argv[1], ["A wonderful film.", "Cold soup, noisy rooms."] * 40
from pretune.inference.load import load_classifier
classifier = load_classifier(model)
before = [p.label for p in predict(classifier, texts)]
def work(_):
    return [p.label for p in predict(classifier, texts)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(2)) == [before, before]
print("predicted")
"""


@pytest.mark.slow
def test_a_forked_process_predicts(run_folder: Path) -> None:
    """The threads of the lanes, torch and the tokenizer do not survive a fork; the child waited for them forever."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", _FORKING, str(run_folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "predicted\n", done.stderr
