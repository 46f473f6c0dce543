"""The answers of the live server, and its limits: everything wrong is answered by a sentence."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pretune.errors import ModelNotFoundError, UsageError
from pretune.live.app import MOST_BYTES, MOST_WAITING, LivePage

Client = Callable[..., TestClient]


def test_the_page_and_its_assets(client: Client) -> None:
    browser = client(X_Pretune_Token="")
    assert 'data-mode="live"' in browser.get("/").text
    script, style = browser.get("/page.js"), browser.get("/page.css")
    assert (script.text, script.headers["content-type"]) == ("go()", "text/javascript; charset=utf-8")
    assert (style.text, style.headers["content-type"]) == ("p {}", "text/css; charset=utf-8")


def test_the_trace_has_a_version(client: Client) -> None:
    answer = client().get("/api/trace")
    assert answer.json() == {"collect": ['{"event": "stage_started"}']}
    assert len(answer.headers["X-Pretune-Version"]) == 16


def test_a_run_that_has_not_begun_is_a_sentence(client: Client, run: Path) -> None:
    shutil.rmtree(run)
    answer = client().get("/api/trace")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The run run has logged nothing yet."}


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("GET", "/api/predict"), ("POST", "/api/trace")])
def test_what_there_is_not_is_a_sentence(client: Client, method: str, path: str) -> None:
    answer = client().request(method, path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"].endswith(".")


@pytest.fixture
def echo(live_page: LivePage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model that answers with the text itself; the list has what it was asked."""
    asked: list[str] = []

    def predict(text: str) -> dict[str, str]:
        asked.append(text)
        return {"text": text}

    monkeypatch.setattr(live_page.models, "predict", predict)
    return asked


def test_a_text_is_answered(client: Client, echo: list[str]) -> None:
    answer = client().post("/api/predict", json={"text": "ünï\u2028 </script>"})
    assert answer.json() == {"text": "ünï\u2028 </script>"}
    assert echo == ["ünï\u2028 </script>"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"texts": "a"}', b'{"text": 1}', b"\xff\xfe", b"[" * 60_000]
)
def test_a_body_without_a_text_is_a_sentence(client: Client, echo: list[str], body: bytes) -> None:
    answer = client().post("/api/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "has no text" in answer.json()["error"]
    assert echo == []


def test_a_body_that_is_too_long_is_a_sentence(client: Client, echo: list[str]) -> None:
    answer = client().post("/api/predict", json={"text": "a" * MOST_BYTES})
    assert answer.status_code == 413
    assert "up to 64 KB" in answer.json()["error"]
    assert client().post("/api/predict", json={"text": "a" * (MOST_BYTES - 100)}).status_code == 200
    assert len(echo) == 1


def test_a_form_of_another_site_is_refused(client: Client, echo: list[str]) -> None:
    answer = client().post("/api/predict", content=b'{"text": "a"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert echo == []


@pytest.mark.parametrize(
    ("error", "status"), [(UsageError("No text."), 400), (ModelNotFoundError("There is no model yet."), 409)]
)
def test_an_error_of_ours_is_its_sentence(
    client: Client, live_page: LivePage, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(_text: str) -> Any:
        raise error

    monkeypatch.setattr(live_page.models, "fill", fail)
    answer = client().post("/api/fill", json={"text": "a"})
    assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


@pytest.mark.usefixtures("echo")
def test_many_texts_at_once_are_refused(client: Client, live_page: LivePage) -> None:
    live_page._num_waiting = MOST_WAITING
    answer = client().post("/api/predict", json={"text": "a"})
    assert answer.status_code == 429
    live_page._num_waiting = 0
    assert client().post("/api/predict", json={"text": "a"}).status_code == 200
    assert live_page._num_waiting == 0


def test_a_run_that_is_back_takes_its_problem_away(
    live_page: LivePage, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page went on to show the sentence, since nothing had changed."""
    monkeypatch.setattr("pretune.live.app.POLL_SECONDS", 0.001)

    async def follow() -> list[bytes]:
        changes = live_page._changes(None)
        found = [await anext(changes)]
        for old, new in ((run, run.with_name("elsewhere")), (run.with_name("elsewhere"), run)):
            old.rename(new)
            found.append(await anext(changes))
        await changes.aclose()  # type: ignore[attr-defined]
        return found

    first, gone, back = asyncio.run(follow())
    assert b'"changed":{"collect"' in first
    assert gone == b'event: problem\ndata: {"error": "The run run is no longer there."}\n\n'
    assert b'event: trace\ndata: {"changed":{},"age":' in back


def test_a_change_says_how_long_ago_it_was_logged(live_page: LivePage, run: Path) -> None:
    """A tab that came back after an hour said that an interrupted run was running."""
    hour_ago = time.time() - 3600
    os.utime(run / "collect" / "events.jsonl", (hour_ago, hour_ago))
    (run / "collect" / "manifest.json").write_text("{}")

    async def first() -> bytes:
        changes = live_page._changes(None)
        found = await anext(changes)
        await changes.aclose()  # type: ignore[attr-defined]
        return found

    data = json.loads(asyncio.run(first()).split(b"data: ")[1])
    assert 3600 <= data["age"] < 3660
