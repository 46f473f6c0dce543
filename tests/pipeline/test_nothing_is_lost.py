"""The law of the first two stages: documents in = documents out + dropped, whatever stands in the files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pretune.runtime.events import read_events
from pretune.settings import CollectConfig, PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess
from pretune.text.document_store import iter_corpus
from pretune.text.readers import records

FIRST = "Some words to begin with."
WORDS = [
    "",
    " ",
    "a",
    "word",
    "Wörter",
    "<b>",
    "&amp;",
    '"',
    "'",
    ",",
    ";",
    "\t",
    "{",
    "[",
    "From ",
    "-- ",
    "> ",
    "\ufeff",
]
BREAKS = ["\n", "\r", "\r\n", "\n\n", "\x0b", "\x0c", "\x85", "\u2028"]
CELLS = st.lists(st.sampled_from([*WORDS, *BREAKS]), max_size=8).map("".join)
LINES = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)
VALUES = st.one_of(CELLS, st.sampled_from([None, 7, 1.5, True, ["a"], {"b": "c"}, "\0\x1b", "\ud800"]))
QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

Made = tuple[bytes, int]  # a file, and how many records there are in it


def as_jsonl(values: list[Any], lines: list[str]) -> Made:
    """Rows, and lines that are none; what a line is blank or not is decided by its characters."""
    rows = [json.dumps({"text": value}) for value in [FIRST, *values]] + [json.dumps({"other": 1})]
    filled = [line for line in lines if line and not line.isspace()]
    return "\n".join([*rows, *lines]).encode(), len(rows) + len(filled)


def as_json(values: list[Any], _lines: list[str]) -> Made:
    """A list of objects, strings, numbers and so on."""
    elements = [{"text": FIRST}, *({"text": value} for value in values), *values]
    return json.dumps(elements, indent=len(values) % 3 or None).encode(), len(elements)


def as_csv(values: list[Any], lines: list[str]) -> Made:
    """Rows of two cells, and some of another number of them."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    rows = [[FIRST, "1"], *([str(value), "1"] for value in values if value != "\ud800" and value != "\0\x1b")]
    writer.writerows([["text", "n"], *rows, *([line, "1", "2"] for line in lines)])
    return out.getvalue().encode(), len(rows) + len(lines)


def as_lines(_values: list[Any], lines: list[str]) -> Made:
    """Text with a document a line."""
    text = "\n".join([FIRST, *lines])
    found = re.split("\r\n|\r|\n", text)
    return text.encode(), sum(bool(line) and not line.isspace() for line in found)


def as_mbox(values: list[Any], lines: list[str]) -> Made:
    """Messages, some of which have no text at all."""
    head = "From a@b.c Mon Nov 23 09:00:00 2026\nContent-Type: text/plain; charset=utf-8\n"
    bodies = [FIRST, *(value for value in values if isinstance(value, str) and value.isascii()), *lines]
    quoted = [re.sub("(?m)^From ", ">From ", body.replace("\r", "\n").replace("\0", "")) for body in bodies]
    return "\n\n".join(f"{head}\n{body}" for body in quoted).encode(), len(bodies)


def as_parquet(values: list[Any], lines: list[str]) -> Made:
    """A column of texts, some of them missing."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = [FIRST, *(value if isinstance(value, str) and value != "\ud800" else None for value in values), *lines]
    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": cells}), out)
    return out.getvalue(), len(cells)


MAKERS: dict[str, Callable[[list[Any], list[str]], Made]] = {
    "a.jsonl": as_jsonl,
    "b.json": as_json,
    "c.csv": as_csv,
    "d.txt": as_lines,
    "e.mbox": as_mbox,
    "f.parquet": as_parquet,
}


def flow_of(folder: Path) -> tuple[dict[str, int], dict[str, int], int]:
    """What went in, what came out, and how many documents were dropped, as the log tells it."""
    (flow,) = (event for event in read_events(folder) if event["event"] == "flow")
    shapes = ({entry["name"]: entry["value"] for entry in flow[shape]} for shape in ("shape_in", "shape_out"))
    return *shapes, sum(drop["count"] for drop in flow["dropped"])  # type: ignore[return-value]


@settings(max_examples=12, suppress_health_check=QUIET)
@given(values=st.lists(VALUES, max_size=12), lines=st.lists(LINES, max_size=8), is_zipped=st.booleans())
@example(values=["\r", "\r\n", "\x85"], lines=["", " ", "[1]", "{", '"a"'], is_zipped=True)
def test_what_is_read_is_written_or_counted(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    values: list[Any],
    lines: list[str],
    is_zipped: bool,
) -> None:
    monkeypatch.setattr(records, "MAX_MALFORMED_FRACTION", 1.0)  # rows that do not parse are counted, however many
    folder = tmp_path_factory.mktemp("f")
    (folder / "in").mkdir()
    expected = 0
    with zipfile.ZipFile(folder / "in" / "all.zip", "w") as archive:
        archive.writestr("first.txt", FIRST)
        for name, make in MAKERS.items():
            content, count = make(values, lines)
            expected += count
            if is_zipped:
                archive.writestr(name, content)
            else:
                (folder / "in" / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    manifest = collect([folder / "in"], folder / "out", CollectConfig(text_unit="line"))
    assert not [event for event in read_events(folder / "out") if event.get("rule") == "unreadable"]
    _, out, dropped = flow_of(folder / "out")
    assert out["documents"] + dropped == expected + 1
    assert len(list(iter_corpus(folder / "out"))) == out["documents"] == manifest.summary["documents"]


NAMES = "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jana Kim Leo Mia Noa Olaf Pia".split()
BASE = [f"{NAMES[i % 16]}{i} met {NAMES[i * 7 % 16]} near house {i * 31 % 977} on day {i}." for i in range(300)]


@settings(max_examples=3, suppress_health_check=QUIET)
@given(
    texts=st.lists(st.one_of(CELLS, st.sampled_from(BASE), st.sampled_from(BASE).map(lambda t: t[:-1])), max_size=25)
)
def test_what_is_cleaned_is_kept_or_counted(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("f")
    rows = [*BASE, *texts, *BASE[:3]]
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows), encoding="utf-8")
    collect([folder / "a.jsonl"], folder / "collect")
    _, collected, blank = flow_of(folder / "collect")
    assert collected["documents"] + blank == len(rows)
    preprocess(folder / "collect", folder / "out", PreprocessConfig(vocab_size=300, min_words=2))
    found, out, dropped = flow_of(folder / "out")
    kept = out["train_documents"] + out["validation_documents"]
    assert found["documents"] == collected["documents"] == kept + dropped
    assert len(list(iter_corpus(folder / "out"))) == kept
