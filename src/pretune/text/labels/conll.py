"""Words in columns, one a line, with the word first and its tag last; blank lines end sentences (CoNLL)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from pretune.text.labels.tags import looks_like_tag
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.records import Malformed, Record
from pretune.text.reading_report import Findings

WORDS_COLUMN, TAGS_COLUMN = "tokens", "tags"
CONLL_ENDINGS = (".conll", ".iob", ".iob2", ".bio")
DOCUMENT_MARK = "-DOCSTART-"
_SAMPLE_LINES = 2_000
_MIN_TAGGED = 0.95  # of the lines of a sample
_MIN_WORDS = 3  # in a sample
_BLANKS = " \t\r"
# The count of a line that is no word of its own in CoNLL-U: 3-4 spans the words 3 and 4, and 8.1 is not in the text.
_NO_WORD = re.compile(r"\d+[-.]\d+")
_HEADERS = ("tag", "tags", "ner", "ner_tag", "ner_tags", "label", "labels", "iob", "bio")  # above the last column

_Row = tuple[int, list[str]]  # the number of a line, and its cells


def sniff_conll(head: str) -> bool:
    """Whether a text has words in columns: nearly every line a word first, a tag last, with blank lines between."""
    lines = head.lstrip("\n").split("\n")[:_SAMPLE_LINES]
    cells = [cells_of(line) for line in lines[:-1] if line.strip() and not _is_mark(line)]
    words = [row for row in cells if not row[0].startswith("#")]
    words = words[1:] if words and words[0][-1].casefold() in _HEADERS else words
    if len(words) < _MIN_WORDS or all(line.strip() for line in lines[:-1]):
        return False
    tagged = sum(len(row) > 1 and looks_like_tag(row[-1]) and " " not in row[0] for row in words)
    return tagged >= _MIN_TAGGED * len(words)


def cells_of(line: str) -> list[str]:
    """The cells of a line: between tabs if there are any, otherwise between blanks.

    Other white space, such as a no-break space between the digits of a number, is part of a word.
    """
    line = line.rstrip(_BLANKS)
    cells = line.split("\t") if "\t" in line.strip(_BLANKS) else re.split(r"[ \t]+", line.strip(_BLANKS))
    return [cell.strip() or cell.strip(_BLANKS) for cell in cells]


def iter_conll(stream: TextStream, findings: Findings, columns: Sequence[str] = ()) -> Iterator[Record]:
    """The sentences as records with the columns `tokens` and `tags`, and the line of the first word.

    If the first cells count the words of the sentences, the second ones are the words. `columns` may have numbers,
    counted from 1, of other columns to read. Comments, a header and the marks between documents are skipped; a line
    with a single cell is counted, and a file with many of them is refused (InputDataError).
    """
    numbers = [int(column) for column in columns if column.isdecimal() and int(column) > 0]
    malformed = Malformed(stream.name, findings)
    sentences = list(_iter_sentences(stream, malformed))
    is_counted = _are_counted(sentences)
    for rows in sentences:
        words = _without_others(rows, malformed) if is_counted else rows
        if words:
            yield _to_record(words, numbers, is_counted)
    malformed.refuse_if_too_many(is_end=True)


def _iter_sentences(stream: TextStream, malformed: Malformed) -> Iterator[list[_Row]]:
    """The lines of each sentence, none of them empty."""
    rows: list[_Row] = []
    for number, line in stream.numbered_lines():
        if not line.strip() or _is_mark(line):
            if rows:
                yield rows
            rows = []
            continue
        cells = cells_of(line)
        if _is_comment(cells):
            continue
        if len(cells) < 2 or not cells[0]:
            malformed.add("ragged_row", number, "expected a word and its tag, found a single cell", line)
            continue
        malformed.num_good += 1
        if malformed.num_good > 1 or cells[-1].casefold() not in _HEADERS:
            rows.append((number, cells))
    if rows:
        yield rows
    malformed.refuse_if_too_many(is_end=True)


def _without_others(rows: Sequence[_Row], malformed: Malformed) -> list[_Row]:
    """The lines of counted words, without those that are no words of their own, and without those that lack a tag."""
    words = []
    for number, cells in rows:
        if len(cells) < 3:
            problem = "expected the number of a word, the word and its tag, found two cells"
            malformed.add("ragged_row", number, problem, "\t".join(cells))
        elif not _NO_WORD.fullmatch(cells[0]):
            words.append((number, cells))
    return words


def _are_counted(sentences: Sequence[Sequence[_Row]]) -> bool:
    """Whether the first cells of a file count the words of each sentence, decided by most of its words.

    A sentence of the single word 1 looks counted in a file that is not.
    """
    num_counted = num_words = 0
    for rows in sentences:
        words = [cells for _, cells in rows if not _NO_WORD.fullmatch(cells[0])]
        are_counted = all(len(cells) > 2 and cells[0] == str(place) for place, cells in enumerate(words, 1))
        num_counted += len(words) if are_counted else 0
        num_words += len(words)
    return 2 * num_counted > num_words


def _to_record(rows: Sequence[_Row], numbers: Sequence[int], is_counted: bool) -> Record:
    values = {
        WORDS_COLUMN: [cells[int(is_counted)] for _, cells in rows],
        TAGS_COLUMN: [cells[-1] for _, cells in rows],
    }
    width = min(len(cells) for _, cells in rows)
    values |= {str(number): [cells[number - 1] for _, cells in rows] for number in numbers if number <= width}
    return Record({name: json.dumps(cell) for name, cell in values.items()}, rows[0][0], values)


def _is_mark(line: str) -> bool:
    return line.startswith(DOCUMENT_MARK)


def _is_comment(cells: Sequence[str]) -> bool:
    """Whether a line is a comment: it begins with # and does not end with a tag, as that of the word # does."""
    return cells[0].startswith("#") and not (len(cells) > 1 and looks_like_tag(cells[-1]))
