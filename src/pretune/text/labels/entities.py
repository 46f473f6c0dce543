"""Rows of words with tags, and of texts with spans, read as texts with entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretune.errors import InputDataError
from pretune.text.labels.label_text import compose, is_missing
from pretune.text.labels.several_labels import as_list
from pretune.text.labels.spans import Span, join_words, read_spans, spans_of_tags
from pretune.text.labels.tags import (
    MAX_REPAIRED_FRACTION,
    OUTSIDE,
    Scheme,
    count_repairs,
    detect_scheme,
    entities_of_tags,
)
from pretune.text.readers.records import Record, replace_surrogates
from pretune.text.reading_report import counted, shorten
from pretune.text.sources.detect import cell_of, text_of


@dataclass
class EntityRows:
    """The text of every row, and its entities: spans of that text in order, None where they are missing."""

    texts: list[str] = field(default_factory=list)
    spans: list[tuple[Span, ...] | None] = field(default_factory=list)
    scheme: Scheme | None = None  # of tags
    warnings: list[str] = field(default_factory=list)
    unused_names: tuple[str, ...] = ()  # tags that are given a name, but do not occur


def read_tagged(
    records: Sequence[Record],
    words_column: str,
    tags_column: str,
    path: str,
    tag_names: Mapping[str, str] | None = None,
) -> EntityRows:
    """Rows whose columns are lists of words and of tags; the words are joined by single blanks.

    `tag_names` are the names of tags that are numbers. Raises InputDataError, with the line, for lists of different
    length, for numbers without names, and for tags that follow no scheme.
    """
    rows = [_words_and_tags(record, words_column, tags_column, path, tag_names or {}) for record in records]
    try:
        scheme = detect_scheme(tags for _, tags in rows if tags is not None)
    except ValueError as error:
        raise InputDataError(
            f"{path}: {error}; expected one scheme in the whole file: IOB1, IOB2, IOBES or BILOU, with O for the words "
            "outside entities."
        ) from error
    found = EntityRows(scheme=scheme, unused_names=_unused_names(records, tags_column, tag_names or {}))
    for words, tags in rows:
        text, offsets = join_words(words)
        found.texts.append(text)
        found.spans.append(None if tags is None else spans_of_tags(tags, offsets))
    _count_repairs(records, [tags for _, tags in rows], path, found)
    return found


def _unused_names(records: Sequence[Record], tags_column: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """The tags among `names` that do not occur, except for numbers, of which a data set lists all that it may have."""
    if not names:
        return ()
    tags = {compose(str(tag).strip()) for record in records for tag in as_list(cell_of(record, tags_column)[1]) or ()}
    are_numbers = any(tag.isdigit() for tag in tags)
    return tuple(name for name in names if name not in tags and not (are_numbers and name.isdigit()))


def _words_and_tags(
    record: Record, words_column: str, tags_column: str, path: str, tag_names: Mapping[str, str]
) -> tuple[list[str], list[str] | None]:
    where = f"{path}, line {record.line}"
    words = as_list(cell_of(record, words_column)[1])
    value = cell_of(record, tags_column)[1]
    if words is None:
        if is_missing(cell_of(record, words_column)[1]):
            return [], None
        raise InputDataError(f"{where}: expected a list of words in the column {words_column!r}, found none.")
    if is_missing(value):
        return [_word(word) for word in words], None
    tags = as_list(value)
    if tags is None:
        raise InputDataError(f"{where}: expected a list of tags in the column {tags_column!r}, found {value!r:.60}.")
    if len(tags) != len(words):
        raise InputDataError(
            f"{where}: expected a tag for each word, found {len(words):,} in {words_column!r} and {len(tags):,} in "
            f"{tags_column!r}; correct the row."
        )
    return [_word(word) for word in words], [_tag(tag, where, tag_names) for tag in tags]


def _word(word: Any) -> str:
    return "" if is_missing(word) else replace_surrogates(str(word))


def _tag(tag: Any, where: str, names: Mapping[str, str]) -> str:
    if isinstance(tag, str):
        tag = compose(tag.strip())
        return names.get(tag, tag) or OUTSIDE
    if isinstance(tag, int) and str(tag) in names:
        return names[str(tag)]
    known = f"; --label-names has no name for {tag!r}" if names else ""
    raise InputDataError(
        f"{where}: the tags are numbers, such as {tag!r}, whose names are not in the file{known}: write the tags "
        "themselves, such as B-PER, or give their names, as in --label-names 0=O,1=B-PER,2=I-PER."
    )


def _count_repairs(
    records: Sequence[Record], rows: Sequence[Sequence[str] | None], path: str, found: EntityRows
) -> None:
    """Warn of entities that break the scheme; refuse a file in which most do, for the letters mean something else."""
    assert found.scheme is not None
    num_repaired = num_entities = 0
    first: tuple[int, Sequence[str]] | None = None
    for record, tags in zip(records, rows, strict=True):
        if tags is None:
            continue
        repaired = count_repairs(tags, found.scheme)
        num_repaired += repaired
        num_entities += len(entities_of_tags(tags)) if repaired or any(tag != OUTSIDE for tag in tags) else 0
        if repaired and first is None:
            first = record.line, tags
    if first is None:
        return
    shown = shorten(" ".join(tag for tag in first[1] if tag != OUTSIDE), 80)
    if found.scheme in ("IOBES", "BILOU") and num_repaired > MAX_REPAIRED_FRACTION * num_entities:
        raise InputDataError(
            f"{path}, line {first[0]}: the tags ({shown}) look like {found.scheme}, but {num_repaired:,} of "
            f"{num_entities:,} entities break that scheme; expected tags such as B-PER I-PER O: convert them."
        )
    are = counted(num_repaired, "entity breaks", "entities break")
    found.warnings.append(
        f"{path}: {are} the scheme {found.scheme}, first in line {first[0]} ({shown}); repaired: an inside tag with "
        "nothing before it begins an entity, and one without its end tag ends where the next begins."
    )


def read_with_spans(records: Sequence[Record], text_column: str, spans_column: str, path: str) -> EntityRows:
    """Rows with a text and a list of its entities by characters; see `read_spans` for what is refused.

    A row whose list is missing is not one without entities, which has an empty list.
    """
    found, num_trimmed = EntityRows(), 0
    for record in records:
        text, where = text_of(record, text_column), f"{path}, line {record.line}"
        value = cell_of(record, spans_column)[1]
        found.texts.append(text)
        if is_missing(value) or not text.strip():
            found.spans.append(None)
            continue
        items = as_list(value)
        if items is None:
            raise InputDataError(
                f"{where}: expected a list of entities in the column {spans_column!r}, found {value!r:.60}; write "
                "them as [[start, end, type], ...]."
            )
        spans, trimmed = read_spans(items, text, where)
        found.spans.append(spans)
        num_trimmed += trimmed
    if num_trimmed:
        had = counted(num_trimmed, "entity had a blank", "entities had blanks")
        found.warnings.append(f"{path}: {had} at the beginning or the end; left out of it.")
    return found


def have_words(records: Sequence[Record], column: str) -> bool:
    """Whether the cells of a column, except missing ones, are lists of words, as `read_tagged` takes them."""
    cells = [cell for record in records if not is_missing(cell := cell_of(record, column)[1])]
    return bool(cells) and all(as_list(cell) is not None for cell in cells)


def text_of_words(record: Record, column: str) -> str:
    """The text that `read_tagged` makes of the list of words in a cell; empty if there is no list."""
    return join_words(map(_word, as_list(cell_of(record, column)[1]) or ()))[0]


def are_tagged_words(words: Any, tags: Any) -> bool:
    """Whether two cells are a list of words and one of as many tags, which may be numbers."""
    one, other = as_list(words), as_list(tags)
    if one is None or other is None or len(one) != len(other):
        return False
    are_words = all(isinstance(word, str) for word in one)
    are_numbers = all(isinstance(tag, int) and not isinstance(tag, bool) for tag in other)
    return are_words and (are_numbers or all(isinstance(tag, str) and tag for tag in other))
