"""Stage 4: a file of labelled texts and the model's tokenizer in; checked, split, encoded rows out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.data.shards import ShardWriter
from pretune.errors import CorruptModelError, InputDataError, ModelNotFoundError, UsageError
from pretune.runtime.artifacts import (
    MANIFEST_NAME,
    Manifest,
    StageFolder,
    hash_file,
    open_stage,
    read_manifest,
    write_json,
    write_text,
)
from pretune.runtime.memory import peak_memory_bytes
from pretune.stages.config import PrepareConfig, to_dict
from pretune.text import lint as rules
from pretune.text.findings import shorten
from pretune.text.labeled import LabeledRows, read_labeled
from pretune.text.lint import LabeledRow, Lint
from pretune.text.normalize import clean_text
from pretune.text.splits import SPLITS, Split, assign_splits, hash_unit, normalise_for_hash, split_of
from pretune.text.tokenizer import TOKENIZER_CONFIG_NAME, TOKENIZER_NAME, Tokenizer, cut_middle, load_tokenizer

_BATCH_ROWS = 500
_LONGEST_ROW = 512  # tokens that a prediction reads at most, whatever the model can
_SHORTEST_ROW = 8  # tokens; below, nothing of a text is left
LABELS_NAME = "labels.json"


@dataclass(frozen=True, kw_only=True)
class _Base:
    """What stage 4 takes from the model: its tokenizer, and what earlier stages passed on."""

    tokenizer_folder: Path
    max_seq_len: int | None  # the longest row the model reads, where its config tells
    is_synthetic: bool
    example: str | None  # the text that is carried through all stages


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """The rows of each split, the labels in the order of the classes, the classes' names, and how it came to them."""

    by_split: dict[Split, list[LabeledRow]]
    labels: list[str]
    names: list[str]
    num_moved: int  # rows that changed sides for the sake of small classes
    files: list[LabeledRows]
    lint: Lint

    @property
    def all(self) -> list[LabeledRow]:
        return [row for split in SPLITS for row in self.by_split[split]]


def prepare(
    labels: Path,
    out: Path,
    config: PrepareConfig = PrepareConfig(),
    *,
    base: Path,
    test_labels: Path | None = None,
    redo: bool = False,
) -> Manifest:
    """Check, split and encode the rows of `labels` for fine-tuning the model in `base`.

    `base` is the folder of stage 3, or any model folder. With `test_labels` these are the test split, and `labels` is
    split into training and validation only. Raises InputDataError for what cannot work (see `pretune.text.lint`),
    ModelNotFoundError where `base` has no tokenizer; a refusal leaves no folder behind.
    """
    labels, test_labels = Path(labels), None if test_labels is None else Path(test_labels)
    source = _read_base(Path(base))
    files = {"labels": labels} if test_labels is None else {"labels": labels, "test_labels": test_labels}
    inputs = {name: _fingerprint(path) for name, path in files.items()}
    inputs["tokenizer"] = hash_file(source.tokenizer_folder / TOKENIZER_NAME)
    folder = open_stage(Path(out), "prepare", config=to_dict(config), inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        _Preparation(folder, config, source, files).run()
    return folder.manifest


def check_labeled_file(labels: Path, config: PrepareConfig, test_labels: Path | None = None) -> None:
    """Raise at once, without a model, the InputDataError with which `prepare` would refuse these files.

    For whoever is about to spend an hour on pre-training first. Only what depends on the tokenizer is left out.
    """
    _read_rows(Path(labels), None if test_labels is None else Path(test_labels), config)


class _Preparation:
    """One run of the stage: what its steps share, and the steps in order."""

    def __init__(self, folder: StageFolder, config: PrepareConfig, base: _Base, files: dict[str, Path]) -> None:
        self.start = time.monotonic()
        self.folder, self.config, self.base = folder, config, base
        inputs = {name: str(path) for name, path in files.items()}
        folder.log.write("stage_started", config=to_dict(config), inputs=inputs, synthetic=base.is_synthetic)
        self.max_seq_len = _choose_length(config.max_seq_len, base.max_seq_len)
        self.rows = _read_rows(files["labels"], files.get("test_labels"), config)
        self.lint = self.rows.lint
        self.num_tokens = dict.fromkeys(SPLITS, 0)
        self.num_cut = dict.fromkeys(SPLITS, 0)
        self.num_encoded = 0
        self.told = 0.0  # seconds after the start at which progress was last logged

    def run(self) -> None:
        log = self.folder.log
        for file in self.rows.files:
            log.write("detected", **file.detected)
        if self.rows.num_moved:
            sentence = (
                f"Rows that change sides, so that every class can be learnt and validated: {self.rows.num_moved:,}."
            )
            log.write("notice", sentence=sentence)
        rows = self.rows
        tokenizer = load_tokenizer(self.base.tokenizer_folder)
        encoded = {split: self._encode(tokenizer, rows.by_split[split], split) for split in SPLITS}
        self._check_cuts(rows)
        for split in SPLITS:
            self._write_split(split, rows, encoded[split], tokenizer)
        write_json(self.folder.path / LABELS_NAME, {"names": rows.names})
        for name in (TOKENIZER_NAME, TOKENIZER_CONFIG_NAME):
            if (self.base.tokenizer_folder / name).is_file():
                shutil.copyfile(self.base.tokenizer_folder / name, self.folder.path / name)
        imbalance = rules.imbalance_of(row.label for row in rows.all)
        metric = "macro_f1" if imbalance > rules.IMBALANCE else "accuracy"
        if metric == "macro_f1":
            self._warn_of_imbalance(imbalance)
        for concern in self.lint.concerns:
            log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)
        example = self._write_example(rows, encoded)
        self._finish(rows, imbalance, metric, example)

    # -- encoding and writing ------------------------------------------------------------------------------------

    def _encode(self, tokenizer: Tokenizer, rows: Sequence[LabeledRow], split: Split) -> list[list[int]]:
        encoded: list[list[int]] = []
        for first in range(0, len(rows), _BATCH_ROWS):
            for ids in tokenizer.encode_batch([clean_text(row.text) for row in rows[first : first + _BATCH_ROWS]]):
                encoded.append(cut_middle(ids, self.max_seq_len))
                self.num_cut[split] += len(ids) > self.max_seq_len
            self._tell_progress(min(len(rows), first + _BATCH_ROWS))
        self.num_tokens[split] = sum(map(len, encoded))
        self.num_encoded += len(rows)
        return encoded

    def _tell_progress(self, num_done_of_split: int) -> None:
        elapsed = time.monotonic() - self.start
        if elapsed - self.told >= 1.0:
            self.told = elapsed
            done, total = self.num_encoded + num_done_of_split, len(self.rows.all)
            self.folder.log.write("progress", done=done, total=total, unit="rows", elapsed_seconds=round(elapsed, 3))

    def _check_cuts(self, rows: _Rows) -> None:
        cut, total = sum(self.num_cut.values()), len(rows.all)
        limit = self.max_seq_len
        if cut == total:
            raise InputDataError(
                f"Every text of {rows.files[0].path} is longer than {limit} tokens, so all would be cut; "
                "give a larger --max-seq-len, or split the texts into parts."
            )
        share = f"{cut / total:.1%}" if cut / total >= 0.001 else "< 0.1%"
        sentence = f"{cut:,} rows ({share}) are longer than {limit} tokens; of these the head and the tail are read."
        self.lint.warn("cut", cut, sentence)

    def _warn_of_imbalance(self, imbalance: float) -> None:
        sentence = (
            f"The largest class has {imbalance:.3g} times as many rows as the smallest, so accuracy says little: "
            "training stops by macro-F1 on validation, which counts every class alike."
        )
        self.lint.warn("imbalance", len(self.rows.all), sentence)

    def _write_split(self, split: Split, rows: _Rows, encoded: list[list[int]], tokenizer: Tokenizer) -> None:
        class_of = {label: index for index, label in enumerate(rows.labels)}
        with ShardWriter(self.folder.path, split, tokenizer.vocab_size) as writer:
            for ids in encoded:
                writer.add(ids)
        lines = []
        for row in rows.by_split[split]:
            fields: dict[str, Any] = {"row": row.row, "text": row.text, "label": class_of[row.label]}
            if row.slice is not None:
                fields["slice"] = row.slice
            lines.append(json.dumps(fields, ensure_ascii=False) + "\n")
        write_text(self.folder.path / f"{split}.jsonl", "".join(lines))

    # -- telling -------------------------------------------------------------------------------------------------

    def _write_example(self, rows: _Rows, encoded: dict[Split, list[list[int]]]) -> dict[str, Any]:
        """The text that earlier stages carried, or else the training text with the smallest hash."""
        carried = None if self.base.example is None else normalise_for_hash(self.base.example)
        places = [(split, index, row) for split in SPLITS for index, row in enumerate(rows.by_split[split])]
        found = next((place for place in places if place[2].key == carried), None)
        split, index, row = found or min(
            (place for place in places if place[0] == "train"), key=lambda place: hash_unit(place[2].key)
        )
        example = {"text": row.text, "label": rows.names[rows.labels.index(row.label)], "split": split}
        self.folder.log.write("example", **example, num_tokens=len(encoded[split][index]))
        return {**example, "row": row.row}

    def _finish(self, rows: _Rows, imbalance: float, metric: str, example: dict[str, Any]) -> None:
        num_rows = {split: len(rows.by_split[split]) for split in SPLITS}
        total = sum(num_rows.values())
        titles = ("labelled rows", "test rows")
        num_read = [len(file) + file.findings.dropped.total for file in rows.files]
        shape_in = [{"name": title, "value": count} for title, count in zip(titles, num_read, strict=False)]
        shape_out = [{"name": f"{split} rows", "value": count} for split, count in num_rows.items()]
        shape_out += [
            {"name": "classes", "value": len(rows.names)},
            {"name": "tokens per row", "value": round(sum(self.num_tokens.values()) / total, 1)},
        ]
        seconds = round(time.monotonic() - self.start, 3)
        peak = peak_memory_bytes()
        self.folder.log.write(
            "flow",
            shape_in=shape_in,
            shape_out=shape_out,
            dropped=self.lint.dropped.to_event(),
            seconds=seconds,
            peak_memory_bytes=peak,
        )
        self.folder.log.write("stage_finished", seconds=seconds, peak_memory_bytes=peak)
        self.folder.finish(
            classes=len(rows.names),
            **num_rows,
            tokens=sum(self.num_tokens.values()),
            max_seq_len=self.max_seq_len,
            cut_share=sum(self.num_cut.values()) / total,
            imbalance=round(imbalance, 4),
            early_stopping_metric=metric,
            synthetic=self.base.is_synthetic,
            example=example,
        )


def _choose_length(wanted: int | None, longest: int | None) -> int:
    """Tokens of the longest row: as many as are wanted, where model and prediction read as many."""
    most = _LONGEST_ROW if longest is None else min(_LONGEST_ROW, longest)
    if wanted is None:
        return most
    if wanted < _SHORTEST_ROW:
        raise InputDataError(f"--max-seq-len is {wanted}; expected at least {_SHORTEST_ROW} tokens.")
    if wanted > most:
        raise InputDataError(
            f"--max-seq-len is {wanted}, and the model reads at most {most} tokens; give {most} or less."
        )
    return wanted


def _read_rows(labels: Path, test_labels: Path | None, config: PrepareConfig) -> _Rows:
    """Read, check and split; raises InputDataError for what cannot work."""
    lint = Lint()
    train_file = read_labeled(labels, config.text_column, config.label_column)
    test_file = None if test_labels is None else read_labeled(test_labels, config.text_column, config.label_column)
    files = [train_file] if test_file is None else [train_file, test_file]
    for file in files:
        _pass_on_findings(file, lint)
    usable = rules.keep_usable(train_file, lint)
    rules.check_labels(str(labels), usable, lint)
    rules.check_repeats(str(labels), usable, lint)
    # Over all rows, before any is removed: an earlier stage, which knows this file alone, finds the same split.
    splits, num_moved = _split(usable, config.validation_fraction, config.test_fraction if test_file is None else 0.0)
    test: list[LabeledRow] | None = None
    if test_file is not None:
        test = rules.keep_usable(test_file, lint)
        rules.check_test_labels(usable, test, test_file.path, lint)
        rules.check_repeats(test_file.path, test, lint)
        split_of_row = {row.row: split for row, split in zip(usable, splits, strict=True)}
        usable = rules.drop_shared(usable, test, test_file.path, lint)
        splits = [split_of_row[row.row] for row in usable]
    rules.check_splits(str(labels), usable, splits, lint)
    by_split = {s: [row for row, split in zip(usable, splits, strict=True) if split == s] for s in SPLITS}
    if test is None:
        rules.check_test_split(usable, by_split["test"], lint)
    else:
        by_split["test"] = test
    classes = rules.sort_labels(row.label for row in usable)
    names = rules.name_classes(classes, config.label_names)
    return _Rows(by_split=by_split, labels=classes, names=names, num_moved=num_moved, files=files, lint=lint)


def _pass_on_findings(file: LabeledRows, lint: Lint) -> None:
    """What reading the file came across: rows that do not parse, broken bytes."""
    found = file.findings
    for rule in found.dropped.rules.values():
        for example in [*rule.examples, *[""] * (rule.count - len(rule.examples))]:
            lint.dropped.add(rule.name, rule.reason, example)
        lint.warn(rule.name, rule.count, f"{file.path}: {rule.count:,} left out, {rule.reason}.")
    sentence = f"{found.broken_bytes:,} bytes of {file.path} are no valid UTF-8; they read as U+FFFD."
    lint.warn("broken_bytes", found.broken_bytes, sentence)
    for sentence in found.warnings:
        lint.warn("reading", 1, sentence)


def _split(rows: Sequence[LabeledRow], validation_fraction: float, test_fraction: float) -> tuple[list[Split], int]:
    """The split of every row, and how many rows changed sides for the sake of small classes."""
    if not (0 < validation_fraction < 1 and 0 <= test_fraction < 1 and validation_fraction + test_fraction < 1):
        raise UsageError(
            f"--validation-fraction {validation_fraction} and --test-fraction {test_fraction} leave no room; expected "
            "fractions that together stay below 1, with some rows for validation."
        )
    texts = [row.key for row in rows]
    splits = assign_splits(texts, [row.label for row in rows], validation_fraction, test_fraction)
    plain = [split_of(text, validation_fraction, test_fraction) for text in texts]
    return splits, sum(now != before for now, before in zip(splits, plain, strict=True))


def _read_base(base: Path) -> _Base:
    """The tokenizer of a stage folder or of a bare model folder, and what its manifest passes on."""
    folder = next((f for f in (base / "checkpoint", base) if (f / TOKENIZER_NAME).is_file()), None)
    if folder is None:
        found = "does not exist" if not base.exists() else f"has no {TOKENIZER_NAME}"
        raise ModelNotFoundError(f"{base} {found}; expected the folder of the pretrain stage, or a model folder.")
    summary = _read_summary(base, folder)
    example = summary.get("example") or {}
    return _Base(
        tokenizer_folder=folder,
        max_seq_len=_read_longest_row(folder / "config.json"),
        is_synthetic=bool(summary.get("synthetic", False)),
        example=example.get("text"),
    )


def _read_longest_row(path: Path) -> int | None:
    """How many tokens the model reads at most; None where there is no model, or its config does not say."""
    if not path.is_file():
        return None
    try:
        longest = json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")
        return None if longest is None else int(longest)
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptModelError(f"{path} is damaged ({error!r}); restore it from a copy.") from error


def _read_summary(base: Path, folder: Path) -> dict[str, Any]:
    """What the stage that wrote the model passes on, also where its `checkpoint/` was named; else nothing."""
    if folder != base:
        return read_manifest(base).summary if (base / MANIFEST_NAME).is_file() else {}
    base = base.absolute()
    if base.name != "checkpoint":
        return {}
    try:
        return read_manifest(base.parent).summary
    except InputDataError:  # a model folder that was copied alone, beside files of whatever kind
        return {}


def _fingerprint(path: Path) -> str:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputDataError(f"{path} {found}; expected a csv, tsv, jsonl or parquet file of labelled texts.")
    try:
        return hash_file(path)
    except PermissionError as error:
        raise InputDataError(f"{shorten(str(path))} may not be read; change its permissions.") from error
