"""The live page: a run that grows, a server that is started again, several tabs, and typed text."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pretune.live.server import LiveServer

pytestmark = pytest.mark.slow

TOKEN = "the-token-of-the-test"
ROWS = """Math.max(0, ...[...document.querySelectorAll('#training table')].map(
    (table) => [...table.tBodies].reduce((sum, body) => sum + body.rows.length, 0)))"""
STATUS = "document.querySelector('.status-line')?.innerText ?? ''"


@contextmanager
def serving(run: Path, port: int | None = None) -> Iterator[LiveServer]:
    server = LiveServer(run, port=port, token=TOKEN)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


class GrowingRun:
    """A copy of the logs of a run that is written again, line by line."""

    def __init__(self, source: Path, target: Path) -> None:
        self.path = target
        for stage in ("split", "collect", "preprocess"):
            (target / stage).mkdir(parents=True)
            shutil.copyfile(source / stage / "events.jsonl", target / stage / "events.jsonl")
        self._lines = (source / "pretrain" / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (target / "pretrain").mkdir()

    def grow_until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Write lines until this many events of a kind have been written; the last of them."""
        with (self.path / "pretrain" / "events.jsonl").open("a", encoding="utf-8") as file:
            while True:
                line = self._lines.pop(0)
                file.write(line)
                event: dict[str, Any] = json.loads(line)
                count -= event["event"] == kind
                if count == 0:
                    return event


@pytest.fixture
def growing(small_run: Path, tmp_path: Path) -> GrowingRun:
    run = GrowingRun(small_run, tmp_path / "run")
    run.grow_until("evaluation", 2)
    return run


@pytest.fixture(autouse=True)
def without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.live.follow._REST_PER_WORK", 0)
    monkeypatch.setattr("pretune.live.app.POLL_SECONDS", 0.05)


def num_rows(page: Any) -> int:
    """The rows of the longest table of the training section, in which every evaluation has one."""
    found: int = page.evaluate(ROWS)
    return found


def wait_for_rows(page: Any, count: int) -> None:
    page.wait_for_function(f"(count) => {ROWS} >= count", arg=count)


def test_a_run_grows_before_the_reader(growing: GrowingRun, open_page: Any) -> None:
    with serving(growing.path) as server:
        watched = open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/")
        page = watched.page
        page.wait_for_selector("#training table", state="attached")
        before = num_rows(page)
        assert before >= 2
        assert "token" not in page.evaluate("location.href")
        growing.grow_until("evaluation")
        wait_for_rows(page, before + 1)
        assert watched.complaints() == []


def test_a_page_goes_on_after_the_server_was_started_again(growing: GrowingRun, open_page: Any) -> None:
    with serving(growing.path, port=0) as server:  # another test could take one of the usual ports before the restart
        port = server.port
        watched = open_page(server.address, allowed=f"http://127.0.0.1:{port}/", errors=False)
        page = watched.page
        page.wait_for_selector("#training table", state="attached")
        before = num_rows(page)
    page.wait_for_function(f"() => ({STATUS}).includes('broke off')")
    growing.grow_until("evaluation")
    with serving(growing.path, port):
        page.wait_for_function(f"() => !({STATUS}).includes('broke off')")
        wait_for_rows(page, before + 1)
        assert num_rows(page) == before + 1  # each evaluation once
        assert watched.complaints() == []


def set_hidden(page: Any, is_hidden: bool) -> None:
    """What a browser does when the reader turns to another tab, and back."""
    page.evaluate(
        """(value) => {
            Object.defineProperty(document, "hidden", { value, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_a_reader_who_comes_back_sees_what_was_missed(growing: GrowingRun, open_page: Any) -> None:
    with serving(growing.path) as server:
        watched = open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/")
        page = watched.page
        page.wait_for_function(f"() => ({STATUS}).includes('Updated')")
        before = num_rows(page)
        set_hidden(page, True)
        page.wait_for_function(f"() => ({STATUS}).includes('broke off')")  # a hidden page keeps no connection
        growing.grow_until("evaluation")
        set_hidden(page, False)
        wait_for_rows(page, before + 1)
        assert num_rows(page) == before + 1
        assert watched.complaints() == []


def test_another_token_is_a_sentence(growing: GrowingRun, open_page: Any) -> None:
    with serving(growing.path) as server:
        address = server.address.replace(TOKEN, "of-an-earlier-start")
        watched = open_page(address, allowed=f"http://127.0.0.1:{server.port}/")
        watched.page.wait_for_function("() => document.body.innerText.includes('earlier start')")


def test_several_tabs_are_served(growing: GrowingRun, open_page: Any) -> None:
    with serving(growing.path) as server:
        pages = [open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/").page for _ in range(3)]
        for page in pages:
            page.wait_for_selector("#training table", state="attached")
        before = num_rows(pages[0])
        growing.grow_until("evaluation")
        for page in pages:
            wait_for_rows(page, before + 1)


@pytest.mark.parametrize(
    "text", ["A dreadful <b>hotel</b> שלום 👩‍👩‍👧.", "</script><script>window.__xss = 1</script> dreadful"]
)
def test_a_typed_text_is_traced(small_run: Path, open_page: Any, text: str) -> None:
    with serving(small_run) as server:
        watched = open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/")
        page = watched.page
        page.get_by_role("tab", name="Your own text").click()
        page.get_by_label("Your text").fill(text)
        with page.expect_response("**/api/predict", timeout=120_000) as answered:
            page.get_by_role("button", name="Trace this text").click()
        assert answered.value.status == 200
        assert answered.value.json()["why"] == "typed"
        page.wait_for_selector(".typed-result > *")
        assert watched.complaints() == []


def test_what_is_being_typed_stays_when_the_run_is_traced(growing: GrowingRun, small_run: Path, open_page: Any) -> None:
    with serving(growing.path) as server:
        page = open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/").page
        page.get_by_label("Your text").fill("The hotel was")
        shutil.copyfile(small_run / "trace.json", growing.path / "trace.json")
        growing.grow_until("evaluation")
        page.wait_for_selector("#prediction [role=tab] >> nth=1")
        assert page.get_by_label("Your text").input_value() == "The hotel was"
        assert page.evaluate("document.activeElement.id") == "typed-text"


def test_what_is_wrong_with_a_typed_text_is_a_sentence(small_run: Path, open_page: Any) -> None:
    with serving(small_run) as server:
        page = open_page(server.address, allowed=f"http://127.0.0.1:{server.port}/").page
        page.get_by_role("tab", name="Your own text").click()
        page.get_by_label("Your text").fill("word " * 20_000)
        page.get_by_role("button", name="Trace this text").click()
        page.wait_for_function(
            "() => document.querySelector('#prediction [role=alert]').innerText.includes('up to 64 KB')"
        )
