"""Each invariant holds for a sound run, and fails, by name, for a run in which it does not hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.checks import check_derivations, check_privacy, check_run
from pretune.runtime.events import read_run
from pretune.trace_schema import RunTrace


def failing(run: Path, trace: RunTrace | None = None) -> list[str]:
    """The ids of the checks that fail."""
    made = build_run_trace(run) if trace is None else trace
    return [check.id for check in check_run(made, read_run(run), run) if not check.is_ok]


def change_log(run: Path, stage: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change every event of a stage."""
    log = run / stage / "events.jsonl"
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for event in events:
        change(event)
    log.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def test_a_sound_run_fails_none(traced: RunTrace, tested_run: Path) -> None:
    assert failing(tested_run, traced) == []
    assert {"I12", "I13", "I14", "I15", "I17", "I18", "I19"} <= {check.id for check in traced.checks}


def test_a_confusion_matrix_that_differs_from_the_log_is_found(tested_run: Path) -> None:
    def worsen(event: dict[str, Any]) -> None:
        if event["event"] == "test":
            event["accuracy"] -= 0.025

    change_log(tested_run, "finetune", worsen)
    assert failing(tested_run) == ["I12"]


def test_a_kept_evaluation_that_is_not_the_best_is_found(tested_run: Path) -> None:
    def keep_another(event: dict[str, Any]) -> None:
        if event["event"] == "trial_finished":
            event["best_step"] = 500

    change_log(tested_run, "finetune", keep_another)
    assert failing(tested_run) == ["I13"]


@pytest.mark.parametrize("kind", ["evaluation", "test"])
def test_a_test_before_the_end_or_a_second_one_is_found(tested_run: Path, kind: str) -> None:
    log = tested_run / "finetune" / "events.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    again = next(line for line in lines if f'"event": "{kind}"' in line)
    log.write_text("".join([*lines, again]), encoding="utf-8")
    assert "I14" in failing(tested_run)


@pytest.mark.parametrize("text", ["A fine film.", "  a FINE   film. "])
def test_a_test_text_that_stands_in_training_is_found(tested_run: Path, text: str) -> None:
    with (tested_run / "prepare" / "test.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"row": 99, "text": text, "label": 0}) + "\n")
    assert failing(tested_run) == ["I15"]


def test_watched_sentences_are_searched_in_the_documents(
    traced: RunTrace, tested_run: Path, preprocessed_folder: Path
) -> None:
    for file in preprocessed_folder.glob("documents-*"):
        shutil.copyfile(file, tested_run / "preprocess" / file.name)
    assert failing(tested_run, traced) == ["I16"]  # "The sun rises in the east." is one of the training sentences
    sentence = replace(traced.watched[1], masked_text="The [MASK] swam.", true_word="whale")
    held_out = replace(traced, watched=[sentence])
    assert failing(tested_run, held_out) == []
    assert failing(tested_run, replace(held_out, watched=[replace(sentence, is_in_training=True)])) == ["I16"]


def test_a_first_loss_far_from_a_guess_is_found(tested_run: Path) -> None:
    change_log(tested_run, "pretrain", lambda event: event.update(uniform_nats=8.0) if "uniform_nats" in event else 0)
    assert failing(tested_run) == ["I18"]


def test_a_lost_document_is_found(tested_run: Path) -> None:
    steps = [{"step": "found", "documents": 200_000}, {"step": "symbols", "documents": 190_755}]
    with (tested_run / "preprocess" / "events.jsonl").open("a", encoding="utf-8") as file:
        event = {"event": "funnel", "stage": "preprocess", "time": 1.0, "steps": steps, "lengths": []}
        file.write(json.dumps(event) + "\n")
    assert failing(tested_run) == []
    change_log(tested_run, "preprocess", lambda e: e["shape_out"][0].update(value=186_939) if "shape_out" in e else 0)
    assert failing(tested_run) == ["I21"]


def test_a_number_that_does_not_follow_from_the_trace_is_found(traced: RunTrace) -> None:
    check = check_derivations(traced)
    assert check is not None and check.is_ok
    insight = replace(traced.insights[0], numbers={**traced.insights[0].numbers, "difference": 0.31})
    wrong = check_derivations(replace(traced, insights=[insight]))
    assert wrong is not None and not wrong.is_ok
    assert wrong.pointers == insight.pointers
    lost = replace(traced.insights[0], pointers=["/phases/nowhere"])
    assert not check_derivations(replace(traced, insights=[lost])).is_ok  # type: ignore[union-attr]


def test_a_difference_that_is_rounded_to_six_digits_follows_from_its_terms(tested_run: Path) -> None:
    losses = iter([1.78652, 0.440662])  # their difference has seven digits

    def fall(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            event["loss"] = next(losses, event["loss"])

    change_log(tested_run, "finetune", fall)
    trace = build_run_trace(tested_run)
    assert trace.phases.finetune is not None
    numbers = [each.numbers for each in trace.phases.finetune.evaluations[1].observations]
    assert any(found.get("fall") == 1.34586 for found in numbers)
    check = check_derivations(trace)
    assert check is not None and check.is_ok


def test_an_answer_that_does_not_follow_from_the_trace_is_found(traced: RunTrace) -> None:
    assert traced.quiz is not None
    questions = [*traced.quiz.quiz, *traced.quiz.practice, *traced.quiz.test]
    number = next(each for each in questions if each.answer is not None and each.expression is not None)
    quiz = replace(traced.quiz, quiz=[replace(number, answer=number.answer + 1)])  # type: ignore[operator]
    check = check_derivations(replace(traced, quiz=quiz))
    assert check is not None and not check.is_ok
    assert "/quiz/quiz/0" in check.pointers


@pytest.mark.parametrize("leak", ["/home/ann/data", "hf_abcdefghijklmnopqrstuvwx"])
def test_a_path_and_a_token_are_found(traced: RunTrace, leak: str) -> None:
    assert check_privacy(traced).is_ok
    assert not check_privacy(replace(traced, run=replace(traced.run, detail=f"In {leak}."))).is_ok
    example = replace(traced.example, text=f"A user may write {leak}.")  # type: ignore[type-var]
    assert check_privacy(replace(traced, example=example)).is_ok
