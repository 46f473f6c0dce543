"""A conversation with a causal model: a message in, its reply out as it is written; the history is cut at turns.

A model that was tuned on conversations, or any other one with the two marks in its vocabulary and a chat template in
its folder, reads the template. Every other causal model reads the conversation as a transcript, which it continues as
well as it can.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from pretune.errors import ModelError, ModelNotFoundError, UsageError
from pretune.inference.generate import TextGenerator
from pretune.inference.load import find_model_folder, load_generator
from pretune.inference.prefix_cache import PrefixCache
from pretune.runtime.atomic import write_text
from pretune.runtime.home import expand_home
from pretune.settings import Sampling
from pretune.text.chat.conversations import Message, clean_message, content_text, role_named
from pretune.text.chat.template import encode_prompt
from pretune.text.chat.tokens import turn_end_id, turn_start_id
from pretune.text.chat.transcript import asking_of, encode_transcript
from pretune.text.labels.labelling import LABELS_NAME
from pretune.text.tokenizer.stream_decoder import StreamDecoder

REPLY_FRACTION = 0.25  # of the context, at most, is kept free for a reply before the history is cut


class ChatSession:
    """One conversation. `reply` adds a message and its reply; the model reads only what is new since the last one.

    `messages` has all of it, the message of the system first. `num_left_out` counts the messages at its beginning that
    the model no longer reads, because the conversation is longer than its context; `was_cut` says that the last reply
    did not come to its end, because it had as many tokens as it may have.
    """

    def __init__(self, generator: TextGenerator, system: str | None = None) -> None:
        self.generator = generator
        self.system = system
        self.turns: list[Message] = []  # of user and assistant
        self.num_left_out, self.was_cut = 0, False
        self._saved: dict[Path, str] = {}  # what was written to each file
        self._prefix = PrefixCache(generator.model.transformer)
        self._last: Generator[str, None, None] | None = None

    @property
    def system(self) -> str | None:
        """The message of the system, as the model reads it; None if there is none, or nothing in it to read."""
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        self._system = self._clean(text or "") or None

    @property
    def has_template(self) -> bool:
        """Whether the model reads the chat template; otherwise it reads a transcript."""
        return self.generator.has_chat_template

    @property
    def messages(self) -> list[Message]:
        """The conversation so far, with the message of the system, if there is one."""
        return [*([] if self.system is None else [Message("system", self.system)]), *self.turns]

    def reply(self, text: str, sampling: Sampling | None = None) -> Generator[str, None, None]:
        """The reply to a message, in strings of whole characters, as the model writes it.

        If the iterator is closed in the middle, what was written so far is kept as the reply; if nothing was written,
        the message is taken back; the next message closes it, too. Raises UsageError if the message is blank, or too
        long without any history.
        """
        self._end_last()
        message = Message("user", self._clean(text))
        if not message.content:
            raise UsageError("The message is empty; type some words.")
        asked, sampling, self.was_cut = [*self.turns, message], sampling or Sampling(), False
        ids, self.num_left_out = self._fit(asked, sampling.max_tokens)
        self._last = self._answer(asked, ids, sampling)
        return self._last

    def reset(self) -> None:
        """Forget the conversation, but not the message of the system."""
        self._end_last()
        self.turns, self.num_left_out = [], 0
        self._saved.clear()  # files of the conversation that is forgotten, which the next one must not replace
        self._prefix = PrefixCache(self.generator.model.transformer)

    def save(self, path: Path | str) -> Path:
        """Write the conversation as one line of jsonl, which `prepare --task chat` reads, and return its path.

        Raises UsageError if nothing was said yet, if the file exists and does not have this conversation, up to an
        earlier message, or if it cannot be written.
        """
        if not self.turns:
            raise UsageError("There is nothing to save yet: the conversation has no reply.")
        messages = [{"role": each.role, "content": each.content} for each in self.messages]
        text = json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
        try:
            path = expand_home(path).absolute()
            if path.exists() and (path not in self._saved or path.read_text(encoding="utf-8") != self._saved[path]):
                raise UsageError(f"{path} exists, and nothing is ever overwritten; give another file.")
            if not path.parent.is_dir():
                raise UsageError(f"{path.parent} does not exist; give a file in a folder that does.")
            write_text(path, text)
        except (OSError, ValueError) as error:  # such as a byte that no name has
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(f"{path} cannot be written ({reason}); give another file.") from error
        self._saved[path] = text
        return path

    # -- one reply -----------------------------------------------------------------------------------------------

    def _end_last(self) -> None:
        """Close the last reply, if its iterator is still open: the next one continues what this one has read."""
        if self._last is not None:
            self._last.close()

    def _answer(self, asked: list[Message], ids: list[int], sampling: Sampling) -> Generator[str, None, None]:
        written = ""
        try:
            for text in self._write(ids, sampling):
                new = text if written else text.lstrip()
                written += new
                if new:
                    yield new
        finally:  # also if the iterator is closed
            if written.strip():
                self.turns = [*asked, Message("assistant", written.strip())]

    def _write(self, ids: list[int], sampling: Sampling) -> Iterator[str]:
        tokenizer, stop_ids = self.generator.tokenizer, self.generator.stop_ids
        if not self.has_template:
            yield from _until(self._decoded(ids, sampling, stop_ids), asking_of(tokenizer))
            return
        yield from self._decoded(ids, sampling, stop_ids | {turn_start_id(tokenizer), turn_end_id(tokenizer)})

    def _decoded(self, ids: list[int], sampling: Sampling, stop_ids: frozenset[int]) -> Iterator[str]:
        """What the model writes, in strings of whole characters."""
        decoder = StreamDecoder(self.generator.tokenizer, ids)
        most = min(sampling.max_tokens, self.generator.max_seq_len - len(ids))
        continued = self.generator.continue_ids(ids, sampling, stop_ids, self._prefix)
        for number, token_id in enumerate(continued, start=1):
            self.was_cut = number == most
            if text := decoder.add(token_id):
                yield text
        if text := decoder.finish():
            yield text

    # -- what the model reads ------------------------------------------------------------------------------------

    def _fit(self, asked: Sequence[Message], max_tokens: int) -> tuple[list[int], int]:
        """The ids of the conversation with as many turns as leave room for the reply, and how many are left out."""
        limit = self.generator.max_seq_len
        room = min(max_tokens, int(limit * REPLY_FRACTION))
        ids, place = self._encode(asked), 0
        if len(ids) + room > limit:
            places = [place for place, message in enumerate(asked) if message.role == "user"]
            # By halves, because each try encodes all the messages that it keeps.
            first = bisect_left(places, True, 1, key=lambda place: len(self._encode(asked[place:])) + room <= limit)
            place = places[min(first, len(places) - 1)]
            ids = self._encode(asked[place:])
        if len(ids) + room <= limit:
            return ids, place
        if len(ids) < limit:  # the last message alone, with less room for the reply than was asked for
            return ids, place
        if self.system is not None and len(self._encode([Message("user", "")])) >= limit:
            raise UsageError(
                f"The message of the system leaves no room for another one: the model reads {limit:,} tokens in all; "
                "shorten the message of the system."
            )
        raise UsageError(
            f"The message has {len(ids):,} tokens with its frame, and the model reads {limit:,}, the reply included; "
            "shorten the message."
        )

    def _encode(self, turns: Sequence[Message]) -> list[int]:
        system = [] if self.system is None else [Message("system", self.system)]
        tokenizer = self.generator.tokenizer
        messages = [Message(each.role, self._clean(each.content)) for each in [*system, *turns]]  # as in training
        if self.has_template:
            return encode_prompt(messages, tokenizer)
        return encode_transcript(messages, tokenizer)[0]

    def _clean(self, text: str) -> str:
        return clean_message(text, keeps_lines=not self.generator.tokenizer.is_own)


def load_chat_session(path: Path | str, system: str | None = None) -> ChatSession:
    """A session with the model at a path; of a run, with its fine-tuned model, or with its pre-trained one if the
    fine-tuned one is missing or a classifier.

    Raises the errors of `load_generator`: a model that only fills in masked words cannot write a reply.
    """
    return ChatSession(load_generator(_find_writer(path)), system)


def _find_writer(path: Path | str) -> Path:
    """The model folder at a path; of a run, the one whose model may write replies."""
    try:
        tuned = find_model_folder(path, "finetune")
    except ModelNotFoundError:
        return find_model_folder(path, "pretrain")
    if not (tuned / LABELS_NAME).is_file():
        return tuned
    try:
        return find_model_folder(path, "pretrain")
    except ModelNotFoundError as error:
        raise ModelError(
            f"{tuned} has a classifier, which does not continue a text, and {path} has no pre-trained model that does; "
            "give the folder of a language model."
        ) from error


def answer(generator: TextGenerator, messages: Sequence[Any], sampling: Sampling) -> str:
    """The reply to a conversation whose last message is of the user.

    Messages are `{"role": ..., "content": ...}` (or `Message`) with the roles system, user and assistant. Raises
    UsageError if one has another form or role, or if the conversation does not end with a message of the user.
    """
    read = [_read_message(each) for each in messages]
    system = read.pop(0).content if read and read[0].role == "system" else None
    roles = [message.role for message in read]
    if not roles or roles != [("user", "assistant")[place % 2] for place in range(len(roles))] or len(roles) % 2 == 0:
        found = ", ".join(roles) or "no message of the user"
        raise UsageError(f"The conversation has {found}; expected user and assistant in turn, and the user last.")
    session = ChatSession(generator, system)
    session.turns = read[:-1]
    return "".join(session.reply(read[-1].content, sampling)).strip()


def _read_message(message: Any) -> Message:
    if isinstance(message, Message):
        return message
    try:
        role, content = role_named(message["role"]), message["content"]
        if not isinstance(content, str | list) or (text := content_text(content)) is None:
            raise TypeError("the content is no text")
        return Message(role, text)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'A message is {message!r:.80}; expected {{"role": ..., "content": TEXT}}.') from error
    except ValueError as error:
        raise UsageError(f"The role {message['role']!r} is unknown; expected system, user or assistant.") from error


def _until(texts: Iterator[str], marker: str | None) -> Iterator[str]:
    """The texts up to a marker, which may begin in one of them and end in the next; all of them without a marker."""
    if marker is None:
        yield from texts
        return
    kept = ""
    for text in texts:
        kept += text
        before, found, _ = kept.partition(marker)
        if found:
            yield before
            return
        held = next((n for n in range(min(len(marker) - 1, len(kept)), 0, -1) if kept.endswith(marker[:n])), 0)
        ready, kept = kept[: len(kept) - held], kept[len(kept) - held :]
        if ready:
            yield ready
    if kept:
        yield kept
