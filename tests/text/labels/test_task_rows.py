"""Whole files of every task, in every format, and the same rows as before for single classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pretune.errors import InputDataError
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.detect_task import Columns, TaskWord
from pretune.text.labels.spans import Span
from pretune.text.labels.task_rows import read_task_rows

SEVERAL = [("The kettle.", ["a", "b"]), ("A colander.", []), ("My saucepan.", ["b"])] * 3


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_single_classes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,slice\nA film.,good,x\nA book.,NaN,\n,bad,x\nA play.,True,\n", encoding="utf-8")
    found = read_task_rows(path)
    assert found.texts == ["A film.", "A book.", "", "A play."]
    assert found.slices == ["x", None, "x", None]
    assert found.lines == [2, 3, 4, 5]
    assert found.labels == ["good", None, "bad", "true"]
    assert len(found.findings.warnings) == 1
    assert "text in 'text', label in 'label', slice in 'slice'" in found.detected["sentence"]
    assert found.text_pairs is None


def several_as(format: str, path: Path) -> Path:
    lists = [(text, labels) for text, labels in SEVERAL]
    if format == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"text": [t for t, _ in lists], "label": [labels for _, labels in lists]})
        parquet.write_table(table, path)
        return path
    if format == "jsonl":
        return write_rows(path, [{"text": text, "label": labels} for text, labels in lists])
    if format == "csv":
        lines = ["text,label", *(f'{text},"{labels}"' for text, labels in lists)]
    elif format == "joined":
        lines = ["text,label", *(f"{text},{'|'.join(labels)}" for text, labels in lists), "x y,a|c", "y z,a", "z,c"]
    else:
        lines = ["text,a,b,c", *(f"{t},{int('a' in n)},{int('b' in n)},0" for t, n in lists), "x y z,1,0,1"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "joined", "flags"])
def test_several_labels_in_every_format(tmp_path: Path, format: str) -> None:
    ending = format if format in ("jsonl", "parquet") else "csv"
    rows = read_task_rows(several_as(format, tmp_path / f"rows.{ending}"))
    assert rows.detected["task"] == "multilabel"
    assert rows.labels[:9] == [tuple(labels) for _, labels in SEVERAL]
    assert rows.texts[:3] == [text for text, _ in SEVERAL[:3]]


def test_fasttext_lines_with_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("__label__bad __label__cold __label__bad A soup.\n__label__good Warm.\n", encoding="utf-8")
    rows = read_task_rows(path)
    assert (rows.texts, rows.labels) == (["A soup.", "Warm."], [("bad", "cold"), ("good",)])
    assert rows.findings.warnings == [f"{path}: 1 label occurs more than once in the same row; counted once."]


def test_fasttext_lines_without_a_text_have_none(tmp_path: Path) -> None:
    """The first refused the whole file, and the labels of the second were read as a text."""
    path = tmp_path / "rows.txt"
    lines = ["__label__good", "__label__bad __label__cold", "__label__bad A soup.", "__label__good Warm."]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = read_task_rows(path)
    assert rows.texts == ["", "", "A soup.", "Warm."]
    assert (rows.task.task, rows.labels[2:]) == ("classification", ["bad", "good"])


def test_line_breaks_in_the_cells_of_a_csv_count_as_they_are(tmp_path: Path) -> None:
    """CRLF was read as one character, so each entity after it was moved, and nothing said so."""
    path = tmp_path / "rows.csv"
    text = "Hello,\r\nAda Lovelace\nhere."
    path.write_bytes(f'text,"my\r\nspans"\r\n"{text}","[[8, 20, ""PER""]]"\r\n'.encode())
    rows = read_task_rows(path, task="tokens", columns=Columns(label="my\nspans"))
    assert rows.texts == [text]
    assert rows.labels == [(Span(7, 19, "PER"),)]
    assert clean_text(text)[7:19] == "Ada Lovelace"


def test_missing_lists_are_not_empty_ones(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "a b", "label": x} for x in (["x"], [], None, ["y", "x"])])
    assert read_task_rows(path).labels == [("x",), (), None, ("y", "x")]


@pytest.mark.parametrize("word", ["NaN", "None", " nan"])
@pytest.mark.parametrize("cell", ["a|b", "\"['a', 'b']\""])
def test_missing_labels_of_a_csv_are_not_empty_ones(tmp_path: Path, word: str, cell: str) -> None:
    """They were read as rows to which no label applies."""
    path = tmp_path / "rows.csv"
    lines = ["text,label", *[f"Some words,{cell}"] * 4, f"Other words,{word}", "No words,"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = read_task_rows(path, task="multilabel", label_separator="|" if cell == "a|b" else None)
    assert rows.labels == [("a", "b")] * 4 + [None, ()]


def test_pairs_with_scores(tmp_path: Path) -> None:
    rows = [{"premise": "A man.", "hypothesis": "Somebody.", "score": n / 7, "slice": "s"} for n in range(30)]
    found = read_task_rows(write_rows(tmp_path / "rows.jsonl", [*rows, {"premise": "A man.", "score": 1.0}]))
    assert found.detected["task"] == "pairs"
    assert found.text_pairs == ["Somebody."] * 30 + [""]
    assert found.labels[:2] == [0.0, 1 / 7]
    assert found.slices[0] == "s"
    sentence = found.detected["sentence"]
    assert "text in 'premise', second text in 'hypothesis', number in 'score', slice in 'slice'." in sentence
    assert found.detected["text_pair_column"] == "hypothesis"


def test_columns_of_the_training_file_are_preferred(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"a": "A man.", "b": "Who?", "text": "x y z", "gold": "1"}] * 3)
    train = Columns(text="a", text_pair="b", label="gold")
    found = read_task_rows(path, task="classification", preferred=train)
    assert (found.texts[0], found.text_pairs, found.labels[0]) == ("A man.", ["Who?"] * 3, "1")
    assert read_task_rows(path, task="regression", preferred=train).labels == [1.0] * 3
    missing = Columns(text="c", label="d")
    assert read_task_rows(path, task="classification", preferred=missing).texts[0] == "x y z"


def test_columns_of_flags_are_preferred_together(tmp_path: Path) -> None:
    rows = [{"text": "Some words here.", "cold": 0, "old": 1, "label": "x"}] * 3
    preferred = Columns(text="text", label="cold,old")
    found = read_task_rows(write_rows(tmp_path / "rows.jsonl", rows), task="multilabel", preferred=preferred)
    assert (found.task.label_columns, found.labels[0]) == (("cold", "old"), ("old",))


def test_columns_of_flags_with_a_comma_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = ['text,"cold, wet",old,red', "A kettle here.,1,0,0", "A pan there.,0,1,1", "A cup here.,1,1,0"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    train = read_task_rows(path)
    assert train.labels == [("cold, wet",), ("old", "red"), ("cold, wet", "old")]
    assert "label in 'cold, wet', 'old', 'red'" in train.detected["sentence"]
    (tmp_path / "test.csv").write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    test = read_task_rows(tmp_path / "test.csv", task="multilabel", preferred=train.task.columns)
    assert test.labels == [("cold, wet",)]


def test_scores_with_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text;score\nA film.;2,5\nA book.;3,75\nA play.;n/a\n", encoding="utf-8")
    rows = read_task_rows(path, task="regression")
    assert rows.labels == [2.5, 3.75, None]
    assert "a comma is read as the decimal sign" in rows.findings.warnings[0]


def test_a_word_among_scores(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": f"text {n}", "score": n / 7} for n in range(40)])
    with path.open("a") as file:
        file.write(json.dumps({"text": "text x", "score": "good"}) + "\n")
    with pytest.raises(InputDataError, match=r"rows.jsonl, line 41: the label 'good' is not a number, but 40 of 41"):
        read_task_rows(path)


def test_conll_files(tmp_path: Path) -> None:
    for name in ("rows.txt", "rows.tsv", "rows.conll"):
        path = tmp_path / name
        path.write_text("EU\tI-ORG\nsaid\tO\n\nAda\tI-PER\n", encoding="utf-8")
        rows = read_task_rows(path)
        assert (rows.detected["task"], rows.detected["scheme"], rows.detected["format"]) == ("tokens", "IOB1", "CoNLL")
        assert rows.texts == ["EU said", "Ada"]
        assert rows.labels == [(Span(0, 2, "ORG"),), (Span(0, 3, "PER"),)]
        assert rows.detected["sentence"].endswith("The tags follow IOB1.")
    with pytest.raises(InputDataError, match="looks like the texts"):
        read_task_rows(path, task="classification")


def test_an_entity_whose_last_word_is_blank(tmp_path: Path) -> None:
    """Its span reached beyond the text, and cleaning the text failed."""
    row = {"tokens": ["<b>Acme</b>", " "], "tags": ["B-ORG", "I-ORG"]}
    assert read_task_rows(write_rows(tmp_path / "rows.jsonl", [row] * 3)).labels == [(Span(0, 4, "ORG"),)] * 3


def test_a_column_of_a_conll_file_by_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("1\tEU\tB-ORG\tO\n2\tsaid\tO\tB-X\n", encoding="utf-8")
    rows = read_task_rows(path, columns=Columns(text="2", label="3"))
    assert rows.labels == [(Span(0, 2, "ORG"),)]


def test_spans_are_those_of_the_clean_text(tmp_path: Path) -> None:
    text = "<i>Ada</i>  in <br /> K&ouml;ln"
    spans = [[3, 6, "PER"], [15, 21, "GAP"], [22, 31, "LOC"]]
    rows = [{"text": text, "spans": spans}, {"text": "Nobody is here.", "spans": []}]
    found = read_task_rows(write_rows(tmp_path / "rows.jsonl", rows))
    assert clean_text(found.texts[0]) == "Ada in Köln"
    assert found.labels == [(Span(0, 3, "PER"), Span(7, 11, "LOC")), ()]
    assert [w.partition(": ")[2] for w in found.findings.warnings] == [
        "1 entity left out, since cleaning leaves nothing of their text."
    ]


def test_one_entity_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [{"text": "EU said it.", "spans": [[0, 2, "ORG"]]}] * 3 + [{"text": "EU said it.", "spans": [["EU", "ORG"]]}]
    with pytest.raises(
        InputDataError, match=r"line 4: \['EU', 'ORG'\] is not an entity; expected \[start, end, type\]"
    ):
        read_task_rows(write_rows(tmp_path / "rows.jsonl", rows))


@pytest.mark.parametrize("score", [float("nan"), None, float("inf"), "n/a", ""])
def test_targets_that_are_not_finite_have_no_label(tmp_path: Path, score: Any) -> None:
    rows = [{"text": "a b", "score": x} for x in (1.5, score, 2)]
    assert read_task_rows(write_rows(tmp_path / "r.jsonl", rows), task="regression").labels == [1.5, None, 2.0]


def test_a_file_without_any_second_text_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "A man.", "text2": "", "label": "yes"}] * 3)
    assert read_task_rows(path).detected["task"] == "classification"
    with pytest.raises(InputDataError, match=r"has 3 rows, and none has a second text in the column 'text2'; name"):
        read_task_rows(path, columns=Columns(text="text", text_pair="text2"))


def test_numbered_tags_need_names(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"tokens": ["EU", "said"], "ner_tags": [3, 0]}] * 3)
    with pytest.raises(InputDataError, match="the tags are numbers, such as 3"):
        read_task_rows(path)
    assert read_task_rows(path, tag_names={"0": "O", "3": "B-ORG"}).labels[0] == (Span(0, 2, "ORG"),)


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n", encoding="utf-8")
    with pytest.raises(InputDataError, match=r"rows\.csv has no rows"):
        read_task_rows(path)


# --- real data --------------------------------------------------------------------------------------------------------

CLASSES = (
    "sst2/dev.tsv", "topic/banking77_test.csv", "topic/trec6_test.jsonl", "topic/dbpedia_train.jsonl.zst",
    "topic/ag_news_train.jsonl.zst", "german/sb10k_test.jsonl", "german/germeval2018_train.jsonl.zst",
    "african/masakhanews_hausa.tsv", "african/masakhanews_swahili.tsv", "cola/train.jsonl",
    "medical/abstracts_5class.jsonl.zst",
)  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_real_files_of_classes(real_data: Path, name: str) -> None:
    found = read_task_rows(real_data / name)
    assert found.detected["task"] == "classification"
    assert all(isinstance(label, str) for label in found.labels)


@pytest.mark.parametrize(
    ("name", "columns", "word", "task"),
    [
        ("emotion/dev.tsv", Columns(text="1", label="2"), "multilabel", "multilabel"),
        ("pairs/mrpc_test.jsonl", Columns(), "pairs", "classification"),
        ("pairs/sick_train.jsonl", Columns(), "pairs", "classification"),
        ("pairs/sick_train.jsonl", Columns(label="relatedness"), "pairs", "regression"),
        ("entities/conll2003_dev.jsonl.zst", Columns(), "tokens", "tokens"),
    ],
)
def test_real_files_of_other_tasks(real_data: Path, name: str, columns: Columns, word: TaskWord, task: str) -> None:
    rows = read_task_rows(real_data / name, columns=columns)
    assert (rows.task.word, rows.task.task) == (word, task)
    assert None not in rows.labels


@pytest.mark.slow
def test_the_entities_of_conll_2003_in_both_files(real_data: Path) -> None:
    by_file = {name: read_task_rows(real_data / f"entities/conll2003_train.{name}.zst") for name in ("jsonl", "txt")}
    assert {name: rows.detected["scheme"] for name, rows in by_file.items()} == {"jsonl": "IOB1", "txt": "IOB2"}
    # The published numbers: Tjong Kim Sang and De Meulder 2003, table 2.
    published = {"LOC": 7140, "PER": 6600, "ORG": 6321, "MISC": 3438}
    for rows in by_file.values():
        spans = [span for label in rows.labels if isinstance(label, tuple) for span in label]
        assert Counter(span.type for span in spans if isinstance(span, Span)) == published
    assert by_file["jsonl"].texts == by_file["txt"].texts
    assert by_file["jsonl"].labels == by_file["txt"].labels
