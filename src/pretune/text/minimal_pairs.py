"""Minimal pairs: two sentences that differ in one thing, of which one is acceptable and the other is not.

Two forms are read: tables with a column for each sentence, as BLiMP has them (arXiv:1912.00582), and text files with a
pair in two lines, the unacceptable sentence first, as Zorro has them (Huebner et al. 2021, BabyBERTa). Archives and
folders of such files are read as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pretune.errors import InputDataError
from pretune.text.raw.compression import ByteStream
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.json_rows import JSON_FORMATS, sniff_json
from pretune.text.readers.parquet import iter_parquet
from pretune.text.readers.records import Record
from pretune.text.readers.tables import TABLE_ENDINGS, ending_of, iter_stream_records
from pretune.text.reading_report import Findings, counted, join_names
from pretune.text.sources.archive_members import open_parts
from pretune.text.sources.files import find_files

GOOD_NAMES = ("good", "sentence_good", "good_sentence", "acceptable", "grammatical")
BAD_NAMES = ("bad", "sentence_bad", "bad_sentence", "unacceptable", "ungrammatical")
PARADIGM_NAMES = ("uid", "paradigm", "phenomenon", "linguistics_term", "label")


@dataclass(frozen=True, kw_only=True)
class MinimalPair:
    """An acceptable and an unacceptable sentence, and the contrast that they test."""

    good: str
    bad: str
    paradigm: str
    place: str  # file and line, for error messages


@dataclass(frozen=True, kw_only=True)
class MinimalPairs:
    """The pairs of a file in order, with how they were read, and the number of rows in which a sentence is blank."""

    pairs: tuple[MinimalPair, ...]
    detected: str
    skipped: int = 0

    def spread(self, limit: int | None) -> MinimalPairs:
        """At most `limit` pairs of each paradigm, evenly spaced, because neighbours are often variants of one pair."""
        if limit is None:
            return self
        by_paradigm: dict[str, list[MinimalPair]] = {}
        for pair in self.pairs:
            by_paradigm.setdefault(pair.paradigm, []).append(pair)
        chosen: list[MinimalPair] = []
        for pairs in by_paradigm.values():
            count = min(limit, len(pairs))
            chosen += [pairs[index * len(pairs) // count] for index in range(count)]
        return MinimalPairs(pairs=tuple(chosen), detected=self.detected, skipped=self.skipped)


def read_minimal_pairs(path: Path | str) -> MinimalPairs:
    """The pairs of a table, a text file, or an archive or folder of these.

    Raises InputDataError if the path cannot be read, a table lacks one of the two columns, a text file has an odd
    number of lines, or nothing is left.
    """
    findings = Findings()
    pairs: list[MinimalPair] = []
    skipped, how = 0, ""
    for file in find_files([path], findings):
        for part, open_part in open_parts(file, findings):
            found, how = _read_part(part.name, open_part(), findings)
            whole = [pair for pair in found if pair.good.strip() and pair.bad.strip()]
            skipped += len(found) - len(whole)
            pairs += whole
    if not pairs:
        raise InputDataError(f"{path} has no pair of two sentences; expected an acceptable and an unacceptable one.")
    paradigms = counted(len({pair.paradigm for pair in pairs}), "paradigm")
    return MinimalPairs(
        pairs=tuple(pairs), detected=f"Detected {path}: {len(pairs):,} pairs of {paradigms}, {how}.", skipped=skipped
    )


def _read_part(name: str, stream: ByteStream, findings: Findings) -> tuple[list[MinimalPair], str]:
    """The pairs of one file, and the form that they have in it."""
    paradigm = PurePosixPath(name).name.split(".")[0]
    kind = TABLE_ENDINGS.get(ending_of(name))
    if kind == "parquet":
        return _from_table(name, list(iter_parquet(stream, findings)), paradigm)
    text = TextStream(stream, findings)
    if text.is_empty:
        text.close()
        raise InputDataError(f"{name} is empty; expected minimal pairs.")
    kind = kind or sniff_json(text.peek())
    if kind is None:
        return list(_from_lines(name, text, paradigm)), "pairs of lines with the unacceptable sentence first"
    expected = () if kind in JSON_FORMATS else (*GOOD_NAMES, *BAD_NAMES)
    return _from_table(name, list(iter_stream_records(text, kind, columns=expected)), paradigm)


def _from_table(name: str, records: Sequence[Record], paradigm: str) -> tuple[list[MinimalPair], str]:
    columns = list(dict.fromkeys(column for record in records for column in record.fields))
    good, bad, group = (_find(columns, names) for names in (GOOD_NAMES, BAD_NAMES, PARADIGM_NAMES))
    if good is None or bad is None:
        raise InputDataError(
            f"{name} has no column for the {'acceptable' if good is None else 'unacceptable'} sentence; expected the "
            f"columns good and bad, found {join_names(columns, 20) or 'none'}."
        )
    pairs = [
        MinimalPair(
            good=record.fields.get(good, ""),
            bad=record.fields.get(bad, ""),
            paradigm=(record.fields.get(group, "") if group else "") or paradigm,
            place=f"{name}, line {record.line}",
        )
        for record in records
    ]
    named = "" if group is None else f", paradigms from {group!r}"
    return pairs, f"acceptable sentences from column {good!r}, unacceptable ones from {bad!r}{named}"


def _from_lines(name: str, text: TextStream, paradigm: str) -> Iterator[MinimalPair]:
    lines = [(line.strip(), number) for number, line in enumerate(text.lines(), 1) if line.strip()]
    if len(lines) % 2:
        raise InputDataError(
            f"{name} has an odd number of sentences ({len(lines):,}); expected pairs of lines, the unacceptable "
            "sentence first, or a table with the columns good and bad."
        )
    for (bad, number), (good, _) in zip(lines[::2], lines[1::2], strict=True):
        yield MinimalPair(good=good, bad=bad, paradigm=paradigm, place=f"{name}, line {number}")


def _find(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)
