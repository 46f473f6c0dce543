import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.collect import line_ranges
from pretune.text.collect.documents import Document, Reading, iter_file_documents
from pretune.text.collect.line_ranges import batches, iter_line_range
from pretune.text.raw.compression import open_slice
from pretune.text.reading_report import Detection, Findings
from pretune.text.sources.files import TextFile

SEEN = Detection(path="a.jsonl", format="jsonl", encoding="utf-8", text_column="text")
GOOD = st.text(max_size=8).map(lambda text: json.dumps({"text": text, "n": 1}, ensure_ascii=False))
ODD = st.sampled_from(
    [
        "",
        " ",
        '{"text": 3}',
        '{"text": null}',
        '{"n": 1}',
        "[1]",
        '"a string"',
        '{"text": "a"} b',
        "{",
        '{"text": "\\ud800"}',
    ]
)


def read(path: Path) -> tuple[list[tuple[str, str, int | None]], Findings]:
    findings = Findings()
    stream = open_slice(str(path), "a.jsonl", 0, path.stat().st_size)
    file = TextFile(path=str(path), name="a.jsonl")
    found = iter_line_range(file, stream, 1, SEEN, findings, Reading())
    return [row for batch in found for row in zip(*batch, strict=True)], findings


@settings(max_examples=60)
@given(lines=st.lists(GOOD | ODD, min_size=1, max_size=12))
def test_rows_are_those_of_the_whole_file(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("slices") / "a.jsonl"
    first = '{"text": "the first"}'
    path.write_text("\n".join([first, *lines]), encoding="utf-8")
    whole, file = Findings(), TextFile(path=str(path), name="a.jsonl")
    try:
        expected = [tuple(found[:3]) for found in iter_file_documents(file, whole, Reading(text_column="text"))]
    except InputDataError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_ranges, "SAMPLE_ROWS", 1)
        patch.setattr(line_ranges, "TEXTS_AT_ONCE", 2)
        try:
            found, findings = read(path)
        except InputDataError:
            assert expected is None
            return
    assert found == expected
    assert findings.dropped.to_json() == whole.dropped.to_json()


def test_a_long_text_goes_on_in_the_next_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("documents", "line_ranges"):
        monkeypatch.setattr(f"pretune.text.collect.{module}.LONGEST_DOCUMENT", 10)
    monkeypatch.setattr(line_ranges, "SAMPLE_ROWS", 1)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "one two three four"}\n', encoding="utf-8")
    found, findings = read(tmp_path / "a.jsonl")
    assert found == [("a", "a.jsonl", 1), ("one two ", "a.jsonl", 2), ("three four", "a.jsonl", 2)]
    assert findings.num_continued == 1


def test_batches_have_everything_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"line {number}" for number in range(7)), encoding="utf-8")
    file = TextFile(path=str(tmp_path / "a.txt"), name="a.txt")
    found = list(batches(iter_file_documents(file, Findings(), Reading(text_unit="line")), 3))
    assert [len(texts) for texts, _, _ in found] == [3, 3, 1]
    assert [line for _, _, lines in found for line in lines] == list(range(1, 8))
    assert {source for _, sources, _ in found for source in sources} == {"a.txt"}


def test_batches_of_long_texts_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of 500 MB is 500 documents of a million characters: not all of them at once."""
    monkeypatch.setattr(line_ranges, "CHARACTERS_AT_ONCE", 10)
    found = list(batches(iter([Document("x" * size, "a", 1) for size in (3, 9, 12, 1, 1)]), 100))
    assert [[len(text) for text in texts] for texts, _, _ in found] == [[3, 9], [12], [1, 1]]
