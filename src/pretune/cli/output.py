"""How a command speaks: results as lines on stdout, everything else as lines on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any


def to_json(value: Any) -> str:
    """A value as JSON on one line, in characters that stdout can write."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal without UTF-8, or a byte that was none where the text was typed
        return json.dumps(value, allow_nan=False)
    return text


def to_stdout(text: str) -> None:
    """A result."""
    sys.stdout.write(text + "\n")


def to_stderr(text: str) -> None:
    """Anything else, at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
