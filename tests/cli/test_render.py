from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.cli import stage_commands
from pretune.cli.output import to_json, to_stdout
from pretune.cli.render import describe_evaluation, describe_minimal_pairs, describe_next
from pretune.recipe import Recipe
from pretune.run_trace.commands import label_commands


def test_the_folder_of_a_run_is_one_part_of_each_command(tmp_path: Path) -> None:
    folder = tmp_path / "film reviews"
    folder.mkdir()
    for recipe in (Recipe(), Recipe(corpus=("texts",))):
        text = describe_next(folder, recipe)
        commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  pretune")]
        assert any(str(folder) in command for command in commands)
        paths = [word for command in commands for word in command if "film" in word]
        assert all(folder in (Path(path), Path(path).parent) for path in paths)


def test_the_terminal_and_the_page_say_alike_how_to_add_labels(tmp_path: Path) -> None:
    """The page advised a run with --labels, which pre-trains again, and the terminal the two stages."""
    text = describe_next(tmp_path / "my run", Recipe(corpus=("texts",)))
    for command in label_commands(str(tmp_path / "my run")):
        assert f"  {command}\n" in text


def test_after_a_run_on_pairs_the_commands_have_two_texts(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    for names, count in (({"text_column": "a"}, 1), ({"text_column": "a", "text_pair_column": "b"}, 2)):
        event = {"event": "detected", "stage": "split", "time": 1.0, **names}
        (tmp_path / "split" / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
        text = describe_next(tmp_path, Recipe(labels="x.csv"))
        commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  pretune")]
        assert [len(words) - 3 for words in commands if words[1] in ("predict", "trace")] == [count, count]


def test_nothing_that_is_printed_commands_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pretune run recipe.toml --dry-run` printed the escape sequences in the folder's name of the recipe."""
    hostile = "runs/x\x1b]0;owned\x07\x9b2J"
    to_stdout(f"Everything is written to {hostile}.\n\tnext")
    to_stdout(to_json({"out": hostile}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert stage_commands._ask(f"3 files to {hostile}")
    printed = capsys.readouterr()
    assert not re.search("[^\n\t -~]", printed.out + printed.err)
    first, second, third = printed.out.splitlines()
    assert (first, second) == ("Everything is written to runs/x]0;owned2J.", "\tnext")
    assert json.loads(third) == {"out": hostile}
    assert printed.err == "3 files to runs/x2J\nDownload it? [y/N] "


FIGURES: dict[str, Any] = {"n": 2, "skipped": 0, "loss": 0.5, "seen_sentence": "None was seen."}
CLASSES: dict[str, Any] = FIGURES | {
    "accuracy": 0.5,
    "accuracy_interval": [0.1, 0.9],
    "macro_f1": 0.5,
    "brier_score": 0.5,
    "calibration_error": 0.5,
    "classes": [{"label": "a", "support": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}],
    "confusion_matrix": [[2]],
}
PAIRS: dict[str, Any] = CLASSES | {"paradigms": [], "scoring_sentence": "", "ties": 0, "notice": "\x1b[2Jswapped"}


@pytest.mark.parametrize(
    ("describe", "figures"),
    [(describe_evaluation, FIGURES), (describe_evaluation, CLASSES), (describe_minimal_pairs, PAIRS)],
)
def test_a_column_name_of_a_file_cannot_control_the_terminal(
    describe: Callable[[dict[str, Any]], str], figures: dict[str, Any]
) -> None:
    shown = describe(figures | {"detected": "x.csv: texts from column \x1b]0;owned\x07\x1b[31m'text'."})
    assert shown.startswith("x.csv: texts from column 'text'.")
    assert "\x1b" not in shown and "\x07" not in shown


def test_the_loss_of_several_labels_has_its_unit() -> None:
    """3.21 nats a row in the log of a training was 0.1146 without a unit here: a mean over labels."""
    shown = describe_evaluation(FIGURES | {"detected": "x.csv", "micro_f1": 0.75, "micro_f1_interval": [0.7, 0.8]})
    assert "loss      0.5000 nats per row\n" in shown
    assert "micro f1  0.7500  (95 % interval 0.7000 to 0.8000)\n" in shown
