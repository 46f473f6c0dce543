"""Stage 4: labelled rows and the model's tokenizer in; encoded rows out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, UsageError
from pretune.model.base_folder import BaseFolder, describe_pretrained_rows, read_base_folder
from pretune.model.hub import local_folder
from pretune.runtime.atomic import write_json, write_text
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, read_manifest
from pretune.runtime.memory import peak_memory_bytes
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import PrepareConfig, SplitConfig, to_dict
from pretune.tasks.labelled_file import split_file
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.split import (
    LABELS_NAME,
    LabelledSplit,
    example_of,
    fingerprint_labels,
    labels_fields,
    log_split,
    open_split,
    split_lines,
)
from pretune.text.splits import SPLITS, Split, normalise_for_hash
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.rows import encode_rows
from pretune.text.tokenizer.special_tokens import SETTINGS_FILES
from pretune.text.tokenizer.tokenizer import (
    TOKENIZER_NAME,
    Tokenizer,
    load_tokenizer,
)

_BATCH_ROWS = 500
_LONGEST_ROW = 512  # most tokens that a prediction reads, even if the model can read more
_SHORTEST_ROW = 8  # tokens; with fewer, nothing of a text is left


def prepare(
    labels: Path,
    out: Path,
    config: PrepareConfig = PrepareConfig(),
    *,
    base: Path,
    test_labels: Path | None = None,
    split: SplitConfig = SplitConfig(),
    redo: bool = False,
) -> Manifest:
    """Encode labelled rows for fine-tuning the model in `base`.

    `labels` is the folder of a split, or a file, which is split here with the settings in `split`; the rows of
    `test_labels`, if given, are the test split. `base` is the folder of stage 3, any model folder, or `hf:OWNER/NAME`.
    Raises InputDataError for rows that cannot work (see `pretune.text.labels.checks`), and for test rows that the base
    was pre-trained on because another split was held out; ModelNotFoundError if `base` has no tokenizer. After an error
    there is no folder.
    """
    labels, test_labels = Path(labels), None if test_labels is None else Path(test_labels)
    source = read_base_folder(local_folder(base))
    inputs, settings = {"tokenizer": source.tokenizer_hash}, to_dict(config)
    if (labels / MANIFEST_NAME).is_file():
        if test_labels is not None or split != SplitConfig():
            raise UsageError(
                f"{labels} is already split, so --test-labels, columns, label names and fractions have no effect; give "
                "them to `pretune split`, or give the file of labelled rows instead."
            )
        inputs["split"] = read_manifest(labels, "split").fingerprint
    else:
        files = {"labels": labels} | ({} if test_labels is None else {"test_labels": test_labels})
        inputs |= {name: fingerprint_labels(path) for name, path in files.items()}
        settings |= to_dict(split)
    folder = open_stage(Path(out), "prepare", config=settings, inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        given = [str(labels)] + ([] if test_labels is None else [str(test_labels)])
        folder.log.write("stage_started", config=settings, inputs=given, synthetic=source.is_synthetic)
        if "split" in inputs:
            rows = open_split(labels, task_named)
        else:
            rows = split_file(labels, test_labels, split)
            log_split(folder.log, rows)
        _Preparation(folder, config, source, rows, inputs.get("split")).run()
    return folder.manifest


class _Preparation:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self, folder: StageFolder, config: PrepareConfig, base: BaseFolder, rows: LabelledSplit, split: str | None
    ) -> None:
        self.start = time.monotonic()
        self.folder, self.config, self.base, self.rows = folder, config, base, rows
        self.split = split  # the fingerprint of the folder of the rows; None if they were split here
        self.max_seq_len = _choose_length(config.max_seq_len, base.max_seq_len)
        self.lint = Lint()  # findings that depend on how this model reads the rows
        self.num_tokens = dict.fromkeys(SPLITS, 0)
        self.num_cut = dict.fromkeys(SPLITS, 0)
        self.num_encoded = 0
        self.last_progress = 0.0  # seconds after the start

    def run(self) -> None:
        log, rows = self.folder.log, self.rows
        self._check_pretraining()
        tokenizer = load_tokenizer(self.base.path)
        encoded = {split: self._encode(tokenizer, rows.by_split[split], split) for split in SPLITS}
        self._check_cuts(rows)
        for split in SPLITS:
            with ShardWriter(self.folder.path, split, tokenizer.vocab_size) as writer:
                for ids in encoded[split]:
                    writer.add(ids)
            write_text(self.folder.path / f"{split}.jsonl", split_lines(rows, split))
        write_json(self.folder.path / LABELS_NAME, labels_fields(rows))
        for name in (TOKENIZER_NAME, *SETTINGS_FILES):
            if (self.base.path / name).is_file():
                shutil.copyfile(self.base.path / name, self.folder.path / name)
        metric, facts = task_named(rows.rules.name).choose_metric(rows.all, self.lint)
        for concern in self.lint.concerns:
            log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)
        example = self._write_example(rows, encoded)
        self._finish(rows, facts, metric, example)

    def _check_pretraining(self) -> None:
        """Refuse test rows that the base was pre-trained on under another split; warn about all others."""
        found = describe_pretrained_rows(self.rows, self.base, self.split)
        if found is not None:
            self.lint.warn("seen_in_pretraining", *found)

    # -- encoding and writing ------------------------------------------------------------------------------------

    def _encode(self, tokenizer: Tokenizer, rows: Sequence[LabeledRow], split: Split) -> list[list[int]]:
        encoded: list[list[int]] = []
        for first in range(0, len(rows), _BATCH_ROWS):
            texts = [(row.text, row.text_pair) for row in rows[first : first + _BATCH_ROWS]]
            ids, was_cut = encode_rows(tokenizer, texts, self.max_seq_len)
            encoded += ids
            self.num_cut[split] += sum(was_cut)
            self._log_progress(min(len(rows), first + _BATCH_ROWS))
        self.num_tokens[split] = sum(map(len, encoded))
        self.num_encoded += len(rows)
        return encoded

    def _log_progress(self, num_done_of_split: int) -> None:
        elapsed = time.monotonic() - self.start
        if elapsed - self.last_progress >= 1.0:
            self.last_progress = elapsed
            done, total = self.num_encoded + num_done_of_split, len(self.rows.all)
            self.folder.log.write("progress", done=done, total=total, unit="rows", elapsed_seconds=round(elapsed, 3))

    def _check_cuts(self, rows: LabelledSplit) -> None:
        cut, total = sum(self.num_cut.values()), len(rows.all)
        limit = self.max_seq_len
        if cut == total:
            raise InputDataError(
                f"Every text of {rows.path} is longer than {limit} tokens, so all would be cut; "
                "give a larger --max-seq-len, or shorter texts."
            )
        percent = f"{cut / total:.1%}" if cut / total >= 0.001 else "< 0.1%"
        sentence = f"{cut:,} rows ({percent}) are longer than {limit} tokens; only their beginning and end are read."
        self.lint.warn("cut", cut, sentence)

    # -- logging -------------------------------------------------------------------------------------------------

    def _write_example(self, rows: LabelledSplit, encoded: dict[Split, list[list[int]]]) -> dict[str, Any]:
        """Log the example of the earlier stages, or that of the split if there is none."""
        side, row = example_of(rows)
        if self.base.example is not None:
            carried = normalise_for_hash(clean_text(self.base.example))
            places = ((split, one) for split in SPLITS for one in rows.by_split[split])
            side, row = next(((split, one) for split, one in places if one.key == carried), (side, row))
        index = rows.by_split[side].index(row)
        example = {"text": row.raw, "label": rows.describe(row), "split": side}
        if row.text_pair is not None:
            example["text_pair"] = row.text_pair
        self.folder.log.write("example", **example, num_tokens=len(encoded[side][index]))
        return {**example, "row": row.row}

    def _finish(self, rows: LabelledSplit, facts: dict[str, float], metric: str, example: dict[str, Any]) -> None:
        num_rows = {split: len(rows.by_split[split]) for split in SPLITS}
        total = sum(num_rows.values())
        shape_in = [{"name": name, "value": count} for name, count in rows.num_read.items()]
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
            dropped=rows.lint.dropped.to_event(),
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
            **{name: round(value, 4) for name, value in facts.items()},
            early_stopping_metric=metric,
            synthetic=self.base.is_synthetic,
            example=example,
        )


def _choose_length(wanted: int | None, longest: int | None) -> int:
    """Tokens of the longest row: as many as wanted, if model and prediction can read as many."""
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
