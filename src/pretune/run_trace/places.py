"""Sentences and places of a log in; out come the same without the folders of the machine that they were logged on."""

from __future__ import annotations

import re

# An absolute path of Unix or Windows, or one in a home folder, at the beginning of a word. In quotation marks, it may
# contain blanks.
_BEGIN = r"(?<![\w.:/~\\<-])(?:~?/|[A-Za-z]:[\\/])"
_PART = r"""[^\s/\\,;:"'()<>]+"""
_QUOTED = re.compile(r"""(["'])(?:/|~/|[A-Za-z]:[\\/])[^"'\n]*?([^"'/\\\n]+)[/\\]?\1""")
_PLAIN = re.compile(rf"{_BEGIN}(?:{_PART}[/\\])*({_PART})[/\\]?")
_ABSOLUTE = re.compile(rf"{_BEGIN}{_PART}[/\\]{_PART}")


def without_folders(sentence: str, path: str | None = None) -> str:
    """The sentence with file names in the place of absolute paths; `path` is one that is known to be in it."""
    if path and path.startswith(("/", "~", "\\")) and path in sentence:
        sentence = sentence.replace(path, file_name(path))
    sentence = _QUOTED.sub(lambda found: f"{found[1]}{found[2]}{found[1]}", sentence)
    return _PLAIN.sub(lambda found: found[1], sentence)


def file_name(path: str) -> str:
    """The last part of a path."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def has_absolute_path(text: str) -> bool:
    """Whether a text has an absolute path of at least one folder and a name."""
    return _ABSOLUTE.search(text) is not None
