"""The benchmark of the time to a quality: its factors, its order of runs, its search, and its one evaluator."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import pytest
import time_to_quality as benchmark
import trainer_settings as settings
from hypothesis import given
from hypothesis import strategies as st

# --- factors -----------------------------------------------------------------------------------------------------


@given(factor=st.floats(1.01, 9.9), slope=st.floats(0.01, 0.2), seconds=st.floats(1, 1e4), start=st.floats(0.01, 0.2))
def test_the_factor_of_an_accuracy_linear_in_the_logarithm_of_time_is_exact(
    factor: float, slope: float, seconds: float, start: float
) -> None:
    def accuracy(multiple: float) -> float:
        return start + slope * math.log(multiple)

    found = benchmark.find_factor(
        accuracy(factor), seconds, [(multiple * seconds, accuracy(multiple)) for multiple in (1, 2, 5, 10)]
    )
    assert found.interpolated == pytest.approx(factor)
    assert found.above - 1e-9 <= factor <= found.at_most + 1e-9
    assert round(found.at_most) in (2, 5, 10)


def test_a_contender_that_never_gets_there_has_a_lower_bound_only() -> None:
    found = benchmark.find_factor(0.5, 60.0, [(60.0, 0.2), (600.0, 0.4)])
    assert found == benchmark.Factor(above=10.0, at_most=None, interpolated=None)
    assert found.describe() == "more than 10.0x"


def test_a_contender_that_is_there_at_once_has_an_upper_bound_only() -> None:
    found = benchmark.find_factor(0.5, 60.0, [(30.0, 0.5)])
    assert found == benchmark.Factor(above=None, at_most=0.5, interpolated=None)
    assert found.describe() == "at most 0.5x"


def test_the_first_run_that_reaches_the_target_counts_even_if_a_later_one_falls_short() -> None:
    found = benchmark.find_factor(0.5, 1.0, [(1.0, 0.4), (2.0, 0.6), (5.0, 0.3)])
    assert (found.above, found.at_most) == (1.0, 2.0)
    assert found.interpolated == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (7, [1, 2, 5, 7]), (10, [1, 2, 5, 10]), (20, [1, 2, 5, 10, 20])]
)
def test_multiples_end_with_the_largest(most: float, expected: list[float]) -> None:
    assert benchmark.multiples(most) == expected


# --- the order of runs -------------------------------------------------------------------------------------------


def line(minutes: float, short: float, long: float) -> dict[str, Any]:
    return {
        "size": "tiny",
        "seconds": 60 * minutes,
        "cpu_seconds": 30 * minutes,
        "whole_cpu_seconds": 30 * minutes + 20,
        "accuracy": {"64": short, "512": long},
    }


def test_contenders_take_turns_until_they_reach_ours_in_rows_of_either_length() -> None:
    tuned, default = settings.TrainerSettings(learning_rate=1e-3), settings.DEFAULT
    calls = []

    def train(given: Any, minutes: float) -> dict[str, Any]:
        calls.append((given == tuned, minutes))
        reached = given == tuned and minutes >= 10
        return line(minutes, 0.3 + minutes / 1000, 0.6 if reached else 0.3)

    ours = [line(5, 0.4, 0.4), line(5, 0.6, 0.6)]  # the mean counts
    found = benchmark.compare(5, ours, {"default": default, "tuned": tuned}, 5, train)
    assert calls == [(False, 5), (True, 5), (True, 10), (False, 10), (False, 25)]
    by_name = {each["name"]: each["factors"] for each in found["contenders"]}
    assert by_name["tuned"]["counted"] == "512"
    assert by_name["tuned"]["seconds"]["512"]["at_most"] == pytest.approx(2)
    assert by_name["tuned"]["seconds"]["64"]["at_most"] is None
    assert by_name["default"]["cpu_seconds"]["64"]["above"] == pytest.approx(5)
    table = benchmark.render([found])
    assert "more than 1.0x, at most 2.0x" in table
    assert "more than 5.0x" in table


def test_a_finished_run_is_not_repeated_and_an_interrupted_one_is(
    preprocessed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = argparse.Namespace(
        preprocessed=preprocessed_folder, out=tmp_path / "lines.jsonl", work=tmp_path / "work", threads=1, size="tiny"
    )
    monkeypatch.setattr(benchmark.Runs, "_matrix_rate", lambda _self: 1.0)
    calls = []

    def run_ours(_self: Any, spec: dict[str, Any], folder: Path) -> dict[str, Any]:
        assert not list(folder.iterdir())
        (folder / "half").touch()
        calls.append((spec["minutes"], spec["seed"]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {**line(1, 0.1, 0.2), "tokens": 1}

    monkeypatch.setattr(benchmark.Runs, "_run_ours", run_ours)
    runs = benchmark.Runs(options)
    first = runs.ours(2.0, 0)
    with pytest.raises(KeyboardInterrupt):
        runs.ours(2.0, 1)
    again = benchmark.Runs(options)
    assert again.ours(2.0, 0) == first
    again.ours(2.0, 1)
    assert calls == [(2.0, 0), (2.0, 1), (2.0, 1)]


def test_theirs_is_charged_for_the_call_that_trains_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_process(_command: list[str]) -> dict[str, Any]:
        (tmp_path / "found.json").write_text('{"train_seconds": 60, "train_cpu_seconds": 110}', encoding="utf-8")
        return {"seconds": 75, "cpu_seconds": 130}

    monkeypatch.setattr(benchmark, "run_process", run_process)
    monkeypatch.setattr(benchmark.Runs, "_accuracies", lambda *_: {})
    monkeypatch.setattr("masked_accuracy.their_logits", lambda _folder: None)
    runs = object.__new__(benchmark.Runs)
    runs.options = argparse.Namespace(preprocessed=tmp_path)
    spec = {"minutes": 1.0, "size": "tiny", "settings": {}, "seed": 0, "threads": 2}
    found = runs._run_theirs(spec, tmp_path)
    assert (found["seconds"], found["cpu_seconds"]) == (60, 110)
    assert (found["whole_seconds"], found["whole_cpu_seconds"]) == (75, 130)


def test_a_line_with_the_cpu_time_of_the_whole_process_counts_by_the_clock_only() -> None:
    older = {name: value for name, value in line(5, 0.5, 0.5).items() if name != "whole_cpu_seconds"}
    found = benchmark.compare(5, [line(5, 0.4, 0.4)], {"default": settings.DEFAULT}, 1, lambda *_: older)
    factors = found["contenders"][0]["factors"]
    assert factors["seconds"]["64"]["at_most"] == pytest.approx(1)
    assert factors["cpu_seconds"]["64"]["at_most"] is None
    assert benchmark.render([found]).splitlines()[-1].split()[-2:] == ["-", "64"]


def test_cpu_seconds_include_those_of_children_that_have_ended() -> None:
    before = machine.cpu_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert machine.cpu_seconds() - before > 0.02


# --- the settings of theirs --------------------------------------------------------------------------------------


def test_the_default_is_the_example_as_it_comes() -> None:
    assert settings.DEFAULT.training_arguments() == {}
    assert settings.default_row_tokens([10**30, 4096]) == 1024
    assert settings.default_row_tokens([512, 4096]) == 512


@pytest.mark.slow
def test_the_rate_follows_the_linear_schedule_of_transformers() -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    for warmup in (0, 10):
        [expected] = get_linear_schedule_with_warmup(optimizer, warmup, 100).lr_lambdas
        for step in range(101):
            assert settings.rate_at(step / 100, warmup / 100) == pytest.approx(expected(step))


def test_the_search_finds_the_best_settings_where_they_do_not_depend_on_each_other() -> None:
    start = settings.tuned_start(64, 64, has_bf16=False)
    best = replace(start, learning_rate=4e-3, rows_per_step=16, attention="eager")
    tried = []

    def score(found: Any) -> float:
        tried.append(found)
        return -(
            abs(math.log(found.learning_rate / best.learning_rate))
            + abs(math.log(found.rows_per_step / best.rows_per_step))
            + (found.mask_prob != best.mask_prob)
            + (found.attention != best.attention)
            + (found.compiled != best.compiled)
        )

    assert settings.search(start, score) == best
    assert len(set(tried)) <= 12


def test_on_a_chip_with_bf16_code_is_compiled_from_the_start() -> None:
    start = settings.tuned_start(64, 64, has_bf16=True)
    assert start.training_arguments()["bf16"] is True
    assert start.training_arguments()["torch_compile"] is True
    assert settings.search(start, lambda _found: 0.0) == start


# --- the evaluator -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluator() -> Any:
    import masked_accuracy

    return masked_accuracy


def test_the_same_tokens_are_hidden_every_time(evaluator: Any, preprocessed_folder: Path) -> None:
    first, again = (evaluator.make_rows(preprocessed_folder, 16, 400) for _ in range(2))
    assert len(first) == len(again)
    num_hidden, num_real = 0, 0
    for batch, other in zip(first, again, strict=True):
        flat = batch.input_ids.flatten()
        assert batch.positions.equal(other.positions)
        assert batch.labels.equal(other.labels)
        assert batch.input_ids.shape[1] <= 16
        assert len(set(flat[batch.positions].tolist())) == 1
        num_hidden += len(batch.labels)
        num_real += int((batch.document_ids >= 0).sum())
    assert 200 < num_real <= 400
    assert 0.1 < num_hidden / num_real <= evaluator.MASK_PROB


def test_both_ways_of_reading_a_model_find_the_same(
    evaluator: Any, run_folder: Path, preprocessed_folder: Path
) -> None:
    checkpoint = run_folder / "pretrain" / "checkpoint"
    rows = evaluator.make_rows(preprocessed_folder, 16, 1000)
    ours, theirs = evaluator.our_logits(checkpoint), evaluator.their_logits(checkpoint)
    for batch in rows:
        assert ours(batch).sub(theirs(batch)).abs().max() < 1e-4
    assert evaluator.accuracy(ours, rows) == evaluator.accuracy(theirs, rows)


def test_accuracy_counts_the_hidden_tokens_that_are_found(evaluator: Any, preprocessed_folder: Path) -> None:
    import torch

    rows = evaluator.make_rows(preprocessed_folder, 16, 1000)
    assert evaluator.accuracy(lambda batch: torch.nn.functional.one_hot(batch.labels, 500), rows) == 1.0
    assert evaluator.accuracy(lambda batch: torch.nn.functional.one_hot(batch.labels * 0, 500), rows) == 0.0
