"""The options that `predict`, `evaluate` and `trace` share: where the texts are, and how a model labels them."""

from __future__ import annotations

import argparse

from pretune.cli.options import JoinLists

# What of `evaluate` has an effect with --labels only; --text-column does with --text, too.
OF_LABELS = ("--text-pair-column", "--label-column", "--label-names", "--label-words", "--pattern", "--no-stack")


def add_text_columns(parser: argparse.ArgumentParser, place: str = "") -> None:
    """Add the options that name the columns of the texts; `place` says of which file."""
    parser.add_argument("--text-column", metavar="NAME", help=f"column{place} that holds the text (default: detected)")
    parser.add_argument(
        "--text-pair-column", metavar="NAME", help=f"column{place} that holds the second text (default: as trained)"
    )


def add_no_stack(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves out what is stacked on a network."""
    parser.add_argument(
        "--no-stack",
        dest="stack",
        action="store_false",
        help="leave out linear models that were stacked on the network",
    )


def add_answers(parser: argparse.ArgumentParser) -> None:
    """Add the options with which a pre-trained model labels texts without having seen a label."""
    parser.add_argument(
        "--label-words",
        action=JoinLists,
        default="",
        metavar="NAME,...",
        help="label with a pre-trained model: the word for each label, e.g. positive=great/good,negative=bad",
    )
    parser.add_argument(
        "--pattern",
        metavar="TEXT",
        help='with --label-words: the text with a [MASK], as in "{text} It was [MASK]." (default: suggested and shown)',
    )
