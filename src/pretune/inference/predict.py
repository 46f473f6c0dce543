"""From texts, or a file of any size, to labels and probabilities, or a file with both added."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from pretune.errors import InputDataError, UsageError
from pretune.inference.classify import Classifier, Text
from pretune.inference.load import ModelPlace, load_classifier, load_filler
from pretune.runtime.atomic import commit_file
from pretune.runtime.home import expand_home
from pretune.tasks.prediction import Prediction
from pretune.text.labels.entities import have_words, text_of_words
from pretune.text.labels.python_columns import is_table, names_of, rows_as_table, values_of
from pretune.text.labels.python_data import as_texts_or_pairs, examples_of
from pretune.text.labels.reader import without_labels
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.records import SAMPLE_ROWS, Record, replace_surrogates
from pretune.text.readers.tables import ending_of, iter_records, iter_stream_records, sniff_table, table_format_of
from pretune.text.reading_report import Findings, join_names, shorten
from pretune.text.sources.detect import TXT_ENDINGS, detect_text_column, has_column, text_of

ROWS_AT_A_TIME = 2048
CHARACTERS_AT_A_TIME = 1 << 22  # of long texts, fewer rows than that
TEXT = "text"
_TAKEN_PREFIX = "predicted_"  # of a new column whose name the input already has
_OUTPUT_ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PredictedFile:
    """The result of `predict_file`; `skipped` are the rows that did not parse, as a `flow` event lists them, and
    `warnings` are sentences about how the file was read.

    Rows that did not parse and rows without a text (`without_text`) are in the output in their places, with no label.
    """

    output: Path
    rows: int
    without_text: int
    text_column: str
    text_pair_column: str | None
    added_columns: tuple[str, ...]  # the first has the prediction in words, or as JSON
    skipped: list[dict[str, Any]]
    warnings: list[str]
    seconds: float


def predict(model: ModelPlace | Classifier, texts: Any, *, stack: bool = True) -> list[Prediction]:
    """The prediction for each text, in the order of `texts`; an empty prediction for None, NaN and blanks.

    `texts` is a list or column of texts, or of pairs of texts for a model that was trained on pairs, or a table with
    such a column: its only one, or the one that the model was trained on. `model` is a run, a stage folder, a
    checkpoint folder or a `pretune.Model`; without `stack`, linear models that are stacked on it are not used. Raises
    ModelNotFoundError, CorruptModelError or ModelError, and InputDataError for anything else than texts.
    """
    if isinstance(texts, str):
        raise InputDataError(f"{texts!r:.80} is a single text; expected a list: put it in [ ].")
    if isinstance(texts, Path):
        raise InputDataError(f"{str(texts)!r:.80} is a path; expected a list of texts: for a file, call predict_file.")
    classifier = _as_classifier(model, stack=stack)
    return classifier.predict(as_texts_or_pairs(_items_of(texts, classifier.columns)))


def _items_of(data: Any, columns: Mapping[str, str]) -> list[Any]:
    """The items of a list or column, or of a table in memory; `columns` are those that the model was trained on."""
    data = rows_as_table(data)
    if not is_table(data):
        return values_of(data)
    is_known = columns.get("text_column") in names_of(data)
    return examples_of(data, preferred=columns) if is_known else values_of(data)


def predict_file(
    model: ModelPlace | Classifier,
    input: Path | str,
    output: Path | str,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    on_progress: Callable[[int], None] | None = None,
    stack: bool = True,
) -> PredictedFile:
    """Write the rows of `input`, with the prediction added, to `output`, which must not exist yet.

    A classification adds a label and its probability, other tasks what they predict. Rows without a text and rows that
    do not parse get an empty prediction. The text column is the one that is given, else the one of the model's training
    file, else it is detected. The endings set the formats: txt (one text per line; written as text and prediction,
    separated by tabs), csv, tsv and jsonl, each also with .gz, .bz2, .xz or .zst. Cells are not changed, but NaN
    becomes an empty cell, or null. If the input has a column of a new name, such as `label`, the new one is called
    `predicted_label`. Rows are streamed, and the output appears once it is complete; `on_progress` is called with the
    number of rows done.

    Raises InputDataError for the input and UsageError for the output.
    """
    start = time.perf_counter()
    output = expand_home(output)
    _refuse_existing(output)
    if ending_of(output) not in _OUTPUT_ENDINGS:
        raise UsageError(
            f"{output} has no ending of a known format; expected one of {', '.join(_OUTPUT_ENDINGS)}, "
            "optionally followed by .gz, .bz2, .xz or .zst."
        )
    findings = Findings()
    classifier = _as_classifier(model, stack=stack)
    columns, second = classifier.columns, classifier.second_column(text_pair_column)
    names = classifier.task.prediction.cell_names
    rows = _Rows(
        input,
        text_column,
        findings,
        columns.get("text_column"),
        text_pair_column=second,
        reads_words=classifier.task.is_token_level,
        added=names,
    )
    done = without_text = 0

    def write(file: BinaryIO) -> None:
        nonlocal done, without_text
        _refuse_existing(output)  # again: another process may have written it while this one waited
        with _open_text(file, output) as stream:
            writer = _RowWriter(stream, output, rows)
            for chunk in _chunks(rows):
                predictions = classifier.predict([texts for _, texts in chunk])
                for (row, _), prediction in zip(chunk, predictions, strict=True):
                    writer.write(row, prediction)
                without_text += sum(prediction.is_empty for prediction in predictions)
                done += len(chunk)
                if on_progress is not None:
                    on_progress(done)

    commit_file(output, write)
    return PredictedFile(
        output=output,
        rows=done,
        without_text=without_text - findings.dropped.total,
        text_column=rows.text_column,
        text_pair_column=rows.text_pair_column,
        added_columns=rows.added,
        skipped=findings.dropped.to_event(),
        warnings=findings.sentences_about(input),
        seconds=time.perf_counter() - start,
    )


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise UsageError(f"{output} already exists and is not overwritten; choose another --output, or delete it.")


def read_texts(
    path: Path | str,
    text_column: str | None = None,
    preferred: str | None = None,
    findings: Findings | None = None,
    *,
    text_pair_column: str | None = None,
    reads_words: bool = False,
) -> list[Text]:
    """The texts of a file in any format that `predict_file` reads, one for each row; "" if the row does not parse.

    The column is the one that is given, else `preferred` if the file has it, else it is detected. With
    `text_pair_column`, the rows are pairs of texts. With `reads_words`, as for a model of entities, texts may be lists
    of words, which are joined by single blanks. What is found while reading is added to `findings`. Raises
    InputDataError.
    """
    rows = _Rows(
        path,
        text_column,
        Findings() if findings is None else findings,
        preferred,
        text_pair_column=text_pair_column,
        reads_words=reads_words,
    )
    return [texts for _, texts in rows]


class _Rows:
    """An iterator over the (row, text) of a file, whose first rows determine its columns and the names of new ones.

    With a `text_pair_column`, it is over (row, (first text, second text)). A row that does not parse is returned in its
    place, without cells and text.
    """

    def __init__(
        self,
        path: Path | str,
        text_column: str | None,
        findings: Findings,
        preferred: str | None = None,
        *,
        text_pair_column: str | None = None,
        reads_words: bool = False,
        added: tuple[str, ...] = (),
    ) -> None:
        self.name, self._findings = str(path), findings
        self._num_good = self._num_lost = 0  # rows that were returned
        expected = [name for name in (text_column, preferred, text_pair_column) if name is not None]
        records, is_plain = _open_rows(path, findings, expected)
        sample = list(itertools.islice(records, SAMPLE_ROWS))
        if not sample:
            raise InputDataError(f"{self.name} has no rows; expected at least one text.")
        self.columns = list(dict.fromkeys(name for record in sample for name in record.fields))
        if text_column is None and preferred is not None and has_column(sample, preferred):
            text_column = preferred
            self._note_missing_header(sample[0], preferred)
        elif text_column is None and is_plain:
            text_column = TEXT
        self.text_column = detect_text_column(sample, self.name, text_column)
        self._has_words = reads_words and have_words(sample, self.text_column)
        taken = {column.strip().casefold() for column in self.columns}
        self.added = tuple(f"{_TAKEN_PREFIX}{name}" if name in taken else name for name in added)
        if text_pair_column is not None and not has_column(sample, text_pair_column):
            raise InputDataError(
                f"{self.name} has no column {text_pair_column!r} for the second texts; its columns are "
                f"{join_names(self.columns, 20)}: name one with --text-pair-column."
            )
        self.text_pair_column = text_pair_column
        self._records = itertools.chain(sample, records)
        self._next: Record | None = next(self._records, None)

    def _note_missing_header(self, first: Record, column: str) -> None:
        """A number as the column of the training file means that neither file has a header; the user may not know."""
        if first.values is None and self.columns == [str(number) for number in range(1, len(self.columns) + 1)]:
            self._findings.notices.append(
                f"{self.name} is read without a header, like the model's training file, so line {first.line} is a text "
                f"({shorten(text_of(first, column), 60)!r}); if it has the names of the columns, name the one of the "
                "texts with --text-column."
            )

    def __iter__(self) -> Iterator[tuple[Row, Text]]:
        return self

    def __next__(self) -> tuple[Row, Text]:
        record = self._next
        lost = self._findings.unparsable_rows[self._num_lost : self._num_lost + 1]
        # All rows of a list may be on one line.
        if lost and (record is None or lost[0] <= (record.line, self._num_good)):
            self._num_lost += 1
            return {}, "" if self.text_pair_column is None else ("", "")
        if record is None:
            raise StopIteration
        self._num_good += 1
        self._next = next(self._records, None)
        if taken := set(self.added) & record.fields.keys():
            raise InputDataError(
                f"{self.name}, line {record.line}: the column {min(taken)!r} is needed for the prediction; rename it."
            )
        row: Row = record.fields if record.values is None else record.values
        text = (text_of_words if self._has_words else text_of)(record, self.text_column)
        if self.text_pair_column is None:
            return row, text
        return row, (text, text_of(record, self.text_pair_column))


def _chunks(rows: Iterable[tuple[Row, Text]]) -> Iterator[list[tuple[Row, Text]]]:
    """The rows in lists of `ROWS_AT_A_TIME`, or fewer once their texts have `CHARACTERS_AT_A_TIME` together."""
    chunk: list[tuple[Row, Text]] = []
    characters = 0
    for row, text in rows:
        chunk.append((row, text))
        characters += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(chunk) == ROWS_AT_A_TIME or characters >= CHARACTERS_AT_A_TIME:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _open_rows(path: Path | str, findings: Findings, expected: Sequence[str]) -> tuple[Iterator[Record], bool]:
    """The rows of a file, and whether they are its lines. If its name has the ending of a text, or none, the content
    decides whether it is a table."""
    kind = table_format_of(path)
    if kind == "parquet" or (kind is None and ending_of(path) not in (*TXT_ENDINGS, "")):
        return iter_records(path, findings=findings, columns=expected), False
    stream = TextStream(path, findings)
    if stream.is_guess:
        sentence = f"{path} is probably {stream.encoding.upper()}; if its texts look wrong, convert it to UTF-8."
        findings.warnings.append(sentence)
    kind = kind or sniff_table(stream.peek())
    if kind is None:
        return _iter_lines(stream), True
    return iter_stream_records(stream, kind, columns=expected, keep_crlf=True), False


def _iter_lines(stream: TextStream) -> Iterator[Record]:
    """A record for every line, also for empty ones, so that the lines of the output match those of the input.

    Labels in fastText's format are removed.
    """
    for number, line in enumerate(stream.lines(), 1):
        text = without_labels(line)
        yield Record({TEXT: text}, number, {TEXT: text})


class _RowWriter:
    """Writes rows in the format of a file's ending, with the cells of the input unchanged."""

    def __init__(self, stream: io.TextIOWrapper, output: Path, rows: _Rows) -> None:
        self._stream = stream
        self._rows = rows
        self._ending = ending_of(output)
        self._columns = [*rows.columns, *rows.added]
        self._writer = csv.writer(stream, delimiter="," if self._ending == ".csv" else "\t", lineterminator="\n")
        if self._ending in (".csv", ".tsv"):
            self._writer.writerow(map(replace_surrogates, self._columns))

    def write(self, row: Row, prediction: Prediction) -> None:
        added = dict(zip(self._rows.added, prediction.cells(), strict=True))
        if self._ending == ".jsonl":
            self._stream.write(_row_to_json({**row, **added}) + "\n")
        elif self._ending == ".txt":
            text = " ".join(prediction.text.split())
            cells = (text, *(_to_cell(added[column]) for column in added))
            self._stream.write("\t".join(cells) + "\n")
        else:
            if unknown := row.keys() - set(self._columns):
                raise InputDataError(
                    f"{self._rows.name} has rows with a key {min(unknown)!r} that its first rows lack, so a table "
                    "has no column for it; choose an --output that ends in .jsonl."
                )
            self._writer.writerow([_to_cell({**row, **added}.get(column)) for column in self._columns])


def _to_cell(value: Any) -> str:
    if value is None or value != value:  # a csv has no sign for NaN
        return ""
    is_json = isinstance(value, bool | list | tuple | dict)
    if is_json and _is_too_deep(value):
        return ""
    return _to_json(value) if is_json else replace_surrogates(str(value))


def _row_to_json(row: Row) -> str:
    """The row with null for each cell whose lists or objects nest too deeply to be written; some can just be read."""
    try:
        return _to_json(row)
    except RecursionError:
        return _to_json({column: None if _is_too_deep(cell) else cell for column, cell in row.items()})


def _is_too_deep(cell: Any) -> bool:
    try:
        _to_json([cell])  # nested as in a row
    except RecursionError:
        return True
    return False


def _to_json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        value = _without_nan(value)
        text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape but UTF-8 cannot encode
        return json.dumps(value, default=str)
    return text


def _without_nan(value: Any) -> Any:
    """The value with null for every number that JSON does not have: NaN and the infinite ones."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _open_text(file: BinaryIO, output: Path) -> Iterator[io.TextIOWrapper]:
    """A text stream that writes to an open file, compressed according to the ending; the file itself stays open."""
    ending = output.suffix.lower()
    binary: Any = file
    if ending == ".gz":  # without name and time, so that the same rows give the same bytes
        binary = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0)
    elif ending == ".bz2":
        binary = bz2.BZ2File(file, "wb")
    elif ending == ".xz":
        binary = lzma.LZMAFile(file, "wb")  # noqa: SIM115 - it is closed with the others
    elif ending in (".zst", ".zstd"):
        binary = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
    try:
        yield text
        text.detach()
        if binary is not file:
            binary.close()
    except BaseException:
        with suppress(Exception):  # the first error is the one that counts
            text.detach()
        with suppress(Exception):
            binary.close()
        raise


def _as_classifier(model: ModelPlace | Classifier, *, stack: bool) -> Classifier:
    return model if isinstance(model, Classifier) else load_classifier(model, stack=stack, on_gpu=True)


def looks_like_file(text: str) -> bool:
    """Whether a typed text is the name of an existing file of rows."""
    try:
        return (table_format_of(text) is not None or ending_of(text) in TXT_ENDINGS) and Path(text).is_file()
    except (OSError, ValueError):  # a long text is not a file name
        return False


def fill(model: ModelPlace, text: str, *, top: int = 5) -> dict[str, Any]:
    """The `top` words for each [MASK] in the text, with their probabilities, as JSON values.

    `{"text", "model", "masks": [[{"word", "probability"}]]}`, masks in the order of the text, best words first.
    Raises ModelNotFoundError, CorruptModelError or ModelError for the model and UsageError for the text.
    """
    filler = load_filler(model)
    return {
        "text": text,
        "model": str(filler.path),
        "masks": [
            [{"word": each.word, "probability": each.probability} for each in words] for words in filler.fill(text, top)
        ],
    }
