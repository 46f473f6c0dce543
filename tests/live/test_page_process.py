"""The page beside a run: it starts before the run has a folder, ends with it, and never harms it."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.live.page_process import PageProcess, page_process


def asked(page: PageProcess, path: str) -> tuple[int, object]:
    assert page.address is not None
    host, _, token = page.address.removeprefix("http://").partition("/#token=")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", path, headers={"X-Pretune-Token": token})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_the_page_waits_for_the_run_and_ends_with_the_block(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with page_process(run) as page:
        assert asked(page, "/api/trace")[0] == 503
        (run / "collect").mkdir(parents=True)
        (run / "collect" / "events.jsonl").write_text('{"event": "stage_started", "stage": "collect", "time": 1.0}\n')
        status, trace = asked(page, "/api/trace")
        assert status == 200
        assert isinstance(trace, dict)
        assert trace["run"]["status"] == "running"
    assert page._process.returncode is not None
    try:  # the port is free again: nobody answers, or the page of another test does, which does not know this token
        status, _ = asked(page, "/api/trace")
    except ConnectionError:
        return
    assert status == 401


def test_ctrl_c_is_for_the_run(tmp_path: Path) -> None:
    with page_process(tmp_path) as page:
        asked(page, "/api/trace")
        page._process.send_signal(signal.SIGINT)
        assert asked(page, "/api/trace")[0] == 503


def test_the_page_ends_if_the_run_is_killed(tmp_path: Path, wait_until_ended: Callable[[int], None]) -> None:
    program = f"""
import os, time
from pathlib import Path
from pretune.live.page_process import PageProcess
page = PageProcess(Path({str(tmp_path)!r}))
print(page._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -9
    wait_until_ended(int(killed.stdout))


def test_a_page_that_cannot_start_has_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with page_process(tmp_path) as page:
        assert page.address is None
        page.wait()


def test_a_file_of_the_user_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secrets.py in the working folder was run in place of the module of this name."""
    for name in ("secrets.py", "queue.py"):
        (tmp_path / name).write_text("from pathlib import Path\nPath('was-imported').touch()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with page_process(Path("run")) as page:
        assert asked(page, "/api/trace")[0] == 503
    assert not (tmp_path / "was-imported").exists()
