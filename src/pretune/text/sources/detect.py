"""How to read a file, judged from a sample: its format, its text column, and what one document is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pretune.errors import InputDataError
from pretune.text.arrays.scripts import count_words
from pretune.text.raw.archives import MANY_FILES
from pretune.text.raw.charset import has_too_many_controls
from pretune.text.readers.delimited import sniff_tab_table
from pretune.text.readers.hard_wrap import is_wrapped
from pretune.text.readers.json_rows import sniff_json
from pretune.text.readers.records import LABEL_NAMES, OTHER_NAMES, TEXT_NAMES, Record, cell_text
from pretune.text.readers.tables import TABLE_ENDINGS
from pretune.text.reading_report import join_names

TextUnit = Literal["line", "paragraph", "file"]
FileFormat = Literal[
    "txt", "md", "html", "xml", "csv", "tsv", "jsonl", "json", "parquet", "pdf", "docx", "mbox", "eml"
]  # fmt: skip

TXT_ENDINGS = (".txt", ".text", ".md", ".markdown", ".rst", ".log")
ARCHIVE_ENDINGS = (".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")
FORMAT_OF_ENDING: Mapping[str, FileFormat] = {
    ".txt": "txt",
    ".text": "txt",
    ".rst": "txt",
    ".log": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".xml": "xml",
    ".pdf": "pdf",
    ".docx": "docx",
    ".mbox": "mbox",
    ".mbx": "mbox",
    ".eml": "eml",
    **TABLE_ENDINGS,
}
KNOWN_ENDINGS = frozenset((*FORMAT_OF_ENDING, *ARCHIVE_ENDINGS))
MIN_FILLED = 0.5  # of the cells of a text column
FAR_SHORTER = 0.25  # of the words of the longest column; a column with fewer is a title
LONGEST_LABEL = 80  # characters on average; longer cells are not labels
MISSING_WORDS = ("None", "NaN", "nan")  # for a missing value, in formats without types
SHORT_FILE_CHARACTERS = 20_000  # of a text file that is one document if its folder has many
SHORT_BLOCK_LINES = 12
_HTML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_XML = re.compile(r"\s*<\?xml\s")
_MBOX = re.compile(r"From \S[^\n]{0,200} \d\d:\d\d[^\n]{0,40}\n[!-9;-~]{1,60}:[ \t]")
_MAIL = re.compile(r"[A-Z][!-9;-~]{1,60}:[ \t][^\n]*\n")
_MAIL_HEADERS = re.compile(
    r"^(?:From|To|Subject|Date|Message-ID|Received|Return-Path|MIME-Version|Delivered-To|Content-Type|Newsgroups):",
    re.IGNORECASE | re.MULTILINE,
)
_PDF = b"%PDF-"


def detect_text_column(sample: Sequence[Record], path: str, given: str | None = None) -> str:
    """The column with the text: the given one, else one with a usual name, else the one with the longest texts.

    `a.b` is the value of b in the objects of column a; such a column is used if no other has text. The label column
    is the last choice. Raises InputDataError if the given column does not exist or no column contains words.
    """
    columns = list(dict.fromkeys(name for record in sample for name in record.fields))
    if given is not None:
        if not has_column(sample, given):
            names = [*columns, *(name for name in _inner_columns(sample) if name not in columns)]
            raise InputDataError(f"{path} has no column {given!r}; its columns are {join_names(names)}.")
        return given
    found = find_text_column(sample, label_column_by_name(sample)) or find_text_column(sample)
    if found is None:
        raise InputDataError(f"{path} has no column with text among {join_names(columns)}; name it with --text-column.")
    return found


def find_text_column(sample: Sequence[Record], label: str | None = None) -> str | None:
    """The column with the text, preferably not `label`; None if there is none."""
    every = list(dict.fromkeys(name for record in sample for name in record.fields))
    columns = [name for name in every if name != label]
    inner = [name for name in _inner_columns(sample) if name not in (*every, label)]
    tries = ((columns, False), (inner, False), (columns, True))
    return next((found for names, last in tries if (found := _column_with_text(sample, names, last))), None)


def all_text_columns(sample: Sequence[Record], column: str) -> list[str]:
    """The text column and every other one with two words a cell or more, except labels, names and the like."""
    every = list(dict.fromkeys(name for record in sample for name in record.fields))
    every += [name for name in _inner_columns(sample) if name not in every]
    label = label_column_by_name(sample)
    found = []
    for name in every:
        words, filled = _count_words(sample, name)
        is_other = name == label or name.rpartition(".")[2].strip().casefold() in OTHER_NAMES
        if name == column or (words >= 2 * max(1, filled) and not is_other):
            found.append(name)
    return found


def label_column_by_name(sample: Sequence[Record]) -> str | None:
    """The column with a usual name for labels and cells short enough for labels; None if there is none."""
    columns = dict.fromkeys(name for record in sample for name in record.fields)
    short = [c for c in columns if are_short({r.fields.get(c, "").strip() for r in sample} - {""})]
    return column_by_name(short, LABEL_NAMES)


def column_by_name(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The column with the earliest of the names; failing that, one with such a name as a word (review_text)."""
    words = {column: words_of_name(column) for column in columns}
    for matches in (lambda name, column: name == column.strip().casefold(), lambda name, column: name in words[column]):
        for name in names:
            for column in words:
                if matches(name, column):
                    return column
    return None


def words_of_name(column: str) -> list[str]:
    """The words in the name of a column: review and text in Review_Text."""
    return re.split(r"[\W_]+", column.strip().casefold())


def are_short(cells: set[str]) -> bool:
    """Whether distinct cells are as short as labels, on average."""
    return sum(map(len, cells)) <= LONGEST_LABEL * len(cells)


def has_column(records: Sequence[Record], column: str) -> bool:
    """Whether one of the records has the column, which may be of the form `a.b`."""
    return any(column in r.fields or cell_of(r, column)[1] is not None for r in records)


def find_column(records: Sequence[Record], name: str) -> str | None:
    """The column with this name, in upper or lower case; None if there is none."""
    return next((field for record in records for field in record.fields if field.casefold() == name.casefold()), None)


def text_of(record: Record, column: str) -> str:
    """The text of a row, as every command reads it: empty for a number, a list, an object, and for `NaN` in a csv."""
    text, value = cell_of(record, column)
    if record.values is None:
        return "" if text.strip() in MISSING_WORDS else text
    return text if isinstance(value, str) else ""


def cell_of(record: Record, column: str) -> tuple[str, Any]:
    """A cell as text and as it was; if there is no column `a.b`, the value of b in the object in column a."""
    if column in record.fields or record.values is None:
        return record.fields.get(column, ""), (record.values or record.fields).get(column)
    value: Any = record.values
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return cell_text(value), value


def _inner_columns(sample: Sequence[Record]) -> list[str]:
    """The columns `a.b` and `a.b.c` of objects inside columns."""
    names: dict[str, None] = {}
    for record in sample:
        for name, cell in (record.values or {}).items():
            for key, value in cell.items() if isinstance(cell, dict) else ():
                inner = value if isinstance(value, dict) else None
                names.update(
                    dict.fromkeys([f"{name}.{key}"] if inner is None else [f"{name}.{key}.{k}" for k in inner])
                )
    return list(names)


def _column_with_text(sample: Sequence[Record], columns: Sequence[str], is_last_try: bool) -> str | None:
    """The column with a usual name, else the one with the longest texts.

    A usual name counts if most of its cells are filled, with words, and no other column has far longer texts: given
    `Title` and `Review Text`, the second is the text. Only `text` itself counts without this comparison. On the last
    try, a single filled cell with a word is enough.
    """
    counted = {column: _count_words(sample, column) for column in columns}
    by_name = {column.rpartition(".")[2].casefold(): column for column in reversed(columns)}
    by_name |= {column.casefold(): column for column in reversed(columns)}
    # Failing that, a name that contains such a word: review_text, tweet_text.
    for column in reversed(columns):
        for word in re.split(r"[\W_]+", column.casefold()):
            by_name.setdefault(word, column)
    most_words = max((words for words, _ in counted.values()), default=0)
    for name in TEXT_NAMES:
        words, filled = counted.get(by_name.get(name, ""), (0, 0))
        if name != TEXT_NAMES[0] and words < FAR_SHORTER * most_words:
            continue
        if words >= (1 if is_last_try else filled) and filled >= (1 if is_last_try else MIN_FILLED * len(sample)):
            return by_name[name]
    best = max(columns, key=lambda column: counted[column][0], default=None)
    words, filled = (0, 1) if best is None else counted[best]
    return best if words >= 2 * (max(1, filled) if is_last_try else len(sample)) else None


def _count_words(sample: Sequence[Record], column: str) -> tuple[int, int]:
    """The number of words in a column, and the number of its cells that are not blank."""
    filled = [text for record in sample if (text := text_of(record, column)).strip()]
    return sum(count_words(text[:2000]) for text in filled if _is_text(text)), len(filled)


def _is_text(cell: str) -> bool:
    return any(character.isalpha() for character in cell[:200])


def detect_text_unit(head: str, *, is_whole_file: bool, files_in_folder: int = 0) -> TextUnit:
    """What one document is in a plain text file.

    Blocks of several lines between blank lines are documents, and so are the paragraphs of a long hard-wrapped text,
    see `hard_wrap.paragraph_width`; a short one is a single document. Otherwise every line is one. A short file among
    many is one document.
    """
    if is_whole_file and files_in_folder >= MANY_FILES and len(head) <= SHORT_FILE_CHARACTERS:
        return "file"
    lines = [line.strip() for line in head.split("\n")]
    blocks = [block for block in "\n".join(lines).split("\n\n") if block.strip()]
    lines_per_block = sum(map(bool, lines)) / max(1, len(blocks))
    # A list of lines with a stray blank line also has long blocks.
    if len(blocks) > 1 and 1.5 <= lines_per_block <= SHORT_BLOCK_LINES:
        return "paragraph"
    if not is_wrapped(lines):
        return "line"
    return "file" if is_whole_file and len(blocks) <= 1 else "paragraph"


def sniff_document(head: bytes, by_name: FileFormat | None) -> FileFormat | None:
    """The format of bytes that are not text, if the first ones identify it: parquet, pdf or docx.

    The mark of a PDF may come after other bytes, unless these are those of a text, which may mention it. A docx is a
    zip archive with that ending.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if _PDF in head[:1024] and (head.startswith(_PDF) or by_name == "pdf" or has_too_many_controls(head)):
        return "pdf"
    return "docx" if by_name == "docx" and head.startswith(b"PK") else None


def choose_format(by_name: FileFormat | None, head: str) -> FileFormat:
    """The format of a text: the one its name says, unless its beginning is clearly another."""
    by_content = sniff_format(head)
    if by_content is None and by_name in ("txt", None) and sniff_tab_table(head):
        return "tsv"
    if by_content is None or (by_name == "md" and by_content != "mbox"):
        return by_name or "txt"
    return by_content


def sniff_format(head: str) -> FileFormat | None:
    """The format of a text if its beginning is unmistakable: html, xml, json, jsonl, mbox or eml; otherwise None."""
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "xml"
    if _MBOX.match(head):
        return "mbox"
    if _MAIL.match(head) and len(_MAIL_HEADERS.findall(head.split("\n\n", 1)[0])) >= 3:
        return "eml"
    return sniff_json(head)
