from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from pretune.reporting.report import run_lines, show_prediction, show_run
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import to_json
from pretune.terminal import Page, to_text
from pretune.trace_schema import PredictionTrace


def render_run(run: Path, width: int = 100) -> str:
    return to_text(run_lines(build_run_trace(run), Page(width)), Page(width))


@pytest.fixture
def run(full_run: Any, trace: PredictionTrace, tmp_path: Path) -> Path:
    folder = Path(full_run.write(tmp_path / "run"))
    (folder / "recipe.toml").write_text("", encoding="utf-8")
    written = to_json(build_run_trace(folder, predictions=[trace]))
    (folder / "trace.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


def test_all_sections_in_order(run: Path) -> None:
    text = render_run(run)
    titles = ["DATA FLOW", "TRAINING TRACE", "DID PRE-TRAINING HELP?", "PREDICTION TRACE"]
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)
    assert text.count("synthetic data, written by the built-in generator") == len(titles)


def test_copied_logs_render_the_same_text(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "somewhere else"
    for log in [*run.glob("*/events.jsonl"), run / "trace.json", run / "recipe.toml"]:
        target = copy / log.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)
    assert render_run(copy) == render_run(run)


def test_a_killed_and_resumed_stage_renders_as_if_nothing_had_happened(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "resumed"
    shutil.copytree(run, copy)
    lines = (copy / "pretrain" / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [i for i, line in enumerate(lines) if json.loads(line).get("step", -1) == 480][-1]
    again = json.dumps({"event": "resumed", "stage": "pretrain", "time": 1.0, "from_step": 480}) + "\n"
    text = "".join(lines[: kept + 3]) + '{"event": "tra\n' + again + "".join(lines[kept + 1 :])
    (copy / "pretrain" / "events.jsonl").write_text(text, encoding="utf-8")
    assert render_run(copy) == render_run(run)


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_no_line_is_wider_than_the_page(run: Path, width: int) -> None:
    assert max(cell_len(line) for line in render_run(run, width).splitlines()) <= width


def test_plain_text_has_no_escape_sequences_and_no_trailing_blanks(run: Path) -> None:
    text = render_run(run)
    assert "\x1b" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_an_unfinished_stage_is_reported_first(run: Path) -> None:
    log = run / "pretrain" / "events.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if json.loads(line).get("step", 0) <= 800]
    lines = [line for line in lines if '"stage_finished"' not in line]
    lines.append(json.dumps({**json.loads(lines[-1]), "event": "checkpoint", "step": 800}))
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    first = render_run(run).splitlines()[0]
    assert first.startswith("! pretrain is not finished (last logged step: 800); run the same command to resume from")


@pytest.mark.parametrize(("event", "advice"), [("checkpoint", "resume from"), ("train", "start it over")])
def test_fine_tuning_resumes_before_its_first_evaluation(run: Path, event: str, advice: str) -> None:
    log = run / "finetune" / "events.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if '"stage_started"' in line]
    lines.append(json.dumps({**json.loads(lines[-1]), "event": event, "trial": 0, "step": 3}))
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert f"! finetune is not finished (last logged step: 3); run the same command to {advice}" in render_run(run)


@pytest.mark.parametrize(
    ("stage", "advice"),
    [
        ("collect", "resume it: the parts that it has finished are kept."),
        ("preprocess", "resume it: the parts that it has finished are kept."),
        ("prepare", "start it over."),
    ],
)
def test_a_stage_without_checkpoints_resumes_if_it_saves_its_parts(run: Path, stage: str, advice: str) -> None:
    log = run / stage / "events.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if '"stage_finished"' not in line]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = " ".join(render_run(run).split())
    assert said.startswith(f"! {stage} is not finished")
    assert f"; run the same command to {advice}" in said


@pytest.mark.parametrize("damaged", [b'{"schema": [', b"[]", b'{"schema": "trace/1.0"}', b"\xff\xfe", b'{"text": "a"}'])
def test_a_damaged_trace_costs_one_line(run: Path, damaged: bytes) -> None:
    whole = render_run(run)
    (run / "trace.json").write_bytes(damaged)
    text = render_run(run)
    assert text.splitlines()[-1].startswith("! trace.json is damaged and not shown; delete it")
    assert whole.startswith(text[: text.index("! trace.json")].rstrip())


@pytest.mark.parametrize("stage", ["collect", "preprocess", "pretrain", "prepare", "finetune", "compare"])
def test_a_stage_folder_can_be_shown_alone(run: Path, stage: str) -> None:
    text = render_run(run / stage)
    assert ("DID PRE-TRAINING HELP?" in text) == (stage == "compare")
    assert ("TRAINING TRACE" in text) == (stage in ("pretrain", "finetune"))


def test_a_trace_of_the_former_form_counts_as_absent(run: Path) -> None:
    whole = render_run(run)
    (run / "trace.json").write_text('{"text": "A film.", "layers": {}, "sha256": "x"}', encoding="utf-8")
    assert render_run(run) == whole[: whole.index("\nPREDICTION TRACE")]


def test_a_run_without_logs_says_so(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    assert render_run(tmp_path) == "Nothing has been logged here yet.\n"


def test_a_pipe_gets_plain_text(run: Path, trace: PredictionTrace) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_run(run, stream)
    show_prediction(trace, stream)
    stream.seek(0)
    assert "PREDICTION TRACE" in stream.read()
