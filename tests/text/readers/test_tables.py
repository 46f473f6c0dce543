import csv
import io
import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.raw import text_stream
from pretune.text.readers import json_rows
from pretune.text.readers.delimited import sniff_tab_table
from pretune.text.readers.records import Record
from pretune.text.readers.tables import ending_of, iter_records, table_format_of
from pretune.text.reading_report import Findings

cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(path: Path, findings: Findings | None = None) -> list[Record]:
    return list(iter_records(path, findings=findings))


def rows_of(path: Path) -> list[tuple[dict[str, str], int]]:
    return [(record.fields, record.line) for record in iter_records(path)]


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], quoting: int
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting).writerows([("text", "label"), *rows])  # type: ignore[arg-type]
    found = read(write(tmp_path_factory.mktemp("t"), "a.csv", out.getvalue()))
    assert [tuple(record.fields.values()) for record in found] == rows


@settings(max_examples=60)
@given(rows=st.lists(st.dictionaries(st.sampled_from(["text", "label", "n"]), st.text(max_size=9)), max_size=8))
def test_jsonl_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in [{"text": "x"}, *rows])
    found = read(write(tmp_path_factory.mktemp("t"), "a.jsonl", text))
    repaired = [
        {k: v.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for k, v in row.items()} for row in rows
    ]
    assert len(found) == len(rows) + 1
    if all("\ufffd" not in v for row in repaired for v in row.values()):
        assert [record.fields for record in found[1:]] == rows


def test_lines_are_counted_from_one_also_over_cells_with_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\r\n"one\r\ntwo",1\r\n\r\nthree,2\r\n')
    assert rows_of(path) == [({"text": "one\ntwo", "label": "1"}, 2), ({"text": "three", "label": "2"}, 5)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_quoted_empty_cell_is_a_row_of_a_single_column(tmp_path: Path, name: str) -> None:
    """pandas writes a missing text as "" there; the row was skipped as a blank line, which shifted all predictions."""
    path = write(tmp_path, name, 'text\n"one, two"\n""\n\nthree\n""\n')
    assert [(record.fields["text"], record.line) for record in read(path)] == [
        ("one, two", 2),
        ("", 3),
        ("three", 5),
        ("", 6),
    ]
    several = write(tmp_path, f"two-{name}", 'text,label\nx,1\n""\n\n'.replace(",", "," if "csv" in name else "\t"))
    assert [record.line for record in read(several)] == [2]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path, "a.csv", f"text{delimiter}label\nA good, long; text{' ' if delimiter in ',;' else ''}\n")
    rows = "".join(f'"A fine, old; house"{delimiter}{i}\n' for i in range(5))
    path = write(tmp_path, "a.csv", f"text{delimiter}label\n{rows}")
    assert read(path)[3].fields == {"text": "A fine, old; house", "label": "3"}


def test_in_tsv_a_stray_quote_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"open only\t1\nsay "hi"\t2\n')
    assert [record.fields["text"] for record in read(path)] == ['"open only', 'say "hi"']


def test_tsv_with_quoted_cells(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"a ""b"""\t1\n"c"\t2\n')
    assert [record.fields["text"] for record in read(path)] == ['a "b"', "c"]


@pytest.mark.parametrize(
    "first",
    ["I love this film,1", "good,pos", "Great acting.,positive", "1,2"],
)
def test_a_csv_without_a_header_is_refused(tmp_path: Path, first: str) -> None:
    path = write(tmp_path, "a.csv", f"{first}\nso so,pos\nbad one,neg\n")
    with pytest.raises(InputDataError, match=r"a\.csv, line 1 looks like data, not like column names"):
        read(path)


@pytest.mark.parametrize("header", ["Rezension,Wertung", "content,stars", "comment_text,is_toxic", "utterance,y"])
def test_other_headers_are_recognised(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, "a.csv", f"{header}\nEin guter Film,5\nSchlecht,1\n")
    assert list(read(path)[0].fields) == header.split(",")


def test_an_expected_column_makes_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "what they said,how it was\nfine words,good\n")
    assert len(list(iter_records(path, columns=["What they said"]))) == 1


def test_few_malformed_rows_are_counted_and_named(tmp_path: Path) -> None:
    good = "".join(f"a text,{i}\n" for i in range(200))
    findings = Findings()
    assert len(read(write(tmp_path, "a.csv", f"text,label\n{good}one,too,many\n"), findings)) == 200
    rule = findings.dropped.rules["ragged_row"]
    assert (rule.count, rule.examples[0].endswith("a.csv, line 202: one | too | many")) == (1, True)
    findings = Findings()
    lines = "".join(json.dumps({"text": "x"}) + "\n" for _ in range(200))
    assert len(read(write(tmp_path, "a.jsonl", lines + '{"text": "torn'), findings)) == 200
    assert "a.jsonl, line 201" in findings.dropped.rules["unparsable_row"].examples[0]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "text,label\nok,1\nbad, one,0\n", r"line 3: 3 cells, expected 2 \(text, label\); 1 of 2 rows"),
        ("a.csv", 'text,label\nx,1\n"open,1\n' + "foo, bar,2\n" * 9, r"line 3: "),
        ("a.csv", "text,text\na b,c\n", "the column 'text' occurs twice"),
        ("a.csv", "", "is empty"),
        ("a.jsonl", '{"text": "ok"}\nnot json\n', r"line 2: expected one JSON object per line, found 'not json'"),
        ("a.jsonl", "nothing here\n", r"line 1: .*all rows do not parse"),
        ("a.jsonl", '{"text": "ok"}\n[1]\n', r"line 2: expected a JSON object, found '\[1\]'"),
        (
            "a.json",
            '{\n"text": "ok"\n}\n',
            "contains a JSON object over several lines; expected one object per line, or a list",
        ),
        ("a.json", '[\n{"text": "ok"},\n{"text": \n', "line 4: it is not valid JSON"),
        ("a.json", "[1, 2]", "line 1: expected a JSON object, found '\\[1, 2\\]'; all rows do not parse"),
        ("a.xyz", "some words\n", "is not recognised as a table"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_line(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    with pytest.raises(InputDataError, match=rf"{name.split('.')[0]}\.\w+.*{sentence}"):
        read(write(tmp_path, name, text))


@pytest.mark.parametrize("header", ["a," * 100_000, ";" * 100_000])
def test_a_header_of_many_columns_takes_no_longer_than_many_rows(tmp_path: Path, header: str) -> None:
    """Each name was counted among all others: minutes for the characters of a short book."""
    begun = time.process_time()
    with suppress(InputDataError):
        read(write(tmp_path, "a.csv", header))
    assert time.process_time() - begun < 10


def test_an_unclosed_quote_names_its_line(tmp_path: Path) -> None:
    rows = '"a, b",1\n' * 300
    path = write(tmp_path, "a.csv", f'text,label\n{rows}"never closed,1\n' + 'a "fine" row,2\n' * 3)
    with pytest.raises(InputDataError, match="line 302: a quote is opened and never closed"):
        read(path)


def test_values_become_strings(tmp_path: Path) -> None:
    row = {"text": "x", "label": 1, "flag": True, "nothing": None, "list": [1, "a"], "share": 0.5}
    fields = read(write(tmp_path, "a.jsonl", json.dumps(row)))[0].fields
    assert list(fields.values()) == ["x", "1", "true", "", '[1, "a"]', "0.5"]


def test_lone_surrogates_do_not_come_through(tmp_path: Path) -> None:
    record = read(write(tmp_path, "a.jsonl", '{"text": "a \\ud83d b \\ud83d\\ude00"}'))[0]
    assert record.fields["text"] == "a \ufffd b 😀"


def test_a_bom_utf16_and_nul_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text;label\r\nzwei Wörter;1\r\n".encode("utf-16"))
    assert read(tmp_path / "a.csv")[0].fields == {"text": "zwei Wörter", "label": "1"}
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbftext,label\na\0b c,1\n")
    assert read(tmp_path / "b.csv")[0].fields == {"text": "ab c", "label": "1"}


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["one", None], "label": [1, 0]}), path)
    assert rows_of(path) == [({"text": "one", "label": "1"}, 1), ({"text": "", "label": "0"}, 2)]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputDataError, match="cannot be read as parquet"):
        read(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputDataError, match=r"pip install 'pretune\[parquet\]'"):
        read(write(tmp_path, "a.parquet", "PAR1"))


def test_endings() -> None:
    assert [ending_of(name) for name in ("a.b.CSV.gz", "a", "x.jsonl.zst", ".gz")] == [".csv", "", ".jsonl", ""]
    assert table_format_of("reviews.ndjson.gz") == "jsonl"
    assert table_format_of("reviews.txt") is None


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_of_objects(tmp_path: Path, indent: int | None) -> None:
    rows = [{"text": "eins", "n": 1}, {"text": "zwei", "n": 2}, "drei", *({"text": "x"} for _ in range(200)), 7]
    findings = Findings()
    found = read(write(tmp_path, "a.json", json.dumps(rows, indent=indent)), findings)
    assert found[:3] == [
        Record({"text": "eins", "n": "1"}, 2 if indent else 1, rows[0]),  # type: ignore[arg-type]
        Record({"text": "zwei", "n": "2"}, 6 if indent else 1, rows[1]),  # type: ignore[arg-type]
        Record({"text": "drei"}, 10 if indent else 1, {"text": "drei"}),
    ]
    assert len(found) == len(rows) - findings.dropped.count("unparsable_row") == len(rows) - 1
    assert read(write(tmp_path, "a.jsonl", json.dumps(rows))) == read(write(tmp_path, "b", json.dumps(rows)))


def test_a_line_that_is_too_long_is_one_row_and_keeps_the_numbers_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (text_stream, json_rows):
        monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    lines = [json.dumps({"text": "word " * 60_000 if number == 2 else "x"}) for number in range(201)]
    findings = Findings()
    assert [record.line for record in read(write(tmp_path, "a.jsonl", "\n".join(lines)), findings)][:4] == [1, 2, 4, 5]
    assert findings.dropped.count("unparsable_row") == 1
    with pytest.raises(InputDataError, match="line 1: expected one JSON object per line, found more than 1,000 char"):
        read(write(tmp_path, "a.jsonl", lines[2]))


def test_the_line_in_which_excel_names_the_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "sep=;\r\ntext;label\r\none, two;1\r\nthree;2\r\n")
    assert rows_of(path) == [({"text": "one, two", "label": "1"}, 3), ({"text": "three", "label": "2"}, 4)]


def test_a_quoted_header_means_that_cells_are_quoted(tmp_path: Path) -> None:
    """Even if lines inside cells have as many commas as the header."""
    rows = '"text","n"\n' + '"\',\n","1"\n' * 3 + '"x","1","2"\n' * 3
    with pytest.raises(InputDataError, match=r"line 8: 3 cells, expected 2 \(text, n\)"):
        read(write(tmp_path, "a.csv", rows))


def test_columns_without_names_have_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "Is this in New Orleans??\t27\tedgurhb\nIt is, I think.\t4\tedgur5c\n")
    found = list(iter_records(path, columns=["1"]))
    assert found[0] == Record({"1": "Is this in New Orleans??", "2": "27", "3": "edgurhb"}, 1)
    assert len(found) == 2
    with pytest.raises(InputDataError, match=r"or give the number of the text column, as in --text-column 1"):
        list(iter_records(path, columns=["4"]))


@pytest.mark.parametrize(
    ("text", "is_noticed"),
    [
        ('good,pos\n"Unclosed start,neg\nanother" end,pos\n', True),
        ('label,text\npos,fine\nneg,bad\npos,"Unclosed\nneg,another"\n', True),
        ('a text,pos\n"A text, of two\nlines, in all",neg\n', False),
        ('"He said, ""no""\nand ""left""",pos\n', False),
        ('label,text\npos,"A text of two lines\nsecond line, more"\n', False),
    ],
)
def test_rows_that_stray_quotes_join_are_named(tmp_path: Path, text: str, is_noticed: bool) -> None:
    header = "" if text.startswith("label") else "text,label\n"
    path, findings = tmp_path / "rows.csv", Findings()
    path.write_text(header + text, encoding="utf-8")
    list(iter_records(path, findings=findings))
    assert any("a stray quote seems to join a row with the next" in w for w in findings.warnings) == is_noticed


def test_nan_and_null_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": NaN, "label": null}\n{"text": "NaN", "label": "None"}\n', encoding="utf-8")
    assert [record.fields for record in iter_records(path)] == [
        {"text": "", "label": ""},
        {"text": "NaN", "label": "None"},  # in quotes they are words
    ]


@pytest.mark.parametrize("names", ["शीर्षक,श्रेणी", "ข้อความ,ป้าย", "标题,类别", "שֵׁם,סוג"])
def test_names_of_columns_may_be_in_any_script(tmp_path: Path, names: str) -> None:
    """Marks are no letters to Python, so a header in Hindi or Thai was taken for data and refused."""
    path = tmp_path / "rows.csv"
    path.write_text(f"{names}\nदिल्ली में आज बारिश हुई,मौसम\n", encoding="utf-8")
    assert [list(record.fields) for record in iter_records(path)] == [names.split(",")]


def test_quotes_escaped_by_backslashes_are_read(tmp_path: Path) -> None:
    """As Spark and MySQL write them; otherwise, a comma inside would split the cell."""
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"He said \\"no, never\\", twice",bad\n"A plain; text",good\n', encoding="utf-8")
    found = Findings()
    assert [r.fields["text"] for r in iter_records(path, findings=found)] == [
        'He said "no, never", twice',
        "A plain; text",
    ]
    notice = f'{path}: quotes inside cells are escaped as \\".'
    assert found.all_notices() == [notice]
    for number in range(2):  # the parts of one table do not have a notice each
        part = tmp_path / f"part-{number}.csv"
        part.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        list(iter_records(part, findings=found))
    assert found.all_notices() == [f"{notice} The same applies to 2 more files."]
    path.write_text('text,label\n"He said ""no"" in C:\\dir",bad\n"A plain text",good\n', encoding="utf-8")
    assert [r.fields["text"] for r in iter_records(path)] == ['He said "no" in C:\\dir', "A plain text"]


def test_a_row_that_closes_the_quote_of_another_is_noticed_by_its_cells(tmp_path: Path) -> None:
    path, findings = tmp_path / "rows.csv", Findings()
    path.write_text('text,label\nfine,x\n"oops one,x\ntwo more",y\n', encoding="utf-8")
    list(iter_records(path, findings=findings))
    assert "line 3: a stray quote" in findings.warnings[0]


@pytest.mark.parametrize("first", [",0,1", "0,1"])
def test_columns_called_by_their_numbers_are_a_header(tmp_path: Path, first: str) -> None:
    path = tmp_path / "rows.csv"
    index = [f"{n}," if first.startswith(",") else "" for n in range(9)]
    path.write_text(f"{first}\n" + "".join(f"{i}A text of words,{n % 2}\n" for n, i in enumerate(index)))
    names = [name for name in first.split(",") if name]
    assert [set(names) <= record.fields.keys() for record in iter_records(path)] == [True] * 9


def test_a_tab_table_called_txt_is_recognised() -> None:
    assert sniff_tab_table("text\tlabel\nA film\tgood\nA hotel\tbad\n")
    assert not sniff_tab_table("A text\twith tabs\nand another\tline\n")
    assert not sniff_tab_table("text\tlabel\nA line without\n")


@pytest.mark.parametrize("row", ['"0","\\\\"', '"a \\\\","b"', '5\\\\" screen,x'])
def test_a_backslash_at_the_end_of_a_cell_escapes_nothing(tmp_path: Path, row: str) -> None:
    row = row.replace("\\\\", "\\")
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\n{row}\nA text,y\n", encoding="utf-8")
    expected = next(csv.reader([row])) if row.startswith('"') else ['5\\" screen', "x"]
    assert list(next(iter_records(path)).fields.values()) == expected
