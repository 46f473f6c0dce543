"""Every verb finds the text of a table in the same column, and reads the same rows as texts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.inference.predict import _Rows, read_texts
from pretune.text.collect.documents import Reading, iter_documents
from pretune.text.labels.detect_task import Columns
from pretune.text.labels.task_rows import read_task_rows
from pretune.text.readers.records import LABEL_NAMES, TEXT_NAMES
from pretune.text.reading_report import Findings
from pretune.text.sources.files import TextFile

Row = dict[str, Any]
Found = tuple[str, list[str]]  # the column, and the texts that are not blank


def collected(path: Path, column: str | None = None) -> Found:
    """What `collect` reads."""
    findings = Findings()
    file = TextFile(path=str(path), name=path.name)
    texts = [document.text for document in iter_documents([file], findings, Reading(text_column=column))]
    return str(findings.detections[0].text_column), texts


def labelled(path: Path, column: str | None = None) -> Found:
    """What `split` and `prepare` read."""
    rows = read_task_rows(path, task="classification", columns=Columns(text=column))
    return rows.detected["text_column"], [text for text in rows.texts if text.strip()]


def evaluated(path: Path, column: str | None = None) -> Found:
    """What `evaluate` reads, for a model that was trained on columns with other names."""
    preferred = Columns(text="another", label="one")
    rows = read_task_rows(path, task="classification", columns=Columns(text=column), preferred=preferred)
    return rows.detected["text_column"], [text for text in rows.texts if text.strip()]


def predicted(path: Path, column: str | None = None) -> Found:
    """What `predict` and `Model.predict` read."""
    found = _Rows(path, column, Findings(), "another").text_column
    return found, [text for text in read_texts(path, column, "another") if text.strip()]


VERBS = (collected, labelled, evaluated, predicted)


def write(folder: Path, rows: Sequence[Row], ending: str) -> Path:
    """The rows in a file; a csv or tsv has an empty cell for None."""
    path = folder / f"a{ending}"
    if ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(rows[0]), delimiter="," if ending == ".csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(out.getvalue(), encoding="utf-8", newline="")
    return path


def found_or_refused(read: Callable[[Path], Found], path: Path) -> Found | None:
    try:
        return read(path)
    except InputDataError:
        return None


def mood(number: int) -> str:
    return "good" if number % 2 else "bad"


TABLES: dict[str, Callable[[int], Row]] = {
    "text": lambda n: {"id": n, "text": f"A warm room, number {n}.", "label": mood(n)},
    "remark": lambda n: {"title": f"Room {n}", "remark": "A long remark on its many chairs. " * 2, "label": mood(n)},
    # More words in the labels than in the texts.
    "utt": lambda n: {"utt": f"play song {n}", "intent": f"play {mood(n)} music please"},
    "topic": lambda n: {"topic": f"A long text on the many topics that there are, {n} of them. " * 3, "mood": mood(n)},
    # The first hundred rows have no comment.
    "comment": lambda n: {"comment": "" if n < 99 else "A comment.", "note": "x" if n else "A note here", "y": mood(n)},
}
UNTYPED: dict[str, Callable[[int], Row]] = {
    "words": lambda n: {"review": "nan", "words": f"A chair, number {n}.", "label": mood(n)},
}
NESTED: dict[str, Callable[[int], Row]] = {
    "doc.body": lambda n: {"doc": {"body": f"A chair, number {n}.", "n": n}, "label": mood(n)},
    "body": lambda n: {"text": n, "body": f"A chair, number {n}.", "label": mood(n)},
    "remark": lambda n: {"text": ["A", "list"], "remark": f"A chair, number {n}." if n % 9 else n, "label": mood(n)},
}


@pytest.mark.parametrize(
    ("ending", "column", "row"),
    [
        *((ending, *case) for ending in (".csv", ".tsv", ".jsonl") for case in TABLES.items()),
        *((ending, *case) for ending in (".csv", ".tsv") for case in UNTYPED.items()),
        *((".jsonl", *case) for case in NESTED.items()),
    ],
)
def test_every_verb_reads_the_same_texts(tmp_path: Path, ending: str, column: str, row: Callable[[int], Row]) -> None:
    path = write(tmp_path, [row(number) for number in range(300)], ending)
    found = [read(path) for read in VERBS]
    assert {name for name, _ in found} == {column}
    assert all(texts == found[0][1] for _, texts in found)


@pytest.mark.parametrize(
    ("name", "lines", "num_texts"),
    [
        ("only.csv", ["text", "372 157 213", "171 300 214", "280 338 388"], 3),
        ("nums.csv", ["text,label", "372 157 213,x", "171 300 214,y", "280 338 388,x"], 3),
        ("nums.jsonl", ['{"text": 372157213, "label": "x"}', '{"text": "171 300 214", "label": "y"}'], 1),
        ("words.csv", ["text,label", "None,x", "NaN,y", "12,y"], 1),
    ],
)
def test_texts_without_letters_are_read_by_every_verb_if_the_column_is_named(
    tmp_path: Path, name: str, lines: list[str], num_texts: int
) -> None:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for read in VERBS:
        with pytest.raises(InputDataError, match=r"--text-column"):
            read(path)
    named = [read for read in VERBS if "label" in lines[0] or read in (collected, predicted)]
    assert {len(read(path, "text")[1]) for read in named} == {num_texts}


@pytest.mark.parametrize(
    "lines",
    [
        ["text\tlabel", "A cold soup.\tbad", "A warm room.\tgood", "A chair.\tbad"],
        ["__label__bad A cold soup.", "__label__good A warm room.", "__label__bad A chair."],
    ],
    ids=["tabs", "fastText"],
)
def test_labels_in_a_text_file_are_not_part_of_its_texts(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [read(path)[1] for read in VERBS] == [["A cold soup.", "A warm room.", "A chair."]] * len(VERBS)


words = st.lists(st.sampled_from(["room", "Zimmer", "chair,", "🙂", "12", "so\u00a0on"]), max_size=25).map(" ".join)
cells = st.one_of(words, st.integers(0, 99), st.floats(), st.none(), st.sampled_from(["NaN", " ", "nan", "a\nb", '"']))
values = st.one_of(cells, st.lists(words, max_size=2), st.dictionaries(st.sampled_from(["text", "body"]), cells))
names = st.sampled_from([*TEXT_NAMES, *LABEL_NAMES, "x", "Remark", "tweet_text", "user score", "doc.body", "0"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Row], str]:
    """Rows of two to four columns, each with cells of one kind, or of any."""
    ending = draw(st.sampled_from([".csv", ".jsonl"]))
    columns = draw(st.lists(names, min_size=2, max_size=4, unique=True))
    mixed = cells if ending == ".csv" else values
    kinds = [draw(st.sampled_from([words, st.sampled_from(["good", "bad so bad"]), cells, mixed])) for _ in columns]
    rows = draw(st.lists(st.tuples(*kinds), min_size=2, max_size=12))
    return [dict(zip(columns, row, strict=True)) for row in rows], ending


@settings(max_examples=150)
@given(table=tables())
def test_every_verb_chooses_the_same_column_of_any_table(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[list[Row], str]
) -> None:
    path = write(tmp_path_factory.mktemp("t"), *table)
    expected = found_or_refused(collected, path)
    assert found_or_refused(predicted, path) == expected
    for read in (labelled, evaluated):  # which may also refuse a table because it has no labels
        found = found_or_refused(read, path)
        assert found is None or found == expected
