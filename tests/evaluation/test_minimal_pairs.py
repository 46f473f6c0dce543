"""`evaluate --minimal-pairs`: from a model and a file to figures, as data and in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import UsageError
from pretune.evaluation.minimal_pairs import evaluate_minimal_pairs
from pretune.inference.load import load_scorer

PAIRS = [("The sun rises.", "The sun rise."), ("We liked the food.", "We liked food the."), ("A film!", "A A film!")]


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    rows = [{"good": good, "bad": bad, "uid": uid} for uid in ("one", "two") for good, bad in PAIRS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_figures_are_those_of_the_scores(run_folder: Path, pairs_file: Path) -> None:
    found = evaluate_minimal_pairs(run_folder, pairs_file)
    scorer = load_scorer(run_folder)
    wins = [bool(scorer.scores([good], [""])[0] > scorer.scores([bad], [""])[0]) for good, bad in PAIRS]
    assert found["accuracy"] == pytest.approx(sum(wins) / 3)
    assert [row["pairs"] for row in found["paradigms"]] == [3, 3]
    assert (found["scoring"], found["n"], found["skipped"]) == ("masked", 6, 0)
    limited = evaluate_minimal_pairs(run_folder, pairs_file, limit=1)
    assert [(row["pairs"], row["accuracy"]) for row in limited["paradigms"]] == [(1, float(wins[0]))] * 2


def test_long_sentences_that_are_called_acceptable_are_told_from_swapped_columns(
    run_folder: Path, tmp_path: Path
) -> None:
    """The score is a sum over tokens, so a model prefers the shorter sentence, whichever it is."""
    words = ("sun", "film", "hotel", "book", "phone", "soup", "food", "waiter", "battery")
    rows = [{"good": f"The {word} was rude, and the {word} was rude.", "bad": f"The {word}."} for word in words]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    notice = evaluate_minimal_pairs(run_folder, file)["notice"]
    assert "The length may explain it" in notice and "is longer in 9 of the 9 pairs" in notice


def test_swapped_columns_are_suspected(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in which the model's own preference is called unacceptable every time."""
    scorer = load_scorer(run_folder)
    rows = []
    for word in ("sun", "film", "hotel", "book", "phone", "soup", "food", "waiter", "battery"):
        texts = [f"The {word} was rude.", f"The was {word} noisy."]
        scores = scorer.scores(texts, ["", ""])
        good, bad = texts if scores[0] < scores[1] else texts[::-1]
        rows.append({"good": good, "bad": bad})
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate_minimal_pairs(run_folder, file)
    assert found["accuracy"] == 0.0
    assert "are swapped: exchange the names of the two columns" in found["notice"]
    assert "(0.000 in the 9 pairs whose sentences have the same number of words)" in found["notice"]
    assert run_command_line(["evaluate", str(run_folder), "--minimal-pairs", str(file), "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["notice"] == found["notice"] == said.err.strip()
    file.write_text("".join(json.dumps({"good": row["bad"], "bad": row["good"]}) + "\n" for row in rows))
    assert evaluate_minimal_pairs(run_folder, file)["notice"] is None


def test_the_command_shows_and_prints(run_folder: Path, pairs_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(run_folder), "--minimal-pairs", str(pairs_file), "--limit", "2"]
    assert run_command_line(words) == 0
    said = capsys.readouterr()
    assert "6 pairs of 2 paradigms" in said.out and "every token masked in turn" in said.out
    assert "mean of paradigms" in said.out and "one" in said.out and "chance is 0.5" in said.out
    assert said.err.endswith("sentences\n")
    assert run_command_line([*words, "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["n"] == 4 and said.err == ""


USAGE = [
    (["--minimal-pairs", "FILE", "--limit", "0"], "--limit is 0; expected at least 1."),
    (["--minimal-pairs", "FILE", "--scoring", "causal"], "not to predict the next token"),
    (["--minimal-pairs", "FILE", "--text-column", "good"], "--text-column is given with --minimal-pairs"),
    (["--minimal-pairs", "FILE", "--text-pair-column", "bad"], "--text-pair-column is given with --minimal-pairs"),
    (["--minimal-pairs", "FILE", "--labels", "FILE"], "not allowed with argument"),
    (["--labels", "FILE", "--limit", "3"], "--limit is given without --minimal-pairs"),
    ([], "One of the arguments --labels --chat --minimal-pairs --text is required"),
]


@pytest.mark.parametrize(("options", "expected"), USAGE)
def test_options_that_do_not_fit(
    run_folder: Path, pairs_file: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    words = [str(pairs_file) if word == "FILE" else word for word in options]
    assert run_command_line(["evaluate", str(run_folder), *words]) == 2
    said = capsys.readouterr().err
    assert expected in said and len(said.splitlines()) == 1


def test_scoring_is_checked_from_python_too(run_folder: Path, pairs_file: Path) -> None:
    with pytest.raises(UsageError, match="expected one of auto, masked, causal"):
        evaluate_minimal_pairs(run_folder, pairs_file, scoring="best")


@pytest.mark.parametrize("objective", ["masked", "causal"])
def test_a_model_whose_training_diverged_is_refused(
    objective: str,
    save_diverged: Callable[..., Path],
    pairs_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = save_diverged(tmp_path, objective)
    assert run_command_line(["evaluate", str(model), "--minimal-pairs", str(pairs_file), "--quiet"]) == 4
    assert "its weights are damaged or its training diverged" in capsys.readouterr().err
