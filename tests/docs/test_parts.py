"""The parts of a benchmark: a finished one is kept with its record, unless its command or an input has changed."""

from __future__ import annotations

from pathlib import Path

import parts
import pytest

from pretune.runtime.manifest import Manifest
from pretune.runtime.stage_folder import open_stage


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run, which finish their folders."""
    commands: list[list[str]] = []

    def run_pretune(words: list[str], _log: Path) -> None:
        commands.append(words)
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text('{"status": "finished"}', encoding="utf-8")

    monkeypatch.setattr(parts, "run_pretune", run_pretune)
    monkeypatch.setattr(parts, "commit", lambda: "a" * 40)
    return commands


def write_stage(folder: Path, content: str) -> Manifest:
    """A finished folder of a stage, which replaces what is there."""
    stage = open_stage(folder, "prepare", config={"content": content}, inputs={}, redo=True)
    if not stage.is_finished:
        (folder / "rows").write_text(content, encoding="utf-8")
        stage.finish()
    return stage.manifest


def test_a_finished_part_is_skipped_unless_its_command_changed(ran: list[list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "prepare"
    first = parts.run_part(["prepare", "a"], folder)
    assert parts.run_part(["prepare", "a"], folder) == first
    parts.run_part(["prepare", "b"], folder)
    out = ["--out", str(folder)]
    assert ran == [["prepare", "a", *out], ["prepare", "b", *out, "--redo"]]


def test_the_commit_of_a_part_is_that_which_made_it(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parts.run_part(["prepare", "a"], tmp_path / "prepare")
    monkeypatch.setattr(parts, "commit", lambda: "b" * 40)
    again = parts.run_part(["prepare", "a"], tmp_path / "prepare")
    assert again == made
    assert len(ran) == 1
    assert parts.describe_records([again])["commit"] == "a" * 40


def test_a_base_that_was_made_again_at_its_path_is_noticed(ran: list[list[str]], tmp_path: Path) -> None:
    base, labels = tmp_path / "base", tmp_path / "labels.jsonl"
    labels.write_text("one", encoding="utf-8")
    words = ["prepare", str(labels), "--base", str(base)]
    for expected, content, rows in ((1, "a", "one"), (1, "a", "one"), (2, "b", "one"), (3, "b", "two")):
        write_stage(base, content)
        labels.write_text(rows, encoding="utf-8")
        parts.run_part(words, tmp_path / "prepare")
        assert len(ran) == expected


def test_the_fingerprint_of_a_folder_that_no_stage_wrote_is_that_of_its_weights(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    before = parts.fingerprint(tmp_path)
    assert parts.fingerprint(tmp_path) == before
    (tmp_path / "model.safetensors").write_text("{ }", encoding="utf-8")
    assert parts.fingerprint(tmp_path) != before


def test_a_part_whose_new_command_failed_does_not_count_as_made_by_it(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_words: list[str], _log: Path) -> None:
        raise parts.PartFailedError("no")

    parts.run_part(["prepare", "a"], tmp_path / "prepare")
    with monkeypatch.context() as patch:
        patch.setattr(parts, "run_pretune", fail)
        with pytest.raises(parts.PartFailedError):
            parts.run_part(["prepare", "b"], tmp_path / "prepare")
    parts.run_part(["prepare", "b"], tmp_path / "prepare")
    assert len(ran) == 2


def test_a_part_from_before_there_were_records_is_kept_with_an_unknown_commit(
    ran: list[list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "prepare"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"status": "finished"}', encoding="utf-8")
    folder.with_suffix(".command").write_text(f"prepare a --out {folder}", encoding="utf-8")
    assert parts.run_part(["prepare", "a"], folder)["commit"] == "unknown"
    assert ran == []


def test_a_part_that_fails_shows_its_command_and_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(parts.PartFailedError, match=r"(?s)exit code .*nothing-here"):
        parts.run_pretune(["prepare", str(tmp_path / "nothing-here"), "--base", "b", "--out", "o"], tmp_path / "log")
    assert (tmp_path / "log").read_text(encoding="utf-8").startswith("$ pretune prepare")
