"""What is typed after each verb: its places and its options, those of a stage made from the stage's settings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from pretune.cli.options import Option, add_options, merge_options, number_of, options_of
from pretune.runtime.manifest import MANIFEST_NAME
from pretune.settings import (
    CollectConfig,
    FinetuneConfig,
    PrepareConfig,
    PreprocessConfig,
    PretrainConfig,
    SplitConfig,
)

# --- what a stage's verb and `run` have in common ---------------------------------------------------------------------


def _add_out(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=required, help="the folder to write")


def _add_redo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redo",
        action="store_true",
        help="rename a folder in the way that was made with other settings, and begin anew",
    )


def _add_dry_run(parser: argparse.ArgumentParser, by: str) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help=f"write nothing, only tell minutes, memory and disk, found {by}"
    )


def _add_labels(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--labels", metavar="FILE", help=text)


def _add_test_labels(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--test-labels", metavar="FILE", help=text)


def _add_split(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--split", metavar="DIR", help=text)


def _add_protect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protect", nargs="+", metavar="FILE", help="text that must not be in the corpus, such as a benchmark's"
    )


def _add_public(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-root", metavar="DIR", help="where public data sets lie, each in a folder of its name")
    parser.add_argument("--yes", action="store_true", help="agree to downloads of public data sets")


def _add_model(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("model", metavar="MODEL", help=f"a run, a stage folder or a checkpoint folder ({text})")


def _add_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _add_settings(parser: argparse.ArgumentParser, title: str, options: Sequence[Option]) -> None:
    add_options(parser.add_argument_group(title), merge_options(options))


# --- the verbs --------------------------------------------------------------------------------------------------------

# Where `run` needs another word than the stage alone, because two stages have a setting of that name.
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
        "batch_size": "--finetune-batch-size",
        "learning_rates": "--finetune-learning-rates",
        "weight_decay": "--finetune-weight-decay",
    },
}


def run_options() -> dict[str, list[Option]]:
    """The options of `run`, by stage; one that several stages share stands with the first of them."""
    flags = _RUN_FLAGS
    options = [
        *options_of("split", SplitConfig),
        *options_of("collect", CollectConfig, flags=flags["collect"]),
        *options_of("preprocess", PreprocessConfig, flags=flags["preprocess"]),
        *options_of("pretrain", PretrainConfig),
        *options_of("prepare", PrepareConfig),
        *options_of("finetune", FinetuneConfig, flags=flags["finetune"], without={"from_scratch"}),
    ]
    grouped: dict[str, list[Option]] = {}
    for option in merge_options(options):
        grouped.setdefault(option.fields[0].split(".")[0], []).append(option)
    return grouped


def as_typed_for_run(stage: str, sentence: str) -> str:
    """A sentence about the settings of a stage, with the words that `run` has for them."""
    for name, flag in _RUN_FLAGS.get(stage, {}).items():
        sentence = re.sub(rf"--{name.replace('_', '-')}(?![\w-])", flag, sentence)
    return sentence


def stage_folder(path: str, stage: str) -> Path:
    """A stage's folder, also where its run is named."""
    folder = Path(path)
    return folder / stage if (folder / stage / MANIFEST_NAME).is_file() else folder


_FIRST = ("--minutes", "--tokens", "--epochs", "--size", "--seed")


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="a recipe file, such as the recipe.toml of a run")
    parser.add_argument(
        "--corpus",
        nargs="+",
        metavar="PATH",
        help="raw text: files, folders, globs, archives, - for stdin, or a public data set as in imdb",
    )
    _add_public(parser)
    _add_labels(parser, "labelled examples: csv, tsv, jsonl or parquet; without --corpus their texts are the corpus")
    _add_test_labels(parser, "a separate test set; without it a part of --labels is held out")
    _add_protect(parser)
    _add_out(parser, required=False)
    _add_redo(parser)
    parser.add_argument(
        "--without-control",
        dest="control",
        action="store_const",
        const=False,
        help="leave out the same network from scratch, which takes most of the time where there are many labels, and "
        "with it the answer whether pre-training helped; without this option a later call makes up for it",
    )
    _add_dry_run(parser, "by the size of the files and a matrix product")
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
    _add_test_labels(parser, "a separate test set; without it a part of FILE is held out")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("split", SplitConfig))


def add_collect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files, folders, globs, archives, - for stdin, or a public data set as in imdb; none: the built-in world",
    )
    _add_public(parser)
    _add_split(parser, "a folder that split wrote, whose training texts are added to the corpus")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("collect", CollectConfig))


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collected", metavar="COLLECTED", help="the folder that collect wrote")
    _add_split(parser, "a folder that split wrote, whose held-out rows are kept out of the text")
    _add_protect(parser)
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("preprocess", PreprocessConfig))


def add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preprocessed", metavar="PREPROCESSED", help="the folder that preprocess wrote")
    _add_out(parser)
    _add_redo(parser)
    _add_dry_run(parser, "by some updates tried out")
    _add_settings(parser, "settings", options_of("pretrain", PretrainConfig))


def add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels",
        metavar="SPLIT",
        help="the folder that split wrote; or a file of labelled examples, which is split here with the settings below",
    )
    parser.add_argument("--base", metavar="PRETRAINED", required=True, help="the folder that pretrain wrote, or a run")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("prepare", PrepareConfig))
    group = parser.add_argument_group("the split of a file")
    group.add_argument("--test-labels", metavar="FILE", help="a separate test set; without it a part is held out")
    add_options(group, options_of("split", SplitConfig))


def add_finetune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pretrained", metavar="PRETRAINED", help="the folder that pretrain wrote, or a run")
    parser.add_argument("prepared", metavar="PREPARED", help="the folder that prepare wrote")
    _add_out(parser)
    _add_redo(parser)
    _add_settings(parser, "settings", options_of("finetune", FinetuneConfig))


def add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("finetuned", metavar="FINETUNED", help="the folder that finetune wrote")
    parser.add_argument("prepared", metavar="PREPARED", help="the folder that prepare wrote")
    parser.add_argument("--scratch", metavar="DIR", help="the folder that finetune --from-scratch wrote")
    _add_out(parser)
    _add_redo(parser)


def add_predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description}\nA probability is the softmax of the model's scores and is not calibrated:\n"
        "run, show and evaluate print how far off it is (ECE, Brier score)."
    )
    _add_model(parser, "of a run: its fine-tuned one")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="the texts to label")
    parser.add_argument("--input", metavar="FILE", help="a file of texts: txt, csv, tsv, jsonl, also .gz and .zst")
    parser.add_argument(
        "--output", metavar="FILE", help="where the rows of --input go, with label and probability added"
    )
    parser.add_argument("--text-column", metavar="NAME", help="the column of --input that holds the text")
    parser.add_argument(
        "--threads", type=number_of(int), metavar="N", help="of the processor; all of its cores when not given"
    )
    _add_json(parser, "one object a line: text, label, probability, probabilities")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "of a run: its fine-tuned one")
    parser.add_argument("--labels", metavar="FILE", required=True, help="labelled examples to measure the model on")
    parser.add_argument("--text-column", metavar="NAME", help="the column that holds the text")
    parser.add_argument("--label-column", metavar="NAME", help="the column that holds the label")
    parser.add_argument(
        "--label-names", default="", metavar="NAME,...", help="0=negative,1=positive: names for the labels in the file"
    )
    figures = "n, accuracy, accuracy_interval, macro_f1, loss, brier_score, calibration_error, classes"
    _add_json(parser, f"one object with {figures}, confusion_matrix")


def add_fill(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "of a run: its pre-trained one")
    parser.add_argument("text", metavar="TEXT", help="a text with [MASK] where a word is missing")
    how_many = "how many words to show (default: 5)"
    parser.add_argument("--top", type=number_of(int), default=5, metavar="N", help=how_many)
    _add_json(parser, "one object: the text, and for each [MASK] the words with their probabilities")


def add_trace(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "of a run: its fine-tuned one")
    parser.add_argument("text", metavar="TEXT", help="the text to trace")
    _add_json(parser, "the whole trace as one object")


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preprocessed", metavar="PREPROCESSED", help="the folder that preprocess wrote, or a run")
    parser.add_argument(
        "--to",
        choices=("parquet", "datatrove", "megatron"),
        required=True,
        help="parquet; datatrove's .ds; Megatron-LM's .bin and .idx",
    )
    _add_out(parser)
    parser.add_argument(
        "--view",
        choices=("rows", "packed"),
        help="parquet of padded rows instead of documents: a document a row, or as many as fit",
    )
    parser.add_argument(
        "--row-tokens", type=number_of(int), metavar="N", help="with --view: tokens in a row (default: 50)"
    )
    _add_json(parser, "one object a split: split, files, tokens, shape, padding_share")


def add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run or of a stage, or a copy of its logs")
    parser.add_argument(
        "--dropped",
        metavar="RULE",
        help="list what stage 2 dropped by a rule, such as near-duplicate, and what it repeats",
    )
    parser.add_argument(
        "--limit", type=number_of(int), metavar="N", help="with --dropped: how many documents (default: 10)"
    )
    _add_json(parser, "with --dropped: one object a line")


def add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder of a run, of a stage, of a checkpoint or of a model")
    _add_json(parser, "one object: is_whole, and for each folder what was compared, what differs and what has no hash")
