"""Which task the rows of a file are labelled for, and in which columns and form; the reason is shown.

The choice is conservative: a file is one of single classes unless its content or well-known names of columns say
otherwise. A task that the user names is kept; labels that cannot be those of it are refused when they are checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from pretune.errors import InputDataError, UsageError
from pretune.text.labels.entities import are_tagged_words
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.labels.pairs import check_pair_column, find_pair_columns
from pretune.text.labels.reader import find_columns
from pretune.text.labels.scores import (
    are_measures,
    describe_measures,
    detect_number_form,
    have_decimal_commas,
    number_of,
)
from pretune.text.labels.several_labels import (
    FLAGS_JOINED_BY,
    MIN_FLAG_COLUMNS,
    as_list,
    count_with_sign,
    find_separator,
    flag_columns,
    named_columns,
    unless_flag,
)
from pretune.text.labels.spans import are_spans
from pretune.text.readers.records import OTHER_NAMES, SAMPLE_ROWS, Record
from pretune.text.reading_report import join_names
from pretune.text.sources.detect import (
    cell_of,
    find_text_column,
    has_column,
    label_column_by_name,
)

TaskName = Literal["classification", "multilabel", "regression", "tokens"]
TaskWord = Literal["auto", "classification", "multilabel", "pairs", "regression", "tokens"]
LabelForm = Literal["cell", "list", "joined", "flags", "number", "tags", "spans"]

WORDS_NAMES = ("tokens", "words", "token", "word")
TAGS_NAMES = ("tags", "ner_tags", "ner", "labels", "label", "bio", "iob", "bio_tags", "iob_tags", "tag")
SPANS_NAMES = ("spans", "entities", "ents", "annotations", "label", "labels", "ner")
_MOST = 0.5  # of the filled cells: with more lists than that, the column has lists


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns that the user, or the file that a model was trained on, names."""

    text: str | None = None
    label: str | None = None
    text_pair: str | None = None


@dataclass(frozen=True, kw_only=True)
class DetectedTask:
    """The task of a file, where its texts and labels are, how the labels are written, and why it was chosen."""

    task: TaskName
    text_column: str
    label_column: str  # for flags, the names of the columns joined by commas
    form: LabelForm
    sentence: str
    text_pair_column: str | None = None
    label_separator: str | None = None
    flags: tuple[str, ...] = ()  # the columns of 0 and 1

    @property
    def word(self) -> TaskWord:
        """The word for the task in `--task`."""
        return "pairs" if self.text_pair_column is not None else self.task

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns with labels; several if each stands for one label."""
        return self.flags or (self.label_column,)

    @property
    def columns(self) -> Columns:
        """The columns by which other files are read like this one, if they have them."""
        return Columns(text=self.text_column, label=self.label_column, text_pair=self.text_pair_column)


@dataclass(kw_only=True)
class _Table:
    """The rows of a file with what is known about them."""

    path: str
    records: Sequence[Record]
    given: Columns
    separator: str | None  # the user's
    preferred_separator: str | None  # of the file that a model was trained on
    has_pairs: bool  # whether rows have a second text in any case
    is_open: bool  # whether the task is to be detected

    def __post_init__(self) -> None:
        self.columns = list(dict.fromkeys(name for record in self.records for name in record.fields))
        self.sample = self.records[:SAMPLE_ROWS]

    def rows(self, count: int) -> str:
        return f"{count:,} of {len(self.records):,} rows"

    def labels(self, column: str) -> Counter[str]:
        """How often each label occurs in its written form; rows without one are not counted."""
        counts = Counter(label_text(cell_of(record, column)[0]) for record in self.records)
        del counts[""]
        return counts


def detect_task(
    path: str,
    records: Sequence[Record],
    *,
    task: TaskWord = "auto",
    given: Columns | None = None,
    label_separator: str | None = None,
    preferred_separator: str | None = None,
    has_pairs: bool = False,
) -> DetectedTask:
    """The task of a file's rows, by the user's word or, with `auto`, by their content.

    With `has_pairs`, a second text is read for classification and regression, too; a given column of it does the same.
    A `preferred_separator` is that of the file that a model was trained on: other files need not have several labels.

    Raises InputDataError if columns that the task needs are not found; the message names the columns of the file.
    Raises UsageError for a `label_separator` if no labels are joined.
    """
    given = given or Columns()
    table = _Table(
        path=path,
        records=records,
        given=given,
        separator=label_separator,
        preferred_separator=preferred_separator,
        has_pairs=has_pairs or given.text_pair is not None,
        is_open=task == "auto",
    )
    if task == "auto":
        _refuse_conversations(table)
        steps = (_as_entities_only, _as_pairs, _as_flags)
        found = next((found for step in steps if (found := step(table)) is not None), None)
        found = found or _by_labels(table, *_columns(table))
    else:
        found = _BY_WORD[task](table)
    _refuse_unused_separator(table, found)
    return replace(found, sentence=f"{'Task' if task != 'auto' else 'Detected task'} {found.word}: {found.sentence}")


def _refuse_conversations(table: _Table) -> None:
    """Refuse rows with lists of messages, which are for another command, unless the user names columns."""
    if table.given != Columns():
        return
    for column in table.columns:
        cells = [cell_of(record, column)[1] for record in table.sample]
        firsts = [cell[0] for cell in cells if isinstance(cell, list) and cell and isinstance(cell[0], dict)]
        if len(firsts) > len(cells) / 2 and all(first.keys() & {"role", "from"} for first in firsts):
            raise InputDataError(
                f"{table.path} has conversations in the column {column!r}, which have no labels; for a model that is "
                "to answer, use `pretune prepare FILE --task chat`, or name the columns of a text and a label."
            )


def _refuse_unused_separator(table: _Table, found: DetectedTask) -> None:
    """Raise UsageError for the user's separator if the labels are not joined: it would have no effect."""
    if table.separator is None or found.form == "joined":
        return
    reasons = {"list": "the labels of a row are a list", "flags": "each label has a column of 0 and 1"}
    reason = reasons.get(found.form, f"the rows are read for the task {found.word}, whose labels are not joined")
    advice = "leave it out" if found.task == "multilabel" else "leave it out, or give --task multilabel"
    raise UsageError(f"{table.path}: --label-separator is given, but {reason}; {advice}.")


# --- entities ---------------------------------------------------------------------------------------------------------


def _as_entities(table: _Table) -> DetectedTask | None:
    return _as_tags(table) or _as_spans(table)


def _as_entities_only(table: _Table) -> DetectedTask | None:
    """Entities, unless the file also has a text with a label, which count as before."""
    found = _as_entities(table)
    if found is None or table.given.label is not None:
        return found
    others = [_without(record, (found.label_column,)) for record in table.sample]
    label = label_column_by_name(others)
    has_labels = label is not None and any(as_list(cell_of(r, label)[1]) is None for r in others if r.fields.get(label))
    return None if has_labels and find_text_column(others, label) is not None else found


def _as_tags(table: _Table) -> DetectedTask | None:
    """Words and tags: two columns whose cells are lists of the same length."""
    words = _named(table, table.given.text, WORDS_NAMES)
    tags = _named(table, table.given.label, TAGS_NAMES)
    if words is None or tags is None or words == tags:
        return None
    cells = [(cell_of(record, words)[1], cell_of(record, tags)[1]) for record in table.sample]
    filled = [pair for pair in cells if not any(is_missing(cell) for cell in pair)]
    num_tagged = sum(are_tagged_words(*pair) for pair in filled)
    if not num_tagged or num_tagged <= _MOST * len(filled):
        return None
    sentence = f"a list of words in {words!r}, with as many tags in {tags!r}."
    return DetectedTask(task="tokens", text_column=words, label_column=tags, form="tags", sentence=sentence)


def _as_spans(table: _Table) -> DetectedTask | None:
    """A text, and a list of its entities by characters; if task and column are named, there may be no entity at all."""
    column = table.given.label
    is_named = column is not None and not table.is_open
    candidates = [column] if column else [c for c in table.columns if c.strip().casefold() in SPANS_NAMES]
    for column in candidates:
        cells = [as_list(cell_of(record, column)[1]) for record in table.records]
        filled = [cell for cell in cells if cell]
        is_empty = is_named and not filled and [] in cells
        num_spans = sum(are_spans(cell) for cell in filled)  # a few that are none are refused with their line
        if num_spans <= _MOST * len(filled) and not is_empty:
            continue
        text = table.given.text or find_text_column(table.sample, column)
        if text is None:
            continue
        sentence = f"entities by characters in {column!r}, in {table.rows(len(filled))}; their text is in {text!r}."
        return DetectedTask(task="tokens", text_column=text, label_column=column, form="spans", sentence=sentence)
    return None


def _tokens(table: _Table) -> DetectedTask:
    found = _as_entities(table)
    if found is None:
        raise InputDataError(
            f"{table.path} has no entities that are recognised (its columns are {join_names(table.columns, 20)}); "
            "expected words and tags in columns (CoNLL), lists of words and tags (tokens, tags), or a text and spans "
            "[[start, end, type], ...]: name other columns with --text-column and --label-column."
        )
    return found


def _named(table: _Table, given: str | None, names: Sequence[str]) -> str | None:
    if given is not None:
        return given if has_column(table.sample, given) else None
    by_name = {column.strip().casefold(): column for column in reversed(table.columns)}
    return next((by_name[name] for name in names if name in by_name), None)


# --- pairs ------------------------------------------------------------------------------------------------------------


def _as_pairs(table: _Table) -> DetectedTask | None:
    """Two texts by their usual names, or by the user's, and a label; a user who names one text has no pairs."""
    if table.has_pairs:
        return _pairs(table)
    if table.given.text is not None:
        return None
    names = find_pair_columns(table.columns, table.sample)
    if names is None or _label_of_pair(table, names) is None:
        return None
    return _pairs(table)


def _pairs(table: _Table, task: TaskName | None = None) -> DetectedTask:
    """Pairs for a task, or with labels and scores told apart."""
    found = find_pair_columns(table.columns, table.sample, table.given.text)
    second = table.given.text_pair or (found[1] if found else None)
    first = table.given.text or (found[0] if found and found[1] == second else None)
    if first is None and second is not None:
        first = _columns(table, without=second)[0]
    pair = check_pair_column(table.path, table.columns, table.records, second, first or "")
    label = _label_of_pair(table, (first or "", pair))
    text, label = _columns(table, text=first, label=label, without=pair)
    choose = {None: _class_or_number, "classification": _as_classes, "regression": _as_numbers}[task]
    chosen = choose(table, text, label)
    return replace(
        chosen, text_pair_column=pair, sentence=f"two texts a row, in {text!r} and {pair!r}, and {chosen.sentence}"
    )


def _label_of_pair(table: _Table, texts: tuple[str, str]) -> str | None:
    """The label column of a file with pairs: a usual name, or a column of few short cells."""
    if table.given.label is not None:
        return table.given.label
    others = [_without(record, texts) for record in table.sample]
    label = unless_flag(label_column_by_name(others), [c for c in table.columns if c not in texts], table.records)
    if label is not None:
        return label
    try:
        return find_columns(table.path, [_without(r, (texts[1],)) for r in table.records], texts[0], None)[1]
    except InputDataError:
        return None


def _without(record: Record, columns: Sequence[str]) -> Record:
    values = record.values
    return Record(
        {name: cell for name, cell in record.fields.items() if name not in columns},
        record.line,
        None if values is None else {name: cell for name, cell in values.items() if name not in columns},
    )


# --- several labels ---------------------------------------------------------------------------------------------------


def _as_flags(table: _Table) -> DetectedTask | None:
    """A column of 0 and 1 for each of several labels, if no other has the label, or the user names them all."""
    given = table.given.label or ""
    are_named = FLAGS_JOINED_BY in given
    if are_named and given not in table.columns:
        named = named_columns(given, table.records)
        if named is None:
            return None
        flags = named
    elif table.given.label is not None:
        return None
    else:
        columns = [column for column in table.columns if column != table.given.text]
        label, are_several = label_column_by_name(table.sample), not table.is_open
        if unless_flag(label, columns, table.records, are_several=are_several) is not None:
            return None
        flags = flag_columns(table.records, columns, with_words=are_several)
    text = table.given.text or find_text_column(table.sample)
    if text is None or (not are_named and len(flags) < MIN_FLAG_COLUMNS):
        return None
    sentence = f"a column of 0 and 1 for each of {len(flags)} labels ({join_names(flags)})."
    joined = FLAGS_JOINED_BY.join(flags)
    return DetectedTask(
        task="multilabel", text_column=text, label_column=joined, form="flags", flags=flags, sentence=sentence
    )


def _as_lists(table: _Table, text: str, label: str) -> DetectedTask | None:
    cells = [cell_of(record, label)[1] for record in table.records]
    lists = [found for cell in cells if (found := as_list(cell)) is not None]
    num_filled = sum(not is_missing(cell) for cell in cells)
    if not lists or len(lists) <= _MOST * num_filled:
        return None
    num_several = sum(len(found) > 1 for found in lists)
    sentence = f"several labels a row: {table.rows(len(lists))} have a list in {label!r}, {num_several:,} of them one "
    sentence += "with more than one label."
    return DetectedTask(task="multilabel", text_column=text, label_column=label, form="list", sentence=sentence)


def _as_joined(table: _Table, text: str, label: str) -> DetectedTask | None:
    counts = table.labels(label)
    given = table.separator or table.preferred_separator
    sign = given or find_separator(counts)
    is_detected = table.is_open and given is None
    if sign is None or (is_detected and sign == "," and have_decimal_commas(counts) and are_measures(counts)):
        return None
    number = count_with_sign(counts, sign)
    if table.separator is not None and not number:
        raise InputDataError(
            f"{table.path}: no cell of the column {label!r} contains {sign!r}, which --label-separator names; found "
            f"{join_names(map(repr, sorted(counts)), 4)}: correct the separator, or leave it out."
        )
    sentence = f"several labels a row: {table.rows(number)} have labels in {label!r} that are joined by {sign!r}."
    return DetectedTask(
        task="multilabel", text_column=text, label_column=label, form="joined", label_separator=sign, sentence=sentence
    )


def _multilabel(table: _Table) -> DetectedTask:
    flags = _as_flags(table)
    if flags is not None:
        return flags
    text, label = _columns(table)
    found = _as_lists(table, text, label) or _as_joined(table, text, label)
    if found is not None:
        return found
    sentence = f"at most one label a row in {label!r}; no list and no separator was found (see --label-separator)."
    return DetectedTask(task="multilabel", text_column=text, label_column=label, form="joined", sentence=sentence)


# --- one label or number ----------------------------------------------------------------------------------------------


def _by_labels(table: _Table, text: str, label: str) -> DetectedTask:
    found = _as_lists(table, text, label) or _as_joined(table, text, label)
    return found or _class_or_number(table, text, label)


def _class_or_number(table: _Table, text: str, label: str) -> DetectedTask:
    choose = _as_numbers if are_measures(table.labels(label)) else _as_classes
    return choose(table, text, label)


def _as_numbers(table: _Table, text: str, label: str) -> DetectedTask:
    sentence = f"the labels in {label!r} are {describe_measures(table.labels(label))}, a measurement."
    return DetectedTask(task="regression", text_column=text, label_column=label, form="number", sentence=sentence)


def _as_classes(table: _Table, text: str, label: str) -> DetectedTask:
    sentence = f"each row has one label, in {label!r}; {len(table.labels(label)):,} classes."
    return DetectedTask(task="classification", text_column=text, label_column=label, form="cell", sentence=sentence)


def _classification(table: _Table) -> DetectedTask:
    return _pairs(table, "classification") if table.has_pairs else _as_classes(table, *_columns(table))


def _regression(table: _Table) -> DetectedTask:
    if table.has_pairs:
        return _pairs(table, "regression")
    label = table.given.label or label_column_by_name(table.sample) or _only_numbers(table)
    if label is None:
        raise InputDataError(
            f"{table.path} has no column that looks like the numbers to predict (its columns are "
            f"{join_names(table.columns, 20)}); name it with --label-column."
        )
    return _as_numbers(table, *_columns(table, label=label))


def _only_numbers(table: _Table) -> str | None:
    """The only column of numbers that is no identifier."""
    text = table.given.text or find_text_column(table.sample)
    columns = [c for c in table.columns if c != text and c.strip().casefold() not in OTHER_NAMES]
    found = [column for column in columns if _are_numbers([r.fields.get(column, "") for r in table.records])]
    return found[0] if len(found) == 1 else None


def _are_numbers(cells: Sequence[str]) -> bool:
    form = detect_number_form(cells)
    numbers = [number_of(cell, form) for cell in cells]
    known = {number for number in numbers if number == number}
    counted = [int(number) for number in known if number is not None and number.is_integer()]
    is_index = len(counted) == len(cells) and max(counted) - min(counted) == len(cells) - 1
    return None not in known and len(known) > 1 and not is_index


def _columns(
    table: _Table, *, text: str | None = None, label: str | None = None, without: str | None = None
) -> tuple[str, str]:
    """The columns of texts and labels, found as they always were."""
    records = table.records if without is None else [_without(record, (without,)) for record in table.records]
    text, label = text or table.given.text, label or table.given.label
    try:
        return find_columns(table.path, records, text, label)
    except InputDataError:
        found = _only_numbers(table) if label is None else None
        if found is None or not are_measures(table.labels(found)):
            raise
        return find_columns(table.path, records, text, found)


_BY_WORD: Mapping[str, Callable[[_Table], DetectedTask]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "pairs": _pairs,
    "regression": _regression,
    "tokens": _tokens,
}
assert set(_BY_WORD) | {"auto"} == set(get_args(TaskWord))
