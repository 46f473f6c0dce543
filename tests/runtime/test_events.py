"""The log of a killed and resumed stage reads like that of an uninterrupted one; only an incomplete line is lost."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.runtime import events
from pretune.runtime.events import LOG_NAME, Event, EventLog, count_damaged, fold, read_events, read_run, subscribed


def event(kind: str, **fields: Any) -> Event:
    return {"event": kind, **fields}


def kinds(events: list[Event]) -> list[str]:
    return [e["event"] + (str(e["step"]) if "step" in e else "") for e in events]


def test_an_event_carries_kind_stage_and_time(tmp_path: Path) -> None:
    EventLog(tmp_path, "collect").write("notice", sentence="done")
    [found] = read_events(tmp_path)
    assert (found["event"], found["stage"], found["sentence"]) == ("notice", "collect", "done")
    assert found["time"] > 1e9


def test_progress_is_logged_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.9, 11.0, 11.5, 12.25])
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: next(clock), time=lambda: 0.0))
    log = EventLog(tmp_path, "collect")
    for done in range(4):
        log.write_progress(done, None, "documents", since=10.0)
    assert [(e["done"], e["elapsed_seconds"]) for e in read_events(tmp_path)] == [(1, 1.0), (3, 2.25)]


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_survives_the_log(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = EventLog(folder, "collect")
    log.write("example", text=text)
    log.write("notice", sentence="after")
    assert [e.get("text") for e in read_events(folder)] == [text, None]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r"])
def test_other_line_separators_do_not_end_a_line(tmp_path: Path, separator: str) -> None:
    EventLog(tmp_path, "collect").write("example", text=f"one{separator}two")
    assert [e["text"] for e in read_events(tmp_path)] == [f"one{separator}two"]


def test_an_incomplete_line_is_ended_and_ignored(tmp_path: Path) -> None:
    EventLog(tmp_path, "pretrain").write("notice", sentence="one")
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write('{"event": "notice", "sentence": "zwö'.encode()[:-1])  # in the middle of a character
    EventLog(tmp_path, "pretrain").write("notice", sentence="three")
    assert [e["sentence"] for e in read_events(tmp_path)] == ["one", "three"]


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        EventLog(tmp_path, "pretrain").write("train", loss=float("nan"))
    assert read_events(tmp_path) == []


def test_subscribers_receive_an_event_once_it_is_written(tmp_path: Path) -> None:
    heard = []
    log = EventLog(tmp_path, "collect")
    with subscribed(lambda e: heard.append((e["event"], len(read_events(tmp_path))))):
        log.write("notice", sentence="one")
    log.write("notice", sentence="two")
    assert heard == [("notice", 1)]


def test_a_run_is_read_in_the_order_of_its_stages(tmp_path: Path) -> None:
    for stage in ("finetune", "collect", "pretrain"):
        (tmp_path / stage).mkdir()
        EventLog(tmp_path / stage, stage).write("notice", sentence=stage)
    assert [e["stage"] for e in read_run(tmp_path)] == ["collect", "pretrain", "finetune"]
    assert [e["stage"] for e in read_run(tmp_path / "pretrain")] == ["pretrain"]
    assert read_run(tmp_path / "nothing") == []


# -- events that a resume drops -------------------------------------------------------------------------------------

BEGINNING = [event("stage_started"), event("plan", steps=60), event("evaluation", step=0), event("checkpoint", step=0)]
END = [event("evaluation", step=60), event("checkpoint", step=60), event("example"), event("stage_finished")]


def test_a_stage_that_starts_over_drops_everything() -> None:
    assert fold([*BEGINNING, event("resumed", from_step=0), event("stage_started")]) == [event("stage_started")]


def test_resuming_from_the_checkpoint_of_step_0_keeps_the_plan() -> None:
    log = [*BEGINNING, event("train", step=7), event("resumed", from_step=0, checkpoint="step-00000000"), *END]
    assert fold(log) == [*BEGINNING, *END]


def test_steps_after_the_checkpoint_are_dropped() -> None:
    lost = [event("evaluation", step=20), event("notice"), event("plan_corrected", step=36), event("warning")]
    log = [*BEGINNING, event("evaluation", step=10), *lost, event("resumed", from_step=10, checkpoint="x"), *END]
    assert fold(log) == [*BEGINNING, event("evaluation", step=10), *END]


def test_the_end_of_a_stage_is_not_shown_twice() -> None:
    log = [*BEGINNING, *END, event("resumed", from_step=60, checkpoint="x"), *END[2:]]
    assert fold(log) == [*BEGINNING, *END]


def test_a_rollback_replaces_the_events_that_it_discards() -> None:
    steps = [{"event": "evaluation", "step": step} for step in (0, 10, 20)]
    lost = [{"event": "skipped_update", "step": 21}, {"event": "evaluation", "step": 20}]
    back = {"event": "rolled_back", "step": 11, "from_step": 21}
    again = {"event": "evaluation", "step": 20}
    assert fold([*steps, *lost, back, again]) == [*steps[:2], back, again]
    resumed = {"event": "resumed", "from_step": 10, "checkpoint": "step-00000010"}
    assert fold([*steps, *lost, back, again, resumed, steps[2], *lost, back, again]) == [*steps[:2], back, again]
    later = {"event": "resumed", "from_step": 20, "checkpoint": "step-00000020"}
    assert fold([*steps, *lost, back, again, {"event": "evaluation", "step": 30}, later]) == [*steps[:2], back, again]


def test_a_resume_without_progress_changes_nothing() -> None:
    resumed = event("resumed", from_step=10, checkpoint="x")
    log = [*BEGINNING, event("train", step=10), event("train", step=12), resumed, resumed, *END]
    assert fold(log) == [*BEGINNING, event("train", step=10), *END]


ANNOUNCED = [event("stage_started"), event("references")]


def trial(number: int) -> list[Event]:
    steps = [event("evaluation", trial=number, step=step) for step in (5, 10)]
    return [event("trial_started", trial=number), *steps, event("trial_finished", trial=number, step=10)]


CHOICE = [event("chosen", trial=0), event("test", trial=0), event("notice"), event("example"), event("stage_finished")]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("from_step", "kept", "logged"), [(0, 0, 0), (0, 0, 1), (0, 0, 2), (5, 2, 2), (5, 2, 3), (10, 3, 3), (10, 3, 4)]
)
def test_a_resumed_trial_reads_like_an_uninterrupted_one(number: int, from_step: int, kept: int, logged: int) -> None:
    before, this = (ANNOUNCED + trial(0) if number else ANNOUNCED), trial(number)
    lost = [event("warning")] if logged > kept else []
    resumed = event("resumed", trial=number, from_step=from_step)
    assert fold([*before, *this[:logged], *lost, resumed, *this[kept:]]) == [*before, *this]


@pytest.mark.parametrize("done", range(len(CHOICE) + 1))
def test_events_after_the_last_trial_are_not_shown_twice(done: int) -> None:
    trials = [*ANNOUNCED, *trial(0), *trial(1)]
    assert fold([*trials, *CHOICE[:done], event("resumed", trial=2, from_step=0), *CHOICE]) == [*trials, *CHOICE]


@given(st.data())
def test_killing_anywhere_any_number_of_times_changes_nothing(data: st.DataObject) -> None:
    """A stage that logs events with steps, and others before and after them, killed and resumed at random."""
    steps = [event("evaluation", step=step) for step in range(1, 20)]
    whole = [*BEGINNING, *steps, event("example"), event("stage_finished")]
    log: list[Event] = []
    place = 0
    for _ in range(data.draw(st.integers(0, 4))):
        killed = data.draw(st.integers(place, len(whole)))
        log += whole[place:killed]
        if killed < 3:  # no checkpoint yet
            log.append(event("resumed", from_step=0))
            place = 0
        else:
            step = data.draw(st.integers(0, max((e.get("step", 0) for e in fold(log)), default=0)))
            log.append(event("resumed", from_step=step, checkpoint=f"step-{step}"))
            place = [i for i, e in enumerate(whole) if e.get("step") == step][-1] + 1
            place = len(BEGINNING) if step == 0 and killed > 3 else 3 if step == 0 else place
    log += whole[place:]
    assert json.dumps(fold(log)) == json.dumps(whole)


def test_events_of_a_run_in_another_thread_are_not_received(tmp_path: Path) -> None:
    heard: dict[str, list[str]] = {"one": [], "two": []}
    both = threading.Barrier(2, timeout=30)

    def run(name: str) -> None:
        (tmp_path / name).mkdir()
        with subscribed(lambda e: heard[name].append(e["sentence"])):
            both.wait()
            EventLog(tmp_path / name, "collect").write("notice", sentence=name)
            both.wait()

    threads = [threading.Thread(target=run, args=(name,)) for name in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {"one": ["one"], "two": ["two"]}


def test_damaged_lines_are_counted_but_not_what_a_stopped_writer_leaves(tmp_path: Path) -> None:
    written, torn = '{"event": "step", "stage": "pretrain"}\n', '{"event": "st'
    resumed = '{"event": "resumed", "stage": "pretrain", "from_step": 0, "checkpoint": ""}\n'
    log = tmp_path / "pretrain" / LOG_NAME
    log.parent.mkdir()
    log.write_text(f"{written}{torn}\n{resumed}{written}\n{torn}", encoding="utf-8")
    assert count_damaged(tmp_path) == {}
    log.write_text(f"{written}{torn}\n{written}\ufffd\n[1]\n{written}{torn}", encoding="utf-8")
    assert count_damaged(tmp_path) == {"pretrain": 3}
    assert count_damaged(log.parent) == {"pretrain": 3}
