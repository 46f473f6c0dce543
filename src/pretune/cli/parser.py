"""An argparse parser that answers a wrong word with a sentence."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from pretune.errors import UsageError

# What stands for a path in the usage of a verb.
_PATHS = (
    "COLLECTED", "DIR", "FILE", "FINETUNED", "MODEL", "PATH", "PREPARED", "PREPROCESSED", "PRETRAINED", "RECIPE", "RUN",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are one sentence, with the word that was probably meant."""

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As argparse does; a path must not be empty, which would mean the present folder."""
        if settings.get("metavar") in _PATHS:
            settings["type"] = _path
        return super().add_argument(*names, **settings)

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
        raise UsageError(f"{sentence}{end} `{self.prog} --help` shows what there is.")


def _path(word: str) -> str:
    if not word:
        raise argparse.ArgumentTypeError("expected a path, found an empty word (is a variable of the shell not set?)")
    return word
