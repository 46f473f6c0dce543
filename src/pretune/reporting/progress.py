"""Live progress: events in as stages log them, and out a bar in a terminal or plain lines elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pretune.reporting.update_rate import UpdateRate
from pretune.run_trace import formats
from pretune.run_trace.metrics import metric_of, write_interval, write_named
from pretune.run_trace.training import read_phase
from pretune.runtime.events import Event, fold, subscribed
from pretune.terminal import (
    Lines,
    Page,
    bar,
    clean,
    columns_of,
    is_terminal,
    page_for,
    paragraph,
    shorten,
    to_text,
    write_text,
)

PLAIN_LINE_SECONDS = 5.0  # between two lines of progress without a terminal
REDRAW_SECONDS = 0.25  # between two redraws of the bar
BAR = 24  # columns
STAGE_WIDTH = 11
NEVER_WRAP = 1_000_000  # columns: a line of a log file is one event
_FOLDED = (  # the events that make a phase
    "started_from", "estimate", "evaluation", "references", "plan", "plan_corrected", "trial_started", "skipped_update",
)  # fmt: skip
WARNINGS = ("warning", "skipped_update", "rolled_back", "pieces_doubled", "diverged")


@contextmanager
def live_progress(stream: TextIO, quiet: bool = False) -> Iterator[None]:
    """Show on `stream` what every stage logs until the context ends; nothing if `quiet`.

    A display that fails is switched off: it never stops the work that it shows.
    """
    if quiet:
        yield
        return
    narrow = live_page(stream)
    with showing(PlainLines(stream, page_for(stream)) if narrow is None else LiveLine(stream, narrow)):
        yield


def live_page(stream: TextIO | None) -> Page | None:
    """The page for a line that is redrawn in place; None if the stream cannot show one."""
    page = page_for(stream)
    if not is_terminal(stream) or page.charset != "unicode" or os.environ.get("TERM") == "dumb":
        return None
    # As narrow as the terminal: if it breaks a line in two, only the second half is redrawn.
    return replace(page, width=min(page.width, columns_of(stream)))


@contextmanager
def showing(display: Display) -> Iterator[None]:
    """Pass every event to a display, and close it at the end of the context."""
    with subscribed(_guarded(display)):
        try:
            yield
        finally:
            with suppress(Exception):
                display.close()


def _guarded(display: Display) -> Callable[[Event], None]:
    is_broken = False

    def receive(event: Event) -> None:
        nonlocal is_broken
        if is_broken:
            return
        try:
            display.receive(event)
        except Exception:  # a closed pipe, a terminal that went away, an event of another version
            is_broken = True
            with suppress(Exception):
                display.close()

    return receive


class Display(Protocol):
    """Takes events and shows their progress."""

    def receive(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Narrator:
    """Turns events into lines, for those that deserve one. Keeps the log of the stage so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rate = UpdateRate()
        self.is_whole = True  # whether `events` goes back to the start of the stage

    def follow(self, event: Event) -> None:
        """Take an event into account."""
        if event["event"] == "stage_started":
            self.events, self.is_whole = [], True
        if event["event"] == "resumed":
            self.is_whole = False
        if event["event"] in _FOLDED:
            self.events.append(event)
        if event["event"] == "rolled_back":
            self.events = fold([*self.events, event])
        self.rate.follow(event)

    def sentence(self, event: Event) -> str | None:
        """The line of its own that an event deserves, or None if it is only progress."""
        if event["event"] == "evaluation":
            return self._evaluation(event)
        if event["event"] == "trial_finished":
            return _trial_finished(event, self._epochs_of_trial(event))
        describe = _SENTENCES.get(event["event"])
        return None if describe is None else describe(event)

    def _evaluation(self, event: Event) -> str:
        sentence = _describe_evaluation(event, self._epochs_of_trial(event))
        if self.is_whole:  # "so far" means since the start
            phase = read_phase(self.events, event["stage"])
            if phase is not None and phase.evaluations and phase.evaluations[-1].summary:
                sentence += f"  · {phase.evaluations[-1].summary}"
        return sentence

    def _epochs_of_trial(self, event: Event) -> list[float]:
        """The epochs of all evaluations of the trial of an event so far, which decide on the decimals of one."""
        of_trial = [e for e in self.events if e["event"] == "evaluation" and e.get("trial") == event.get("trial")]
        return [each["epoch"] for each in of_trial if "epoch" in each]

    def progress(self, event: Event) -> tuple[str, float | None] | None:
        """The state of the work and the fraction done (None if unknown), or None for other kinds of event."""
        if event["event"] == "progress":
            done, total = event["done"], event.get("total")
            of_all = f" of {formats.count(total)}" if total else ""
            text = f"{formats.count(done)}{of_all} {clean(event.get('unit', ''), 20)}".rstrip()
            # What an interrupted attempt did is read again at once, so it would make the rate far too high.
            done_now, seconds = done - event.get("done_before", 0), event.get("elapsed_seconds")
            if seconds and done_now > 0:
                text += f"  {formats.short_count(done_now / seconds)}/s"
                if total:
                    text += f"  {formats.clock(seconds * (total - done) / done_now)} left"
            return text, (done / total if total else None)
        if event["event"] == "train":
            return self._training(event)
        return None

    def _training(self, event: Event) -> tuple[str, float | None]:
        steps = event.get("steps")
        epochs = next((e["epochs"] for e in reversed(self.events) if e["event"] == "trial_started"), None)
        text = f"step {formats.count(event['step'])}"
        if event.get("trial") is not None:
            text = f"trial {event['trial']}  epoch {event.get('epoch', 0):.1f}" + (f" of {epochs}" if epochs else "")
        elif steps:
            text += f" of {formats.count(steps)}"
        fraction = event["step"] / steps if steps else None
        text += f"  loss {formats.nats(event['loss'])}"
        if event.get("accuracy") is not None and self._has_accuracy():
            text += f"  accuracy {formats.percent(event['accuracy'])}"
        if rate := self.rate.per_second():
            text += f"  {formats.short_count(rate)} tokens/s"
        if event.get("seconds_left") is not None:
            text += f"  {formats.clock(event['seconds_left'])} left"
        return text, fraction

    def _has_accuracy(self) -> bool:
        """Whether the fraction of correct predictions is the metric of the task, as far as an evaluation has said. That
        of a hybrid model is not: it would mix hidden words and next tokens."""
        evaluations = [event for event in self.events if event["event"] == "evaluation"]
        return metric_of(evaluations) == "accuracy" and not any("causal" in event for event in evaluations)


class PlainLines:
    """Lines for a pipe or a log file: every event that deserves a line, and progress every few seconds."""

    def __init__(self, stream: TextIO, page: Page) -> None:
        self.stream, self.page = stream, page
        self.narrator = Narrator()
        self.last_line = float("-inf")

    def receive(self, event: Event) -> None:
        self.narrator.follow(event)
        sentence = self.narrator.sentence(event)
        progress = self.narrator.progress(event)
        if sentence is not None:
            self._write(event, sentence)
        elif progress is not None and _is_due(event, self.last_line, PLAIN_LINE_SECONDS):
            text, fraction = progress
            self._write(event, text if fraction is None else f"{100 * fraction:.0f} %  {text}")

    def _write(self, event: Event, sentence: str) -> None:
        self.last_line = event["time"]
        write_text(to_text(_lines(event, sentence, replace(self.page, width=NEVER_WRAP)), self.page), self.stream)

    def close(self) -> None:
        self.stream.flush()


class _PatientConsole(Console):
    """A console that goes quiet when its reader is gone; rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class LiveLine:
    """One line with a bar that is redrawn in place; events that deserve a line scroll by above it."""

    def __init__(self, stream: TextIO, page: Page) -> None:
        self.page = page
        self.narrator = Narrator()
        self.drawn = float("-inf")  # time of the event that was drawn last
        self.console = _PatientConsole(file=stream, highlight=False, markup=False, emoji=False, width=page.width)
        # No refresh thread, which would take time from training; stdout stays free for results.
        self.live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=False)
        self.live.start()

    def receive(self, event: Event) -> None:
        self.narrator.follow(event)
        sentence = self.narrator.sentence(event)
        progress = self.narrator.progress(event)
        if sentence is not None:
            self.show(event, sentence)
        if progress is not None and _is_due(event, self.drawn, REDRAW_SECONDS):
            self.live.update(self._bar(event, *progress), refresh=True)
            self.drawn = event["time"]
        elif event["event"] in ("stage_started", "stage_finished"):
            self.live.update(Text(""), refresh=True)
            self.drawn = float("-inf")

    def show(self, event: Event, sentence: str) -> None:
        """Print a sentence above the line."""
        for line in _lines(event, sentence, self.page):
            self.console.print(line)

    def _bar(self, event: Event, text: str, fraction: float | None) -> Text:
        line = Text(f"{clean(event['stage'], STAGE_WIDTH):<{STAGE_WIDTH}} ")
        if fraction is not None:
            line.append(bar(fraction, BAR), style="cyan").append(f" {100 * fraction:3.0f} %  ")
        return line.append(shorten(text, max(self.page.width - line.cell_len, 0)))

    def close(self) -> None:
        self.live.stop()


_STYLES = {
    **dict.fromkeys(WARNINGS, "yellow"),
    "stage_finished": "green",
    "stage_started": "bold",
}


def _is_due(event: Event, last: float, seconds: float) -> bool:
    """Whether enough time has passed since the last line, or the clock was set back by as much."""
    return abs(event["time"] - last) >= seconds


def _lines(event: Event, sentence: str, page: Page) -> Lines:
    stage = f"{clean(event['stage'], STAGE_WIDTH):<{STAGE_WIDTH}} "
    return paragraph(clean(sentence), page, first=stage, style=_STYLES.get(event["event"], ""))


# ---- a line for each kind of event


def _started(event: Event) -> str:
    return "started" + (" (synthetic data)" if event.get("synthetic") else "")


def _finished(event: Event) -> str:
    peak = event.get("peak_memory_bytes")
    return f"done in {formats.duration(event['seconds'])}" + (f", peak memory {formats.size(peak)}" if peak else "")


def _flow(event: Event) -> str:
    shapes = [
        f"{formats.count(e['value'])} {formats.unit_of(e['name'], e['value'])}"
        for e in event.get("shape_out", [])
        if isinstance(e["value"], int | float)
    ]
    dropped = sum(entry["count"] for entry in event.get("dropped", []))
    return f"result: {', '.join(shapes) or 'nothing'}" + (f"; {formats.count(dropped)} dropped" if dropped else "")


def _estimate(event: Event) -> str:
    parts = []
    if event.get("parameters") is not None:
        parts.append(f"{formats.short_count(event['parameters'])} parameters ({event.get('size', '?')})")
    if event.get("minutes") is not None:
        parts.append(f"about {formats.duration(60 * event['minutes'])}")
    if event.get("tokens_per_second") is not None:
        parts.append(f"{formats.short_count(event['tokens_per_second'])} tokens/s")
    if event.get("memory_bytes") is not None:
        parts.append(f"{formats.size(event['memory_bytes'])} of memory")
    if event.get("disk_bytes") is not None:
        parts.append(f"{formats.size(event['disk_bytes'])} on disk")
    return "estimate: " + ", ".join(parts)


def _plan(event: Event) -> str:
    text = f"plan: {formats.count(event['steps'])} steps"
    if "tokens_per_step" in event:
        text += f" of {formats.count(event['tokens_per_step'])} tokens"
    if event.get("decay_start_step") is not None:
        text += f"; the learning rate decays from step {formats.count(event['decay_start_step'])}"
    return text


def _plan_corrected(event: Event) -> str:
    return f"plan revised: {formats.count(event['steps'])} steps instead of {formats.count(event['steps_before'])}"


def _describe_evaluation(event: Event, epochs: list[float]) -> str:
    """A line for an evaluation; `epochs` are those that it has to be told from."""
    place = f"step {formats.count(event['step'])}"
    if event.get("trial") is not None:
        decimals = formats.epoch_decimals([*epochs, event["epoch"]])
        place = f"trial {event['trial']}  epoch {event['epoch']:.{decimals}f}"
    if "causal" not in event:
        return f"{place}  validation loss {formats.nats(event['loss'])}  {_score(event)}"
    masked, following = (f"loss {formats.nats(each['loss'])}  {_score(each)}" for each in (event, event["causal"]))
    return f"{place}  validation: masked {masked}; next token {following}"


def _score(event: Event) -> str:
    metric = metric_of([event])
    return write_named(metric, event[metric])


def _trial_started(event: Event) -> str:
    rate, epochs = formats.rate(event["learning_rate"]), event["epochs"]
    limit = f"at most {epochs} epochs" if epochs != 1 else "1 epoch"
    search = f" (search on {formats.count(event['rows'])} rows)" if event.get("is_search") else ""
    reads = f"{formats.count(event['rows'])} sentences and labelled rows, " if event.get("is_student") else ""
    return f"{_name_trial(event)}{search}: {reads}learning rate {rate}, seed {event['seed']}, {limit}"


def _name_trial(event: Event) -> str:
    return f"trial {event['trial']}" + (", the student" if event.get("is_student") else "")


def _trial_finished(event: Event, epochs: list[float]) -> str:
    metric = "accuracy" if event.get("validation_accuracy") is not None else metric_of([event])
    score = f"validation {write_named(metric, event['validation_accuracy' if metric == 'accuracy' else metric])}"
    return f"{_name_trial(event)}: kept epoch {formats.epoch(event['best_epoch'], epochs)}, {score}"


def _test(event: Event) -> str:
    metric = metric_of([event])
    interval = f"95 % interval {write_interval(metric, event[f'{metric}_interval'])}"
    of = "mean weights of the seeds" if event.get("seed") is None else f"seed {event['seed']}"
    of = "the student" if event.get("is_student") else of
    return f"test set, {of}: {_score(event)} ({interval}), n = {formats.count(event['n'])}"


def _replies(event: Event) -> str:
    before, after = formats.nats(event["base_loss"]), formats.nats(event["loss"])
    on = f"{formats.count(event['n'])} reply tokens of {formats.count(event['conversations'])} conversations"
    whose = "validation" if event.get("measured_on") == "validation" else "held-out"
    return f"{whose} replies: loss {after} nats per token, before tuning {before}, on {on}"


def _comparison(event: Event) -> str:
    return " ".join(str(verdict.get("sentence", "")) for verdict in event.get("verdicts", [])) or "compared"


def _resumed(event: Event) -> str:
    step, trial = event["from_step"], event.get("trial")
    what = "" if trial is None else f" trial {trial}"
    is_new = step == 0 and event.get("checkpoint") is None
    return f"starting{what} over" if is_new else f"resuming{what} at step {formats.count(step)}"


def _own_sentence(event: Event) -> str:
    return str(event.get("sentence", ""))


def _own_warning(event: Event) -> str:
    return f"warning: {_own_sentence(event)}"


_SENTENCES: dict[str, Callable[[Event], str]] = {
    "stage_started": _started,
    "stage_finished": _finished,
    "flow": _flow,
    "estimate": _estimate,
    "plan": _plan,
    "plan_corrected": _plan_corrected,
    "trial_started": _trial_started,
    "test": _test,
    "replies": _replies,
    "comparison": _comparison,
    "detected": _own_sentence,
    "notice": _own_sentence,
    "started_from": _own_sentence,
    **dict.fromkeys(WARNINGS, _own_warning),
    "chosen": _own_sentence,
    "resumed": _resumed,
}
