"""Read a file of labelled rows for its task: texts, second texts, and labels in the form that the task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.detect_task import Columns, DetectedTask, TaskWord, detect_task
from pretune.text.labels.entities import EntityRows, read_tagged, read_with_spans
from pretune.text.labels.label_text import label_text
from pretune.text.labels.reader import SLICE_NAME, blank_missing_words, describe_how, read_records
from pretune.text.labels.scores import PLAIN, NumberForm, detect_number_form, read_scores
from pretune.text.labels.several_labels import FLAGS_JOINED_BY, named_columns, read_flags, read_label_cells
from pretune.text.labels.span_alignment import clean_spans
from pretune.text.labels.spans import Span
from pretune.text.labels.tags import Scheme
from pretune.text.readers.records import Record
from pretune.text.reading_report import Findings, counted, join_names
from pretune.text.sources.detect import cell_of, has_column, text_of

# A class | the labels of a row | a number | the entities of the clean text.
Label = str | tuple[str, ...] | float | tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class TaskRows:
    """Rows in the order of the file; texts are as found, and spans are those of the clean text.

    The label is None if the row has none and must be left out; an empty tuple stands for no labels, or no entities,
    which is valid. An empty text, or second text, is missing.
    """

    path: str
    task: DetectedTask
    texts: list[str]
    text_pairs: list[str] | None  # None if the task has single texts
    labels: list[Label | None]
    slices: list[str | None]
    lines: list[int]  # the line on which each row starts, counted from 1
    scheme: Scheme | None  # of tags
    detected: dict[str, Any]  # the fields of a `detected` event, with a `sentence`
    findings: Findings = field(default_factory=Findings)
    unused_names: tuple[str, ...] = ()  # tags that are given a name, but do not occur

    def __len__(self) -> int:
        return len(self.texts)


def read_task_rows(
    path: str | Path,
    *,
    task: TaskWord = "auto",
    columns: Columns | None = None,
    label_separator: str | None = None,
    preferred_separator: str | None = None,
    preferred_number: str | None = None,
    tag_names: Mapping[str, str] | None = None,
    preferred: Columns | None = None,
) -> TaskRows:
    """Read a csv, tsv, jsonl, parquet, fastText or CoNLL file (also gz, zst) of rows that are labelled for a task.

    `columns` are the user's; those that are not given are taken from `preferred` (of the file that a model was trained
    on), if the file has them, and are found by name and content otherwise. For classification and regression, a second
    text is read if `columns` or `preferred` have one. `preferred_separator` is that of the training file; it need not
    occur in this one. `preferred_number` is an example of how that file writes scores. `tag_names` are names of
    numbered tags.

    Raises InputDataError if the file cannot be read, has no rows, lacks a column, or has labels that are not of the
    task; the message has the line, or the names of the columns.
    """
    findings, columns, preferred = Findings(), columns or Columns(), preferred or Columns()
    named = (name for each in (columns, preferred) for name in (each.text, each.label, each.text_pair) if name)
    expected = [part for name in named for part in (name, *name.split(FLAGS_JOINED_BY))]
    records, how = read_records(Path(path), findings, expected)
    if not records:
        raise InputDataError(f"{path} has no rows; expected one labelled example per row, with a text and a label.")
    found = detect_task(
        str(path),
        records,
        task=task,
        given=_prefer(records, columns, preferred),
        label_separator=label_separator,
        preferred_separator=preferred_separator,
        has_pairs=preferred.text_pair is not None,
    )
    texts = [name for name in (found.text_column, found.text_pair_column) if name is not None]
    if found.form == "cell":  # cells with several labels are read with a difference between missing and none
        texts.append(found.label_column)
    blank_missing_words(records, texts, how["format"], findings)
    form = None if preferred_number is None else detect_number_form([preferred_number])
    labelled = _read_labels(records, found, str(path), tag_names, form, findings)
    return TaskRows(
        path=str(path),
        task=found,
        texts=labelled.texts or [text_of(record, found.text_column) for record in records],
        text_pairs=_second_texts(records, found, str(path)),
        labels=labelled.labels,
        slices=_slices(records, found),
        lines=[record.line for record in records],
        scheme=labelled.scheme,
        unused_names=labelled.unused_names,
        detected=_detected(records, str(path), found, how, labelled),
        findings=findings,
    )


def _prefer(records: Sequence[Record], columns: Columns, preferred: Columns) -> Columns:
    """The columns that are given, or preferred if the file has them."""

    def choose(given: str | None, wanted: str | None) -> str | None:
        if given is not None or wanted is None or has_column(records, wanted):
            return given or wanted
        return wanted if FLAGS_JOINED_BY in wanted and named_columns(wanted, records) is not None else None

    return Columns(
        text=choose(columns.text, preferred.text),
        label=choose(columns.label, preferred.label),
        text_pair=choose(columns.text_pair, preferred.text_pair),
    )


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    labels: list[Label | None]
    texts: list[str] | None = None  # if they are made of words
    scheme: Scheme | None = None
    number_form: NumberForm = PLAIN
    unused_names: tuple[str, ...] = ()


def _read_labels(
    records: Sequence[Record],
    task: DetectedTask,
    path: str,
    names: Mapping[str, str] | None,
    form: NumberForm | None,
    findings: Findings,
) -> _Labelled:
    if task.task == "tokens":
        return _read_entities(records, task, path, names, findings)
    if task.task == "multilabel":
        return _Labelled(labels=_read_several(records, task, path, findings))
    if task.task == "regression":
        return _read_numbers(records, task, path, form, findings)
    return _Labelled(labels=[label_text(cell_of(record, task.label_column)[0]) or None for record in records])


def _read_entities(
    records: Sequence[Record], task: DetectedTask, path: str, names: Mapping[str, str] | None, findings: Findings
) -> _Labelled:
    found: EntityRows
    if task.form == "tags":
        found = read_tagged(records, task.text_column, task.label_column, path, names)
    else:
        found = read_with_spans(records, task.text_column, task.label_column, path)
    findings.warnings += found.warnings
    moved: list[Label | None] = []
    num_vanished = 0
    for text, spans in zip(found.texts, found.spans, strict=True):
        if spans is not None:
            _, spans, vanished = clean_spans(text, spans)
            num_vanished += vanished
        moved.append(spans)
    if num_vanished:
        entities = counted(num_vanished, "entity", "entities")
        findings.warnings.append(f"{path}: {entities} left out, since cleaning leaves nothing of their text.")
    return _Labelled(labels=moved, texts=found.texts, scheme=found.scheme, unused_names=found.unused_names)


def _read_several(records: Sequence[Record], task: DetectedTask, path: str, findings: Findings) -> list[Label | None]:
    if task.form == "flags":
        return list(read_flags(records, task.label_columns, path))
    cells, lines = [cell_of(r, task.label_column)[1] for r in records], [r.line for r in records]
    labels, num_repeats = read_label_cells(cells, lines, path, task.label_separator)
    if num_repeats:
        are = counted(num_repeats, "label occurs", "labels occur")
        findings.warnings.append(f"{path}: {are} more than once in the same row; counted once.")
    return list(labels)


def _read_numbers(
    records: Sequence[Record], task: DetectedTask, path: str, preferred: NumberForm | None, findings: Findings
) -> _Labelled:
    cells, lines = [cell_of(r, task.label_column)[1] for r in records], [r.line for r in records]
    targets, form = read_scores(cells, lines, path, preferred)
    if form.sentence:
        findings.warnings.append(f"{path}: {form.sentence}")
    return _Labelled(labels=list(targets), number_form=form)


def _second_texts(records: Sequence[Record], task: DetectedTask, path: str) -> list[str] | None:
    """The second text of every row, empty if it is missing. Raises InputDataError if every row lacks it."""
    column = task.text_pair_column
    if column is None:
        return None
    texts = [text_of(record, column) for record in records]
    if not any(text.strip() for text in texts):
        raise InputDataError(
            f"{path} has {len(texts):,} rows, and none has a second text in the column {column!r}; name the right "
            "column with --text-pair-column."
        )
    return texts


def _slice_column(records: Sequence[Record], task: DetectedTask) -> str | None:
    used = (task.text_column, task.text_pair_column, *task.label_columns)
    columns = dict.fromkeys(name for record in records for name in record.fields)
    return next((c for c in columns if c.strip().casefold() == SLICE_NAME and c not in used), None)


def _slices(records: Sequence[Record], task: DetectedTask) -> list[str | None]:
    column = _slice_column(records, task)
    return [record.fields.get(column, "").strip() or None if column else None for record in records]


def _detected(
    records: Sequence[Record], path: str, task: DetectedTask, how: Mapping[str, Any], labelled: _Labelled
) -> dict[str, Any]:
    """The fields of a `detected` event; the sentence says how the file is read, and why for this task."""
    slices = _slice_column(records, task)
    columns = dict.fromkeys(name for record in records for name in record.fields)
    used = {task.text_column, task.text_pair_column, *task.label_columns, slices}
    unread = [column for column in columns if column not in used]
    labels = join_names(map(repr, task.label_columns))
    texts = "words" if task.form == "tags" else "text"
    sentence = f"{len(records):,} rows in {path} ({describe_how(how)}): {texts} in {task.text_column!r}, "
    sentence += f"second text in {task.text_pair_column!r}, " if task.text_pair_column else ""
    what = {"tags": "tags", "spans": "entities", "number": "number"}.get(task.form, "label")
    sentence += f"{what} in {labels}" + (f", slice in {slices!r}" if slices else "")
    sentence += f"; not read: {join_names(unread)}." if unread else "."
    scheme, form = labelled.scheme, labelled.number_form
    tags = f" The tags follow {scheme}." if scheme else ""
    fields = {
        "task": task.word,
        "text_column": task.text_column,
        "text_pair_column": task.text_pair_column,
        "label_column": task.label_column,
        "label_separator": task.label_separator,
        "number_form": None if form == PLAIN else form.example,
        "scheme": scheme,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    return {"path": path, **how, **known, "sentence": f"{sentence} {task.sentence}{tags}"}
