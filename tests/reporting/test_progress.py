from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from pretune.reporting import progress as module
from pretune.reporting.progress import Narrator, live_progress
from pretune.runtime.events import EventLog, read_events

EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "guide" / "events.md"


class Stream(io.StringIO):
    """A stream with the terminal and the encoding that a test wants."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def replay(events: list[dict[str, Any]], stream: Stream, monkeypatch: pytest.MonkeyPatch, quiet: bool = False) -> str:
    """Send events to a live display as if they were being written."""
    received: list[Any] = []

    class Subscribed:
        def __init__(self, callback: Any) -> None:
            received.append(callback)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(module, "subscribed", Subscribed)
    with live_progress(stream, quiet):
        for event in events:
            for receive in received:
                receive(event)
    return stream.getvalue()


def test_the_epochs_of_a_trial_are_told_apart() -> None:
    narrator, places = Narrator(), []
    for step in range(3):
        event = {"event": "evaluation", "stage": "finetune", "time": float(step), "trial": 0, "step": step, "loss": 0.5,
                 "epoch": 0.0034 * step, "accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "n": 100}  # fmt: skip
        narrator.follow(event)
        places.append((narrator.sentence(event) or "").split("  ")[1])
    assert places == ["epoch 0.00", "epoch 0.003", "epoch 0.007"]  # the first one stands alone


def test_plain_lines_report_each_stage(full_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = replay(full_run.events, Stream(), monkeypatch).splitlines()
    assert "collect     started (synthetic data)" in lines
    costs = "about 2 min 24 s, 13.9 k tokens/s, 1.2 GB of memory, 85 MB on disk"
    assert f"pretrain    estimate: 5.3 M parameters (mini), {costs}" in lines
    assert "pretrain    plan: 2,400 steps of 4,096 tokens; the learning rate decays from step 1,440" in lines
    assert any(
        line.startswith("pretrain    step 480  validation loss 5.77  accuracy 18.9 %  · below the unigram")
        for line in lines
    )
    assert "preprocess  warning: Texts shared with the held-out labels were removed." in lines
    assert "preprocess  done in 14.1 s, peak memory 210 MB" in lines
    assert not any("\x1b" in line for line in lines)


def test_one_of_a_thing_is_in_the_singular(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = [{"name": "train_documents", "value": 1}, {"name": "classes", "value": 1}, {"name": "trials", "value": 2}]
    builder.add("finetune", "flow", shape_in=[], shape_out=shape, dropped=[], seconds=1)
    lines = replay(builder.events, Stream(), monkeypatch).splitlines()
    assert lines == ["finetune    result: 1 train document, 1 class, 2 trials"]


def test_without_a_terminal_progress_lines_are_rare(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for done in range(1, 31):  # one a second
        builder.add(
            "collect", "progress", done=1000 * done, total=40_000, unit="documents", elapsed_seconds=float(done)
        )
    lines = replay(builder.events, Stream(), monkeypatch).splitlines()
    assert len(lines) == 6
    assert lines[1] == "collect     15 %  6,000 of 40,000 documents  1,000/s  0:34 left"


def test_the_rate_of_a_resumed_stage_is_that_of_this_attempt(builder: Any) -> None:
    """The parts of the attempt before are read again at once."""
    fields = {"done_before": 30_000, "total": 40_000, "unit": "documents"}
    event = builder.add("preprocess", "progress", done=32_000, elapsed_seconds=10.0, **fields)
    assert Narrator().progress(event) == ("32,000 of 40,000 documents  200/s  0:40 left", 0.8)
    event = builder.add("preprocess", "progress", done=30_000, elapsed_seconds=1.0, **fields)
    assert Narrator().progress(event) == ("30,000 of 40,000 documents", 0.75)


def trained(step: int, time: float, tokens: int, **more: Any) -> dict[str, Any]:
    shared = {"event": "train", "stage": "pretrain", "steps": 100, "epoch": 0.1, "loss": 5.0, "accuracy": 0.1}
    return {**shared, "step": step, "time": time, "tokens": tokens, "tokens_per_second": 7.0, **more}


def test_training_progress_shows_the_time_left() -> None:
    narrator = Narrator()
    for event in (trained(10, 0.0, 1000), trained(20, 2.0, 25_690, seconds_left=8.2)):
        narrator.follow(event)
    assert narrator.progress(event) == ("step 20 of 100  loss 5.00  accuracy 10.0 %  12.3 k tokens/s  0:08 left", 0.2)


def test_the_mixed_accuracy_of_a_hybrid_is_not_shown() -> None:
    """It would mix hidden words and next tokens."""
    narrator, event = Narrator(), trained(20, 2.0, 1000)
    figures = {"loss": 5.0, "accuracy": 0.3}
    narrator.follow({"event": "evaluation", "stage": "pretrain", "time": 0.0, "step": 0, **figures, "causal": figures})
    assert narrator.progress(event) == ("step 20 of 100  loss 5.00", 0.2)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """The mean since the start would show a minute of compilation for the rest of the run."""
    narrator, tokens = Narrator(), 0
    for second in range(100, 220, 2):
        tokens += 2 * (1000 if second < 160 else 4000)
        narrator.follow(event := trained(second, float(second), tokens))
    assert "  4,000 tokens/s" in (narrator.progress(event) or ("", None))[0]
    narrator.follow({"event": "resumed", "stage": "pretrain", "time": 230.0, "from_step": 50})
    narrator.follow(event := trained(50, 300.0, tokens))
    assert "tokens/s" not in (narrator.progress(event) or ("", None))[0]


def test_a_clock_that_is_set_back_does_not_silence_the_progress(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for done in range(1, 31):
        event = builder.add("collect", "progress", done=done, total=40, unit="documents", elapsed_seconds=float(done))
        event["time"] = 1e9 + done - (3600 if done > 10 else 0)
    assert len(replay(builder.events, Stream(), monkeypatch).splitlines()) == 6
    narrator = Narrator()
    for event in (trained(10, 5000.0, 1000), trained(20, 100.0, 2000), trained(30, 102.0, 4000)):
        narrator.follow(event)
    assert "  1,000 tokens/s" in (narrator.progress(event) or ("", None))[0]


def test_trial_progress_counts_epochs(builder: Any) -> None:
    narrator = Narrator()
    narrator.follow(builder.add("finetune", "trial_started", trial=1, learning_rate=1e-3, seed=0, epochs=5))
    event = builder.add("finetune", "train", step=10, steps=20, epoch=2.5, loss=0.5, trial=1)
    narrator.follow(event)
    assert narrator.progress(event) == ("trial 1  epoch 2.5 of 5  loss 0.500", 0.5)


def test_replies_of_validation_are_not_called_held_out(builder: Any) -> None:
    figures = {"base_loss": 4.0, "loss": 3.0, "n": 900, "conversations": 40}
    for measured_on, whose in (("test", "held-out"), ("validation", "validation")):
        sentence = Narrator().sentence(builder.add("finetune", "replies", measured_on=measured_on, **figures)) or ""
        assert f"{whose} replies: loss 3.00 nats per token, before tuning 4.00" in sentence


def test_a_resumed_stage_is_observed_only_in_the_final_table(full_run: Any) -> None:
    """Events from before the resume are not seen here, so "so far" could be wrong."""
    rows = [e for e in full_run.events if e["stage"] == "pretrain" and e["event"] == "evaluation"]
    whole, resumed = Narrator(), Narrator()
    resumed.follow({"event": "resumed", "stage": "pretrain", "time": 0.0, "from_step": 480})
    for row in rows:
        whole.follow(row)
    resumed.follow(rows[-1])
    line = resumed.sentence(rows[-1])
    assert line and "·" not in line
    assert (whole.sentence(rows[-1]) or "").startswith(line + "  · ")


def test_every_event_that_brings_its_sentence_is_shown(builder: Any) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*)", EVENTS_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = [kind for kind, fields in rows if re.search(r"\bsentence\b", fields)]
    assert {"notice", "warning", "diverged"} <= set(kinds)
    for kind in kinds:
        narrator, event = Narrator(), builder.add("finetune", kind, step=40, sentence="Something happened.")
        narrator.follow(event)
        assert narrator.sentence(event) is not None, kind


def test_an_early_end_of_a_trial_is_a_warning(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.add("finetune", "diverged", step=40, trial=1, sentence="Trial 1 ends here with its best epoch.")
    shown = replay(builder.events, Stream(), monkeypatch)
    assert shown == "finetune    warning: Trial 1 ends here with its best epoch.\n"


def test_quiet_writes_nothing(full_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay(full_run.events, Stream(), monkeypatch, quiet=True) == ""


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_a_bar_and_colour_only_if_wanted(
    full_run: Any, monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    text = replay(full_run.events, Stream(terminal=True), monkeypatch)
    assert "done in 14.1 s" in text
    assert bool(re.search(r"\x1b\[3[0-9]m", text)) != no_color


def test_a_narrow_terminal_breaks_no_line(full_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the terminal broke the bar in two, only its second half would be redrawn."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "columns_of", lambda _stream: 50)
    text = replay(full_run.events, Stream(terminal=True), monkeypatch)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    assert max(map(len, lines)) <= 50
    assert any("step" in line and "█" in line for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_text_never_reaches_the_terminal(builder: Any, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]x[/red]\r\nnext"
    builder.add("collect", "detected", sentence=hostile)
    builder.add("collect", "warning", sentence=hostile)
    builder.add("collect", "progress", done=1, total=2, unit=hostile, elapsed_seconds=1.0)
    builder.add("compare", "comparison", rows=[], verdicts=[{"sentence": hostile}])
    builder.add(hostile, "notice", sentence="x")
    text = replay(builder.events, Stream(terminal=terminal), monkeypatch)
    assert "\x1b[2J" not in text and "\x1b]" not in text and "\x07" not in text
    assert "[red]x[/red]" in text


def test_a_stream_that_cannot_write_a_sign_gets_another(full_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replay(full_run.events, Stream(encoding="cp1252"), monkeypatch).encode("cp1252")


def test_a_display_that_breaks_does_not_stop_the_work(tmp_path: Path) -> None:
    class Broken(Stream):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    for terminal in (True, False):
        folder = tmp_path / str(terminal)
        folder.mkdir()
        with live_progress(Broken(terminal=terminal)):
            log = EventLog(folder, "collect")
            log.write("notice", sentence="x")
            log.write("evaluation", of="another version")
        assert len(read_events(folder)) == 2


def test_events_that_are_written_are_shown(tmp_path: Path) -> None:
    stream = Stream()
    with live_progress(stream):
        EventLog(tmp_path, "collect").write("notice", sentence="Read 3 files.")
    assert stream.getvalue() == "collect     Read 3 files.\n"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"from_step": 1200, "checkpoint": "step-00001200"}, "resuming at step 1,200"),
        ({"from_step": 50, "checkpoint": "step-00000050", "trial": 1}, "resuming trial 1 at step 50"),
        ({"from_step": 0, "trial": 1}, "starting trial 1 over"),
        ({"from_step": 0}, "starting over"),
    ],
)
def test_a_resume_names_its_step_and_a_restart_does_not(fields: dict[str, Any], line: str) -> None:
    assert Narrator().sentence({"event": "resumed", "stage": "finetune", "time": 0.0, **fields}) == line


def test_a_student_is_named_in_every_line() -> None:
    narrator, student = Narrator(), {"stage": "finetune", "time": 0.0, "trial": 3, "is_student": True}
    started = {**student, "event": "trial_started", "learning_rate": 1e-3, "seed": 0, "epochs": 1, "rows": 52000}
    assert narrator.sentence(started) == (
        "trial 3, the student: 52,000 sentences and labelled rows, learning rate 0.001, seed 0, 1 epoch"
    )
    finished = {**student, "event": "trial_finished", "best_epoch": 1.0, "validation_accuracy": 0.75}
    assert str(narrator.sentence(finished)).startswith("trial 3, the student: kept epoch 1")
    test = {**student, "event": "test", "seed": None, "accuracy": 0.8, "accuracy_interval": [0.7, 0.9], "n": 100}
    assert str(narrator.sentence(test)).startswith("test set, the student: accuracy 80.0 %")


def test_a_trial_of_the_rate_search_is_marked_with_its_rows() -> None:
    trial = {"event": "trial_started", "stage": "finetune", "time": 0.0, "trial": 1, "learning_rate": 1e-3, "seed": 0}
    line = Narrator().sentence({**trial, "epochs": 1, "rows": 3000, "is_search": True})
    assert line == "trial 1 (search on 3,000 rows): learning rate 0.001, seed 0, 1 epoch"
