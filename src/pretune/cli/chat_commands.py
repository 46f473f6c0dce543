"""The commands for models that reply: `chat`, `evaluate --chat` and `compare --strategies`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pretune.cli.message_reader import MessageReader, reader_of_stdin
from pretune.cli.model_arguments import OF_LABELS
from pretune.cli.options import refuse_options, typed_values
from pretune.cli.output import to_json, to_stderr, to_stdout
from pretune.errors import EXIT_DONE, EXIT_USAGE, UsageError
from pretune.runtime.interruption import noted_ctrl_c
from pretune.runtime.randomness import derive_seed
from pretune.settings import Sampling
from pretune.terminal import clean, clean_lines

if TYPE_CHECKING:
    from pretune.inference.chat_session import ChatSession

HELP = """\
/help           this list
/reset          forget the conversation and begin another
/system TEXT    give the model other instructions; /system alone shows them, /system - removes them
/save FILE      write the conversation to FILE, as jsonl that `prepare --task chat` reads
/quit           leave (so do Ctrl-D, and Ctrl-C twice)
Ctrl-C stops a reply. A text of several lines can be pasted, or typed between two lines of \"\"\".
A message that begins with / is written with //."""
_AGAIN = "Press Ctrl-C again, or type /quit, to leave."


def chat(arguments: argparse.Namespace) -> int:
    """Hold a conversation with a model."""
    from pretune.inference.chat_session import load_chat_session

    sampling = Sampling(**typed_values(arguments).get("sampling", {}))
    session = load_chat_session(arguments.model, arguments.system)
    reader = reader_of_stdin(is_prompt_on_stderr=arguments.json or not sys.stdout.isatty())
    for sentence in _introduce(session, is_interactive=reader.is_terminal and not arguments.quiet):
        to_stderr(sentence)
    return ChatLoop(session, reader, sampling, as_json=arguments.json).run()


def evaluate_replies(arguments: argparse.Namespace) -> int:
    """Evaluate the replies of a model on held-out conversations."""
    from pretune.cli.render_replies import describe_reply_figures
    from pretune.evaluation.chat import evaluate_chat
    from pretune.text.chat.columns import NamedColumns

    refuse_options(arguments, (*OF_LABELS, "--scoring", "--limit"), "with --chat", "use --labels")
    figures = evaluate_chat(
        arguments.model,
        arguments.chat,
        training=arguments.trained_on,
        columns=NamedColumns(arguments.text_column, arguments.response_column),
        num_replies=20 if arguments.replies is None else arguments.replies,
        sampling=Sampling(
            max_tokens=100 if arguments.max_tokens is None else arguments.max_tokens, seed=arguments.seed or 0
        ),
        on_progress=(lambda _sentence: None) if arguments.quiet else to_stderr,
    )
    to_stdout(to_json(figures) if arguments.json else describe_reply_figures(figures))
    return EXIT_DONE


def compare_strategies(arguments: argparse.Namespace) -> int:
    """Train and compare four ways to a chatbot."""
    from pathlib import Path

    from pretune.cli.arguments import stage_folder
    from pretune.cli.chat_arguments import STRATEGIES
    from pretune.reporting.progress import live_progress
    from pretune.reporting.report import show_run
    from pretune.settings import StrategiesConfig
    from pretune.strategies import run_strategies
    from pretune.text.chat.columns import NamedColumns

    if arguments.scratch is not None:
        raise UsageError("--scratch is given with --strategies, which trains all of its models itself; leave it out.")
    if not arguments.domain:
        raise UsageError("--strategies needs text of the domain, to pre-train on further; give it with --domain PATH.")
    if arguments.held_out is None:
        refuse_options(arguments, ("--text-column", "--response-column"), "without --held-out", "add --held-out")
    config = StrategiesConfig(**typed_values(arguments).get(STRATEGIES, {}))
    with live_progress(sys.stderr, arguments.quiet):
        folder = run_strategies(
            stage_folder(arguments.finetuned, "pretrain"),
            stage_folder(arguments.prepared, "prepare"),
            arguments.domain,
            Path(arguments.out),
            config,
            other=arguments.held_out,
            columns=NamedColumns(arguments.text_column, arguments.response_column),
            redo=arguments.redo,
            say=(lambda _sentence: None) if arguments.quiet else to_stderr,
        )
    show_run(folder, sys.stdout)
    return EXIT_DONE


def _introduce(session: ChatSession, *, is_interactive: bool) -> list[str]:
    """What is said before the first message: what the model is, what it was not made for, and its notice."""
    from pretune.text.chat.notice import read_notice
    from pretune.text.chat.template import template_of
    from pretune.text.chat.tokens import describe_missing_template, describe_other_template, has_chat_tokens

    path, tokenizer_path = session.generator.path, session.generator.tokenizer_path
    assert path is not None and tokenizer_path is not None
    sentences = []
    if is_interactive:
        limit = session.generator.max_seq_len
        sentences.append(f"{clean(path)}, which reads {limit:,} tokens of a conversation. /help lists commands.")
    if not session.has_template and has_chat_tokens(session.generator.tokenizer):
        sentences.append(clean(describe_missing_template(tokenizer_path)))
    elif not session.has_template:
        sentences.append(
            "The model was not tuned for conversations in the chat template of pretune: it reads this one as a "
            "transcript, which it continues. To tune it: pretune prepare FILE --task chat, then pretune finetune."
        )
    elif (sentence := describe_other_template(tokenizer_path, template_of(session.generator.tokenizer))) is not None:
        sentences.append(clean(sentence))
    notice = read_notice(tokenizer_path)
    return [*sentences, *([clean(notice)] if notice else [])]


class ChatLoop:
    """Reads messages until there are no more, and writes the reply to each."""

    def __init__(
        self, session: ChatSession, reader: MessageReader, sampling: Sampling, *, as_json: bool = False
    ) -> None:
        self.session, self.reader, self.sampling, self.as_json = session, reader, sampling, as_json
        self._num_replies = 0
        self._was_interrupted = False  # by the last key
        self._has_refused = False
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _rest: to_stderr(HELP),
            "/reset": self._reset,
            "/system": self._instruct,
            "/save": self._save,
        }

    def run(self) -> int:
        """Returns the exit code, which only tells of a refused message if nobody was there to see it."""
        while True:
            try:
                text = self.reader.read()
            except KeyboardInterrupt:
                to_stderr("")
                if self._was_interrupted:
                    break
                self._was_interrupted = True
                to_stderr(_AGAIN)
                continue
            if text is None or text in ("/quit", "/exit"):
                break
            self._was_interrupted = False
            if text:
                self._take(text)
        return EXIT_USAGE if self._has_refused and not self.reader.is_terminal else EXIT_DONE

    def _take(self, text: str) -> None:
        try:
            if "\n" in text or not text.startswith("/"):  # several lines are never a command, so nothing marks them
                self._reply(text)
            elif text.startswith("//"):
                self._reply(text.removeprefix("/"))
            else:
                self._command(text)
        except UsageError as error:
            self._has_refused = True
            to_stderr(clean(error))

    # -- commands ------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        if name not in self._commands:
            raise UsageError(f"There is no command {name}; /help lists them. To send it as a message, type /{text}.")
        self._commands[name](rest.strip())

    def _reset(self, _rest: str) -> None:
        self.session.reset()
        to_stderr("The conversation is forgotten.")

    def _instruct(self, rest: str) -> None:
        if rest:
            self.session.system = None if rest == "-" else rest
        to_stderr(
            f"Instructions: {clean(self.session.system)}" if self.session.system else "There are no instructions."
        )

    def _save(self, rest: str) -> None:
        if not rest:
            raise UsageError("There is no file; give one, as in /save conversation.jsonl.")
        to_stderr(f"Saved in {clean(self.session.save(rest))}.")

    # -- replies -------------------------------------------------------------------------------------------------

    def _reply(self, text: str) -> None:
        session, left_out = self.session, self.session.num_left_out
        own = replace(self.sampling, seed=derive_seed(self.sampling.seed, "chat", self._num_replies))
        reply = session.reply(text, own)
        if session.num_left_out > left_out:
            to_stderr(
                f"The conversation is longer than the {session.generator.max_seq_len:,} tokens that the model reads: "
                f"its first {session.num_left_out} messages are left out from now on."
            )
        written = ""
        with noted_ctrl_c() as stop:
            for part in reply:
                written += part
                if not self.as_json:
                    sys.stdout.write(clean_lines(part))
                    sys.stdout.flush()
                if stop.is_set:
                    break
            reply.close()
        self._was_interrupted = stop.is_set
        self._num_replies += 1
        if self.as_json:
            fields = {"role": "assistant", "content": written.strip(), "is_cut": session.was_cut or stop.is_set}
            to_stdout(to_json(fields))
        else:
            to_stdout("")
        sys.stdout.flush()
        if stop.is_set:
            to_stderr("(stopped; Ctrl-C again leaves)")
        elif not written.strip():
            to_stderr("(The model ended its reply at once; the message is taken back.)")
        elif session.was_cut:
            to_stderr("(The reply was cut: it reached --max-tokens, or the end of what the model reads.)")
