"""The positional words and options of each verb; those of a stage are made from its settings class."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pretune.cli.chat_arguments import add_replies_group, add_strategies_group
from pretune.cli.model_arguments import add_answers, add_no_stack, add_text_columns
from pretune.cli.options import JoinLists, Option, add_options, merge_options, number_of, options_of
from pretune.runtime.manifest import MANIFEST_NAME
from pretune.settings import (
    ChatTuningConfig,
    CollectConfig,
    FinetuneConfig,
    PrepareConfig,
    PreprocessConfig,
    PretrainConfig,
    Sampling,
    SplitConfig,
)

CHAT = "chat"  # the settings of `finetune` for conversations; no stage of a run has them

# --- options that several verbs have ----------------------------------------------------------------------------------


def _add_out(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=required, help="output folder")


def _add_redo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redo",
        action="store_true",
        help="if the output folder was made with different settings, rename it and start over",
    )


def _add_dry_run(parser: argparse.ArgumentParser, by: str) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help=f"write nothing; only estimate time, memory and disk space from {by}"
    )


def _add_labels(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--labels", metavar="FILE", help=text)


def _add_test_labels(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--test-labels", metavar="FILE", help=text)


def _add_split(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--split", metavar="DIR", help=text)


def _add_protect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protect",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="texts to keep out of the corpus, such as a benchmark",
    )


def _add_public(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root", metavar="DIR", help="folder of public data sets, each in a subfolder of its name"
    )
    parser.add_argument("--yes", action="store_true", help="download public data sets without asking")


def _add_from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="base",
        metavar="BASE",
        help="start from this pre-trained model instead of random weights: a run, a stage folder, a model folder, a "
        "GGUF file or hf:OWNER/NAME",
    )


def _add_model(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help=f"a run, a stage folder or a checkpoint folder (for a run: {text})"
    )


def _add_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _add_settings(parser: argparse.ArgumentParser, title: str, options: Sequence[Option]) -> None:
    add_options(parser.add_argument_group(title), merge_options(options))


# --- the verbs --------------------------------------------------------------------------------------------------------

# The settings that `run` renames, because two stages have one of the same name.
_RUN_FLAGS = {
    "collect": {
        "text_column": "--corpus-text-column",
        "encoding": "--corpus-encoding",
        "format": "--corpus-format",
        "seed": "--builtin-seed",
    },
    "preprocess": {"validation_fraction": "--corpus-validation-fraction"},
    "finetune": {
        "epochs": "--finetune-epochs",
        "updates": "--finetune-updates",
        "batch_size": "--finetune-batch-size",
        "learning_rates": "--finetune-learning-rates",
        "weight_decay": "--finetune-weight-decay",
    },
}


def run_options() -> dict[str, list[Option]]:
    """The options of `run`, by stage; one that several stages share is listed under the first and names the others."""
    flags = _RUN_FLAGS
    options = [
        *options_of("split", SplitConfig, without={"response_column"}),
        *options_of("collect", CollectConfig, flags=flags["collect"]),
        *options_of("preprocess", PreprocessConfig, flags=flags["preprocess"]),
        *options_of("pretrain", PretrainConfig),
        *options_of("prepare", PrepareConfig, without={"notice"}),
        *options_of("finetune", FinetuneConfig, flags=flags["finetune"], without={"from_scratch"}),
    ]
    grouped: dict[str, list[Option]] = {}
    for option in merge_options(options):
        first, *others = (field.split(".")[0] for field in option.fields)
        also = f"; also for {' and '.join(others)}" if others else ""
        grouped.setdefault(first, []).append(replace(option, help=option.help + also))
    return grouped


def run_flag(stage: str, name: str) -> str | None:
    """The option of `run` for a setting of a stage, if it has another name than the setting."""
    return _RUN_FLAGS.get(stage, {}).get(name)


def as_typed_for_run(stage: str, sentence: str) -> str:
    """A sentence about the settings of a stage, with the option names of `run`."""
    for name, flag in _RUN_FLAGS.get(stage, {}).items():
        sentence = re.sub(rf"--{name.replace('_', '-')}(?![\w-])", flag, sentence)
    return sentence


def stage_folder(path: str, stage: str) -> Path:
    """The folder of a stage, given that folder or its run."""
    folder = Path(path)
    return folder / stage if (folder / stage / MANIFEST_NAME).is_file() else folder


_FIRST = ("--minutes", "--tokens", "--epochs", "--size", "--seed")


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a recipe file, such as the recipe.toml of a run")
    parser.add_argument(
        "--corpus",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="raw text: files, folders, globs, archives, - for stdin, or the name of a public data set, such as imdb",
    )
    _add_public(parser)
    _add_labels(parser, "labelled examples: csv, tsv, jsonl or parquet; without --corpus, their texts are the corpus")
    _add_test_labels(parser, "separate test set (default: hold out some rows of --labels)")
    _add_from(parser)
    _add_protect(parser)
    _add_out(parser, required=False)
    _add_redo(parser)
    parser.add_argument(
        "--without-control",
        dest="control",
        action="store_const",
        const=False,
        help="skip the control, which is the same network trained from scratch: saves most of the time if there are "
        "many labels, but does not show whether pre-training helped; to add it later, rerun without this option",
    )
    parser.add_argument(
        "--watch", action="store_true", help="show the run in the browser while it goes on, and after it until Ctrl-C"
    )
    parser.add_argument(
        "--no-report", dest="report", action="store_false", help="write no report.html, the page of the run as one file"
    )
    _add_dry_run(parser, "the size of the files and the speed of a matrix product")
    options = run_options()
    often = sorted((o for o in options["pretrain"] if o.flag in _FIRST), key=lambda o: _FIRST.index(o.flag))
    add_options(parser, often)
    add_options(parser.add_argument_group("the split of --labels"), options["split"])
    for number, stage in enumerate(("collect", "preprocess", "pretrain", "prepare", "finetune"), start=1):
        add_options(
            parser.add_argument_group(f"stage {number}, {stage}"), [o for o in options[stage] if o not in often]
        )


def add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", metavar="FILE", help="labelled examples: csv, tsv, jsonl or parquet")
    _add_test_labels(parser, "separate test set (default: hold out some rows of FILE)")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("split", SplitConfig, without={"response_column"}))


def add_collect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files, folders, globs, archives, - for stdin, or the name of a public data set, such as imdb "
        "(default: the built-in corpus)",
    )
    _add_public(parser)
    _add_split(parser, "output folder of split, whose training texts are added to the corpus")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("collect", CollectConfig))


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collected", metavar="COLLECTED", help="output folder of collect")
    _add_split(parser, "output folder of split, whose held-out rows are kept out of the corpus")
    _add_protect(parser)
    parser.add_argument(
        "--base", metavar="BASE", help="use the tokenizer of this model, from which pretrain --from BASE will start"
    )
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("preprocess", PreprocessConfig))


def add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preprocessed", metavar="PREPROCESSED", help="output folder of preprocess")
    _add_from(parser)
    _add_out(parser, required=False)
    _add_redo(parser)
    _add_dry_run(parser, "a few trial updates")
    _add_settings(parser, "settings", options_of("pretrain", PretrainConfig))


def add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels",
        metavar="SPLIT",
        help="output folder of split; or a file of labelled examples, or with --task chat of conversations, which is "
        "split with the settings below",
    )
    parser.add_argument(
        "--base",
        metavar="PRETRAINED",
        required=True,
        help="a run, a stage or model folder, a GGUF file, or hf:OWNER/NAME",
    )
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("prepare", PrepareConfig))
    group = parser.add_argument_group("if SPLIT is a file")
    group.add_argument("--test-labels", metavar="FILE", help="separate test set (default: hold out some rows)")
    add_options(group, options_of("split", SplitConfig))


def add_finetune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pretrained", metavar="PRETRAINED", help="a run, a stage or model folder, a GGUF file, or hf:OWNER/NAME"
    )
    parser.add_argument("prepared", metavar="PREPARED", help="output folder of prepare")
    _add_out(parser, required=False)
    _add_redo(parser)
    _add_dry_run(parser, "a few trial updates; for conversations only")
    parser.add_argument(
        "--corpus",
        metavar="DIR",
        help="for --self-train: a run or an output folder of preprocess (default: that of the run of PRETRAINED)",
    )
    own, chat = options_of("finetune", FinetuneConfig), options_of(CHAT, ChatTuningConfig)
    flags, of_chat = {option.flag for option in own}, {option.flag for option in chat}
    merged = merge_options([*own, *chat])
    groups = {
        "settings": [option for option in merged if option.flag in flags & of_chat],
        "if PREPARED has labelled examples": [option for option in merged if option.flag not in of_chat],
        "if PREPARED has conversations": [option for option in merged if option.flag not in flags],
    }
    for title, options in groups.items():
        add_options(parser.add_argument_group(title), options)


def add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("finetuned", metavar="FINETUNED", help="output folder of finetune; with --strategies: the base")
    parser.add_argument("prepared", metavar="PREPARED", help="output folder of prepare")
    parser.add_argument("--scratch", metavar="DIR", help="output folder of finetune --from-scratch")
    _add_out(parser)
    _add_redo(parser)
    add_strategies_group(parser)


def add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\nA probability is the softmax of the model's scores and is not calibrated;\n"
        "run, show and evaluate measure its error (ECE, Brier score)."
    )
    _add_model(parser, "its fine-tuned model")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to label; two for each pair")
    parser.add_argument(
        "--input", metavar="FILE", help="file of texts: txt, csv, tsv, jsonl, json or parquet, also compressed"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file to write: the rows of --input with the predictions added"
    )
    add_text_columns(parser, " of --input")
    add_answers(parser)
    parser.add_argument("--threads", type=number_of(int), metavar="N", help="CPU threads (default: all cores)")
    add_no_stack(parser)
    _add_json(parser, "print a JSON object for each text: text, label, probability, probabilities")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "its fine-tuned model; with --minimal-pairs or --text, its pre-trained model")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--labels", metavar="FILE", help="labelled examples to evaluate on")
    what.add_argument(
        "--chat",
        metavar="FILE",
        help="conversations to evaluate the replies of a causal or hybrid model on, or the output folder of prepare "
        "--task chat, whose held-out ones are read",
    )
    what.add_argument(
        "--minimal-pairs",
        metavar="FILE",
        help="pairs of an acceptable and an unacceptable sentence, such as BLiMP: a table with the columns good and "
        "bad; a text file with a pair in two lines, the unacceptable one first; or an archive or folder of these",
    )
    what.add_argument(
        "--text",
        metavar="FILE",
        help="text to predict token by token, in any format that collect reads: perplexity and bits per byte",
    )
    add_text_columns(parser)
    parser.add_argument("--label-column", metavar="NAME", help="column that holds the label (default: detected)")
    parser.add_argument(
        "--label-names",
        action=JoinLists,
        default="",
        metavar="NAME,...",
        help="names for the labels in the file, e.g. 0=negative,1=positive",
    )
    add_replies_group(parser)
    parser.add_argument(
        "--scoring",
        choices=("auto", "masked", "causal"),
        help="with --minimal-pairs: score a sentence by masking each token in turn, or by predicting each from those "
        "before it (default: auto, masked if the model was trained to fill in words)",
    )
    parser.add_argument(
        "--limit", type=number_of(int), metavar="N", help="with --minimal-pairs: pairs of each paradigm (default: all)"
    )
    windows = "with --text: tokens that are read at once (default: what the model reads, at most 1,024)"
    parser.add_argument("--window", type=number_of(int), metavar="N", help=windows)
    strides = "with --text: tokens by which the next window of a long document reaches further (default: half a window)"
    parser.add_argument("--stride", type=number_of(int), metavar="N", help=strides)
    add_no_stack(parser)
    add_answers(parser)
    keys = "skipped, warnings, detected, seen, seen_sentence, and the figures of the task, such as n, accuracy, "
    _add_json(parser, f"print the figures as one JSON object; with --labels: {keys}accuracy_interval")


def add_fill(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "its pre-trained model")
    parser.add_argument("text", metavar="TEXT", help="text with [MASK] in place of each missing word")
    how_many = "number of words to show (default: 5)"
    parser.add_argument("--top", type=number_of(int), default=5, metavar="N", help=how_many)
    _add_json(parser, "print one JSON object: the text, and the words with their probabilities for each [MASK]")


def add_chat(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "its fine-tuned model, or else its pre-trained one")
    parser.add_argument("--system", metavar="TEXT", help="instructions that the model reads before the conversation")
    add_options(parser, options_of("sampling", Sampling))
    _add_json(parser, "print a JSON object for each reply: role, content, is_cut")


def add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\nThe model must predict the next token: pre-trained with --objective causal or\n"
        "hybrid, or a public model of Llama's kind. What it writes is invented and need not be true."
    )
    _add_model(parser, "its pre-trained model")
    parser.add_argument("prompt", metavar="PROMPT", help="the beginning of a text; - reads it from stdin")
    add_options(parser, options_of("sampling", Sampling))
    _add_json(parser, "print one JSON object: prompt, text, tokens, prompt_tokens, ending, seed, model")


def add_trace(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "its fine-tuned model")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="text to trace; two for a model of pairs")
    parser.add_argument(
        "--html", metavar="FILE", help="write the page of the run with this prediction as the first one"
    )
    add_no_stack(parser)
    _add_json(parser, "print the whole trace as one JSON object")
    parser.add_argument(
        "--selftest",
        action="store_true",
        help="trace no text, but check the attributions: plant a word that determines the label in a copy of the run's "
        "labelled rows, fine-tune on them, and count how often the attributions find it",
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run or a stage folder, or a copy of its logs")
    parser.add_argument("--out", metavar="FILE", help="file to write (default: report.html in RUN)")
    parser.add_argument(
        "--redact", action="store_true", help="leave all of your text out: words, labels, examples and file names"
    )
    parser.add_argument(
        "--with-model",
        action="store_true",
        help="add the models, so that the page predicts the class of a typed text, and fills in [MASK], in the "
        "reader's browser, offline (up to 20 MB; no public models)",
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run or a stage folder, finished or not")
    parser.add_argument("--port", type=number_of(int), metavar="N", help="port on this machine (default: a free one)")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the address; open no browser"
    )


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preprocessed", metavar="PREPROCESSED", help="output folder of preprocess, or a run")
    parser.add_argument(
        "--to",
        choices=("parquet", "datatrove", "megatron"),
        required=True,
        help="parquet, datatrove (.ds) or Megatron-LM (.bin and .idx)",
    )
    _add_out(parser)
    parser.add_argument(
        "--view",
        choices=("rows", "packed"),
        help="parquet only: padded rows of one document each (rows), or of as many as fit (packed)",
    )
    parser.add_argument(
        "--row-tokens", type=number_of(int), metavar="N", help="with --view: tokens per row (default: 50)"
    )
    _add_json(parser, "print a JSON object for each split: split, files, tokens, shape, padding_share")


def add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run or a stage folder, or a copy of its logs")
    parser.add_argument(
        "--dropped",
        metavar="RULE",
        help="list the documents that a rule of preprocess dropped, such as near-duplicate, and what they repeat",
    )
    parser.add_argument(
        "--limit", type=number_of(int), metavar="N", help="with --dropped: number of documents (default: 10)"
    )
    _add_json(parser, "with --dropped: print a JSON object for each document")


def add_learn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run, or a copy of its logs")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--practice", action="store_true", help="five tasks with hints, further tries and a worked solution"
    )
    part.add_argument(
        "--test", action="store_true", help="ten questions over three levels, without hints; explained at the end"
    )


def add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a run, or the folder of a stage, a checkpoint or a model")
    _add_json(
        parser,
        "print one JSON object: is_whole, and for each folder what was compared, what differs and what has no hash",
    )
