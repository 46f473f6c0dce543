"""`evaluate --chat` as a function of a model and a file: what it reads, measures, answers and finds copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.cli.render_replies import describe_reply_figures
from pretune.errors import InputDataError, UsageError
from pretune.evaluation import chat
from pretune.evaluation.chat import HeldOutChats, choose_conversations, evaluate_chat, read_held_out
from pretune.runtime.stage_folder import open_stage
from pretune.settings import PrepareConfig, Sampling, SplitConfig
from pretune.stages.prepare_chat import prepare_chat
from pretune.text.chat.chat_lines import ChatLines
from pretune.text.chat.columns import NamedColumns
from pretune.text.chat.conversations import Conversation, Message
from pretune.text.chat.template import encode_all
from pretune.text.chat.tokens import add_chat_tokens
from pretune.text.seen_texts import TRAINING, save_seen
from pretune.text.tokenizer.tokenizer import load_tokenizer

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


def test_whole_replies_are_said_to_count_as_copied(model: Path, talks: Path) -> None:
    """They have two words here, and the title asked for 13."""
    figures = evaluate_chat(model, talks, num_replies=3, sampling=SHORT, training=talks)
    assert figures["references"]["copied_fraction"] == 1.0
    shown = " ".join(describe_reply_figures(figures).split())
    assert "copied from training replies (whole, or" in shown


def test_the_held_out_split_of_a_prepare_folder_is_read(model: Path, prepared: Path) -> None:
    held_out = read_held_out(prepared, keeps_lines=False)
    assert "test split" in held_out.source
    lines = (prepared / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(held_out.conversations) == len(lines)
    assert held_out.training_replies is not None
    figures = evaluate_chat(model, prepared, num_replies=2, sampling=SHORT)
    assert figures["n"] == len(lines)
    assert "copied_fraction" in figures["replies"]


def test_conversations_are_cut_where_prepare_cut_them(
    model: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_held_out(prepared, keeps_lines=False).max_seq_len == 64
    long = [Conversation((Message("user", f"The {word}?"), Message("assistant", f"{word} " * 50))) for word in WORDS]
    short = Conversation((Message("user", "The sun?"), Message("assistant", "The east.")))
    given = HeldOutChats(conversations=[*long, short], source="talks", max_seq_len=48)
    monkeypatch.setattr(chat, "read_held_out", lambda _path, **_settings: given)
    figures = evaluate_chat(model, "talks", num_replies=0)
    assert (figures["max_seq_len"], figures["cut"], figures["left_out"]) == (48, 10, 0)
    rows = encode_all(given.conversations, add_chat_tokens(load_tokenizer(model)), 48)
    assert figures["tokens"] == sum(row.num_supervised for row in rows if row) - 1  # a transcript lacks the end mark
    shown = describe_reply_figures(figures)
    assert "cut, because they are longer than 48 tokens: 10" in shown


def test_it_is_said_that_the_model_was_trained_on_them(model: Path, talks: Path, tmp_path: Path) -> None:
    trained = tmp_path / "model"
    shutil.copytree(model, trained)
    save_seen(trained, TRAINING, ["The sun hotel?", "the  EAST film?", "The film."])  # short replies are no evidence
    figures = evaluate_chat(trained, talks, num_replies=0)
    assert figures["seen"] == {"pretraining": None, "training": 2}
    assert "some of the 60 conversations: 2 among the training conversations" in figures["seen_sentence"]
    assert "2 among the training conversations" in " ".join(describe_reply_figures(figures).split())
    assert "no record" in evaluate_chat(model, talks, num_replies=0)["seen_sentence"]
    (trained / "seen-training.npy").unlink()
    save_seen(trained, TRAINING, ["Another question?"], is_complete=False)
    sentence = evaluate_chat(trained, talks, num_replies=0)["seen_sentence"]
    assert sentence.startswith("None of the 60 conversations is among those on record; what else")


def test_fewer_than_no_replies_are_refused(model: Path, talks: Path) -> None:
    with pytest.raises(UsageError, match="number of replies is -1; expected 0 or more"):
        evaluate_chat(model, talks, num_replies=-1)


def test_labelled_rows_are_refused(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nThe sun,good\nThe soup,bad\n", encoding="utf-8")
    with pytest.raises(InputDataError):
        evaluate_chat(model, file)


def test_a_prepare_folder_of_labelled_rows_is_refused_with_advice(model: Path, talks: Path, tmp_path: Path) -> None:
    """One that is to give the training replies was not."""
    open_stage(tmp_path, "prepare", config={}, inputs={}).finish()
    refusal = pytest.raises(UsageError, match=r"has labelled examples; expected conversations\. Give a file of them")
    with refusal:
        evaluate_chat(model, tmp_path)
    with refusal:
        evaluate_chat(model, talks, num_replies=1, sampling=SHORT, training=tmp_path)


def test_the_choice_of_conversations_is_the_same_each_time() -> None:
    every = [Conversation((Message("user", str(n)), Message("assistant", str(n)))) for n in range(50)]
    chosen = choose_conversations(every, 10)
    assert len(chosen) == 10 == len(set(chosen))
    assert chosen == choose_conversations(every, 10) != every[:10]
    assert chosen == sorted(chosen, key=every.index)
    assert choose_conversations(every, 50) == every


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


def test_the_columns_of_a_file_can_be_named(
    model: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fragen.csv"
    file.write_text("Frage,Antwort\n" + "".join(f"The {word}?,The east.\n" for word in WORDS), encoding="utf-8")
    words = ["evaluate", str(model), "--chat", str(file), "--replies", "1", "--max-tokens", "5", "--quiet", "--json"]
    assert run_command_line(words) == 3
    assert "name these with --text-column and --response-column" in capsys.readouterr().err
    words += ["--text-column", "Frage", "--response-column", "Antwort"]
    assert run_command_line([*words, "--trained-on", str(file)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["n"], figures["references"]["copied_fraction"]) == (10, 1.0)
    words[3] = str(prepared)
    assert run_command_line([*words, "--trained-on", str(file)]) == 0
    capsys.readouterr()
    assert run_command_line(words) == 2
    assert "--text-column is given, but" in capsys.readouterr().err


def test_the_training_conversations_may_have_columns_of_other_names(model: Path, tmp_path: Path) -> None:
    named, usual = tmp_path / "fragen.csv", tmp_path / "usual.csv"
    rows = "".join(f"The {word}?,The east.\n" for word in WORDS)
    named.write_text(f"Frage,Antwort\n{rows}", encoding="utf-8")
    usual.write_text(f"question,answer\n{rows}", encoding="utf-8")
    columns = NamedColumns("Frage", "Antwort")
    figures = evaluate_chat(model, named, training=usual, columns=columns, num_replies=1, sampling=SHORT)
    assert figures["references"]["copied_fraction"] == 1.0


def test_training_conversations_that_cannot_be_read_are_refused_before_the_work(
    model: Path, prepared: Path, tmp_path: Path
) -> None:
    named, other, usual = tmp_path / "fragen.csv", tmp_path / "other.csv", tmp_path / "usual.csv"
    rows = "".join(f"The {word}?,The east.\n" for word in WORDS)
    named.write_text(f"Frage,Antwort\n{rows}", encoding="utf-8")
    other.write_text(f"a,b\n{rows}", encoding="utf-8")
    usual.write_text(f"question,answer\n{rows}", encoding="utf-8")
    columns, begun = NamedColumns("Frage", "Antwort"), list[str]()
    refusal = pytest.raises(InputDataError, match="has no column 'Frage', which --text-column names")
    for held_out, training in ((named, other), (prepared, usual)):  # a folder of prepare has no columns to name
        with refusal:
            evaluate_chat(model, held_out, training=training, columns=columns, num_replies=1, on_progress=begun.append)
    assert not begun


def test_a_model_whose_training_diverged_is_refused(
    save_diverged: Callable[..., Path], talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_diverged(tmp_path, "causal")
    assert run_command_line(["evaluate", str(model), "--chat", str(talks), "--replies", "0", "--quiet"]) == 4
    assert "its weights are damaged or its training diverged" in capsys.readouterr().err


def test_a_prepare_folder_without_held_out_conversations(
    model: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat, "read_chat_lines", lambda _path, _split: ChatLines(conversations=[], spans=[]))
    assert run_command_line(["evaluate", str(model), "--chat", str(prepared), "--quiet"]) == 3
    assert "has neither test nor validation conversations; prepare with more of them" in capsys.readouterr().err


def test_conversations_without_room_for_a_reply(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message of the system is never cut, and fills all that the model reads."""
    every = [{"system": "sun " * 100, "user": f"The {word}?", "assistant": "The east."} for word in WORDS]
    rows = [{"messages": [{"role": role, "content": text} for role, text in each.items()]} for each in every]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run_command_line(["evaluate", str(model), "--chat", str(tmp_path / "talks.jsonl"), "--quiet"]) == 3
    assert "No conversation has room for its reply" in capsys.readouterr().err
