"""`prepare --task chat` as typed: what it shows, and a sentence for each kind of bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pretune.cli.main import run_command_line

DATA, USAGE = 3, 2
GOOD = [{"question": f"Was the hotel number {n} cold?", "answer": f"No, it was warm, number {n}."} for n in range(60)]
SWAPPED = [
    {"text": f"The room with the number {n} is cold, so take a warm one, and rest there.", "response": f"Room {n}?"}
    for n in range(60)
]


def talk(*roles: str, content: str = "cold") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role in roles]}


def write(folder: Path, rows: Sequence[Any]) -> Path:
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_what_was_found_is_shown(tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = write(tmp_path, [*GOOD, {"question": "And?", "answer": ""}]), tmp_path / "out"
    words = ["prepare", str(file), "--task", "chat", "--base", str(tokenizer_folder), "--out", str(out)]
    assert run_command_line(words) == 0
    told = capsys.readouterr()
    assert "question in 'question', reply in 'answer'" in told.err
    assert "1 row with an empty reply left out (line 61)" in told.err
    assert "train conversations" in told.out and re.search(r"[1-9][\d,]* tokens learned", told.out)
    assert run_command_line(["show", str(out)]) == 0
    assert " ".join(capsys.readouterr().out.split()).count("empty reply") == 2  # dropped, and warned of


@pytest.mark.parametrize(
    ("rows", "options", "code", "expected"),
    [
        ([], "", DATA, ["chats.jsonl is empty", "expected a row for each text"]),
        ([{"messages": []}] * 5, "", DATA, ["chats.jsonl has no conversations", "every list in 'messages' is empty"]),
        ([{"messages": "none"}] * 5, "", DATA, ["no conversations that were recognised", "chats.jsonl"]),
        ([talk("user", "assistant"), *[{"messages": []}] * 5], "", DATA, ["1 usable conversation"]),
        ([talk("user", "user")] * 5, "", DATA, ["chats.jsonl, line 1", "without a reply"]),
        ([talk("user", "tool")] * 5, "", DATA, ["chats.jsonl, line 1", "'tool'", "system, user, assistant"]),
        ([talk("user", "assistant", content="")] * 5, "", DATA, ["line 1", "empty message"]),
        (SWAPPED, "", DATA, ["swapped", "--text-column response --response-column text"]),
        ([{"text": "a b", "label": "x"}] * 5, "", DATA, ["text, label", "--response-column"]),
        (GOOD, "--text-column body", DATA, ["no column 'body'", "question, answer"]),
        (GOOD, "--max-seq-len 20", DATA, ["--max-seq-len is 20", "at least 64"]),
        (GOOD, "--long-texts windows", USAGE, ["--long-texts", "leave the option out"]),
        (GOOD, "--label-column answer", USAGE, ["--label-column has no effect with --task chat"]),
        (GOOD, "--task pairs --response-column answer", USAGE, ["--response-column is for conversations"]),
        ([talk("user", "assistant")] * 5, "--task auto", DATA, ["conversations", "--task chat"]),
    ],
)
def test_bad_input_gets_a_sentence(
    rows: Sequence[Any],
    options: str,
    code: int,
    expected: Sequence[str],
    tokenizer_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, out = write(tmp_path, rows), tmp_path / "out"
    words = ["prepare", str(file), "--task", "chat", "--base", str(tokenizer_folder), "--out", str(out)]
    assert run_command_line([*words, *options.split()]) == code
    told = capsys.readouterr().err
    assert "Traceback" not in told
    sentence = told.strip().splitlines()[-1]
    assert all(word in sentence for word in expected), sentence
    assert sentence.endswith(".")
    assert not out.exists()


@pytest.mark.parametrize("verb", ["split", "run"])
def test_other_verbs_name_the_command_for_conversations(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, GOOD)
    words = ["--labels", str(file), "--tokens", "1000"] if verb == "run" else [str(file)]
    assert run_command_line([verb, *words, "--task", "chat", "--out", str(tmp_path / "out")]) == USAGE
    assert "pretune prepare FILE --task chat" in capsys.readouterr().err.strip().splitlines()[-1]
