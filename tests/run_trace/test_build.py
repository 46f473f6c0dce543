"""The trace of a run in every state that a folder may be in."""

from __future__ import annotations

import json
import math
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.run_trace.build import build_run_trace, fold_events
from pretune.run_trace.codec import as_written, to_json
from pretune.run_trace.commands import joined, label_commands
from pretune.run_trace.run_card import RunFolder
from pretune.runtime.events import fold as drop_undone
from pretune.trace_schema import RunTrace

SCHEMA = Path(__file__).parents[2] / "src" / "pretune" / "trace.schema.json"
STAGES = ["collect", "preprocess", "pretrain", "prepare", "finetune", "scratch", "compare"]


@cache
def validator() -> Any:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check(trace: RunTrace) -> RunTrace:
    """Whether a trace fits the published schema and survives its file."""
    written = to_json(trace)
    assert not [f"{'/'.join(map(str, e.path))}: {e.message[:200]}" for e in validator().iter_errors(written)]
    json.dumps(written, allow_nan=False)
    assert as_written(trace) == trace
    return trace


def test_a_finished_run_has_every_part(traced: RunTrace) -> None:
    trace = check(traced)
    assert trace.run.status == "finished"
    assert trace.missing == []
    assert all((trace.example, trace.tokenizer, trace.watched, trace.comparison, trace.errors, trace.quiz))
    assert {check.id for check in trace.checks if not check.is_ok} == set()
    assert len(trace.checks) >= 15
    assert trace.excerpts > 10


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_folder_alone_is_a_small_run(tested_run: Path, stage: str) -> None:
    trace = check(build_run_trace(tested_run / stage))
    assert [each.name for each in trace.stages] == [stage]
    assert trace.run.name == stage
    assert {each.sentence for each in trace.missing} == {
        f"This is the folder of the stage {stage} alone; the folder of the whole run has more."
    }


@pytest.mark.parametrize("reached", STAGES)
def test_a_run_in_progress_has_what_there_is(tested_run: Path, reached: str) -> None:
    """The log of one stage is cut in the middle of a line, and the later stages have not begun."""
    for stage in STAGES[STAGES.index(reached) + 1 :]:
        shutil.rmtree(tested_run / stage)
    log = tested_run / reached / "events.jsonl"
    content = log.read_bytes()
    log.write_bytes(content[: content.rindex(b'"stage_finished"')])
    trace = check(build_run_trace(tested_run))
    assert trace.run.status == "running"
    states = {stage.name: stage.status for stage in trace.stages}
    assert states[reached] == "running"
    assert trace.next_step is not None
    assert trace.next_step.command == "pretune run tested/recipe.toml"
    assert not [check for check in trace.checks if not check.is_ok]


def test_a_run_without_labels_says_what_it_cannot_show(tested_run: Path) -> None:
    for stage in ("split", *STAGES[3:]):
        shutil.rmtree(tested_run / stage)
    (tested_run / "recipe.toml").write_text('corpus = ["texts.txt"]\n', encoding="utf-8")
    trace = check(build_run_trace(tested_run))
    assert trace.run.status == "finished"
    assert trace.run.headline == "After 2,400 steps, 39.9 % of masked tokens are predicted correctly."
    absent = {each.section: each for each in trace.missing}
    assert {"help", "prediction", "errors"} <= set(absent)
    assert absent["errors"].sentence == "The run has no labels, so there is no classifier to look at."
    assert absent["errors"].command == joined(label_commands("tested"))
    assert label_commands("tested")[-1] == "pretune report tested"  # without it, the page of the run stays as it is
    assert trace.insights
    assert trace.quiz is not None


def test_a_run_that_has_not_begun_is_a_trace_too(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    trace = check(build_run_trace(tmp_path))
    assert trace.run.status == "missing"
    assert len(trace.stages) == 5
    assert trace.run.headline == "Nothing has been logged yet."


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "other files"])
def test_what_is_no_run_gets_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("x", encoding="utf-8")
    elif kind != "missing":
        path.mkdir()
    if kind == "other files":
        (path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputDataError, match=r"is no (folder|run).*give the folder"):
        build_run_trace(path)


def test_no_folder_of_this_machine_is_in_the_trace(traced: RunTrace, tested_run: Path) -> None:
    with (tested_run / "prepare" / "events.jsonl").open("a", encoding="utf-8") as file:
        event = {"event": "detected", "stage": "prepare", "time": 1.0, "path": str(tested_run / "labels.csv")}
        file.write(json.dumps({**event, "sentence": f"10 rows in {tested_run / 'labels.csv'} (csv)."}) + "\n")
    trace = build_run_trace(tested_run)
    assert "10 rows in labels.csv (csv)." in [m.sentence for stage in trace.stages for m in stage.messages]
    assert str(tested_run.parent) not in json.dumps(to_json(trace))
    assert str(tested_run.parent) not in json.dumps(to_json(traced))


def test_figures_that_are_no_numbers_are_none(full_run: Any) -> None:
    for event in full_run.events:
        for name in ("train_loss", "grad_norm", "tokens_per_second", "elapsed_seconds", "seconds"):
            if name in event:
                event[name] = math.nan
    trace = check(full_run.trace)
    assert trace.phases.pretrain is not None
    assert {row.train_loss for row in trace.phases.pretrain.evaluations} == {None}
    assert trace.run.seconds is None


def test_an_evaluation_without_a_loss_is_left_out(full_run: Any) -> None:
    rows = [e for e in full_run.events if (e["stage"], e["event"]) == ("pretrain", "evaluation")]
    rows[3]["loss"], rows[5]["accuracy"] = math.inf, None
    phase = check(full_run.trace).phases.pretrain
    assert phase is not None
    assert len(phase.evaluations) == len(rows) - 2


JUNK = st.sampled_from(
    [None, True, -1, 0, 10**400, 1e308, math.nan, math.inf, "", "x" * 5000, "\ud800", [], [None], [[]], {}, {"a": [1]}]
)


@settings(max_examples=40)
@given(st.data())
def test_no_log_is_too_strange(data: st.DataObject) -> None:
    """Any member of any event may be of another type, or missing: a log of another version, or of another program."""
    events = [dict(event) for event in run_of_formulas().events]
    for _ in range(data.draw(st.integers(1, 40))):
        event = events[data.draw(st.integers(0, len(events) - 1))]
        name = data.draw(st.sampled_from(sorted(set(event) - {"event", "stage"}) or ["x"]))
        if data.draw(st.booleans()):
            event.pop(name, None)
        else:
            event[name] = data.draw(JUNK)
    events.append({"event": "of_a_later_version", "stage": "pretrain", "time": 1.0})
    events.insert(
        data.draw(st.integers(0, len(events))), {"event": "resumed", "from_step": data.draw(JUNK), "stage": "pretrain"}
    )
    check(fold_events(drop_undone(events), RunFolder(name="run")))


@cache
def run_of_formulas() -> Any:
    """The run of the fixture `full_run`, which a property test cannot take."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("runs", Path(__file__).parent / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    run = module.RunBuilder()
    for add in (module.add_text_stages, module.add_pretraining, module.add_task_stages, module.add_comparison):
        add(run)
    return run


@settings(max_examples=25)
@given(st.integers(0, 120))
def test_a_log_cut_anywhere_is_a_trace(count: int) -> None:
    check(fold_events(run_of_formulas().events[:count], RunFolder(name="run", recipe={})))
