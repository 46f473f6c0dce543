"""Progress for a program: the events of stages in, one live line on a terminal and records of a logger out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.text import Text

from pretune.reporting.progress import WARNINGS, Display, LiveLine, Narrator, live_page, showing
from pretune.runtime.events import Event
from pretune.terminal import Page, clean


@contextmanager
def brief_progress(
    stream: TextIO | None, logger: logging.Logger, quiet: bool = False, *, reword: Callable[[str], str] = str
) -> Iterator[None]:
    """Show one line on `stream` until the context ends, if it is a terminal; everything else goes to `logger`.

    Warnings are logged at level WARNING, other sentences at INFO. With `quiet` nothing is printed, not even the
    warnings that Python writes to stderr for a logger without a handler. `reword` puts each sentence in the terms of
    the program.
    """
    page = None if quiet else live_page(stream)
    display: Display = (
        LogRecords(logger, reword) if page is None or stream is None else BriefLine(stream, page, logger, reword)
    )
    silencer = logging.NullHandler()
    if quiet:
        logger.addHandler(silencer)
    try:
        with showing(display):
            yield
    finally:
        logger.removeHandler(silencer)


class LogRecords:
    """Records of a logger, one for every event that has a sentence."""

    def __init__(self, logger: logging.Logger, reword: Callable[[str], str]) -> None:
        self.logger, self.reword = logger, reword
        self.narrator = Narrator()

    def receive(self, event: Event) -> None:
        self.narrator.follow(event)
        sentence = self.narrator.sentence(event)
        if sentence is not None:
            _log(self.logger, event, self.reword(sentence))

    def close(self) -> None: ...


class BriefLine(LiveLine):
    """One line that is redrawn in place with the latest sentence or progress; the sentences are logged as well."""

    def __init__(self, stream: TextIO, page: Page, logger: logging.Logger, reword: Callable[[str], str]) -> None:
        super().__init__(stream, page)
        self.logger, self.reword = logger, reword

    def show(self, event: Event, sentence: str) -> None:
        """Log a sentence and draw it on the line, which is cleared first: a handler may print to the same terminal."""
        sentence = self.reword(sentence)
        self.live.update(Text(""), refresh=True)
        _log(self.logger, event, sentence)
        self.live.update(self._bar(event, clean(sentence), None), refresh=True)


def _log(logger: logging.Logger, event: Event, sentence: str) -> None:
    level = logging.WARNING if event["event"] in WARNINGS else logging.INFO
    logger.log(level, "%s: %s", clean(event["stage"]), clean(sentence).removeprefix("warning: "))
