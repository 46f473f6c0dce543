"""A live page over a run whose trace is made up, and assets that stand in for the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pretune.live.app import LivePage
from pretune.live.follow import RunFollower
from pretune.live.models import ModelsOfRun
from pretune.page.assets import Assets

TOKEN = "the-token"
ADDRESS = "http://127.0.0.1:8650"


def events_of(run: Path) -> dict[str, Any]:
    """A trace that is made up: the events of a run, by stage."""
    return {log.parent.name: log.read_text().splitlines() for log in sorted(run.glob("*/events.jsonl"))}


def log(run: Path, stage: str, **event: Any) -> None:
    """Append an event to the log of a stage."""
    folder = run / stage
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has begun to collect."""
    log(tmp_path / "run", "collect", event="stage_started")
    return tmp_path / "run"


@pytest.fixture
def live_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> LivePage:
    monkeypatch.setattr("pretune.live.app.read_assets", lambda: Assets(script="go()", style="p {}"))
    return LivePage(RunFollower(run, events_of), ModelsOfRun(run), TOKEN)


@pytest.fixture
def client(live_page: LivePage) -> Iterator[Callable[..., TestClient]]:
    """A browser with the token; keyword arguments replace its headers."""
    clients = []

    def open_client(**headers: str) -> TestClient:
        given = {"X-Pretune-Token": TOKEN, **{name.replace("_", "-"): value for name, value in headers.items()}}
        clients.append(TestClient(live_page.app(), base_url=ADDRESS, headers=given))
        return clients[-1]

    yield open_client
    for each in clients:
        each.close()
