"""Columns are found by name or by content, and the choice is reported."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.detect_task import Columns
from pretune.text.labels.task_rows import TaskRows, read_task_rows
from pretune.text.raw import compression
from pretune.text.readers.tables import iter_records
from pretune.text.sources.detect import detect_text_column

ROWS = [("A wonderful film, warm and funny.", "good"), ("Two dull hours.", "bad"), ("I slept well.", "good")] * 3


def read_labeled(
    path: Path, text_column: str | None = None, label_column: str | None = None, **preferred: str
) -> TaskRows:
    """The rows of a file of single classes; `preferred` are columns that count if the file has them."""
    columns = Columns(text=text_column, label=label_column)
    return read_task_rows(path, task="classification", columns=columns, preferred=Columns(**preferred))


def write_csv(path: Path, header: str, rows: list[tuple[str, str]] = ROWS) -> Path:
    path.write_text(header + "\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "label"),
    [("text", "label"), ("content", "Sentiment"), ("Review", "class"), ("sentence", "category"), ("review_text", "y"),
     ("satz", "klasse"), ("tweet", "label_name"), ("utterance", "intent")],
)  # fmt: skip
def test_columns_called_otherwise(tmp_path: Path, text: str, label: str) -> None:
    rows = read_labeled(write_csv(tmp_path / "rows.csv", f"{text},{label}"))
    assert (rows.texts[1], rows.labels[1]) == ROWS[1]
    assert rows.lines == list(range(2, 11))
    assert rows.detected["text_column"] == text
    assert rows.detected["label_column"] == label
    assert f"text in '{text}', label in '{label}'" in rows.detected["sentence"]


def test_a_tsv_with_the_label_first(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_bytes(b"label\tcontent\r\n0\tone long string of cliches .\r\n1\ta gripping movie\r\n")
    rows = read_labeled(path)
    assert rows.texts == ["one long string of cliches .", "a gripping movie"]
    assert rows.labels == ["0", "1"]


def test_jsonl_with_numbers_slices_and_holes(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    rows = [{"text": "a", "label": 1, "slice": "seen"}, {"text": "b", "label": 0}, {"label": 1}, {"text": "d"}]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    found = read_labeled(path)
    assert found.texts == ["a", "b", "", "d"]
    assert found.labels == ["1", "0", "1", None]
    assert found.slices == ["seen", None, None, None]
    assert found.detected["compression"] == "gz"


def test_named_columns_win(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "t", "title": "u", "label": "a", "topic": "b"}) + "\n", encoding="utf-8")
    rows = read_labeled(path, text_column="title", label_column="topic")
    assert (rows.texts, rows.labels) == (["u"], ["b"])
    assert "not read: text, label." in rows.detected["sentence"]


def test_a_named_column_that_is_not_there(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", "text,label")
    with pytest.raises(InputDataError, match=r"no column 'stars', which --label-column names; its columns are text"):
        read_labeled(path, label_column="stars")
    with pytest.raises(InputDataError, match="name two columns"):
        read_labeled(path, text_column="label", label_column="label")


def test_no_label_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {n}", "id": f"row {n}"}) + "\n" for n in range(9)), "utf-8")
    with pytest.raises(InputDataError, match=r"looks like the labels \(its columns are text, id\).*--label-column"):
        read_labeled(path)


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="no rows"):
        read_labeled(write_csv(tmp_path / "rows.csv", "text,label", []))


def test_no_table(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("just text\n", encoding="utf-8")
    with pytest.raises(InputDataError, match="not recognised as a table"):
        read_labeled(tmp_path / "rows.txt")


def test_a_json_list_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps([{"text": f"Text {n} is here.", "label": n % 2} for n in range(9)], indent=1), encoding="utf-8"
    )
    rows = read_labeled(path)
    assert rows.texts[0] == "Text 0 is here."
    assert rows.labels[:3] == ["0", "1", "0"]
    assert rows.lines[:2] == [2, 6]
    assert rows.detected["format"] == "json"


def test_a_guessed_encoding_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if bytes beyond ASCII come late: the file was then said to be UTF-8."""
    monkeypatch.setattr(compression, "BLOCK_BYTES", 1000)
    path = tmp_path / "rows.csv"
    plain = "".join(f"A plain text {n},{n % 2}\n" for n in range(200))
    late = "Das Café in der Straße.,1\n" * 20
    for head in ("", plain):
        path.write_bytes(f"text,label\n{head}{late}".encode("latin-1"))
        rows = read_labeled(path)
        assert rows.detected["encoding"] != "utf-8" and rows.detected["is_guess"]
        assert f"(csv {rows.detected['encoding']}, encoding guessed)" in rows.detected["sentence"]
    path.write_text(f"text,label\n{plain}", encoding="utf-8")
    assert "is_guess" not in read_labeled(path).detected


def test_words_for_missing_values_in_a_format_without_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nA text,None\nAnother,good\nnan,bad\nA last one,NaN\n", encoding="utf-8")
    rows = read_labeled(path)
    assert rows.labels == [None, "good", "bad", None]
    assert rows.texts == ["A text", "Another", "", "A last one"]
    assert "1 cell of the column 'label' contains only 'None', taken as missing" in " ".join(rows.findings.warnings)


def test_one_label_however_it_is_spelled(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "A text", "label": {v}}}\n' for v in ("true", '"True"', "1.0", '"1"', '"007"')))
    assert read_labeled(path).labels == ["true", "true", "1", "1", "007"]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        (
            ["Title", "Review Text", "Rating"],
            ["Nice", "I wore this to a wedding and all liked it.", "5"],
            "Review Text",
        ),
        (
            ["title", "overview", "label"],
            ["Heat", "A thief plans one last robbery in the city.", "a"],
            "overview",
        ),
        (
            ["review_text", "reply", "label"],
            ["Not bad at all", "Thank you for your kind words, see you soon", "a"],
            "review_text",
        ),
        (
            ["text", "html", "label"],
            ["A short text", "A longer cell that says it with many more words", "a"],
            "text",
        ),
    ],
)
def test_every_command_finds_the_same_text_column(
    tmp_path: Path, header: list[str], row: list[str], expected: str
) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *[[*row[:2], str(n % 2)] for n in range(9)]])
    assert read_labeled(path).detected["text_column"] == expected
    assert detect_text_column(list(iter_records(path)), str(path)) == expected


def test_the_column_of_a_model_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("tweet,bio,mood\n" + "I like tea,A person of very many words,good\n" * 9, encoding="utf-8")
    found = read_labeled(path, text="tweet", label="mood")
    assert (found.detected["text_column"], found.detected["label_column"]) == ("tweet", "mood")
    assert read_labeled(path, text="absent").detected["text_column"] == "tweet"


def test_a_column_for_each_label_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = "".join(f"A text of number {n},{n % 2},{n % 3 == 0:d},{n % 5 == 0:d}\n" for n in range(30))
    path.write_text("text,bad,good,garden\n" + rows, encoding="utf-8")
    with pytest.raises(InputDataError, match=r"a 0/1 column for each of several labels \(bad, good, garden\)"):
        read_labeled(path)


def test_fasttext_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("__label__bad A cold soup.\n\n__label__good A warm room.\n", encoding="utf-8")
    rows = read_labeled(path)
    assert (rows.texts, rows.labels, rows.lines) == (["A cold soup.", "A warm room."], ["bad", "good"], [1, 3])
    assert "fastText" in rows.detected["sentence"]
    path.write_text("__label__bad __label__cold A soup.\n__label__good Warm.\n", encoding="utf-8")
    assert read_labeled(path).labels == ['["bad", "cold"]', '["good"]']  # lists, which a file of classes refuses
