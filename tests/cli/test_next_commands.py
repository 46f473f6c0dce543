"""After a stage that was run alone, the command of the next one can be typed as it is printed."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

import pytest

from pretune.cli import next_commands
from pretune.cli.main import run_command_line
from pretune.cli.render import describe_next
from pretune.cli.verbs import VERBS, build_parser
from pretune.recipe import Recipe
from pretune.runtime.atomic import write_json
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, read_manifest, sealed


def write_manifest(folder: Path, stage: str, **summary: object) -> Path:
    folder.mkdir(parents=True)
    manifest = Manifest(stage=stage, status="finished", version="1", config={}, inputs={}, summary=summary)
    write_json(folder / MANIFEST_NAME, sealed(vars(manifest)))
    return folder


def test_each_stage_of_the_line_names_the_next_one(tmp_path: Path) -> None:
    work = tmp_path / "my work"
    out = {name: work / name for name in ("split", "collect", "preprocess", "prepare", "finetune", "scratch")}
    masked = write_manifest(work / "pretrain", "pretrain", model={"objective": "masked"})
    pairs = write_manifest(work / "pairs", "prepare", example={"text": "a", "text_pair": "b"})
    commands = {
        "collect": next_commands.after_split(out["split"]),
        "preprocess": next_commands.after_collect(out["collect"], Namespace(split=str(out["split"]))),
        "pretrain": next_commands.after_preprocess(out["preprocess"], Namespace(base="runs/base")),
        "prepare": next_commands.after_pretrain(masked),
        "finetune": next_commands.after_prepare(out["prepare"], Namespace(base=str(masked))),
        "predict": next_commands.after_finetune(out["finetune"], pairs, is_chat=False),
        "compare": next_commands.after_finetune(out["scratch"], pairs, is_chat=False, from_scratch=True),
        "chat": next_commands.after_finetune(out["finetune"], pairs, is_chat=True),
    }
    for verb, command in commands.items():
        program, found, *words = shlex.split(command)
        assert (program, found) == ("pretune", verb)
        build_parser(VERBS[verb]).parse_intermixed_args(words)
    assert commands["preprocess"].endswith(f"--split '{work}/split' --out '{work}/preprocess'")
    assert commands["pretrain"].endswith("--from runs/base --out DIR")  # there is a pre-trained model already
    assert "LABELLED.csv" in commands["prepare"]
    assert len(shlex.split(commands["predict"])) == 5  # two texts


def test_a_model_that_was_trained_with_a_split_leads_to_its_rows(tmp_path: Path) -> None:
    """The advice was LABELLED.csv, whose test rows the model may have read."""
    split = read_manifest(write_manifest(tmp_path / "split", "split")).fingerprint
    beside, elsewhere, other = (
        write_manifest(tmp_path / name, "pretrain", model={"objective": "masked"}, split=wanted)
        for name, wanted in (("pretrain", split), ("elsewhere/pretrain", split), ("other", "another"))
    )
    assert next_commands.after_pretrain(beside).startswith(f"pretune prepare {tmp_path}/split --base {beside} ")
    for pretrained in (elsewhere, other):
        assert next_commands.after_pretrain(pretrained).startswith(f"pretune prepare SPLIT --base {pretrained} ")


@pytest.mark.parametrize("objective", ["causal", "hybrid"])
def test_a_model_that_writes_text_leads_to_a_chat(tmp_path: Path, objective: str) -> None:
    """No command named `prepare --task chat`."""
    pretrained = write_manifest(tmp_path / "run" / "pretrain", "pretrain", model={"objective": objective})
    command = next_commands.after_pretrain(pretrained)
    assert command.startswith("pretune prepare CONVERSATIONS.jsonl --task chat --base ")
    shown = describe_next(tmp_path / "run", Recipe(corpus=("texts",)))
    assert f"  pretune prepare CONVERSATIONS.jsonl --task chat --base {tmp_path}/run --out " in shown
    assert "--task chat" not in describe_next(tmp_path / "other", Recipe(corpus=("texts",)))


def test_after_the_demo_there_is_the_quiz_and_the_live_page(tmp_path: Path) -> None:
    shown = describe_next(tmp_path, Recipe())
    assert f"  pretune learn {tmp_path}\n  pretune watch {tmp_path}\n" in shown


def test_the_next_command_is_the_last_line_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("A film of a hundred words.\n" * 20)
    words = ["collect", str(tmp_path / "a.txt"), "--out", str(tmp_path / "collect")]
    assert run_command_line(words) == 0
    expected = f"Next: pretune preprocess {tmp_path}/collect --out {tmp_path}/preprocess"
    assert capsys.readouterr().out.splitlines()[-1] == expected
    assert run_command_line([*words, "--quiet"]) == 0
    assert "Next:" not in capsys.readouterr().out
