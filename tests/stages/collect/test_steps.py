"""Several workers read the same documents from a file as one worker that reads all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.runtime.workers import open_engine
from pretune.stages.collect.steps import WorkUnitReader
from pretune.text.collect import work_units
from pretune.text.collect.collect_shard import irregular_files
from pretune.text.collect.documents import Reading, iter_documents
from pretune.text.collect.work_units import LineRange, WorkUnit, divide_files
from pretune.text.document_store import corpus_files, iter_corpus
from pretune.text.reading_report import Detection, Findings
from pretune.text.sources.files import TextFile

Outcome = tuple[list[dict[str, Any]], dict[str, Any]] | str

ROWS = [
    b'{"text": "a good line", "n": 1}', b'{"text": "Gr\xc3\xbc\xc3\x9fe", "n": [2]}', b'{"text": " "}', b'{"n": 3}',
    b"", b'{"text": 4}', b'"alone"', b"[", b'{"text": "torn', b'{"text": "broken \xe9"}',
    b'\xef\xbb\xbf{"text": "mark"}', b'{"text": "one\\ntwo"}\r{"text": "three"}', b'{"text": "four"}\r', b"GIF8",
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0e",
]  # fmt: skip
GOOD = ROWS[0] + b"\n"


def in_one_go(file: TextFile, reading: Reading) -> Outcome:
    findings = Findings()
    try:
        return [document._asdict() for document in iter_documents([file], findings, reading)], findings.to_json()
    except InputDataError as error:
        return str(error)


def in_units(file: TextFile, reading: Reading, folder: Path) -> tuple[Outcome, int]:
    findings = Findings()
    divided = divide_files([file], reading)
    try:
        with open_engine("threads", 1) as engine:
            WorkUnitReader(engine, folder / "work", reading, lambda _documents, _findings: None).read(
                divided, findings, folder
            )
    except InputDataError as error:
        return str(error), len(divided)
    return (list(iter_corpus(folder)) if corpus_files(folder) else [], findings.to_json()), len(divided)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    rows=st.lists(st.sampled_from(ROWS), max_size=12), good=st.integers(0, 400), ending=st.sampled_from([b"", b"\n"])
)
@example(rows=[ROWS[8]] * 6, good=600, ending=b"")
@example(rows=[ROWS[1], ROWS[11], ROWS[4], ROWS[2], ROWS[0]], good=300, ending=b"\n")
def test_slices_of_json_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], good: int, ending: bytes
) -> None:
    check(tmp_path_factory.mktemp("s"), "a.jsonl", GOOD * good + b"\n".join(rows) + ending)
    check(tmp_path_factory.mktemp("s"), "b.jsonl", b"\n".join([*rows, GOOD * good]))


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*ROWS, b"A line of text.", b"  ", b"\x0c"]), min_size=1, max_size=20))
def test_slices_of_lines(tmp_path_factory: pytest.TempPathFactory, rows: list[bytes]) -> None:
    check(tmp_path_factory.mktemp("s"), "a.txt", b"\n".join([b"It begins like this.", *rows]), text_unit="line")


def check(folder: Path, name: str, content: bytes, **settings: Any) -> int:
    path = folder / name
    path.write_bytes(content)
    file, reading = TextFile(path=str(path), name=str(path)), Reading(**settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_units, "BYTES_PER_UNIT", 100)
        found, num_units = in_units(file, reading, folder / "out")
    assert found == in_one_go(file, reading)
    return num_units


def test_regular_files_are_read_in_slices(tmp_path: Path) -> None:
    for name, content, at_least in (
        ("plain", GOOD * 40, 10),
        ("bad-rows", GOOD * 400 + b"{\n" * 3, 10),
        ("too-many-bad-rows", GOOD * 400 + b"{\n" * 30, 10),
        ("latin-1", GOOD * 20 + b'{"text": "caf\xe9"}\n', 5),
        ("marked", b"\xef\xbb\xbf" + GOOD * 20, 5),
        ("small", GOOD * 3, 1),
        ("a-long-line", GOOD * 5 + b'{"text": "' + b"long " * 100 + b'"}\n', 1),
    ):
        (tmp_path / name).mkdir()
        assert check(tmp_path / name, "a.jsonl", content) >= at_least, name
    (tmp_path / "paragraphs").mkdir()
    assert check(tmp_path / "paragraphs", "a.txt", b"one\ntwo\n\n" * 40, text_unit="paragraph") == 1


def test_many_bad_rows_are_judged_in_file_order() -> None:
    """A hundred or more are refused if they are dense, which no slice can find out alone."""
    seen = Detection(path="a.jsonl", format="jsonl", encoding="utf-8")
    file = TextFile(path="a.jsonl", name="a.jsonl")
    slices = [
        WorkUnit(files=[file], line_range=LineRange(start=n, end=n + 1, first_line=1, seen=seen)) for n in range(2)
    ]

    def result(documents: int, bad: int) -> dict[str, Any]:
        dropped = [{"name": "unparsable_row", "count": bad}]
        return {"documents": documents, "is_regular": True, "findings": {"dropped": dropped}}

    assert not irregular_files(slices, [result(9000, 50), result(9000, 49)])
    assert irregular_files(slices, [result(9000, 50), result(9000, 50)]) == {"a.jsonl"}
    assert irregular_files(slices, [result(0, 0), result(0, 0)]) == {"a.jsonl"}


def test_small_files_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_units, "BYTES_PER_UNIT", 100)
    files = []
    for number, size in enumerate([1, 1, 1, 8, 1]):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(GOOD * size)
        files.append(TextFile(path=str(path), name=str(path)))
    divided = divide_files(files, Reading())
    assert [(len(unit.files), unit.line_range is not None) for unit in divided] == [
        (3, False), (1, True), (1, True), (1, False)
    ]  # fmt: skip
    assert divided[1].line_range is not None and divided[2].line_range is not None
    assert divided[1].line_range.first_line == 1 and divided[2].line_range.first_line == 5
    assert divided[2].line_range.end == Path(files[3].path).stat().st_size
