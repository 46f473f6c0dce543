"""The verbs of the command line, with their usage and an example, and the parser of each."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pretune.cli import arguments
from pretune.errors import UsageError

PROGRAM = "pretune"
# The placeholders for a path in the usage of a verb.
_PATHS = (
    "BASE", "COLLECTED", "DIR", "FILE", "FINETUNED", "MODEL", "PATH", "PREPARED", "PREPROCESSED", "PRETRAINED",
    "RECIPE", "RUN", "SPLIT",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A verb of `pretune`: its usage, what it does, and an example to type."""

    name: str
    usage: str
    help: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one sentence, with the word that was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving the process."""
        sentence = message.removeprefix("argument ").rstrip(".")
        unknown = re.search(r"unrecognized arguments: (.*)", message)
        if unknown:
            import difflib

            word = unknown.group(1).split()[0]
            words = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(word.split("=")[0], words, n=1)
            sentence = f"{self.prog} has no {'option' if word.startswith('-') else 'place for'} {word}"
            sentence += f", did you mean {close[0]}?" if close else ""
        elif not sentence.startswith("-"):
            sentence = sentence[:1].upper() + sentence[1:]
        end = "" if sentence.endswith("?") else ";"
        raise UsageError(f"{sentence}{end} `{self.prog} --help` lists what there is.")


def build_parser(verb: Verb) -> Parser:
    """The parser of one verb. The others are not built, so that help is instant."""
    parser = Parser(
        prog=f"{PROGRAM} {verb.name}",
        usage=f"{PROGRAM} {verb.usage}",
        description=verb.help[:1].upper() + verb.help[1:] + ("" if verb.help.endswith("?") else "."),
        epilog=f"example:\n  {verb.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.add_arguments(parser)
    for action in parser._actions:  # those of groups, too
        if action.metavar in _PATHS:
            action.type = _path
    parser.add_argument("--quiet", action="store_true", help="show no progress on stderr")
    return parser


def _path(word: str) -> str:
    """A path that was typed. It must not be empty, which would mean the current folder."""
    if not word:
        raise argparse.ArgumentTypeError("expected a path, found an empty word (is a shell variable not set?)")
    return word


def _verb(usage: str, help: str, example: str, add: Callable[[argparse.ArgumentParser], None]) -> Verb:
    name = usage.split()[0]
    return Verb(name=name, usage=usage, help=help, example=f"{PROGRAM} {example}", add_arguments=add)


_BUDGET = "\n         [--minutes X | --tokens N | --epochs X] [--size NAME] [--seed N]"

VERBS = {
    verb.name: verb
    for verb in (
        _verb(
            f"run [RECIPE] [--corpus PATH...] [--labels FILE] [--test-labels FILE] --out DIR {_BUDGET} [options]",
            "run all five stages, then show whether pre-training helped",
            "run --corpus reviews.txt --labels labelled.csv --out runs/reviews --minutes 20",
            arguments.add_run,
        ),
        _verb(
            "split FILE [--test-labels FILE] --out DIR [options]",
            "check labelled examples and hold some out, before any training",
            "split labelled.csv --out work/split",
            arguments.add_split,
        ),
        _verb(
            "collect [PATH...] --out DIR [options]",
            "stage 1: read raw text from files of many formats",
            "collect texts/ 'more/*.jsonl.zst' --out work/collect",
            arguments.add_collect,
        ),
        _verb(
            "preprocess COLLECTED --out DIR [options]",
            "stage 2: clean the text, train the tokenizer, write the tokens",
            "preprocess work/collect --split work/split --out work/preprocess",
            arguments.add_preprocess,
        ),
        _verb(
            f"pretrain PREPROCESSED --out DIR {_BUDGET} [options]",
            "stage 3: pre-train a model to predict masked words, the next token, or both",
            "pretrain work/preprocess --out work/pretrain --minutes 20",
            arguments.add_pretrain,
        ),
        _verb(
            "prepare SPLIT --base PRETRAINED --out DIR [options]",
            "stage 4: encode labelled examples with the model's tokenizer",
            "prepare work/split --base work/pretrain --out work/prepare",
            arguments.add_prepare,
        ),
        _verb(
            "finetune PRETRAINED PREPARED --out DIR [--from-scratch] [options]",
            "stage 5: fine-tune the model on labelled examples or conversations",
            "finetune work/pretrain work/prepare --out work/finetune",
            arguments.add_finetune,
        ),
        _verb(
            "compare FINETUNED PREPARED [--scratch DIR] --out DIR\n"
            "       pretune compare BASE PREPARED --strategies --domain PATH... --minutes X --out DIR",
            "compare the model with linear baselines and with the same network from scratch, or four ways to a chatbot",
            "compare work/finetune work/prepare --scratch work/scratch --out work/compare",
            arguments.add_compare,
        ),
        _verb(
            "predict MODEL TEXT... [--json]\n       pretune predict MODEL --input FILE --output FILE",
            "label new texts, with probabilities",
            'predict runs/reviews "A wonderful film." --json',
            arguments.add_predict,
        ),
        _verb(
            "evaluate MODEL --labels FILE [--json]\n       pretune evaluate MODEL --minimal-pairs FILE [--json]\n"
            "       pretune evaluate MODEL --text FILE [--json]\n       pretune evaluate MODEL --chat FILE [--json]",
            "evaluate a model on labelled examples, on pairs of sentences, on text, or its replies on conversations",
            "evaluate runs/reviews --labels held-out.csv --json",
            arguments.add_evaluate,
        ),
        _verb(
            "fill MODEL TEXT [--top N] [--json]",
            "show the words that the pre-trained model predicts at [MASK]",
            'fill runs/reviews "The sun rises in the [MASK]." --top 5',
            arguments.add_fill,
        ),
        _verb(
            "generate MODEL PROMPT [--max-tokens N] [--temperature X] [--seed N] [--json]",
            "continue a text with a causal or hybrid model, word by word",
            'generate runs/novels "The sun rises in"',
            arguments.add_generate,
        ),
        _verb(
            "chat MODEL [--system TEXT] [--max-tokens N] [--temperature X] [--json]",
            "chat with a causal or hybrid model, in the terminal or with messages from a pipe",
            'chat work/chat --system "You answer questions about health."',
            arguments.add_chat,
        ),
        _verb(
            "trace MODEL TEXT [--json] [--html FILE]\n       pretune trace RUN --selftest",
            "follow one text through tokens, embedding, layers and head to the decision",
            'trace runs/reviews "A wonderful film."',
            arguments.add_trace,
        ),
        _verb(
            "export PREPROCESSED --to FORMAT --out DIR [--view rows|packed] [--json]",
            "write the tokens of stage 2 in the format of another tool",
            "export runs/reviews --to megatron --out tokens",
            arguments.add_export,
        ),
        _verb(
            "show RUN [--dropped RULE [--limit N] [--json]]",
            "show the data flow, training trace and comparison of a run, or the documents that it dropped",
            "show runs/reviews",
            arguments.add_show,
        ),
        _verb(
            "report RUN [--out FILE] [--redact] [--with-model]",
            "write the page of a run as one HTML file, to keep or to send",
            "report runs/reviews --out reviews.html",
            arguments.add_report,
        ),
        _verb(
            "watch RUN [--port N] [--no-browser]",
            "show the page of a run in the browser, while the run goes on or after it",
            "watch runs/reviews",
            arguments.add_watch,
        ),
        _verb(
            "learn RUN [--practice | --test]",
            "answer questions about a run: a quiz of three, five practice tasks, or a test of ten",
            "learn runs/demo --practice",
            arguments.add_learn,
        ),
        _verb(
            "verify DIR [--json]",
            "check every file of a run, stage or checkpoint against its hash",
            "verify runs/reviews",
            arguments.add_verify,
        ),
    )
}

# They write the folder of a stage, so the same command resumes. The others start from the beginning.
RESUMING_VERBS = ("run", "split", "collect", "preprocess", "pretrain", "prepare", "finetune", "compare")


def top_level_help() -> str:
    """The text of `pretune --help`: every verb with an example."""
    width = max(map(len, VERBS))
    lines = [
        f"usage: {PROGRAM} VERB ... [--quiet]      {PROGRAM} VERB --help      {PROGRAM} --version",
        "",
        "From raw text and a few labels to a working model, with every stage traced.",
        "",
    ]
    for verb in VERBS.values():
        lines += [f"  {verb.name:{width}}  {verb.help}", f"  {'':{width}}  $ {verb.example}"]
    lines += ["", "Results go to stdout, progress to stderr. No data at hand? Try: pretune run --out runs/demo"]
    return "\n".join(lines) + "\n"
