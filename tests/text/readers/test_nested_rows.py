"""A table inside one JSON object is read as rows; a row is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretune.text.readers.nested_rows import rows_within
from pretune.text.readers.tables import iter_records
from pretune.text.reading_report import Findings

ROWS = [{"text": f"A text {n}", "label": "ab"[n % 2]} for n in range(4)]
SHAPES: dict[str, dict[str, Any]] = {
    "a list under one key": {"version": "1", "data": ROWS},
    "split": {"columns": ["text", "label"], "index": [0, 1, 2, 3], "data": [list(row.values()) for row in ROWS]},
    "columns": {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]},
    "index": {str(n): row for n, row in enumerate(ROWS)},
    "lists": {name: [row[name] for row in ROWS] for name in ROWS[0]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_table_in_one_object_is_read_as_rows(tmp_path: Path, shape: str) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(SHAPES[shape]), encoding="utf-8")
    assert [record.fields for record in iter_records(tmp_path / "rows.json")] == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"text": "A text", "label": "a"},
        {"text": "A text", "tags": ["a", "b"]},
        {"text": "A text", "meta": {"a": 1}},
        {"tokens": ["a", "b"], "more": ["c"]},
        {"data": []},
        {"title": "A post", "text": "A long post", "comments": [{"text": "One"}, {"text": "Two"}]},
        {"title": "A post", "selftext": "This is a post of more than a few words", "comments": [{"a": 1}, {"a": 2}]},
        {"question": "Why?", "answers": [{"text": "One"}, {"text": "Two"}]},
        {"text": "A post", "data": [{"text": "One"}, {"text": "Two"}]},
    ],
)
def test_a_row_is_a_row(row: dict[str, Any]) -> None:
    assert rows_within(row) is None


@pytest.mark.parametrize(
    "about",
    [
        {"version": "1"},
        {"title": "Some reviews", "license": "Creative Commons Attribution 4.0, as the page of the data says"},
        {"message": "Two rows were found"},
        {"text": "   "},
    ],
)
def test_what_describes_a_table_does_not_make_it_a_row(about: dict[str, str]) -> None:
    assert rows_within({**about, "data": ROWS}) == ROWS


@pytest.mark.parametrize(
    ("about", "num_rows"),
    [
        ({"source": "Collected from three hotel portals between March and May"}, 1000),
        ({"comment": "Exported on 3 May"}, 1000),
        ({"comment": "Exported on 3 May"}, 2),
    ],
)
def test_many_rows_or_words_are_a_table_whatever_describes_it(
    tmp_path: Path, about: dict[str, str], num_rows: int
) -> None:
    """The sentence about the table was its only row, and the rows were lost without a word."""
    rows = [{"text": f"Review {n} " + "of a nice hotel by the sea " * 8, "stars": "5"} for n in range(num_rows)]
    (tmp_path / "export.json").write_text(json.dumps({**about, "reviews": rows}), encoding="utf-8")
    findings = Findings()
    assert [record.fields for record in iter_records(tmp_path / "export.json", findings=findings)] == rows
    [key] = about
    assert findings.all_notices() == [
        f"{tmp_path / 'export.json'}: the {num_rows:,} rows under 'reviews' are read; '{key}' beside them is not."
    ]


def test_texts_without_blanks_have_words_too() -> None:
    """A Chinese text was one word, so the list beside it was read in its place."""
    text = "央行宣布下调存款准备金率以支持经济，今天的市场反应平静。"
    assert rows_within({"正文": text, "列表": [{"标签": "财经"}]}) is None
    rows = [{"正文": text, "标签": "财经"}] * 9
    assert rows_within({"说明": text, "列表": rows}) is None
    assert rows_within({"说明": text, "列表": rows * 2}) == rows * 2


def test_many_lists_of_words_are_a_table() -> None:
    about, words = "Collected from three hotel portals between March and May", "of a nice hotel by the blue sea"
    rows = [{"tokens": words.split(), "tags": ["O"] * 8}] * 10
    assert rows_within({"source": about, "sentences": rows}) == rows
    assert rows_within({"source": about, "sentences": rows[:2]}) is None


def test_rows_that_are_not_read_are_said(tmp_path: Path) -> None:
    post = {"title": "A post", "text": "A long post", "comments": [{"text": "One"}, {"text": "Two"}]}
    (tmp_path / "post.json").write_text(json.dumps(post), encoding="utf-8")
    findings = Findings()
    assert len(list(iter_records(tmp_path / "post.json", findings=findings))) == 1
    assert findings.all_notices() == [
        f"{tmp_path / 'post.json'}: the file is one row with 2 rows under 'comments', which are not read as rows."
    ]


def test_several_texts_that_are_not_read_are_said(tmp_path: Path) -> None:
    about = {"source": "Collected from three hotel portals between March and May", "comment": "Exported"}
    (tmp_path / "rows.json").write_text(json.dumps({**about, "reviews": ROWS * 3}), encoding="utf-8")
    findings = Findings()
    assert len(list(iter_records(tmp_path / "rows.json", findings=findings))) == 12
    [notice] = findings.all_notices()
    assert notice.endswith("the 12 rows under 'reviews' are read; 'source', 'comment' beside them are not.")


def test_many_files_that_are_half_read_are_one_notice(tmp_path: Path) -> None:
    """A folder of 20,000 posts wrote as many notices."""
    post = {"title": "A post", "text": "A long post", "comments": [{"text": "One"}, {"text": "Two"}]}
    findings = Findings()
    for number in range(1, 5):
        (tmp_path / f"{number}.json").write_text(json.dumps(post), encoding="utf-8")
        found = Findings()
        list(iter_records(tmp_path / f"{number}.json", findings=found))
        findings.add_all(found.to_json())
        if number == 2:
            assert findings.all_notices()[0].endswith("are not read as rows. The same applies to 1 more file.")
    [notice] = findings.all_notices()
    assert notice.startswith(f"{tmp_path / '1.json'}: the file is one row with 2 rows under 'comments'")
    assert notice.endswith(" The same applies to 3 more files.")


@pytest.mark.parametrize(
    ("column", "is_said"), [("body", False), ("reply", False), ("text", True), ("no such column", True)]
)
def test_nothing_is_said_if_a_named_column_decides(tmp_path: Path, column: str, is_said: bool) -> None:
    comments = [{"reply": f"A reply {n} with a few words", "text": "One"} for n in range(20)]
    post = {"body": "A long post with many words, beside its many comments", "text": "A post", "comments": comments}
    if column not in ("body", "text"):
        del post["text"]
    (tmp_path / "post.json").write_text(json.dumps(post), encoding="utf-8")
    findings = Findings()
    num_rows = len(list(iter_records(tmp_path / "post.json", findings=findings, columns=[column])))
    assert num_rows == (1 if column in post else 20)
    assert bool(findings.all_notices()) is is_said


def test_a_wanted_column_beside_the_list_makes_a_row() -> None:
    post = {"note": "A short one", "comments": [{"text": "One"}, {"text": "Two"}]}
    assert rows_within(post) == post["comments"]
    assert rows_within(post, ["text"]) == post["comments"]
    assert rows_within(post, ["note"]) is None


def test_rows_with_lists_of_one_length_stay_rows_if_there_are_several(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "tags": ["X", "Y"]}
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 2, encoding="utf-8")
    assert [record.values for record in iter_records(tmp_path / "rows.jsonl")] == [row, row]
