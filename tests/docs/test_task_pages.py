"""The commands on the page of each task run as they stand, on rows of the form that the page shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.cli.main import run_command_line

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
SECONDS_NOT_MINUTES = (
    "--tokens 90000 --size tiny --seeds 1 --finetune-epochs 1 --finetune-learning-rates 1e-3 --without-control --quiet"
)
SUBJECTS = ["The printer", "Our server", "My invoice", "The app", "The parcel", "A refund"]
STATES = ["is broken again", "is still missing", "works well now", "was paid twice", "is on fire", "came on Monday"]


def _sentence(random: np.random.Generator) -> str:
    return f"{random.choice(SUBJECTS)} {random.choice(STATES)}, case {random.integers(10_000)}."


def _tickets(random: np.random.Generator) -> dict[str, Any]:
    text = _sentence(random)
    labels = [name for word, name in (("broken", "bug"), ("paid", "payment"), ("server", "bug")) if word in text]
    return {"text": text, "labels": sorted(set(labels))}


def _urgency(random: np.random.Generator) -> dict[str, Any]:
    text = _sentence(random)
    return {"text": text, "urgency": round(9.0 * ("fire" in text) + float(random.random()), 2)}


def _answers(random: np.random.Generator) -> dict[str, Any]:
    question, answer = _sentence(random), _sentence(random)
    return {"question": question, "answer": answer, "label": "fits" if "is" in answer else "does not fit"}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _entities(random: np.random.Generator) -> dict[str, Any]:
    """Half of the rows have two entities, the others none."""
    if random.random() < 0.5:
        return {"text": _sentence(random), "spans": []}
    person, place = str(random.choice(["Ada Lovelace", "Grace Hopper"])), str(random.choice(["London", "New York"]))
    text, start = f"{person} went to {place}. {_sentence(random)}", len(person) + len(" went to ")
    return {"text": text, "spans": [[0, len(person), "person"], [start, start + len(place), "place"]]}


def _reports(random: np.random.Generator) -> dict[str, Any]:
    """Reports of more than 512 tokens, of which many sentences may decide."""
    label = str(random.choice(["urgent", "calm"]))
    end = {"urgent": "burns", "calm": "rests"}[label]
    sentences = []
    for _ in range(18):
        words = ["".join(random.choice(list("bdfgklmnprstv") + list("aeiou") * 2, size=5)) for _ in range(9)]
        words.insert(4, f"server {end}")
        sentences.append(f"The {' '.join(words)}.")
    return {"text": " ".join(sentences), "label": label}


FILES: dict[str, tuple[str, Callable[[np.random.Generator], dict[str, Any]]]] = {
    "multilabel": ("tickets.jsonl", _tickets),
    "regression": ("urgency.csv", _urgency),
    "pairs": ("answers.jsonl", _answers),
    "tokens": ("entities.jsonl", _entities),
    "long-texts": ("reports.jsonl", _reports),
}


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine explains long texts slowly
@pytest.mark.parametrize("page", FILES)
def test_the_commands_of_a_page_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (name, make), random = FILES[page], np.random.default_rng(0)
    write = _write_csv if name.endswith(".csv") else _write_jsonl
    for file, num_rows in ((name, 160), (f"held-out{Path(name).suffix}", 20)):
        write(tmp_path / file, [make(random) for _ in range(num_rows)])
    texts = "\n".join(_sentence(random) for _ in range(400)) + "\n"
    for corpus in ("mails.txt", "letters.txt"):
        (tmp_path / corpus).write_text(texts, encoding="utf-8")
    _write_jsonl(tmp_path / "new.jsonl", [{"text": _sentence(random)} for _ in range(5)])
    blocks = re.findall(r"```sh\n(.*?)```", (GUIDE / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("pretune ")]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command.replace("--minutes 20", ""), comments=True)[1:]
        if words[0] == "run":
            words += SECONDS_NOT_MINUTES.split()
        assert run_command_line(words) == 0, capsys.readouterr().err
        assert words[0] == "run" or capsys.readouterr()


def test_every_task_has_a_page() -> None:
    table = (GUIDE / "tasks.md").read_text(encoding="utf-8")
    for word in ("multilabel", "pairs", "regression", "tokens"):
        assert f"[`{word}`]({word}.md)" in table
