"""`report`, `watch`, `run --watch`, `run --no-report` and `trace --html`: the words, the files and the sentences."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretune.cli.main import run_command_line
from pretune.cli.render import describe_next
from pretune.recipe import Recipe
from pretune.run_trace.expression import evaluate

Captured = pytest.CaptureFixture[str]


def trace_in(report: Path) -> Any:
    found = re.search(r'<script id="trace" type="application/json">([^<]*)</script>', report.read_text("utf-8"))
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found.group(1))))


@pytest.fixture
def logs(small_run: Path, tmp_path: Path) -> Path:
    """A copy of the logs of a run, which may be written to."""
    for log in small_run.glob("*/events.jsonl"):
        (tmp_path / "run" / log.parent.name).mkdir(parents=True)
        shutil.copyfile(log, tmp_path / "run" / log.parent.name / log.name)
    return tmp_path / "run"


def test_a_run_ends_with_its_page_and_says_so(small_run: Path, small_world: Path) -> None:
    assert trace_in(small_run / "report.html")["run"]["name"] == "reviews"
    last = (small_world / "shown.txt").read_text(encoding="utf-8").rstrip().splitlines()[-1]
    name = re.escape(str(small_run))
    assert re.fullmatch(
        rf"The page of the run is {name}/report.html \(\d+ kB\); open it in a browser. It shows excerpts of your "
        rf"texts; `pretune report {name} --redact --out FILE` leaves them out.",
        last,
    )
    assert (small_run / "report.html").stat().st_size < 1_000_000


def test_a_page_without_texts_of_the_user_may_be_sent(logs: Path, tmp_path: Path, capsys: Captured) -> None:
    """Each was said to be one to send."""
    assert run_command_line(["report", str(logs), "--redact", "--out", str(tmp_path / "r.html")]) == 0
    assert capsys.readouterr().out.endswith("open it in a browser, or send it.\n")
    (tmp_path / "report.html").touch()
    assert describe_next(tmp_path, Recipe()).endswith("open it in a browser, or send it.")


def test_a_page_is_made_again_from_the_logs_alone(logs: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run_command_line(["report", str(logs)]) == 0
    assert str(logs / "report.html") in capsys.readouterr().out
    out = tmp_path / "new" / "page.html"
    assert run_command_line(["report", str(logs), "--out", str(out)]) == 0
    assert out.read_bytes() == (logs / "report.html").read_bytes()


def test_verify_knows_the_page(small_run: Path, capsys: Captured) -> None:
    assert run_command_line(["verify", str(small_run)]) == 0
    assert "report.html: the page of this run, not verified" in capsys.readouterr().out


def test_a_redacted_page_has_no_text_of_the_user(small_run: Path, tmp_path: Path) -> None:
    assert run_command_line(["report", str(small_run), "--out", str(tmp_path / "whole.html")]) == 0
    assert run_command_line(["report", str(small_run), "--out", str(tmp_path / "redacted.html"), "--redact"]) == 0
    whole, redacted = (json.dumps(trace_in(tmp_path / f"{name}.html")) for name in ("whole", "redacted"))
    example = json.loads((small_run / "prepare" / "manifest.json").read_text(encoding="utf-8"))["summary"]["example"]
    texts = [max(example["text"].split(), key=len).strip(".,"), "positive", "negative"]
    assert [text for text in texts if text in whole] == texts
    assert [text for text in texts if re.search(rf"\b{text}\b", redacted)] == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("report {tmp}/nothing", 3, "does not exist; expected a run"),
        ("report {tmp}", 3, "has no logs; expected a run"),
        ("report {logs}/collect/events.jsonl", 3, "is a file; expected a run"),
        ("report {logs} --out {logs}", 2, "is a folder; give --out a file"),
        ("report {logs} --out {logs}/collect/events.jsonl", 2, "is not a report of pretune"),
        ("report {logs} --out {logs}/collect/events.jsonl/page.html", 2, "cannot be written"),
        ("report {logs} --redact --with-model", 2, "--with-model cannot be redacted"),
        ("report {logs} --with-model", 4, "has no model"),
        ("watch {tmp}/nothing", 3, "does not exist; expected a run"),
        ("watch {logs} --port 99999", 2, "expected a number up to 65535"),
        ("trace {logs} text --html {logs}", 2, "is a folder; give --html a file"),
    ],
)
def test_a_mistake_is_a_sentence(
    logs: Path, tmp_path: Path, capsys: Captured, words: str, code: int, sentence: str
) -> None:
    before = sorted(path.name for path in logs.rglob("*"))
    assert run_command_line(words.format(tmp=tmp_path, logs=logs).split()) == code
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(path.name for path in logs.rglob("*")) == before


def test_a_typed_prediction_comes_first(small_run: Path, tmp_path: Path, capsys: Captured) -> None:
    page = tmp_path / "page.html"
    assert run_command_line(["trace", str(small_run), "A dreadful hotel.", "--html", str(page)]) == 0
    assert f"The page of the run is {page}" in capsys.readouterr().out
    trace = trace_in(page)
    first, *others = trace["predictions"]
    assert (first["text"], first["why"]) == ("A dreadful hotel.", "typed")
    report = trace_in(small_run / "report.html")
    assert others == report["predictions"]
    assert trace["fills"] == report["fills"]
    assert trace["excerpts"] > report["excerpts"]
    questions = [
        each for part in ("quiz", "practice", "test") for each in trace["quiz"][part] if each["kind"] == "number"
    ]
    asked = [each for each in questions if "/predictions/" in json.dumps(each)]
    assert asked
    for question in asked:  # which name predictions by their places, and must mean these places
        value = evaluate(question["expression"], trace)
        assert value == pytest.approx(question["answer"], abs=question["tolerance"] / 10), question["template"]


@pytest.mark.slow
def test_no_report_and_a_file_of_another_kind_in_the_way(
    small_run: Path, small_run_words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    run = tmp_path / "reviews"
    shutil.copytree(small_run, run)
    words = [*small_run_words, "--out", str(run)]
    (run / "report.html").unlink()
    assert run_command_line([*words, "--no-report"]) == 0
    assert not (run / "report.html").exists()
    assert "The page of the run" not in capsys.readouterr().out
    (run / "report.html").write_text("my notes")
    assert run_command_line(words) == 0
    assert "report.html exists and is not a report of pretune" in capsys.readouterr().err
    assert (run / "report.html").read_text() == "my notes"
    (run / "report.html").unlink()
    assert run_command_line(words) == 0
    assert (run / "report.html").read_bytes() == (small_run / "report.html").read_bytes()


@pytest.mark.slow
def test_a_run_is_watched_and_stays_until_ctrl_c(
    small_run: Path, small_run_words: list[str], tmp_path: Path, start_pretune: Callable[..., subprocess.Popen[str]]
) -> None:
    """The run itself is finished, so that the page after it is what is tested."""
    shutil.copytree(small_run, tmp_path / "reviews")
    process = start_pretune(*small_run_words, "--out", str(tmp_path / "reviews"), "--watch")
    assert process.stdout is not None
    assert process.stderr is not None
    reading = threading.Thread(target=process.stdout.read)
    reading.start()
    address = next(line for line in process.stderr if line.startswith("Watch the run at ")).split()[-1]
    assert any("stays at" in line and "Ctrl-C" in line for line in process.stderr)
    host, _, token = address.removeprefix("http://").partition("/#token=")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/api/trace", headers={"X-Pretune-Token": token})
    assert json.loads(connection.getresponse().read())["run"]["status"] == "finished"
    connection.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    reading.join()
    process.stdout.close()
    process.stderr.close()
    try:  # the port is free again: nobody answers, or the page of another test does, which does not know this token
        connection.request("GET", "/api/trace", headers={"X-Pretune-Token": token})
        assert connection.getresponse().status == 401
    except ConnectionError:
        pass
    finally:
        connection.close()
