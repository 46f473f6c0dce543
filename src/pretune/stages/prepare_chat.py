"""Stage 4 for conversations: a file of them and the model's tokenizer in; encoded conversations by split out."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError, UsageError
from pretune.model.base_folder import BaseFolder, inputs_of_base, read_base_folder
from pretune.runtime.atomic import write_text
from pretune.runtime.manifest import MANIFEST_NAME, Manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import PrepareConfig, SplitConfig, to_dict
from pretune.text.chat.chat_lines import HELD_OUT_NAME, chat_line, write_held_out
from pretune.text.chat.checks import ChatRecord
from pretune.text.chat.length_report import LengthReport
from pretune.text.chat.notice import choose_notice, read_notice, write_notice
from pretune.text.chat.split import ChatSplit, split_conversations
from pretune.text.chat.template import USUAL_LENGTH, ChatRow, encode_all, template_of
from pretune.text.chat.tokens import describe_other_template, save_chat_tokenizer
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.split import choose_example, fingerprint_labels
from pretune.text.splits import SPLITS, Split
from pretune.text.token_shards import ShardWriter
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer

_BATCH_ROWS = 500
SHORTEST_ROW = 64  # tokens; with fewer, there is no room for a question and its reply


def prepare_chat(
    conversations: Path,
    out: Path,
    config: PrepareConfig = PrepareConfig(),
    *,
    base: Path,
    test_conversations: Path | None = None,
    split: SplitConfig = SplitConfig(task="chat"),
    redo: bool = False,
) -> Manifest:
    """Encode conversations for fine-tuning the model in `base`, as `prepare` does with labelled rows.

    `conversations` is a file, which is split here with the settings in `split`; those of `test_conversations`, if
    given, are the test split. The folder has the messages by split in jsonl, their token ids in shards, and the
    tokenizer with the marks and the chat template. Raises InputDataError for conversations that cannot work (see
    `pretune.text.chat.checks`), and ModelNotFoundError if `base` has no tokenizer. After an error there is no new
    folder.
    """
    conversations = Path(conversations)
    if (conversations / MANIFEST_NAME).is_file():
        raise UsageError(f"{conversations} is the folder of a stage; for --task chat, give a file of conversations.")
    if config.long_texts == "windows":
        raise UsageError("--long-texts is windows, but conversations are cut, at turns; leave the option out.")
    source = read_base_folder(base)
    files = {"labels": conversations} | (
        {} if test_conversations is None else {"test_labels": Path(test_conversations)}
    )
    inputs = inputs_of_base(source, Path(out), redo=redo)
    inputs |= {name: fingerprint_labels(path) for name, path in files.items()}
    settings = to_dict(config) | to_dict(split)
    folder = open_stage(Path(out), "prepare", config=settings, inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        given = [str(path) for path in files.values()]
        folder.log.write("stage_started", config=settings, inputs=given, synthetic=source.is_synthetic)
        length = _choose_length(config.max_seq_len, source.max_seq_len)
        _ChatPreparation(folder, source, length, config.notice).run(files, split)
    return folder.manifest


class _ChatPreparation:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(self, folder: StageFolder, base: BaseFolder, max_seq_len: int, notice: str | None) -> None:
        self.start = time.monotonic()
        self.folder, self.base, self.max_seq_len, self.notice = folder, base, max_seq_len, notice

    def run(self, files: dict[str, Path], config: SplitConfig) -> None:
        own = load_tokenizer(self.base.tokenizer_path)
        tokenizer = save_chat_tokenizer(self.base.tokenizer_path, self.folder.path, template_of(own))
        if (sentence := describe_other_template(self.base.tokenizer_path, template_of(own))) is not None:
            self.folder.log.write("notice", sentence=sentence)
        found = split_conversations(
            files["labels"],
            files.get("test_labels"),
            question_column=config.text_column,
            reply_column=config.response_column,
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
            keeps_lines=not own.is_own,
        )
        for file in found.files:
            self.folder.log.write("detected", **file.detected)
            for notice in file.findings.all_notices():
                self.folder.log.write("notice", sentence=notice)
        self._check_pretraining(found)
        report = LengthReport(self.max_seq_len)
        rows = {split: self._encode(found, split, tokenizer, report) for split in SPLITS}
        report.check(found, rows)
        for split in SPLITS:
            self._write(split, found.by_split[split], rows[split], tokenizer)
        write_held_out(self.folder.path, [record.conversation for record in found.held_out])
        for concern in found.lint.concerns:
            self.folder.log.write("warning", sentence=concern.sentence, rule=concern.rule, count=concern.count)
        for sentence in report.sentences:
            self.folder.log.write("notice", sentence=sentence)
        self._keep_notice(found)
        self._finish(found, report, self._write_example(found, rows))

    def _keep_notice(self, found: ChatSplit) -> None:
        """Keep the sentence that is shown with the model's replies, if there is one."""
        training = [record.conversation for record in found.by_split["train"]]
        self.notice = choose_notice(training, self.notice, of_base=read_notice(self.base.tokenizer_path))
        write_notice(self.folder.path, self.notice)
        if self.notice is not None:
            sentence = f"With every chat this sentence is shown (--notice changes it): {self.notice}"
            self.folder.log.write("notice", sentence=sentence)

    def _check_pretraining(self, found: ChatSplit) -> None:
        """Warn about held-out conversations of which the base has learned a message as a text of its own."""
        if self.base.seen is None:
            return
        texts = [clean_text(m.content) for record in found.held_out for m in record.conversation.messages]
        count = int(self.base.seen.among(texts).sum())
        found.lint.warn(
            "seen_in_pretraining",
            count,
            f"The model was pre-trained on {count:,} of the {len(texts):,} messages of the held-out conversations, so "
            "results on them may be too good; to keep them out of a corpus, give `preprocess` the option --protect "
            f"{shlex.quote(str(self.folder.path / HELD_OUT_NAME))}.",
        )

    # -- encoding and writing ------------------------------------------------------------------------------------

    def _encode(self, found: ChatSplit, split: Split, tokenizer: Tokenizer, report: LengthReport) -> list[ChatRow]:
        """The rows of one split; a conversation of which nothing of the last reply fits is left out of it."""
        records, kept, rows = found.by_split[split], [], []
        path = found.files[-1 if split == "test" else 0].path
        for first in range(0, len(records), _BATCH_ROWS):
            chunk = records[first : first + _BATCH_ROWS]
            encoded = encode_all([record.conversation for record in chunk], tokenizer, self.max_seq_len)
            for record, row in zip(chunk, encoded, strict=True):
                report.add(record, path, row)
                if row is not None:
                    kept.append(record)
                    rows.append(row)
            self.folder.log.write_progress(report.num_rows, len(found.all), "conversations", since=self.start)
        found.by_split[split] = kept
        return rows

    def _write(
        self, split: Split, records: Sequence[ChatRecord], rows: Sequence[ChatRow], tokenizer: Tokenizer
    ) -> None:
        with ShardWriter(self.folder.path, split, tokenizer.vocab_size) as writer:
            for row in rows:
                writer.add(row.ids)
        lines = [json.dumps(chat_line(*pair), ensure_ascii=False) for pair in zip(records, rows, strict=True)]
        write_text(self.folder.path / f"{split}.jsonl", "".join(f"{line}\n" for line in lines))

    def _write_example(self, found: ChatSplit, rows: dict[Split, list[ChatRow]]) -> dict[str, Any]:
        """Log a test conversation, or a validation one if there is none, as the example of all stages."""
        split: Split = "test" if found.by_split["test"] else "validation"
        questions = [record.conversation.question for record in found.by_split[split]]
        index = questions.index(choose_example((question, question) for question in questions) or questions[0])
        conversation, row = found.by_split[split][index].conversation, rows[split][index]
        example = {"text": conversation.question, "label": conversation.replies[0], "split": split}
        self.folder.log.write("example", **example, num_tokens=len(row.ids))
        return {**example, "row": found.by_split[split][index].row}

    def _finish(self, found: ChatSplit, report: LengthReport, example: dict[str, Any]) -> None:
        num_rows = {split: len(found.by_split[split]) for split in SPLITS}
        shape_out = {f"{split} conversations": count for split, count in num_rows.items()}
        self.folder.log_flow(
            found.num_read,
            {
                **shape_out,
                "tokens per conversation": round(report.num_tokens / sum(num_rows.values()), 1),
                "tokens learned": report.num_supervised,
            },
            dropped=found.lint.dropped.to_event(),
            seconds=round(time.monotonic() - self.start, 3),
        )
        self.folder.finish(
            task="chat",
            files=[Path(found.path).name],  # of the training conversations, for the card of a model
            **num_rows,
            **report.summary,
            max_seq_len=self.max_seq_len,
            opening=found.opening,
            opening_fraction=round(found.opening_fraction, 4),
            synthetic=self.base.is_synthetic,
            notice=self.notice,
            example=example,
        )


def _choose_length(wanted: int | None, longest: int | None) -> int:
    """Tokens of the longest row: as many as wanted, if the model reads as many."""
    if wanted is None:
        return USUAL_LENGTH if longest is None else min(USUAL_LENGTH, longest)
    if wanted < SHORTEST_ROW:
        raise InputDataError(f"--max-seq-len is {wanted}; expected at least {SHORTEST_ROW} tokens for conversations.")
    if longest is not None and wanted > longest:
        raise InputDataError(
            f"--max-seq-len is {wanted}, and the model reads at most {longest} tokens; give {longest} or less."
        )
    return wanted
