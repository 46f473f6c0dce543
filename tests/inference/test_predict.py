"""Rows are written unchanged, with a label and a probability; the output is complete or absent."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, ModelNotFoundError, OutOfResourcesError, UsageError
from pretune.inference import predict as stage
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.inference.predict import looks_like_file, predict, predict_file, read_texts
from pretune.runtime.atomic import commit_file

TEXTS = ["A wonderful film.", "=1+1", 'He said "no", twice', "-", "Großartig! 🙂", "two\nlines"]


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def open_any(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".bz2":
        data = bz2.decompress(data)
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.decode()


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_predict_takes_a_path(run_folder: Path) -> None:
    assert [prediction.text for prediction in predict(run_folder, TEXTS)] == TEXTS
    with pytest.raises(ModelNotFoundError):
        predict(run_folder / "nowhere", TEXTS)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".tsv.zst"])
def test_table_keeps_its_columns_and_cells(classifier: Classifier, tmp_path: Path, ending: str) -> None:
    rows = [[str(index), text, f"+{index}"] for index, text in enumerate(TEXTS)]
    source = write_csv(tmp_path / "in.csv", ["id", "review", "note"], rows)
    result = predict_file(classifier, source, tmp_path / f"out{ending}")
    assert (result.rows, result.text_column, result.skipped) == (len(TEXTS), "review", [])
    written = open_any(tmp_path / f"out{ending}")
    found = list(csv.reader(written.splitlines(keepends=True), delimiter="\t" if "tsv" in ending else ","))
    assert found[0] == ["id", "review", "note", "label", "probability"]
    assert [row[:3] for row in found[1:]] == rows
    for row, prediction in zip(found[1:], classifier.predict(TEXTS), strict=True):
        assert row[3] == prediction.label
        assert float(row[4]) == pytest.approx(prediction.probability, abs=1e-5)


def test_a_cell_keeps_its_line_breaks(classifier: Classifier, tmp_path: Path) -> None:
    """CRLF became a line feed, so the cell was another, and places of characters were wrong."""
    (tmp_path / "in.csv").write_bytes(b'id,review\r\n1,"two\r\nlines\n here"\r\n2,one\r\n')
    predict_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row[:2] for row in csv.reader(file)][1:] == [["1", "two\r\nlines\n here"], ["2", "one"]]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst"])
def test_jsonl_keeps_its_values(classifier: Classifier, tmp_path: Path, ending: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": index, "text": text, "tags": ["a", {"b": None}], "ok": True, "none": None}
        for index, text in enumerate([*TEXTS, "half \ud83d pair"])
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out{ending}")
    found = [json.loads(line) for line in open_any(tmp_path / f"out{ending}").splitlines()]
    assert [{key: row[key] for key in rows[0]} for row in found] == rows
    assert all(set(row) == {*rows[0], "label", "probability"} for row in found)


def test_cells_of_parquet_are_written_as_they_are(classifier: Classifier, tmp_path: Path) -> None:
    """Dates were in quotes in a csv, and NaN in JSON, which has no such sign."""
    day, moment, nan = date(2026, 3, 1), datetime(2026, 3, 1, 12, 30), float("nan")
    cells = {
        "day": [day, None],
        "moment": [moment, moment],
        "number": [nan, 0.5],
        "limit": [float("inf"), 2.0],
        "list": [[0.5, nan], []],
        "ok": [True, False],
    }
    columns = {"text": ["A film.", "A hotel."], **cells}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    for ending in ("csv", "jsonl"):
        predict_file(classifier, tmp_path / "in.parquet", tmp_path / f"out.{ending}")
    with (tmp_path / "out.csv").open(newline="") as file:
        written = list(csv.reader(file))[1:]
    assert written[0][1:7] == ["2026-03-01", "2026-03-01 12:30:00", "", "inf", "[0.5, null]", "true"]
    assert written[1][1:7] == ["", "2026-03-01 12:30:00", "0.5", "2.0", "[]", "false"]
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [rows[0][name] for name in cells] == [str(day), str(moment), None, None, [0.5, None], True]


@pytest.mark.parametrize("number", [float("nan"), 0.5])
def test_a_cell_that_nests_too_deeply_is_written_as_null(number: float) -> None:
    """Python reads some that it cannot write, which ended the prediction as a bug."""
    deep: list[Any] = [number]
    for _ in range(20_000):
        deep = [deep]
    assert json.loads(stage._row_to_json({"text": "A film.", "deep": deep, "ok": [True]})) == {
        "text": "A film.",
        "deep": None,
        "ok": [True],
    }
    assert stage._to_cell(deep) == ""


def test_rows_that_nest_too_deeply_are_predicted(classifier: Classifier, tmp_path: Path) -> None:
    rows = [f'{{"text": "A film.", "deep": {"[" * depth}NaN{"]" * depth}}}' for depth in (1, 600)]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    for ending in ("jsonl", "csv"):
        result = predict_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out.{ending}")
        assert (result.rows, result.skipped) == (2, [])
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found[0]["deep"] == [None] and all(row["label"] for row in found)


def test_lines_of_text_stay_lines(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("A film.\n\nA hotel\twith rooms.\n")
    predict_file(classifier, tmp_path / "in.txt", tmp_path / "out.txt")
    lines = [line.split("\t") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["A film.", "", "A hotel with rooms."]
    assert all(line[1] in classifier.label_names and 0 < float(line[2]) <= 1 for line in (lines[0], lines[2]))
    assert lines[1] == ["", "", ""]
    predict_file(classifier, tmp_path / "in.txt", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("text,label,probability\nA film.,")


def test_columns_of_the_user_are_never_replaced(classifier: Classifier, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text", "label"], [["A film.", "gold"]])
    result = predict_file(classifier, source, tmp_path / "out.csv")
    assert result.added_columns == ("predicted_label", "probability")
    assert (tmp_path / "out.csv").read_text().startswith("text,label,predicted_label,probability\nA film.,gold,")
    source = write_csv(tmp_path / "in.csv", ["text", "label", "predicted_label"], [["A film.", "gold", "x"]])
    with pytest.raises(InputDataError, match="'predicted_label' is needed"):
        predict_file(classifier, source, tmp_path / "more.csv")


def test_many_rows_are_streamed_and_reported(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ROWS_AT_A_TIME", 4)
    (tmp_path / "in.txt").write_text("".join(f"film {index}\n" for index in range(10)))
    seen: list[int] = []
    predict_file(classifier, tmp_path / "in.txt", tmp_path / "out.jsonl", on_progress=seen.append)
    assert seen == [4, 8, 10]
    found = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [f"film {index}" for index in range(10)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.jsonl"]


def test_long_rows_are_read_a_few_at_a_time(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,048 rows were read at a time, whatever their length: of a file of books, more than fits into memory."""
    monkeypatch.setattr(stage, "CHARACTERS_AT_A_TIME", 20)
    texts = ["film", "a film of many words", "a hotel", "a very cold soup", "film"]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    seen: list[int] = []
    predict_file(classifier, tmp_path / "in.txt", tmp_path / "out.jsonl", on_progress=seen.append)
    assert seen == [2, 4, 5]
    found = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert found == texts


def test_an_output_that_another_process_wrote_meanwhile_is_kept(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two commands with one --output, the second waited for the first and then replaced its file."""
    source, output = write_csv(tmp_path / "in.csv", ["text"], [["A film."]]), tmp_path / "out.csv"

    def commit(target: Path, write: Callable[[BinaryIO], object]) -> None:
        output.write_text("theirs", encoding="utf-8")
        commit_file(target, write)

    monkeypatch.setattr("pretune.inference.predict.commit_file", commit)
    with pytest.raises(UsageError, match="already exists and is not overwritten"):
        predict_file(classifier, source, output)
    assert output.read_text(encoding="utf-8") == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_bad_arguments_are_refused(classifier: Classifier, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [["A film."]])
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UsageError, match="already exists and is not overwritten"):
        predict_file(classifier, source, tmp_path / "there.csv")
    with pytest.raises(UsageError, match="no ending of a known format"):
        predict_file(classifier, source, tmp_path / "out.xlsx")
    with pytest.raises(InputDataError, match=r"no column 'review'; its columns are text"):
        predict_file(classifier, source, tmp_path / "out.csv", text_column="review")
    with pytest.raises(InputDataError, match=r"--text-pair-column names 'text', but the model in .* reads one text a"):
        predict_file(classifier, source, tmp_path / "out.csv", text_pair_column="text")
    with pytest.raises(InputDataError, match="does not exist"):
        predict_file(classifier, tmp_path / "nothing.txt", tmp_path / "out.csv")
    write_csv(tmp_path / "empty.csv", ["text"], [])
    with pytest.raises(InputDataError, match="has no rows"):
        predict_file(classifier, tmp_path / "empty.csv", tmp_path / "out.csv")
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n' * 200 + '{"text": "b", "more": 1}\n')
    with pytest.raises(InputDataError, match="key 'more' that its first rows lack"):
        predict_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert not (tmp_path / "out.csv").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl.zst"])
def test_full_disk_leaves_nothing(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "in.txt").write_text("A film.\n")
    monkeypatch.setattr(stage._RowWriter, "write", fail)
    with pytest.raises(OutOfResourcesError, match="The disk is full"):
        predict_file(classifier, tmp_path / "in.txt", tmp_path / f"out{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_rows_that_do_not_parse_are_counted(classifier: Classifier, tmp_path: Path) -> None:
    rows = ['{"text": "film"}'] * 150 + ["{broken"]
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n")
    result = predict_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert result.rows == 151  # it stays in its place, without a label
    assert [(rule["rule"], rule["count"]) for rule in result.skipped] == [("unparsable_row", 1)]
    assert "line 151" in result.skipped[0]["examples"][0]


def test_how_a_file_was_read_is_said(
    classifier: Classifier, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every warning of reading was thrown away."""
    lines = [f'{n % 2},"A film of number {n}."' for n in range(100)]
    lines[3], lines[4] = '1,"A film', '0,A hotel"'
    file = tmp_path / "in.csv"
    file.write_bytes(("id,text\n" + "\n".join(lines) + '\n5,"d\u00e9j\u00e0"\n').encode() + b'6,"caf\xe9"\n')
    done = predict_file(classifier, file, tmp_path / "out.csv")
    assert [sentence.split("; ")[0] for sentence in done.warnings] == [
        f"{file}: 1 byte is invalid in its encoding",
        f"{file}, line 5: a stray quote seems to join a row with the next",
    ]
    words = ["predict", str(run_folder), "--input", str(file), "--output", str(tmp_path / "more.csv")]
    assert run_command_line(words) == 0
    assert all(sentence in capsys.readouterr().err for sentence in done.warnings[:1])


def test_a_guessed_encoding_is_said(classifier: Classifier, tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    text = "Der Film war sch\u00f6n, die Musik gro\u00dfartig, und am Ende h\u00e4tte ich gern mehr gesehen.\n"
    file.write_bytes((text * 20).encode("cp1252"))
    done = predict_file(classifier, file, tmp_path / "out.csv")
    assert len(done.warnings) == 1
    assert done.warnings[0].startswith(f"{file} is probably ")
    assert done.warnings[0].endswith("if its texts look wrong, convert it to UTF-8.")


def test_read_texts(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", ["id", "text"], [["1", "one"], ["2", "two"]])
    assert read_texts(tmp_path / "in.csv") == ["one", "two"]


def test_texts_inside_of_objects_are_read(tmp_path: Path) -> None:
    rows = [{"id": n, "doc": {"body": f"Text {n} is here."}} for n in range(3)]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    assert read_texts(tmp_path / "a.json") == ["Text 0 is here.", "Text 1 is here.", "Text 2 is here."]
    assert read_texts(tmp_path / "a.json", "doc.body") == read_texts(tmp_path / "a.json")


def test_rows_without_a_text_and_rows_that_do_not_parse_stay_in_place(classifier: Classifier, tmp_path: Path) -> None:
    rows = [f'{{"id": {n}, "text": "A film of number {n}."}}' for n in range(400)]
    rows[3], rows[5], rows[7], rows[9] = (
        '{"id": 3, "text": null}',
        '{"id": 5, "text": NaN}',
        '{"id": 7}',
        '{"id": 9, "te',
    )
    rows[399] = "no json"
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = predict_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (done.rows, done.without_text, sum(entry["count"] for entry in done.skipped)) == (400, 3, 2)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [n for n, row in enumerate(found) if row["label"] is None] == [3, 5, 7, 9, 399]
    assert all(row.get("id", n) == n for n, row in enumerate(found))
    assert read_texts(tmp_path / "in.jsonl")[8:11] == ["A film of number 8.", "", "A film of number 10."]


@pytest.mark.parametrize("separator", [", ", ",\n"])
def test_items_of_a_list_that_are_no_rows_stay_in_place(classifier: Classifier, tmp_path: Path, separator: str) -> None:
    items = [f'{{"id": {n}, "text": "A film."}}' for n in range(300)]
    items[4] = items[299] = "17"
    (tmp_path / "in.json").write_text(f"[{separator.join(items)}]")
    predict_file(classifier, tmp_path / "in.json", tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row.get("id") for row in found] == [None if n in (4, 299) else n for n in range(300)]


def test_blank_cells_of_a_table_get_no_label(classifier: Classifier, tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", ["Label", "text"], [["x", "A film."], ["y", " "], ["z", "A hotel."]])
    done = predict_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (done.added_columns[0], done.without_text) == (
        "predicted_label",
        1,
    )  # a second `label` beside `Label` is none
    found = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["predicted_label"] == "" for row in found] == [False, True, False]
    assert [row["probability"] == "" for row in found] == [False, True, False]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".txt", ".jsonl"])
def test_half_a_surrogate_pair_is_read_as_a_sign_of_its_own(
    classifier: Classifier, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "half \\ud83d pair", "no\\ud83dte": "\\udc00"}\n')
    predict_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out{ending}")
    written = open_any(tmp_path / f"out{ending}")
    assert "half" in written
    if ending in (".csv", ".tsv", ".csv.gz"):
        assert "no\ufffdte" in written.splitlines()[0]


def test_a_text_by_itself_is_not_taken_for_a_list_of_letters(classifier: Classifier) -> None:
    with pytest.raises(InputDataError, match=r"is a single text; expected a list: put it in \[ \]"):
        predict(classifier, "A film.")


def test_missing_texts_of_a_list_are_missing_however_they_are_written(classifier: Classifier) -> None:
    found = predict(classifier, ["A film.", None, float("nan"), " "])
    assert [prediction.is_empty for prediction in found] == [False, True, True, True]


def test_the_column_of_the_training_file_comes_first(classifier: Classifier, tmp_path: Path) -> None:
    columns = {"text_column": "tweet_text", "label_column": "label"}
    trained = replace(classifier, labelling=replace(classifier.labelling, columns=columns))
    rows = [["I like tea", "A person of many words who writes at length about tea."]] * 3
    write_csv(tmp_path / "new.csv", ["tweet_text", "user_bio"], rows)
    assert predict_file(trained, tmp_path / "new.csv", tmp_path / "out.csv").text_column == "tweet_text"
    given = predict_file(trained, tmp_path / "new.csv", tmp_path / "other.csv", text_column="user_bio")
    assert given.text_column == "user_bio"


@pytest.mark.parametrize("name", ["new.csv", "new.tsv"])
@pytest.mark.parametrize("header", [["Review Text"], ["Review Text", "Customer Name"]])
def test_the_column_of_the_training_file_makes_a_header(
    classifier: Classifier, tmp_path: Path, name: str, header: list[str]
) -> None:
    """A name with a blank was taken for data, and the advice that followed made the header a text."""
    columns = {"text_column": "Review Text", "label_column": "Rating"}
    trained = replace(classifier, labelling=replace(classifier.labelling, columns=columns))
    rows = [["A wonderful film.", "Ada"][: len(header)], ["A cold soup.", "Bo"][: len(header)]]
    lines = [("\t" if name.endswith("tsv") else ",").join(row) for row in (header, *rows)]
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = predict_file(trained, tmp_path / name, tmp_path / "out.csv")
    assert (done.rows, done.text_column) == (2, "Review Text")
    assert read_texts(tmp_path / name, None, "Review Text") == ["A wonderful film.", "A cold soup."]
    with pytest.raises(InputDataError, match=r"if these are column names, name the one of the texts with --text-col"):
        read_texts(tmp_path / name)
    assert read_texts(tmp_path / name, "Review Text") == ["A wonderful film.", "A cold soup."]


def test_a_file_without_a_header_is_said_to_have_none(classifier: Classifier, tmp_path: Path) -> None:
    """With a model that was trained on column 1 of such a file, a header got a label without a word."""
    columns = {"text_column": "1", "label_column": "2"}
    trained = replace(classifier, labelling=replace(classifier.labelling, columns=columns))
    (tmp_path / "new.csv").write_text("Review Text\nA wonderful film.\nA cold soup.\n", encoding="utf-8")
    done = predict_file(trained, tmp_path / "new.csv", tmp_path / "out.csv")
    assert done.rows == 3
    [notice] = done.warnings
    assert "is read without a header" in notice and "line 1 is a text ('Review Text')" in notice
    named = predict_file(trained, tmp_path / "new.csv", tmp_path / "named.csv", text_column="Review Text")
    assert (named.rows, named.warnings) == (2, [])


def test_the_name_of_a_file_of_rows_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\nx\n")
    assert looks_like_file(str(tmp_path / "rows.csv"))
    assert not looks_like_file("A text about rows.csv")
    assert not looks_like_file("long " * 2000)


def test_labels_of_fasttext_are_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("__label__bad A cold soup.\nA room.\n", encoding="utf-8")
    assert read_texts(tmp_path / "rows.txt") == ["A cold soup.", "A room."]
    (tmp_path / "rows.txt").write_text("__label__bad\n__label__a __label__b\nA room.\n", encoding="utf-8")
    assert read_texts(tmp_path / "rows.txt") == ["", "", "A room."]
    (tmp_path / "table.txt").write_text("text\tlabel\nA film\tgood\nA hotel\tbad\n", encoding="utf-8")
    assert read_texts(tmp_path / "table.txt") == ["A film", "A hotel"]


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.txt.gz"])
@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_rows_in_json_are_read_as_rows_whatever_the_file_is_called(tmp_path: Path, name: str, form: str) -> None:
    """Each line was labelled as a text, with its braces and keys; the other commands read the texts in it."""
    rows = [json.dumps({"id": n, "text": f"A film of number {n}."}) for n in range(3)]
    written = "\n".join(rows) if form == "jsonl" else f"[{', '.join(rows)}]"
    data = written.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_texts(tmp_path / name) == [f"A film of number {n}." for n in range(3)]


def test_the_columns_of_a_table_are_no_texts(classifier: Classifier) -> None:
    texts = ["A film.", "A hotel."]
    expected = predict(classifier, texts)
    assert predict(classifier, {"review": texts}) == expected
    columns = {"text_column": "review", "label_column": "stars"}
    trained = replace(classifier, labelling=replace(classifier.labelling, columns=columns))
    assert predict(trained, {"id": [1, 2], "review": texts}) == expected
    assert predict(trained, [{"id": number, "review": text} for number, text in enumerate(texts)]) == expected
    with pytest.raises(InputDataError, match=r"a table with the columns id, note; expected a list of texts, or one of"):
        predict(trained, {"id": [1, 2], "note": texts})


@pytest.mark.parametrize("item", [7, Path("rows.csv"), ("a", "b", "c"), ("a film", 1)])
def test_what_is_neither_a_text_nor_a_pair_is_refused(classifier: Classifier, item: object) -> None:
    with pytest.raises(InputDataError, match=r"^Text 2 is .*; expected a string"):
        predict(classifier, ["A film.", item])


def test_a_path_is_no_list_of_texts(classifier: Classifier) -> None:
    with pytest.raises(InputDataError, match=r"'rows.csv' is a path; .* for a file, call predict_file"):
        predict(classifier, Path("rows.csv"))
    with pytest.raises(InputDataError, match="The data is 7; expected a list of texts"):
        predict(classifier, 7)
