"""From texts, or a file of any size, to labels and probabilities, or a file with both added."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from pretune.errors import InputDataError, UsageError
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier, load_filler
from pretune.runtime.atomic import commit_file
from pretune.tasks.prediction import Prediction
from pretune.text.labels.label_text import is_missing
from pretune.text.labels.reader import without_labels
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.delimited import sniff_tab_table
from pretune.text.readers.records import SAMPLE_ROWS, Record, replace_surrogates
from pretune.text.readers.tables import ending_of, iter_records, iter_stream_records, table_format_of
from pretune.text.reading_report import Findings
from pretune.text.sources.detect import TXT_ENDINGS, detect_text_column, has_column, text_of

ROWS_AT_A_TIME = 2048
TEXT, LABEL, PROBABILITY = "text", "label", "probability"
_NAMES_IF_TAKEN = {LABEL: "predicted_label", PROBABILITY: "predicted_probability"}
_OUTPUT_ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PredictedFile:
    """The result of `predict_file`; `skipped` are the rows that did not parse, as a `flow` event lists them.

    Those rows and the rows without a text (`without_text`) are in the output, in their places, without a label.
    """

    output: Path
    rows: int
    without_text: int
    text_column: str
    label_column: str
    probability_column: str
    skipped: list[dict[str, Any]]
    seconds: float


def predict(
    model: Path | str | Classifier, texts: Sequence[str | float | None], *, stack: bool = True
) -> list[Prediction]:
    """The label and probabilities of each text, in the order of `texts`; an empty prediction for None, NaN and blanks.

    `model` is a run, a stage folder or a checkpoint folder; without `stack`, an n-gram model beside it is not used.
    Raises ModelNotFoundError, CorruptModelError or ModelError,
    and InputDataError for a single string.
    """
    if isinstance(texts, str):
        raise InputDataError(f"{texts!r:.80} is a single text; expected a list: put it in [ ].")
    cleaned = ["" if is_missing(text) else str(text) for text in texts]
    return _as_classifier(model, stack=stack).predict(cleaned)


def predict_file(
    model: Path | str | Classifier,
    input: Path | str,
    output: Path | str,
    *,
    text_column: str | None = None,
    on_progress: Callable[[int], None] | None = None,
    stack: bool = True,
) -> PredictedFile:
    """Write the rows of `input`, with a label and a probability added, to `output`, which must not exist yet.

    Rows without a text and rows that do not parse get an empty label. The text column is the one that is given, else
    the one of the model's training file, else it is detected. The endings set the formats: txt (one text per line;
    written as text, label and probability, separated by tabs), csv, tsv and jsonl, each also with .gz or .zst. Cells
    are not changed. If the input has a column `label` or `probability`, the new one is called `predicted_...`. Rows are
    streamed, and the output appears once it is complete; `on_progress` is called with the number of rows done. Raises
    InputDataError for the input and UsageError for the output.
    """
    start = time.perf_counter()
    output = Path(output).expanduser()
    if output.exists():
        raise UsageError(f"{output} already exists and is not overwritten; choose another --output, or delete it.")
    if ending_of(output) not in _OUTPUT_ENDINGS:
        raise UsageError(
            f"{output} has no ending of a known format; expected one of {', '.join(_OUTPUT_ENDINGS)}, "
            "optionally followed by .gz or .zst."
        )
    findings = Findings()
    classifier = _as_classifier(model, stack=stack)
    rows = _Rows(input, text_column, findings, classifier.columns.get("text_column"))
    done = without_text = 0

    def write(file: BinaryIO) -> None:
        nonlocal done, without_text
        with _open_text(file, output) as stream:
            writer = _RowWriter(stream, output, rows)
            while chunk := list(itertools.islice(rows, ROWS_AT_A_TIME)):
                predictions = classifier.predict([text for _, text in chunk])
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
        label_column=rows.label_column,
        probability_column=rows.probability_column,
        skipped=findings.dropped.to_event(),
        seconds=time.perf_counter() - start,
    )


def read_texts(path: Path | str, text_column: str | None = None, preferred: str | None = None) -> list[str]:
    """The texts of a file in any format that `predict_file` reads, one for each row; "" if the row does not parse.

    The column is the one that is given, else `preferred` if the file has it, else it is detected. Raises
    InputDataError.
    """
    return [text for _, text in _Rows(path, text_column, Findings(), preferred)]


class _Rows:
    """An iterator over the (row, text) of a file, whose first rows determine its columns and the names of new ones.

    A row that does not parse is returned in its place, without cells and text.
    """

    def __init__(
        self, path: Path | str, text_column: str | None, findings: Findings, preferred: str | None = None
    ) -> None:
        self.name, self._findings, self._num_lost = str(path), findings, 0
        is_plain = False
        if table_format_of(path) is None and ending_of(path) in (*TXT_ENDINGS, ""):
            stream = TextStream(path, findings)
            is_plain = not sniff_tab_table(stream.peek())
            records = _iter_lines(stream) if is_plain else iter_stream_records(stream, "tsv")
        else:
            wanted = () if text_column is None else (text_column,)
            records = iter_records(path, findings=findings, columns=wanted)
        sample = list(itertools.islice(records, SAMPLE_ROWS))
        if not sample:
            raise InputDataError(f"{self.name} has no rows; expected at least one text.")
        self.columns = list(dict.fromkeys(name for record in sample for name in record.fields))
        if text_column is None and preferred is not None and has_column(sample, preferred):
            text_column = preferred
        elif text_column is None and is_plain:
            text_column = TEXT
        self.text_column = detect_text_column(sample, self.name, text_column)
        taken = {column.strip().casefold() for column in self.columns}
        self.label_column, self.probability_column = (
            _NAMES_IF_TAKEN[name] if name in taken else name for name in (LABEL, PROBABILITY)
        )
        self._records = itertools.chain(sample, records)
        self._next: Record | None = next(self._records, None)

    def __iter__(self) -> Iterator[tuple[Row, str]]:
        return self

    def __next__(self) -> tuple[Row, str]:
        record = self._next
        lost = self._findings.unparsable_lines
        if self._num_lost < len(lost) and (record is None or lost[self._num_lost] < record.line):
            self._num_lost += 1
            return {}, ""
        if record is None:
            raise StopIteration
        self._next = next(self._records, None)
        if taken := {self.label_column, self.probability_column} & record.fields.keys():
            raise InputDataError(
                f"{self.name}, line {record.line}: the column {min(taken)!r} is needed for the prediction; rename it."
            )
        row: Row = record.fields if record.values is None else record.values
        return row, text_of(record, self.text_column)


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
        self._columns = [*rows.columns, rows.label_column, rows.probability_column]
        self._writer = csv.writer(stream, delimiter="," if self._ending == ".csv" else "\t", lineterminator="\n")
        if self._ending in (".csv", ".tsv"):
            self._writer.writerow(map(replace_surrogates, self._columns))

    def write(self, row: Row, prediction: Prediction) -> None:
        added = {
            self._rows.label_column: prediction.label,
            self._rows.probability_column: None if prediction.is_empty else round(prediction.probability or 0.0, 6),
        }
        if self._ending == ".jsonl":
            self._stream.write(_to_json({**row, **added}) + "\n")
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
    if value is None:
        return ""
    return replace_surrogates(value) if isinstance(value, str) else _to_json(value)


def _to_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can escape but UTF-8 cannot encode
        return json.dumps(value, default=str)
    return text


@contextmanager
def _open_text(file: BinaryIO, output: Path) -> Iterator[io.TextIOWrapper]:
    """A text stream that writes to an open file, compressed according to the ending; the file itself stays open."""
    ending = output.suffix.lower()
    binary: Any = file
    if ending == ".gz":  # without name and time, so that the same rows give the same bytes
        binary = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0)
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


def _as_classifier(model: Path | str | Classifier, *, stack: bool) -> Classifier:
    return model if isinstance(model, Classifier) else load_classifier(model, stack=stack)


def looks_like_file(text: str) -> bool:
    """Whether a typed text is the name of an existing file of rows."""
    try:
        return (table_format_of(text) is not None or ending_of(text) in TXT_ENDINGS) and Path(text).is_file()
    except (OSError, ValueError):  # a long text is not a file name
        return False


def fill(model: Path | str, text: str, *, top: int = 5) -> dict[str, Any]:
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
