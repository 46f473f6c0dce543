"""The commands on the page about conversations run as they stand, and its lines of Python say what it says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from pretune.cli.main import run_command_line
from pretune.text.chat.conversations import Conversation
from pretune.text.chat.template import CHAT_TEMPLATE, encode_all
from pretune.text.tokenizer.tokenizer import load_tokenizer

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "chat-data.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_commands_of_the_page_run(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_folder, tmp_path / "runs" / "novels")
    pairs = [(f"Was room {n} of the hotel cold?", f"No, the room was warm, all {n} days.") for n in range(80)]
    lines = [json.dumps({"question": question, "answer": reply}) + "\n" for question, reply in pairs]
    (tmp_path / "questions.jsonl").write_text("".join(lines))
    lines = [f'"{question}","{reply}"\n' for question, reply in pairs]
    (tmp_path / "faq.csv").write_text("asked,said\n" + "".join(lines))
    [forms] = _blocks("jsonl")
    for form in forms.splitlines():  # each form as the page shows it
        rows = [form.replace("it", f"number {n}") for n in range(80)]
        (tmp_path / "chats.jsonl").write_text("\n".join(rows) + "\n")
        for command in "".join(_blocks("sh")).splitlines():
            words = shlex.split(command)[1:]
            words += ["--redo"] * (words[0] == "prepare")
            assert run_command_line(words) == 0, capsys.readouterr().err
            assert "train conversations" in capsys.readouterr().out
    found: dict[str, Any] = {}
    pytest.importorskip("transformers")
    [code] = _blocks("python")
    exec(code, found)
    conversation = Conversation.from_json(found["messages"])
    [row] = encode_all([conversation], load_tokenizer(tmp_path / "prepared" / "questions"), 512)
    assert row is not None and found["ids"] == row.ids


def test_the_page_shows_the_template() -> None:
    jinja2 = pytest.importorskip("jinja2")
    [forms] = _blocks("jsonl")
    written = jinja2.Template(CHAT_TEMPLATE, keep_trailing_newline=True).render(json.loads(forms.splitlines()[0]))
    assert f"```\n{written}```" in PAGE.read_text(encoding="utf-8")
