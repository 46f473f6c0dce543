"""From a causal model and held-out conversations to the figures of its replies: loss, perplexity, and how it writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import InputDataError, UsageError
from pretune.evaluation.replies import measure_conversations, write_replies
from pretune.inference.chat_session import load_chat_session
from pretune.inference.generate import TextGenerator
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import MANIFEST_NAME, Manifest, read_manifest
from pretune.runtime.randomness import generator as random_numbers
from pretune.scoring.conversation_losses import describe_losses
from pretune.scoring.copied_replies import describe_copies
from pretune.scoring.replies import describe_replies
from pretune.settings import Sampling
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.chat.checks import keep_usable
from pretune.text.chat.columns import DETECTED, NamedColumns
from pretune.text.chat.conversations import Conversation
from pretune.text.chat.overlap import telling_texts
from pretune.text.chat.prepared_folder import refuse_labelled_rows
from pretune.text.chat.reader import read_chat_file
from pretune.text.chat.template import USUAL_LENGTH, encode_prompt
from pretune.text.chat.tokens import add_chat_tokens
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import Lint
from pretune.text.seen_texts import PRETRAINING, SEEN_KINDS, SeenIn, describe_seen, kinds_in_part, load_seen
from pretune.text.splits import Split
from pretune.text.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class HeldOutChats:
    """Conversations to evaluate on, where they are from, and the replies that a model was trained on, if known.

    `max_seq_len` is the length in tokens at which `prepare` cut them. `split` is the split of a prepare folder that
    they are; training chose its weights by the loss on `validation`.
    """

    conversations: list[Conversation]
    source: str
    training_replies: list[str] | None = None
    max_seq_len: int | None = None
    split: Split | None = None


def read_held_out(path: Path, *, keeps_lines: bool, columns: NamedColumns = DETECTED) -> HeldOutChats:
    """The test split of a prepare folder of conversations (without one, its validation split), or a file of them.

    `columns` names the columns of a file. Raises InputDataError if there is no conversation or the file cannot be read,
    and UsageError if the folder has labelled rows.
    """
    path = expand_home(path)
    if not (path / MANIFEST_NAME).is_file():
        file = read_chat_file(path, *columns)
        records = keep_usable(file, Lint(), keeps_lines=keeps_lines)
        left_out = len(file.rows) - len(records)
        source = f"{path}: {len(records):,} conversations" + (f", {left_out:,} left out" if left_out else "")
        return HeldOutChats(conversations=[record.conversation for record in records], source=source)
    manifest = _read_chat_manifest(path)
    training = read_replies(path)
    splits: tuple[Split, ...] = ("test", "validation")
    for split in splits:
        found = read_chat_lines(path, split).conversations
        if found:
            source = f"{path}: {len(found):,} conversations of the {split} split"
            length = int(manifest.summary["max_seq_len"])
            return HeldOutChats(
                conversations=found, source=source, training_replies=training, max_seq_len=length, split=split
            )
    raise InputDataError(f"{path} has neither test nor validation conversations; prepare with more of them.")


def _read_chat_manifest(prepared: Path) -> Manifest:
    manifest = read_manifest(prepared, "prepare")
    refuse_labelled_rows(prepared, manifest, "Give a file of them, or the output folder of prepare --task chat.")
    return manifest


def read_replies(prepared: Path) -> list[str]:
    """Every reply of the training split of a prepare folder."""
    return [reply for each in read_chat_lines(prepared, "train").conversations for reply in each.replies]


def evaluate_chat(
    model: Path | str,
    conversations: Path | str,
    *,
    training: Path | str | None = None,
    columns: NamedColumns = DETECTED,
    num_replies: int = 20,
    sampling: Sampling | None = None,
    on_progress: Callable[[str], None] = lambda _sentence: None,
) -> dict[str, Any]:
    """The figures of a model's replies, as JSON values.

    `conversations` is a file, or a prepare folder, whose held-out split is read. The model also answers `num_replies`
    of its questions; `training`, a file or a prepare folder of the conversations that it was trained on, shows how much
    of the answers is copied (for a prepare folder in `conversations`, its own training split is used). Conversations
    are cut at the length for which they were prepared. `columns` names the columns of the files; if those of
    `training` have other names, they are detected. Raises the errors of `load_generator` and of `read_held_out`, and
    UsageError for columns if both are folders.
    """
    if num_replies < 0:
        raise UsageError(f"The number of replies is {num_replies}; expected 0 or more.")
    _refuse_unread(columns, conversations, training)
    session = load_chat_session(model)
    generator, sampling = session.generator, sampling or Sampling()
    held_out = read_held_out(Path(conversations), keeps_lines=not generator.tokenizer.is_own, columns=columns)
    given, seen = held_out.conversations, held_out.training_replies
    if training is not None and num_replies:  # before the work, which a file that cannot be read would make useless
        seen = _training_replies(training, generator.tokenizer, columns, may_detect=held_out.split is None)
    on_progress(f"Measuring the loss of the replies in {len(given):,} conversations.")
    length = min(held_out.max_seq_len or USUAL_LENGTH, generator.max_seq_len)
    figures = {
        "source": held_out.source,
        **_losses(generator, given, length, has_template=session.has_template),
        **_describe_seen(generator, given),
    }
    if not num_replies:
        return figures
    tokenizer = add_chat_tokens(generator.tokenizer)
    asked = choose_questions(tokenizer, generator.max_seq_len, given, num_replies, sampling.max_tokens)
    on_progress(f"Writing {len(asked):,} replies.")
    replies = write_replies(generator, asked, sampling)
    references = [each.last_reply for each in asked]
    return {
        **figures,
        "replies": describe_style(replies, seen),
        "references": describe_style(references, seen),
        "answers": [
            {"question": each.messages[-2].content, "reply": reply, "reference": each.last_reply}
            for each, reply in zip(asked, replies, strict=True)
        ],
    }


def _refuse_unread(columns: NamedColumns, *paths: Path | str | None) -> None:
    """Raise UsageError if columns are named, and there is no file that may have them."""
    folders = [path for path in paths if path is None or (expand_home(path) / MANIFEST_NAME).is_file()]
    for named, option in zip(columns, ("--text-column", "--response-column"), strict=True):
        if named is not None and len(folders) == len(paths):
            raise UsageError(
                f"{option} is given, but {paths[0]} is a folder of prepare, which has no columns; leave it out."
            )


def describe_style(replies: Sequence[str], training_replies: Sequence[str] | None) -> dict[str, Any]:
    """How replies are written; with the training replies, also how much of them is copied."""
    copies = {} if training_replies is None else describe_copies(replies, training_replies)
    return {**describe_replies(replies), **copies}


def choose_conversations(conversations: Sequence[Conversation], most: int) -> list[Conversation]:
    """At most so many of the conversations, the same each time, in their order."""
    if len(conversations) <= most:
        return list(conversations)
    chosen = random_numbers(0, "held-out conversations").permutation(len(conversations))[:most]
    return [conversations[index] for index in sorted(chosen)]


def choose_questions(
    tokenizer: Tokenizer, max_seq_len: int, conversations: Sequence[Conversation], count: int, max_tokens: int
) -> list[Conversation]:
    """The first `count` conversations whose history leaves room for a reply of `max_tokens` (or half of the context).

    `tokenizer` has the marks of the chat template.
    """
    limit = max_seq_len - min(max_tokens, max_seq_len // 2)
    fitting = (each for each in conversations if len(encode_prompt(each.messages[:-1], tokenizer)) <= limit)
    return list(islice(fitting, count))


def _losses(
    generator: TextGenerator, conversations: Sequence[Conversation], max_seq_len: int, *, has_template: bool
) -> dict[str, Any]:
    """Loss and perplexity of the replies, their end included if the model knows it."""
    tokenizer = generator.tokenizer
    found = measure_conversations(
        generator.model,
        add_chat_tokens(tokenizer),
        conversations,
        max_seq_len,
        base_tokenizer=None if has_template else tokenizer,
    )
    if not found.word_counts.sum():
        raise InputDataError("No conversation has room for its reply within the tokens that the model reads.")
    counts = found.word_counts + found.end_counts
    figures = describe_losses((found.word_sums + found.end_sums)[None], counts)
    ends = int(found.end_counts.sum())
    return {
        **figures,
        "end_probability": float(np.exp(-found.end_sums.sum() / ends)) if ends else None,
        "left_out": found.num_left_out,
        "cut": found.num_cut,
        "max_seq_len": max_seq_len,
        "read_as": "chat template" if has_template else "transcript",
    }


def _describe_seen(generator: TextGenerator, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """How many of the conversations have a question, or a long reply, that the model has learned from."""
    assert generator.path is not None
    seen = {kind: load_seen(generator.path, kind) for kind in SEEN_KINDS}
    counts: dict[SeenIn, int | None] = {}
    for kind, known in seen.items():
        texts = [telling_texts(each) for each in conversations]
        if kind == PRETRAINING:  # the documents of a corpus are clean texts
            texts = [[clean_text(text) for text in each] for each in texts]
        counts[kind] = None if known is None else known.count_groups_among(texts)
    sentence = describe_seen(len(conversations), counts, in_part=kinds_in_part(seen), unit="conversations")
    return {"seen": counts, "seen_sentence": sentence}


def _training_replies(path: Path | str, tokenizer: Tokenizer, columns: NamedColumns, *, may_detect: bool) -> list[str]:
    """The replies of a file or of a prepare folder; `may_detect`: a file without the named columns may have others."""
    path = expand_home(path)
    if (path / MANIFEST_NAME).is_file():
        _read_chat_manifest(path)
        return read_replies(path)
    keeps_lines = not tokenizer.is_own
    try:
        found = read_held_out(path, keeps_lines=keeps_lines, columns=columns)
    except InputDataError as error:
        if not may_detect or columns == DETECTED:
            raise
        try:
            found = read_held_out(path, keeps_lines=keeps_lines)
        except InputDataError:
            raise error from None  # it is about the columns that the user named
    return [reply for each in found.conversations for reply in each.replies]
