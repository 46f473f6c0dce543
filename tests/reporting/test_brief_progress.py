from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pretune.reporting import progress
from pretune.reporting.brief_progress import brief_progress
from pretune.runtime.events import EventLog


class TerminalText(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own, with the level that Python gives to one that nobody has configured."""
    logger = logging.getLogger("pretune.tests")
    yield logger
    logger.setLevel(logging.NOTSET)


def follow(folder: Path, stream: io.StringIO, logger: logging.Logger, **settings: Any) -> str:
    """What is printed for a small stage."""
    with brief_progress(stream, logger, **settings):
        log = EventLog(folder, "finetune")
        log.write("stage_started")
        log.write("notice", sentence="The best rate is \x1b[2J0.001.")
        log.write("warning", sentence="3 rows have no label.")
        log.write("progress", done=1, total=2, unit="rows")
        log.write("stage_finished", seconds=1.5)
    return stream.getvalue()


def test_without_a_terminal_everything_is_logged(
    tmp_path: Path, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pretune.tests")
    assert follow(tmp_path, io.StringIO(), logger) == ""
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "finetune: started"),
        ("INFO", "finetune: The best rate is 0.001."),
        ("WARNING", "finetune: 3 rows have no label."),
        ("INFO", "finetune: done in 1.5 s"),
    ]


def test_a_terminal_shows_one_line_that_is_gone_at_the_end(
    tmp_path: Path, logger: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "columns_of", lambda _stream: 80)
    caplog.set_level(logging.INFO, "pretune.tests")
    shown = follow(tmp_path, TerminalText(), logger)
    assert "\x1b[2J" not in shown
    assert len(caplog.records) == 4
    frames = re.split(r"\r\x1b\[2K", re.sub(r"\x1b\[\?25[hl]", "", shown))
    assert "\n" not in "".join(frames[:-1])  # no frame starts a second line
    assert any("The best rate is 0.001." in frame for frame in frames)
    assert any("50 %  1 of 2 rows" in frame for frame in frames)
    assert shown.endswith("\x1b[1A\x1b[2K")  # the line is erased


def test_warnings_reach_a_program_that_has_not_configured_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("pretune"), "propagate", False)  # away from the handlers of the test runner
    follow(tmp_path, io.StringIO(), logger)
    assert capsys.readouterr().err == "finetune: 3 rows have no label.\n"
    follow(tmp_path, io.StringIO(), logger, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert logger.handlers == []


@pytest.mark.parametrize("stream", [None, SimpleNamespace(write=len, flush=int)], ids=["none", "only write and flush"])
def test_a_program_without_a_terminal_of_its_own(
    tmp_path: Path, logger: logging.Logger, caplog: pytest.LogCaptureFixture, stream: Any
) -> None:
    caplog.set_level(logging.INFO, "pretune.tests")
    with brief_progress(stream, logger):
        EventLog(tmp_path, "finetune").write("stage_started")
    assert caplog.messages == ["finetune: started"]
