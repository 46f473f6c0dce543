"""A whole run, small and real: what is on the disk, on stdout and on stderr, and that numbers can be derived again."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from pretune.cli.main import run_command_line
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import read_run_trace, to_json
from pretune.run_trace.redact import redact
from pretune.runtime.events import STAGE_ORDER, read_run
from pretune.runtime.manifest import describe_file, read_manifest
from pretune.runtime.verification import verify

STAGES = [stage for stage in STAGE_ORDER if stage != "strategies"]  # which `compare --strategies` adds, elsewhere


def lines_of(path: Path) -> list[dict[str, object]]:
    """The objects of a jsonl file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_stage_is_finished_and_says_what_came_out(small_run: Path) -> None:
    assert {path.name for path in small_run.iterdir()} == {*STAGES, ".lock", "recipe.toml", "trace.json", "report.html"}
    for stage in STAGES:
        manifest = read_manifest(small_run / stage, stage)
        for name, output in manifest.outputs.items():
            assert describe_file(small_run / stage / name) == output


def test_every_file_has_a_hash_and_is_whole(small_run: Path) -> None:
    results = verify(small_run)
    assert [result.path for result in results if not result.path.startswith(STAGE_ORDER)] == ["."]
    assert [result.path for result in results if result.faults] == []
    assert [note.split(":")[0] for result in results for note in result.notes] == ["report.html"]


def test_one_example_goes_through_all_stages(small_run: Path) -> None:
    examples = {event["stage"]: event["text"] for event in read_run(small_run) if event["event"] == "example"}
    assert examples.keys() >= {"collect", "preprocess", "pretrain", "prepare", "finetune"}
    assert len(set(examples.values())) == 1
    assert read_run_trace(small_run / "trace.json").example.text in examples.values()  # type: ignore[union-attr]


def test_the_trace_has_every_part_and_its_invariants_hold(small_run: Path) -> None:
    trace = read_run_trace(small_run / "trace.json")
    written = json.loads((small_run / "trace.json").read_text(encoding="utf-8"))
    schema = json.loads(files("pretune").joinpath("trace.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(written)
    assert build_run_trace(small_run) == trace
    assert trace.run.status == "finished"
    assert trace.missing == []
    assert all((trace.predictions, trace.fills, trace.errors, trace.comparison, trace.quiz, trace.insights))
    assert [(check.id, check.sentence) for check in trace.checks if not check.is_ok] == []
    assert len(trace.checks) >= 19
    redacted = to_json(redact(trace))
    jsonschema.Draft202012Validator(schema).validate(redacted)
    assert trace.predictions[0].text not in json.dumps(redacted)


def test_results_go_to_stdout_and_progress_to_stderr(small_run: Path, small_world: Path) -> None:
    shown = (small_world / "shown.txt").read_text(encoding="utf-8")
    told = (small_world / "told.txt").read_text(encoding="utf-8")
    parts = ["DATA FLOW", "TRAINING TRACE", "DID PRE-TRAINING HELP?", "PREDICTION TRACE", "What to try next"]
    assert [part for part in parts if part not in shown] == []
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)
    assert str(small_run) in shown.splitlines()[-1]
    first = told.index("Expected: about")
    assert first < told.index("collect     started")
    assert "\x1b" not in shown + told  # neither is a terminal


def test_the_logs_alone_show_the_same(small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in STAGES:
        (tmp_path / stage).mkdir()
        shutil.copyfile(small_run / stage / "events.jsonl", tmp_path / stage / "events.jsonl")
    shutil.copyfile(small_run / "trace.json", tmp_path / "trace.json")
    assert run_command_line(["show", str(small_run)]) == 0
    original = capsys.readouterr().out
    assert run_command_line(["show", str(tmp_path)]) == 0
    assert capsys.readouterr().out == original


def test_accuracy_can_be_derived_from_the_predictions(small_run: Path) -> None:
    logged = {event["stage"]: event for event in read_run(small_run) if event["event"] == "test"}
    for stage in ("finetune", "scratch"):
        rows = lines_of(small_run / stage / "predictions" / "seed-0.jsonl")
        assert logged[stage]["n"] == len(rows)
        assert logged[stage]["accuracy"] == pytest.approx(sum(r["label"] == r["predicted"] for r in rows) / len(rows))


def test_held_out_texts_are_not_trained_on(small_run: Path) -> None:
    from pretune.text.document_store import iter_corpus
    from pretune.text.splits import normalise_for_hash

    documents = iter_corpus(small_run / "preprocess")
    seen = {normalise_for_hash(row["text"]) for row in documents if row["split"] == "train"}
    for split in ("validation", "test"):
        rows = lines_of(small_run / "prepare" / f"{split}.jsonl")
        assert rows
        assert not [row for row in rows if normalise_for_hash(str(row["text"])) in seen]


def test_a_second_call_skips_everything(
    small_run: Path, small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a copy, as others read the run meanwhile; its recipe names the inputs by their places beside it."""
    run = shutil.copytree(small_world, tmp_path / "world") / small_run.relative_to(small_world)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert run_command_line(["run", str(run / "recipe.toml")]) == 0
    assert "All stages are finished" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before
