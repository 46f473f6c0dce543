"""The output of the verbs that use a model, for a reader and as JSON for a script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pretune.cli.main import run_command_line

TEXTS = ["A wonderful film, warm and funny.", "Cold soup, noisy rooms.", ""]
LABELS = {"negative", "neutral", "positive"}


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The stdout of a command, which must succeed."""
    capsys.readouterr()
    assert run_command_line(words) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_predict_prints_a_line_for_each_text(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out_of(capsys, "predict", str(run_folder), *TEXTS).splitlines()
    assert [line.split("\t")[2] for line in lines] == TEXTS
    assert {line.split("\t")[0] for line in lines[:2]} <= LABELS
    assert lines[2].startswith("(no text)\t-")


def test_predict_as_json_is_an_object_a_line(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [json.loads(line) for line in out_of(capsys, "predict", str(run_folder), *TEXTS, "--json").splitlines()]
    assert [prediction["text"] for prediction in found] == TEXTS
    assert (found[2]["label"], found[2]["probability"]) == (None, None)
    for prediction in found[:2]:
        assert prediction.keys() == {"text", "label", "probability", "probabilities"}
        assert prediction["probabilities"].keys() == LABELS
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert prediction["probability"] == prediction["probabilities"][prediction["label"]]


def test_a_text_may_begin_with_a_dash(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "predict", str(run_folder), "--json", "--", "-1 star").count("\n") == 1


def test_options_may_be_between_the_texts(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "predict", str(run_folder), "one", "--json", "two").count("\n") == 2


def test_a_text_cannot_control_the_terminal(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in out_of(capsys, "predict", str(run_folder), "red \x1b[31m alert")


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("ascii", []),
        pytest.param("ascii", ["--json"], marks=pytest.mark.slow),
        pytest.param("utf-8", [], marks=pytest.mark.slow),
        pytest.param("utf-8", ["--json"], marks=pytest.mark.slow),
    ],
)
def test_every_text_can_be_printed(run_folder: Path, encoding: str, options: list[str]) -> None:
    """Even one with a byte that is not UTF-8, which is read as U+FFFD, and in a terminal without umlauts."""
    texts = [b"caf\xe9", "Großartig!".encode()]
    words = [sys.executable, "-m", "pretune", "predict", str(run_folder), *options, *texts]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode(encoding).splitlines()
    assert len(lines) == 2
    if options:
        assert [json.loads(line)["text"] for line in lines] == ["caf\ufffd", "Großartig!"]


def test_predict_writes_a_file(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("id,text\n7,A wonderful film.\n", encoding="utf-8")
    words = ["predict", str(run_folder), "--input", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv")]
    assert run_command_line(words) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 rows" in captured.err
    header, row = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert header == "id,text,label,probability"
    assert row.startswith("7,A wonderful film.,")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "There is nothing to label"),
        (["A text.", "--input", "a.txt"], "Both texts and --input are given"),
        (["--input", "a.txt"], "--input is given without --output"),
        (["--input", "a.txt", "--output", "b.csv", "--json"], "--json does not work with --input"),
        (["A text.", "--output", "b.csv"], "--output is given without --input"),
        (["A text.", "--text-column", "review"], "--text-column is given without --input"),
    ],
)
def test_predict_needs_texts_or_files(
    words: list[str], sentence: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["predict", str(run_folder), *words]) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_evaluate_prints_figures_and_json(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\nA film.,positive\nA hotel.,negative\nA phone.,neutral\n", encoding="utf-8")
    words = ["evaluate", str(run_folder), "--labels", str(labels)]
    figures = json.loads(out_of(capsys, *words, "--json"))
    assert figures.keys() >= {"n", "accuracy", "accuracy_interval", "macro_f1", "loss", "classes", "confusion_matrix"}
    assert figures["n"] == 3
    shown = out_of(capsys, *words)
    assert f"accuracy  {figures['accuracy']:.4f}" in shown
    assert f"Brier     {figures['brier_score']:.4f}" in shown
    assert f"ECE       {figures['calibration_error']:.4f}  (expected calibration error: " in shown
    assert all(label in shown for label in LABELS)


def test_fill_prints_words_and_json(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The sun rises in the [MASK]."
    assert len(out_of(capsys, "fill", str(run_folder), text, "--top", "3").splitlines()) == 3
    found = json.loads(out_of(capsys, "fill", str(run_folder), text, "--json"))
    assert found["text"] == text
    assert [len(words) for words in found["masks"]] == [5]


def test_trace_prints_five_layers_and_json(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(out_of(capsys, "trace", str(run_folder), TEXTS[0]).splitlines()) > 10
    assert json.loads(out_of(capsys, "trace", str(run_folder), TEXTS[0], "--json"))["text"] == TEXTS[0]


def test_quiet_prints_nothing_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("A line of text that is long enough.\n" * 20, encoding="utf-8")
    out_of(capsys, "collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "o"), "--quiet")
    out_of(capsys, "--quiet", "collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "o"))
    assert capsys.readouterr().err == ""


def test_verify_reports_files_that_changed(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    printed = out_of(capsys, "verify", str(run))
    assert [line.split("  ")[0] for line in printed.splitlines()[:2]] == ["finetune/checkpoint", "pretrain/checkpoint"]
    assert printed.endswith("OK: every file that has a hash matches it.\n")
    weights = run / "finetune" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    assert run_command_line(["verify", str(run)]) == 4
    printed = capsys.readouterr().out
    assert "CHANGED OR MISSING" in printed.splitlines()[0]
    assert printed.splitlines()[1].strip() == "finetune/checkpoint/model.safetensors"
    assert "what to do: restore it from a copy" in printed
    assert run_command_line(["verify", str(run), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert [folder["is_whole"] for folder in found["folders"]] == [False, True]
    assert found["is_whole"] is False
    [fault] = found["folders"][0]["faults"]
    assert fault.keys() == {"file", "found", "expected", "advice"}
    assert run_command_line(["verify", str(tmp_path / "nothing")]) == 3


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "1,2\n3,4\n", "name the one of the texts with --corpus-text-column."),
        ("b.csv", "x,y\n1,2\n3,4\n", "name it with --corpus-text-column."),
        ("c.xml", "<?xml version='1.0'?><a>", "read it as plain text with --corpus-format txt."),
    ],
)
def test_errors_about_the_corpus_name_the_options_of_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, sentence: str
) -> None:
    """They named --text-column, which in `run` is for labelled examples, and was then ignored."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert run_command_line(["run", "--corpus", str(tmp_path / name), "--out", str(tmp_path / "run"), "--quiet"]) == 3
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_options_of_labelled_examples_need_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--corpus", str(tmp_path), "--out", str(tmp_path / "run")]
    assert run_command_line([*words, "--text-column", "2"]) == 2
    expected = "--text-column is for labelled examples, and no --labels are given; that of the corpus is"
    assert f"{expected} --corpus-text-column." in " ".join(capsys.readouterr().err.split())
    for option in (
        "--label-column 2",
        "--finetune-epochs 2",
        "--finetune-learning-rates 1e-3",
        "--method head",
        "--no-stack",
        "--seeds 1",
        "--max-seq-len 128",
        "--long-texts cut",
    ):
        assert run_command_line([*words, "--dry-run", *option.split()]) == 2, option
        flag = option.split()[0]
        assert f"{flag} is for labelled examples, and no --labels are given; leave it out." in " ".join(
            capsys.readouterr().err.split()
        )


def test_only_the_first_of_several_processes_makes_and_prints_a_forecast(
    preprocessed_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    forecast = SimpleNamespace(describe=lambda: ["2 minutes"])
    monkeypatch.setattr("pretune.stages.pretrain.forecast.forecast", lambda *_, **__: made.append("") or forecast)
    monkeypatch.setattr("pretune.pipeline.dry_run", lambda _recipe, say, **_: say("2 minutes"))
    for words in (["pretrain", str(preprocessed_folder)], ["run", "--out", str(tmp_path / "run")]):
        for rank, expected in (("0", "2 minutes\n"), ("1", "")):
            monkeypatch.setenv("RANK", rank)
            monkeypatch.setenv("WORLD_SIZE", "2")
            assert out_of(capsys, *words, "--dry-run") == expected
    assert len(made) == 1


def test_options_of_several_stages_need_no_labelled_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They set something of pre-training, too; those of a recipe are kept for the day when labels come."""
    (tmp_path / "a.txt").write_text("A line of text that is long enough.\n" * 20, encoding="utf-8")
    (tmp_path / "mine.toml").write_text('corpus = ["a.txt"]\n[finetune]\nepochs = 2\n', encoding="utf-8")
    words = ["run", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run"), "--dry-run"]
    assert run_command_line([*words, "--seed", "3", "--precision", "fp32", "--threads", "1"]) == 0
    assert "No --labels given" in capsys.readouterr().out
