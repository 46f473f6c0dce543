from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.readers.records import Record, cell_text
from pretune.text.sources.detect import cell_of, detect_text_column, detect_text_unit, sniff_document, sniff_format

WRAPPED = "\n".join(
    ["a hard-wrapped text goes on and on over lines that", "are all nearly as long as the others, and begin in"] * 6
)


def records(*rows: dict[str, str]) -> list[Record]:
    return [Record(row, number) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"id": "a b c d e f", "text": "two words", "label": "1"}, "text"),
        ({"title": "A title here", "body": "Some words of text"}, "body"),
        ({"Rezension": "Ein schöner Film", "Wertung": "5"}, "Rezension"),
        ({"标题": "央行宣布下调存款准备金率", "类别": "财经"}, "标题"),
        ({"見出し": "新しい駅が来月開業する", "分類": "社会"}, "見出し"),
        ({"ข้อความ": "ครูซ่อมถ้วยชาในสวน", "ป้าย": "ดี"}, "ข้อความ"),
        ({"शीर्षक": "मौसम", "लेख": "दिल्ली में आज तेज़ बारिश हुई"}, "लेख"),
        ({"text": "17", "remark": "three short words"}, "remark"),  # a text column contains words
    ],
)
def test_the_text_column_is_found(row: dict[str, str], column: str) -> None:
    assert detect_text_column(records(row), "a.csv") == column


def test_a_usual_name_is_enough_where_no_other_column_holds_text() -> None:
    rows = [{"n": "1", "text": "\U0001f600"}, {"n": "2", "text": "?"}, {"n": "3", "text": "Yes."}]
    assert detect_text_column(records(*rows), "a.csv") == "text"


def test_a_usual_name_does_not_tell_where_most_cells_are_empty() -> None:
    rows = [
        {"comment": "Only here is a long comment on it." if n == 3 else "", "original": f"Words {n}."} for n in range(9)
    ]
    assert detect_text_column(records(*rows), "a.csv") == "original"
    assert detect_text_column(records(*({"text": row["comment"], "n": "1"} for row in rows)), "a.csv") == "text"


def test_a_given_column_must_exist() -> None:
    assert detect_text_column(records({"a": "x", "b": "y"}), "a.csv", "b") == "b"
    with pytest.raises(InputDataError, match=r"a\.csv has no column 'c'; its columns are a, b"):
        detect_text_column(records({"a": "x", "b": "y"}), "a.csv", "c")


def test_a_table_of_numbers_has_no_text() -> None:
    with pytest.raises(InputDataError, match="no column with text among a, b; name it"):
        detect_text_column(records({"a": "1", "b": "2.5"}), "a.csv")


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        ("One review.\n\nAnother review.\n\nA third.\n", "line"),
        ("A review in a line.\n" * 50 + "\n" + "One more.\n" * 50, "line"),
        ("a first line\nits second line\n\nanother one\nwith two lines\n", "paragraph"),
        ("this is line number 1\nthis is line number 2\n" * 10, "line"),
        (WRAPPED, "file"),
        ((WRAPPED + "\nand here it ends.\n") * 9 + "\n" + WRAPPED, "paragraph"),
    ],
)
def test_what_a_document_is(head: str, unit: str) -> None:
    assert detect_text_unit(head, is_whole_file=True) == unit


def test_a_short_file_among_many_is_one_document() -> None:
    assert detect_text_unit("One.\nTwo.\n", is_whole_file=True, files_in_folder=100) == "file"
    assert detect_text_unit("One.\nTwo.\n", is_whole_file=True, files_in_folder=3) == "line"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("<!DOCTYPE html><p>", "html"),
        (" <html lang=de>", "html"),
        ('{"text": "x"}\n', "jsonl"),
        ("{curly}", None),
        ("x", None),
    ],
)
def test_formats_that_the_content_tells(head: str, kind: str | None) -> None:
    assert sniff_format(head) == kind


@pytest.mark.parametrize(
    ("head", "by_name", "kind"),
    [
        (b"%PDF-1.7\n1 0 obj", None, "pdf"),
        (b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.7\n1 0 obj", "pdf", "pdf"),
        (b"\r\n%PDF-1.7\n" + bytes(range(256)) * 9, "txt", "pdf"),
        (b"A PDF file begins with %PDF- and the number of the version.\n" * 9, "txt", None),
        (b"PAR1\x15\x04", "csv", "parquet"),
        (b"PK\x03\x04 and so on", "docx", "docx"),
        (b"A text.", "docx", None),
    ],
)
def test_documents_are_told_by_their_first_bytes(head: bytes, by_name: Any, kind: str | None) -> None:
    """A text that mentions `%PDF-` in its first kilobyte was taken for a PDF."""
    assert sniff_document(head, by_name) == kind


def objects(*rows: dict[str, Any]) -> list[Record]:
    return [Record({k: cell_text(v) for k, v in row.items()}, number, row) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"id": 1, "doc": {"body": "Some words.", "n": 2}}, "doc.body"),
        ({"id": 1, "doc": {"meta": {"de": "Einige Wörter hier."}, "n": 2}}, "doc.meta.de"),
        ({"remark": "Other words.", "doc": {"text": "Some words."}}, "remark"),
        ({"doc.text": "Some words.", "doc": {"text": "Others."}}, "doc.text"),
    ],
)
def test_the_text_may_be_in_an_object(row: dict[str, Any], column: str) -> None:
    assert detect_text_column(objects(row), "a.jsonl") == column
    assert "ords." in cell_of(objects(row)[0], column)[0] or "Wörter" in cell_of(objects(row)[0], column)[0]


def test_a_column_of_an_object_can_be_given() -> None:
    sample = objects({"a": "x y z", "b": {"c": "Some words.", "d": 5}})
    assert detect_text_column(sample, "a.jsonl", "b.c") == "b.c"
    assert cell_of(sample[0], "b.d") == ("5", 5)
    assert cell_of(sample[0], "b.c.e") == cell_of(sample[0], "no") == ("", None)
    with pytest.raises(InputDataError, match=r"no column 'b\.x'; its columns are a, b, b\.c, b\.d\."):
        detect_text_column(sample, "a.jsonl", "b.x")
