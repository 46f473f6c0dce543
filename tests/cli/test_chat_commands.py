"""The conversation loop: commands, replies, Ctrl-C in a real terminal, and a model from a pipe."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from pretune.cli.chat_commands import ChatLoop
from pretune.cli.main import run_command_line
from pretune.cli.message_reader import MessageReader
from pretune.model.adapter_folder import hash_weights, save_adapter_folder
from pretune.model.config import PRESETS
from pretune.model.folder import save_model_folder
from pretune.model.lora import LoraConfig, add_lora
from pretune.model.transformer import LanguageModel, initialize
from pretune.text.chat.notice import write_notice
from pretune.text.chat.template import template_of
from pretune.text.chat.tokens import save_chat_tokenizer
from pretune.text.tokenizer.tokenizer import load_tokenizer

PARROT = Path(__file__).with_name("parrot.py")
_spec = spec_from_file_location("parrot", PARROT)
assert _spec is not None and _spec.loader is not None
parrot = module_from_spec(_spec)
sys.modules["parrot"] = parrot  # where its dataclass looks for its own types
_spec.loader.exec_module(parrot)


def talk(text: str, **settings: Any) -> tuple[Any, int]:
    """The session and the exit code after these lines of a pipe."""
    session = parrot.Parrot()
    return session, ChatLoop(session, MessageReader(io.StringIO(text)), parrot.FakeSampling(), **settings).run()


def test_replies_go_to_stdout_and_everything_else_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    session, code = talk("Hello there.\n\n/help\nmuch later\nnothing\ncut\n/quit\nnot read\n")
    shown = capsys.readouterr()
    assert code == 0
    assert session.asked == ["Hello there.", "much later", "nothing", "cut"]
    assert [line.strip() for line in shown.out.splitlines()] == ["Hello there.", "much later", "", "cut"]
    assert "its first 2 messages are left out" in shown.err
    assert "ended its reply at once" in shown.err
    assert "--max-tokens" in shown.err
    assert all(name in shown.err for name in ("/reset", "/system", "/save", "/quit"))


def test_each_reply_has_random_numbers_of_its_own() -> None:
    first, again = talk("a\na\n")[0].seeds, talk("a\na\n")[0].seeds
    assert first == again
    assert first[0] != first[1]


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    session, code = talk("/system Be brief.\n/system\n/save out.jsonl\n/reset\n//etc is a folder\n")
    assert (session.system, session.saved, session.num_resets, code) == ("Be brief.", ["out.jsonl"], 1, 0)
    assert session.asked == ["/etc is a folder"]
    assert capsys.readouterr().err.count("Instructions: Be brief.") == 2
    assert talk("/system Be brief.\n/system -\n")[0].system is None


def test_several_lines_are_a_message_as_they_are() -> None:
    session, _ = talk('"""\n// a comment\ncode\n"""\n"""\n/reset\nthe device\n"""\n')
    assert session.asked == ["// a comment\ncode", "/reset\nthe device"]
    assert session.num_resets == 0


@pytest.mark.parametrize("line", ["/sav x", "/save", "too long"])
def test_what_is_refused_is_a_sentence_and_the_rest_goes_on(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    session, code = talk(f"{line}\nGood.\n")
    assert code == 2
    assert session.asked == ["Good."]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_has_one_object_for_each_reply(capsys: pytest.CaptureFixture[str]) -> None:
    talk('"""\ntwo\nlines\n"""\ncut\n', as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [
        {"role": "assistant", "content": "two lines", "is_cut": False},
        {"role": "assistant", "content": "cut", "is_cut": True},
    ]


def test_a_reply_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    talk("\x1b[2Jgone \x1b]0;title\x07\n")
    assert capsys.readouterr().out.strip() == "gone"


def test_ctrl_c_stops_the_reply_and_not_the_program(open_terminal: Any) -> None:
    with open_terminal([sys.executable, str(PARROT)]) as found:
        found.wait_for("> ")
        found.type("word " * 200 + "\r")
        found.wait_for("word word word \r\n")  # the echo of the line
        found.wait_for("word word word ")  # the reply
        found.type("\x03")
        found.wait_for("(stopped")
        found.wait_for("> ")
        found.type("Still there?\r")
        found.wait_for("Still there? \r\n")
        found.wait_for("> ")
        found.press_ctrl_c("Press Ctrl-C again")
        found.wait_for("> ")
        found.press_ctrl_c("LEFT WITH 0")


def test_a_second_ctrl_c_right_after_a_stopped_reply_leaves(open_terminal: Any) -> None:
    with open_terminal([sys.executable, str(PARROT)]) as found:
        found.wait_for("> ")
        found.type("word " * 200 + "\r")
        found.wait_for("word word word \r\n")
        found.wait_for("word word word ")
        found.type("\x03")
        found.wait_for("(stopped")
        found.wait_for("> ")
        found.press_ctrl_c("LEFT WITH 0")


def test_a_plain_causal_model_answers_and_says_what_it_is_not(
    save_language_model: Callable[[Path, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = save_language_model(tmp_path / "model", "causal")
    monkeypatch.setattr("sys.stdin", io.StringIO("The sun?\n"))
    assert run_command_line(["chat", str(model), "--json", "--max-tokens", "5"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["role"] == "assistant"
    assert "not tuned for conversations" in shown.err


def test_a_model_with_the_marks_of_chatml_lacks_only_the_template(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said not to be tuned for conversations, although only the template was missing in its folder."""
    tokenizer = save_chat_tokenizer(tokenizer_folder, tmp_path / "tokenizer", "")
    model = LanguageModel(replace(PRESETS["tiny"](tokenizer.vocab_size), objective="causal"))
    initialize(model, 0)
    save_model_folder(tmp_path / "model", model, tmp_path / "tokenizer")
    (tmp_path / "model" / "manifest.json").unlink()
    settings = tmp_path / "model" / "tokenizer_config.json"
    fields = json.loads(settings.read_text())
    fields.pop("chat_template")

    def said() -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("The sun?\n"))
        assert run_command_line(["chat", str(tmp_path / "model"), "--json", "--max-tokens", "3"]) == 0
        return capsys.readouterr().err

    settings.write_text(json.dumps(fields))
    without = said()
    assert f"{tmp_path}/model has no chat template, although its vocabulary has the marks" in without
    assert "not tuned for conversations" not in without
    template = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
    settings.write_text(json.dumps({**fields, "chat_template": template}))  # as the sentence says
    assert "has no chat template" not in said()


def test_an_adapter_without_a_tokenizer_has_template_and_notice_of_its_base(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, base, adapter = tmp_path / "tokenizer", tmp_path / "base", tmp_path / "adapter"
    tokenizer = save_chat_tokenizer(tokenizer_folder, source, template_of(load_tokenizer(tokenizer_folder)))
    write_notice(source, "No medical advice.")
    config = replace(PRESETS["tiny"](tokenizer.vocab_size), objective="causal")
    model, lora = LanguageModel(config), LoraConfig(rank=2, alpha=2.0)
    initialize(model, 0)
    save_model_folder(base, model, source)
    base_hash = hash_weights(model)
    add_lora(model, lora, seed=0)
    save_adapter_folder(adapter, model, source, lora, base=base, base_hash=base_hash)
    for name in ("tokenizer.json", "tokenizer_config.json", "manifest.json"):  # as PEFT saves it
        (adapter / name).unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO("The sun?\n"))
    assert run_command_line(["chat", str(adapter), "--json", "--max-tokens", "5"]) == 0
    shown = capsys.readouterr().err
    assert "No medical advice." in shown
    assert "chat template" not in shown


def test_what_is_typed_need_not_be_utf_8(
    save_language_model: Callable[[Path, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = save_language_model(tmp_path / "model", "causal")
    for words in (["chat", str(model), "--system", "Be caf\udce9."], ["generate", str(model), "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"The caf\xe9?\n"), encoding="utf-8"))
        assert run_command_line([*words, "--json", "--max-tokens", "3"]) == 0
    assert "The caf\ufffd?" in capsys.readouterr().out


def test_a_masked_model_is_refused_with_the_command_that_makes_it_causal(
    save_language_model: Callable[[Path, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_language_model(tmp_path / "model", "masked")
    assert run_command_line(["chat", str(model)]) == 4
    assert "--objective causal" in capsys.readouterr().err
