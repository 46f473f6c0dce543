"""The server in real sockets: its port, its streams, and its end."""

from __future__ import annotations

import http.client
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import UsageError
from pretune.live import server as module
from pretune.live.server import LiveServer, listen, open_in_browser
from pretune.page.assets import Assets

TOKEN = "the-token"
BEGIN = {"event": "stage_started", "stage": "collect", "time": 1.0}


def log(run: Path, **event: Any) -> None:
    (run / "collect").mkdir(parents=True, exist_ok=True)
    with (run / "collect" / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose trace is the text of its log."""
    monkeypatch.setattr(
        module, "trace_as_json", lambda run: {"log": (run / "collect/events.jsonl").read_text(), "a": 1}
    )
    monkeypatch.setattr("pretune.live.app.read_assets", lambda: Assets(script="go()", style="p {}"))
    monkeypatch.setattr("pretune.live.app.POLL_SECONDS", 0.02)
    log(tmp_path / "run", **BEGIN)
    return tmp_path / "run"


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


class Stream:
    """One browser that listens to the changes."""

    def __init__(self, server: LiveServer, last_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        headers = {"X-Pretune-Token": TOKEN, **({} if last_id is None else {"Last-Event-ID": last_id})}
        self._connection.request("GET", "/api/events", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("content-type") == "text/event-stream; charset=utf-8"

    def lines(self) -> dict[str, str]:
        """The next message or comment, with its fields; empty at the end of the stream."""
        found: dict[str, str] = {}
        while line := self._answer.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            found[name] = value
        return found

    def message(self) -> dict[str, str]:
        """The next message; a comment is passed over."""
        while "" in (found := self.lines()):
            pass
        return found

    def changed(self) -> Any:
        return json.loads(self.message()["data"])["changed"]

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def test_a_growing_run_is_sent_key_by_key(run: Path) -> None:
    with serving(run) as server:
        stream = Stream(server)
        assert set(stream.changed()) == {"log", "a"}
        log(run, event="b")
        changed = stream.changed()
        assert set(changed) == {"log"}
        assert changed["log"].endswith('{"event": "b"}\n')
        stream.close()


def test_a_stream_goes_on_from_the_last_id_even_after_a_restart(run: Path) -> None:
    with serving(run, port=0) as server:  # one of the usual ports could be taken by another test before the restart
        stream = Stream(server)
        first = stream.message()
        port = server.port
        stream.close()
    with serving(run, port) as server:
        again = Stream(server, first["id"])
        assert again.lines() == {"": "connected"}  # it has all of it
        log(run, event="b")
        assert set(again.changed()) == {"log"}
        again.close()
    log(run, event="c")
    with serving(run, port) as server:
        third = Stream(server, first["id"])
        assert set(third.changed()) == {"log", "a"}  # this server does not know what that version was made of
        third.close()


def test_a_stream_that_comes_back_is_sent_what_it_missed(run: Path) -> None:
    with serving(run) as server:
        stream = Stream(server)
        first = stream.message()
        stream.close()
        log(run, event="b")
        again = Stream(server, first["id"])
        assert set(again.changed()) == {"log"}
        again.close()
        unknown = Stream(server, "nothing")
        assert set(unknown.changed()) == {"log", "a"}
        unknown.close()


def test_several_tabs_see_the_same(run: Path) -> None:
    with serving(run) as server:
        streams = [Stream(server) for _ in range(8)]
        assert len({stream.message()["id"] for stream in streams}) == 1
        log(run, event="b")
        assert len({stream.message()["id"] for stream in streams}) == 1
        for stream in streams:
            stream.close()


def test_what_is_wrong_is_sent_once(run: Path) -> None:
    shutil.rmtree(run)
    with serving(run) as server:
        stream = Stream(server)
        message = stream.message()
        assert message["event"] == "problem"
        assert json.loads(message["data"]) == {"error": "The run run has logged nothing yet."}
        log(run, **BEGIN)
        assert stream.message()["event"] == "trace"
        stream.close()


def test_the_server_ends_with_open_streams_and_frees_its_port(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(run, port=0) as server:  # the usual ports are those of other tests, too
        streams = [Stream(server) for _ in range(3)]
        for stream in streams:
            stream.message()
    for stream in streams:
        assert stream.message() == {}
        stream.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    with listen(server.port):
        pass


def test_a_server_that_is_stopped_before_it_serves_ends(run: Path) -> None:
    server = LiveServer(run, token=TOKEN)
    server.stop()
    server.serve()


def test_it_listens_on_loopback_only(run: Path) -> None:
    server = LiveServer(run)
    with server._socket as found:
        assert found.getsockname()[0] == "127.0.0.1"
        assert server.address == f"http://127.0.0.1:{server.port}/#token={server.page.token}"


def test_a_port_in_use_names_one_that_is_free() -> None:
    with listen(0) as used:
        port = used.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} is in use; give --port (\d+), which is free") as caught:
            listen(port)
        other = int(str(caught.value).split("--port ")[1].split(",")[0])
        with listen(other) as found:
            assert found.getsockname()[1] == other != port


def test_a_port_that_cannot_be_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="expected a number up to 65535"):
        listen(70_000)


def test_without_a_port_there_is_always_one() -> None:
    held: list[socket.socket] = []
    try:
        for _ in range(12):  # more than the usual ones
            held.append(listen(None))
        assert len({each.getsockname()[1] for each in held}) == 12
    finally:
        for each in held:
            each.close()


def test_no_browser_is_opened_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("os.uname", lambda: os.uname_result(("Linux", "", "", "", "")))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not open_in_browser("http://127.0.0.1/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert open_in_browser("http://127.0.0.1/")
    assert opened == ["http://127.0.0.1/"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_open_streams(tmp_path: Path, number: signal.Signals) -> None:
    log(tmp_path / "run", **BEGIN)
    process = subprocess.Popen(
        [sys.executable, "-m", "pretune", "watch", str(tmp_path / "run"), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    port, token = int(address.split(":")[2].split("/")[0]), address.partition("#token=")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/api/events", headers={"X-Pretune-Token": token})
    answer = connection.getresponse()
    assert answer.readline()
    process.send_signal(number)
    _, written = process.communicate(timeout=20)
    assert process.returncode == 0
    assert written == "Ctrl-C ends it.\n"
    connection.close()
