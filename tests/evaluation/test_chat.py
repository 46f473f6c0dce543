"""`evaluate --chat` as a function of a model and a file: what it reads, measures, answers and finds copied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError
from pretune.evaluation.chat import choose_conversations, evaluate_chat, read_held_out
from pretune.settings import PrepareConfig, Sampling, SplitConfig
from pretune.stages.prepare_chat import prepare_chat
from pretune.text.chat.conversations import Conversation, Message

WORDS = "sun east film hotel soup rooms book phone waiter food".split()
SHORT = Sampling(max_tokens=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> Path:
    return save_language_model(tmp_path_factory.mktemp("model") / "model", "causal")


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    rows = [{"question": f"The {a} {b}?", "answer": f"The {b}."} for a in WORDS[:6] for b in WORDS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def prepared(model: Path, talks: Path) -> Path:
    split = SplitConfig(task="chat", validation_fraction=0.2, test_fraction=0.2)
    prepare_chat(talks, talks.parent / "prepared", PrepareConfig(max_seq_len=64), base=model, split=split)
    return talks.parent / "prepared"


def test_the_figures_of_a_file(model: Path, talks: Path) -> None:
    figures = evaluate_chat(model, talks, num_replies=3, sampling=SHORT)
    assert json.loads(json.dumps(figures)) == figures
    assert figures["n"] == 60
    assert figures["loss_interval"][0] < figures["loss"] < figures["loss_interval"][1]
    assert figures["read_as"] == "transcript" and figures["end_probability"] is None
    assert figures["replies"]["n"] == figures["references"]["n"] == len(figures["answers"]) == 3
    assert "copied_fraction" not in figures["replies"]  # nothing is known of the training
    assert evaluate_chat(model, talks, num_replies=3, sampling=SHORT) == figures
    assert "replies" not in evaluate_chat(model, talks, num_replies=0)


def test_copies_are_found_in_the_training_conversations(model: Path, talks: Path) -> None:
    figures = evaluate_chat(model, talks, num_replies=3, sampling=SHORT, training=talks)
    assert figures["references"]["whole_copied_fraction"] == 1.0
    assert figures["replies"]["whole_copied_fraction"] == 0.0


def test_the_held_out_split_of_a_prepare_folder_is_read(model: Path, prepared: Path) -> None:
    held_out = read_held_out(prepared, keeps_lines=False)
    assert "test split" in held_out.source
    lines = (prepared / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(held_out.conversations) == len(lines)
    assert held_out.training_replies is not None
    figures = evaluate_chat(model, prepared, num_replies=2, sampling=SHORT)
    assert figures["n"] == len(lines)
    assert "copied_fraction" in figures["replies"]


def test_labelled_rows_are_refused(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nThe sun,good\nThe soup,bad\n", encoding="utf-8")
    with pytest.raises(InputDataError):
        evaluate_chat(model, file)


def test_the_choice_of_conversations_is_the_same_each_time() -> None:
    every = [Conversation((Message("user", str(n)), Message("assistant", str(n)))) for n in range(50)]
    chosen = choose_conversations(every, 10, seed=0)
    assert len(chosen) == 10 == len(set(chosen))
    assert chosen == choose_conversations(every, 10, seed=0) != choose_conversations(every, 10, seed=1)
    assert chosen == sorted(chosen, key=every.index)
    assert choose_conversations(every, None, seed=0) == every


def test_the_command_shows_the_figures(model: Path, talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(model), "--chat", str(talks), "--replies", "2", "--max-tokens", "5"]
    assert run_command_line(words) == 0
    shown = capsys.readouterr()
    for text in ("nats per token", "perplexity", "distinct-2", "held-out", "60 conversations"):
        assert text in shown.out
    assert run_command_line([*words, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 60
    assert run_command_line(["evaluate", str(model), "--chat", str(talks), "--label-column", "x"]) == 2
    assert "--label-column is given with --chat" in capsys.readouterr().err
