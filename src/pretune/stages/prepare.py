"""Stage 4: labelled rows and the model's tokenizer in; encoded rows out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import InputDataError, UsageError
from pretune.model.base_folder import BaseFolder, describe_pretrained_rows, inputs_of_base, read_base_folder
from pretune.runtime.atomic import write_json, write_text
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import PrepareConfig, SplitConfig, to_dict
from pretune.tasks.labelled_file import split_file
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import LabeledRow, Lint
from pretune.text.labels.labelling import LABELS_NAME, WINDOWS
from pretune.text.labels.split import (
    LabelledSplit,
    example_of,
    fingerprint_labels,
    labels_fields,
    log_split,
    open_split,
    split_lines,
)
from pretune.text.labels.word_windows import cut_long_rows
from pretune.text.reading_report import counted
from pretune.text.seen_texts import TRAINING, save_seen
from pretune.text.splits import SPLITS, Split, normalise_for_hash
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.long_texts import LONG_FRACTION, Reading
from pretune.text.tokenizer.rows import encode_pairs
from pretune.text.tokenizer.tokenizer import Tokenizer, copy_tokenizer, cut_middle, load_tokenizer
from pretune.text.tokenizer.windows import WindowRule

Ids = npt.NDArray[np.uint32]  # of one row

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
    `test_labels`, if given, are the test split. `base` is the folder of stage 3, any model folder, a GGUF file, or
    `hf:OWNER/NAME`. Raises InputDataError for rows that cannot work (see `pretune.text.labels.checks`), and for test
    rows that the base was pre-trained on because another split was held out; ModelNotFoundError if `base` has no
    tokenizer. After an error there is no new folder.
    """
    refuse_notice(config)
    labels, test_labels = Path(labels), None if test_labels is None else Path(test_labels)
    source = read_base_folder(base)
    inputs, settings = inputs_of_base(source, Path(out), redo=redo), to_dict(config)
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


def refuse_notice(config: PrepareConfig) -> None:
    """Raise UsageError for a notice, which only a chat shows."""
    if config.notice is not None:
        raise UsageError(
            "--notice is for conversations, and labelled rows have no replies to show it with; leave it out."
        )


class _Preparation:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self, folder: StageFolder, config: PrepareConfig, base: BaseFolder, rows: LabelledSplit, split: str | None
    ) -> None:
        self.start = time.monotonic()
        self.folder, self.config, self.base, self.rows = folder, config, base, rows
        self.split = split  # the fingerprint of the folder of the rows; None if they were split here
        self.num_read = rows.num_read  # before long rows are cut
        self.max_seq_len = _choose_length(config.max_seq_len, base.max_seq_len)
        self.lint = Lint()  # findings that depend on how this model reads the rows
        task = task_named(rows.rules.name)
        self.can_read_windows = not task.is_token_level and rows.all[0].text_pair is None
        self.num_tokens = dict.fromkeys(SPLITS, 0)
        self.lengths: list[int] = []  # of all rows, in tokens, before any is cut
        self.num_encoded = 0

    def run(self) -> None:
        log = self.folder.log
        self._check_pretraining()
        tokenizer = load_tokenizer(self.base.tokenizer_path)
        self._check_pairs(tokenizer)
        rows = self.rows = self._cut_long_rows(tokenizer)
        encoded = {split: self._encode(tokenizer, rows.by_split[split]) for split in SPLITS}
        reading = self._choose_reading(tokenizer, encoded)
        if reading.is_cut:
            encoded = {split: [_cut(ids, self.max_seq_len) for ids in encoded[split]] for split in SPLITS}
        self.num_tokens = {split: sum(map(len, encoded[split])) for split in SPLITS}
        for split in SPLITS:
            with ShardWriter(self.folder.path, split, tokenizer.vocab_size) as writer:
                for first in range(0, len(encoded[split]), _BATCH_ROWS):
                    chunk = encoded[split][first : first + _BATCH_ROWS]
                    writer.add_many(np.concatenate(chunk), np.array([len(ids) for ids in chunk], dtype=np.int64))
            write_text(self.folder.path / f"{split}.jsonl", split_lines(rows, split))
        how = {} if reading.is_cut else {"long_texts": WINDOWS}
        write_json(self.folder.path / LABELS_NAME, labels_fields(rows) | how)
        copy_tokenizer(self.base.tokenizer_path, self.folder.path)
        if reading.num_long and not reading.is_cut:
            log.write("notice", sentence=reading.describe())
        known = [*rows.by_split["train"], *rows.by_split["validation"]]  # test labels must not choose anything
        metric, facts = task_named(rows.rules.name).choose_metric(known, self.lint)
        for concern in self.lint.concerns:
            log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)
        example = self._write_example(rows, encoded)
        self._finish(rows, facts, metric, example, reading)

    def _check_pretraining(self) -> None:
        """Refuse test rows that the base was pre-trained on under another split; warn about all others."""
        found = describe_pretrained_rows(self.rows, self.base, self.split)
        if found is not None:
            self.lint.warn("seen_in_pretraining", *found)

    def _check_pairs(self, tokenizer: Tokenizer) -> None:
        """Warn if the model cannot see where the second text of a pair begins.

        No token is put there that the tokenizer itself does not put: transformers would read other rows than pretune.
        """
        if self.rows.all[0].text_pair is not None and not tokenizer.separates_pairs:
            self.lint.warn(
                "unseparated_pairs",
                len(self.rows.all),
                "The tokenizer of the base puts no token between the two texts of a pair, so the model reads them as "
                "one text. Choose a base whose tokenizer separates them, as those of BERT and RoBERTa do, or end every "
                "first text with a sign that occurs nowhere else, such as =>.",
            )

    def _cut_long_rows(self, tokenizer: Tokenizer) -> LabelledSplit:
        """The rows; if each word has a label, those that are too long are cut into several."""
        rows, task = self.rows, task_named(self.rows.rules.name)
        train = [
            {"text": row.text, "label": rows.rules.to_json(row.label, rows.labels)} for row in rows.by_split["train"]
        ]
        if (rule := task.word_rule(task.prepare_decision(train))) is None:
            return rows
        cut = {side: cut_long_rows(tokenizer, rows.by_split[side], rule, self.max_seq_len) for side in SPLITS}
        num_cut, num_parts = sum(count for _, count in cut.values()), sum(len(parts) for parts, _ in cut.values())
        are = counted(num_cut, "row is", "rows are")
        sentence = (
            f"{are} longer than {self.max_seq_len} tokens and cut between words into "
            f"{num_parts - len(rows.all) + num_cut:,} rows, which are read one by one."
        )
        self.lint.warn("cut_into_parts", num_cut, sentence)
        whole = {row.text for row in rows.by_split["train"]} - {part.text for part in cut["train"][0]}
        if whole:  # fine-tuning reads only the parts, but has to record the texts
            save_seen(self.folder.path, TRAINING, sorted(whole))
        return replace(rows, by_split={side: parts for side, (parts, _) in cut.items()})

    # -- encoding and writing ------------------------------------------------------------------------------------

    def _encode(self, tokenizer: Tokenizer, rows: Sequence[LabeledRow]) -> list[Ids]:
        """The ids of rows: of single texts whole, of pairs cut if they are too long."""
        encoded: list[Ids] = []
        for first in range(0, len(rows), _BATCH_ROWS):
            chunk = rows[first : first + _BATCH_ROWS]
            if chunk[0].text_pair is None:
                ids = tokenizer.encode_batch([row.text for row in chunk])
                self.lengths += map(len, ids)
            else:
                texts = [(row.text, row.text_pair) for row in chunk]
                ids, lengths = encode_pairs(tokenizer, texts, self.max_seq_len)
                self.lengths += lengths
            # A list of numbers takes 36 bytes for each, and those of all rows are kept until the reading is chosen.
            encoded += [np.array(row, dtype=np.uint32) for row in ids]
            done = self.num_encoded + min(len(rows), first + _BATCH_ROWS)
            self.folder.log.write_progress(done, len(self.rows.all), "rows", since=self.start)
        self.num_encoded += len(rows)
        return encoded

    def _choose_reading(self, tokenizer: Tokenizer, encoded: dict[Split, list[Ids]]) -> Reading:
        """How rows that are too long are read. Raises InputDataError for windows of pairs."""
        wanted, path = self.config.long_texts, self.rows.path
        if wanted == WINDOWS and not self.can_read_windows:
            raise InputDataError(
                f"--long-texts is windows, but {path} has pairs of texts or labelled tokens; windows are for single "
                "texts that are labelled as a whole: leave the option out."
            )
        num_long = sum(length > self.max_seq_len for length in self.lengths)
        is_usual = self.can_read_windows and num_long / len(self.lengths) > LONG_FRACTION
        if wanted == WINDOWS or (wanted == "auto" and is_usual):
            rule = WindowRule.of(tokenizer, self.max_seq_len)
            texts = (ids for split in SPLITS for ids in encoded[split])
            read = sum(sum(end - start for start, end in rule.spans(ids)) + rule.num_special for ids in texts)
        else:
            rule, read = None, sum(min(length, self.max_seq_len) for length in self.lengths)
        reading = Reading(rule=rule, max_seq_len=self.max_seq_len, lengths=self.lengths, num_read=read)
        if reading.is_cut:
            self.lint.warn("cut", num_long, reading.describe() + self._advise_on_cuts(num_long))
        return reading

    def _advise_on_cuts(self, num_long: int) -> str:
        """What reads more, if every row is cut; nothing otherwise."""
        most = _choose_length(None, self.base.max_seq_len)
        ways = ["--long-texts windows reads all of them"] if self.can_read_windows else []
        if self.max_seq_len < most:
            ways.append(f"--max-seq-len {most} reads more of each")
        return f" Every row is cut; {', and '.join(ways)}." if ways and num_long == len(self.lengths) else ""

    # -- logging -------------------------------------------------------------------------------------------------

    def _write_example(self, rows: LabelledSplit, encoded: dict[Split, list[Ids]]) -> dict[str, Any]:
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

    def _finish(
        self,
        rows: LabelledSplit,
        facts: dict[str, float],
        metric: str,
        example: dict[str, Any],
        reading: Reading,
    ) -> None:
        num_rows = {split: len(rows.by_split[split]) for split in SPLITS}
        total = sum(num_rows.values())
        shape_out = {f"{split} rows": count for split, count in num_rows.items()}
        self.folder.log_flow(
            self.num_read,
            {
                **shape_out,
                rows.rules.counted_as: len(rows.names),
                "tokens per row": round(sum(self.num_tokens.values()) / total, 1),
            },
            dropped=rows.lint.dropped.to_event(),
            seconds=round(time.monotonic() - self.start, 3),
        )
        self.folder.finish(
            classes=len(rows.names),
            **num_rows,
            tokens=sum(self.num_tokens.values()),
            max_seq_len=self.max_seq_len,
            long_texts="cut" if reading.is_cut else WINDOWS,
            long_fraction=round(reading.num_long / total, 4),
            tokens_read=reading.num_read,
            **{name: round(value, 4) for name, value in facts.items()},
            early_stopping_metric=metric,
            synthetic=self.base.is_synthetic,
            example=example,
        )


def _cut(ids: Ids, max_seq_len: int) -> Ids:
    return ids if len(ids) <= max_seq_len else np.array(cut_middle(ids.tolist(), max_seq_len), dtype=np.uint32)


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
