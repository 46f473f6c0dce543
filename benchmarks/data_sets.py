"""The public data sets of the results table: their files of labelled rows, and the texts that bases are trained on.

The files are in PRETUNE_DATA (`find_data`). A file that a user would pass as it is, is passed as it is; others are
written to a work folder in the usual form. A data set without an official test part gets a fixed tenth, by a hash of
the text, so that the same rows are held out wherever the script runs; or it is cross-fitted, each fold tested once.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

Row = dict[str, Any]
HELD_OUT_EVERY = 10  # of the rows of a data set without an official test part, one in so many is its test


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """The files that `prepare` gets."""

    train: Path
    test: Path


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One row of the table.

    `train` and `test` are paths in the data folder; without `test`, a tenth of `train` is held out, or, with `folds`,
    each of so many parts in turn. `rows_per_class` keeps so few training rows of each class, in `draws` draws.
    """

    name: str
    title: str
    base: str
    train: str
    test: str | None = None
    options: tuple[str, ...] = ()  # of `prepare`
    finetune_options: tuple[str, ...] = ()
    rewrite: Callable[[Row], Row] | None = None  # for files in a form that no user has
    fields: tuple[str, ...] = ()  # names of the columns of a file without a header
    rows_per_class: int | None = None
    draws: int = 1
    folds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Texts of a base: the training rows of a data set (`of`), or a file with at most `limit` texts or books."""

    path: str = ""
    of: str = ""
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Base:
    """A pre-trained model that several data sets share, and the tokens that it is trained on at scale 1."""

    name: str
    title: str
    sources: tuple[Source, ...]
    tokens: int
    options: tuple[str, ...] = ()  # of `run`


def find_data() -> Path | None:
    """The folder of data sets that PRETUNE_DATA names, if it is there."""
    folder = Path(os.environ.get("PRETUNE_DATA") or "/nonexistent")
    return folder if folder.is_dir() else None


# -- reading -------------------------------------------------------------------------------------------------------


def read_rows(path: Path, fields: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a jsonl, csv or tsv file, compressed or not. `fields` names the columns if there is no header."""
    name = path.name.removesuffix(".zst")
    text = _read_text(path)
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    lines = io.StringIO(text, newline="")
    names = list(fields) or None
    if name.endswith(".csv"):
        return list(csv.DictReader(lines, names))
    # These tsv files contain quotation marks that quote nothing.
    return list(csv.DictReader(lines, names, delimiter="\t", quoting=csv.QUOTE_NONE))


def _read_text(path: Path) -> str:
    if path.suffix == ".zst":
        with path.open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file).read().decode()
    return path.read_text(encoding="utf-8")


def read_books(path: Path, limit: int) -> Iterator[tuple[str, bytes]]:
    """The first files of a compressed archive, with their names."""
    with (
        path.open("rb") as file,
        tarfile.open(fileobj=zstandard.ZstdDecompressor().stream_reader(file), mode="r|") as tar,
    ):
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                continue
            if limit == 0:
                return
            limit -= 1
            yield Path(member.name).name, content.read()


def texts_of(row: Row) -> list[str]:
    """The texts of a row: words joined by blanks, and both texts of a pair."""
    if "tokens" in row:
        return [" ".join(row["tokens"])]
    names = ("text", "text2", "sentence", "content")
    return [row[name] for name in names if row.get(name)]


def is_held_out(row: Row) -> bool:
    """Whether a row belongs to the test of a data set without an official one."""
    return part_of(row, HELD_OUT_EVERY) == 0


def part_of(row: Row, parts: int) -> int:
    """The part that a row belongs to, by a hash of its text: rows with the same text are in the same part."""
    return int(sha256("\n".join(texts_of(row)).encode()).hexdigest(), 16) % parts


# -- labelled files ------------------------------------------------------------------------------------------------


def make_label_files(data_set: DataSet, data: Path, folder: Path) -> list[LabelFiles]:
    """The files of each draw or fold, written to `folder` unless the data set is passed as it is."""
    as_they_are = data_set.test is not None and data_set.rewrite is None and data_set.rows_per_class is None
    if as_they_are and data_set.test is not None:
        return [LabelFiles(train=data / data_set.train, test=data / data_set.test)]
    found = []
    for number, (train, test) in enumerate(_read_draws(data_set, data)):
        test_name = "test.jsonl" if data_set.folds is None else f"test-{number}.jsonl"
        files = LabelFiles(train=folder / f"train-{number}.jsonl", test=folder / test_name)
        write_rows(files.train, train)
        write_rows(files.test, test)
        found.append(files)
    return found


def _read_draws(data_set: DataSet, data: Path) -> Iterator[tuple[list[Row], list[Row]]]:
    """The training rows and the test rows of each draw or fold."""
    train, test = read_parts(data_set, data)
    if data_set.folds is not None:
        parts = [part_of(row, data_set.folds) for row in test]
        for fold in range(data_set.folds):
            others = [row for row, part in zip(test, parts, strict=True) if part != fold]
            yield others, [row for row, part in zip(test, parts, strict=True) if part == fold]
        return
    for draw in range(data_set.draws):
        yield train if data_set.rows_per_class is None else draw_rows(train, data_set.rows_per_class, draw), test


def read_parts(data_set: DataSet, data: Path) -> tuple[list[Row], list[Row]]:
    """The rows that may be trained on as text, and the rows that are tested: with folds, all."""
    train = read_rows(data / data_set.train, data_set.fields)
    if data_set.test is not None:
        test = read_rows(data / data_set.test, data_set.fields)
    elif data_set.folds is not None:
        train, test = [], train
    else:
        test = [row for row in train if is_held_out(row)]
        train = [row for row in train if not is_held_out(row)]
    if data_set.rewrite is not None:
        return [data_set.rewrite(row) for row in train], [data_set.rewrite(row) for row in test]
    return train, test


def draw_rows(rows: list[Row], per_class: int, draw: int) -> list[Row]:
    """So many rows of each class, a different choice for each `draw`."""
    order = np.random.default_rng(draw).permutation(len(rows))
    left = {label: per_class for label in {row["label"] for row in rows}}
    kept = []
    for index in order:
        row = rows[index]
        if left[row["label"]]:
            left[row["label"]] -= 1
            kept.append(row)
    return kept


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A jsonl file; nothing happens if it is there with the same content, so that finished work stays valid."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# -- texts of bases ------------------------------------------------------------------------------------------------


def make_corpus(base: Base, data: Path, folder: Path, scale: float) -> list[Path]:
    """Write the texts of a base to files in `folder`. General texts shrink with `scale`; the data sets' own do not."""
    files = []
    for source in base.sources:
        limit = None if source.limit is None else max(1, round(source.limit * scale))
        if ".tar" in source.path:
            for name, content in read_books(data / source.path, limit or -1):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                files.append(path)
            continue
        rows = read_parts(data_set_named(source.of), data)[0] if source.of else read_rows(data / source.path)
        path = folder / file_name(source)
        write_rows(path, ({"text": text} for row in rows[:limit] for text in texts_of(row)))
        files.append(path)
    return files


def file_name(source: Source) -> str:
    """The name of the file for the texts of a source, unless the source is an archive of books."""
    stem = source.of or source.path.replace("/", "-").split(".")[0]
    return f"{stem}.jsonl"


def make_protected(base: Base, data: Path, folder: Path) -> Path:
    """Write the texts of all tests of a base to a file, so that none is pre-trained on."""
    tests = [row for each in DATA_SETS if each.base == base.name for row in read_parts(each, data)[1]]
    path = folder / "protected.jsonl"
    write_rows(path, ({"text": text} for row in tests for text in texts_of(row)))
    return path


# -- the data sets -------------------------------------------------------------------------------------------------

EMOTIONS = (
    "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment disapproval "
    "disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride realization relief "
    "remorse sadness surprise neutral"
).split()


def name_emotions(row: Row) -> Row:
    """GoEmotions numbers its labels: "4,27"."""
    return {"text": row["text"], "labels": [EMOTIONS[int(number)] for number in row["labels"].split(",")]}


def name_sentence(row: Row) -> Row:
    """SST-2's columns have other names in each file."""
    return {"text": row.get("sentence") or row["content"], "label": row["label"]}


_AG_NEWS = "topic/ag_news_train.jsonl.zst"
_PAIR = ("--task", "pairs", "--text-column", "text", "--text-pair-column", "text2", "--label-column")

DATA_SETS = (
    DataSet(
        name="trec",
        title="TREC, question types",
        base="english",
        train="topic/trec6_train.jsonl",
        test="topic/trec6_test.jsonl",
        options=("--label-column", "label"),
    ),
    DataSet(
        name="mrpc",
        title="MRPC, paraphrases",
        base="english",
        train="pairs/mrpc_train.jsonl",
        test="pairs/mrpc_test.jsonl",
        options=(*_PAIR, "label"),
    ),
    DataSet(
        name="sick-entailment",
        title="SICK, entailment",
        base="english",
        train="pairs/sick_train.jsonl",
        test="pairs/sick_test.jsonl",
        options=(*_PAIR, "label"),
    ),
    DataSet(
        name="sick-relatedness",
        title="SICK, relatedness",
        base="english",
        train="pairs/sick_train.jsonl",
        test="pairs/sick_test.jsonl",
        options=(*_PAIR, "relatedness"),
    ),
    DataSet(
        name="banking77",
        title="banking77, intents",
        base="english",
        train="topic/banking77_train.csv",
        test="topic/banking77_test.csv",
    ),
    DataSet(
        name="ag-news-32",
        title="AG News, 32 labels a class",
        base="news",
        train=_AG_NEWS,
        options=("--label-column", "label"),
        rows_per_class=32,
        draws=5,
    ),
    DataSet(
        name="ag-news-1000",
        title="AG News, 1,000 labels, its own text alone",
        base="ag-news",
        train=_AG_NEWS,
        options=("--label-column", "label"),
        rows_per_class=250,
        draws=10,
    ),
    DataSet(
        name="ag-news",
        title="AG News, topics",
        base="news",
        train=_AG_NEWS,
        options=("--label-column", "label"),
    ),
    DataSet(
        name="goemotions",
        title="GoEmotions, emotions",
        base="english",
        train="emotion/train.tsv",
        test="emotion/test.tsv",
        fields=("text", "labels", "id"),
        rewrite=name_emotions,
    ),
    DataSet(
        name="conll2003",
        title="CoNLL-2003, entities",
        base="news",
        train="entities/conll2003_train.jsonl.zst",
        test="entities/conll2003_dev.jsonl.zst",
    ),
    DataSet(
        name="sst2",
        title="SST-2, sentiment of phrases",
        base="sst2-reviews",
        train="sst2/train.tsv.zst",
        test="sst2/dev.tsv",
    ),
    DataSet(
        name="sst2-1000",
        title="SST-2, 1,000 phrases",
        base="reviews",
        train="sst2/train.tsv.zst",
        test="sst2/dev.tsv",
        options=("--label-column", "label"),
        rewrite=name_sentence,
        rows_per_class=500,
        draws=10,
    ),
    DataSet(name="imdb", title="IMDB, sentiment of reviews", base="reviews", train="imdb/train.jsonl.zst"),
    DataSet(
        name="imdb-folds",
        title="IMDB, each fifth from the others",
        base="reviews",
        train="imdb/train.jsonl.zst",
        options=("--max-seq-len", "128"),  # an epoch of random windows costs a third of one with 512 tokens each
        folds=5,
    ),
    DataSet(
        name="sb10k",
        title="sb10k, sentiment of German tweets",
        base="german",
        train="german/sb10k_train.jsonl",
        test="german/sb10k_test.jsonl",
        options=("--label-column", "label"),
    ),
    DataSet(
        name="hausa",
        title="AfriSenti, sentiment of Hausa tweets",
        base="hausa",
        train="african/hausa_sentiment_train.jsonl",
    ),
)

BASES = (
    Base(
        name="english",
        title="the data sets' own texts, DBpedia, reviews, novels",
        sources=(
            Source(of="trec"),
            Source(of="mrpc"),
            Source(of="sick-entailment"),
            Source(of="banking77"),
            Source(of="goemotions"),
            Source(of="ag-news"),
            Source(path="topic/dbpedia_train.jsonl.zst"),
            Source(path="imdb/unsup.jsonl.zst", limit=20_000),
            Source(path="novels_en/novels.tar.zst", limit=50),
        ),
        tokens=20_000_000,
    ),
    Base(
        name="news",
        title="AG News, CoNLL-2003, DBpedia, newsgroups",
        sources=(
            Source(of="ag-news"),
            Source(of="conll2003"),
            Source(path="topic/dbpedia_train.jsonl.zst"),
            Source(path="topic/20newsgroups_train.jsonl.zst", limit=11_000),
        ),
        tokens=20_000_000,
    ),
    Base(name="ag-news", title="AG News", sources=(Source(of="ag-news"),), tokens=10_000_000),
    Base(
        name="reviews",
        title="reviews",
        sources=(Source(path="imdb/unsup.jsonl.zst", limit=50_000),),
        tokens=20_000_000,
        options=("--lowercase",),  # as `run` decides if it gets SST-2's labels, which have no capital letters
    ),
    Base(
        name="sst2-reviews",  # as `run` does, which adds the labelled training texts
        title="SST-2, reviews",
        sources=(Source(of="sst2"), Source(path="imdb/unsup.jsonl.zst", limit=50_000)),
        tokens=20_000_000,
        options=("--lowercase",),
    ),
    Base(
        name="german",
        title="own texts, German tweets, novels",
        sources=(
            Source(of="sb10k"),
            Source(path="german/germeval2018_train.jsonl.zst"),
            Source(path="german/novels.tar.zst", limit=60),
        ),
        tokens=20_000_000,
    ),
    Base(
        name="hausa",
        title="own texts, Hausa news",
        sources=(Source(of="hausa"), Source(path="african/masakhanews_hausa.tsv")),
        tokens=10_000_000,
    ),
)


def data_set_named(name: str) -> DataSet:
    """The data set with this name."""
    return next(each for each in DATA_SETS if each.name == name)


def base_named(name: str) -> Base:
    """The base with this name."""
    return next(each for each in BASES if each.name == name)
