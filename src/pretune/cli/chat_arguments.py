"""The options of `evaluate --chat` and of `compare --strategies`."""

from __future__ import annotations

import argparse

from pretune.cli.options import add_options, number_of, options_of
from pretune.settings import StrategiesConfig

STRATEGIES = "strategies"  # the settings of `compare --strategies`


def add_replies_group(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate --chat`."""
    group = parser.add_argument_group("with --chat")
    group.add_argument(
        "--replies", type=number_of(int), metavar="N", help="held-out questions that the model answers (default: 20)"
    )
    group.add_argument(
        "--trained-on",
        metavar="FILE",
        help="the conversations that the model was trained on, to find copies of their "
        "replies (default: the training split, if a folder of prepare is given)",
    )
    group.add_argument(
        "--response-column", metavar="NAME", help="column that holds the reply to the text (default: detected)"
    )
    group.add_argument(
        "--max-tokens", type=number_of(int), metavar="N", help="maximum tokens in a reply (default: 100)"
    )
    group.add_argument("--seed", type=number_of(int), metavar="N", help="seed of the answers (default: 0)")


def add_strategies_group(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare --strategies`."""
    group = parser.add_argument_group("four ways to a chatbot, if PREPARED has conversations")
    group.add_argument(
        "--strategies",
        action="store_true",
        help="train and compare four ways from a base: as it is, from scratch, fine-tuned, and pre-trained further on "
        "--domain before it is fine-tuned",
    )
    group.add_argument(
        "--domain", nargs="+", action="extend", metavar="PATH", help="text of the domain, as for collect"
    )
    group.add_argument(
        "--held-out", metavar="FILE", help="conversations from elsewhere, on which all models are measured, too"
    )
    for option, what in (("--text-column", "question"), ("--response-column", "reply")):
        group.add_argument(
            option, metavar="NAME", help=f"column of --held-out that holds the {what} (default: detected)"
        )
    add_options(group, options_of(STRATEGIES, StrategiesConfig))
