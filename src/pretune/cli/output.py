"""Lines that a command prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from typing import Any

_OBEYED = re.compile("[\x7f-\x9f]")  # the control characters that json writes as they are


def to_json(value: Any) -> str:
    """A value as JSON on one line, in characters that stdout can encode and that no terminal obeys."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal without UTF-8, or a typed byte that was not valid UTF-8
        return json.dumps(value, allow_nan=False)
    return text


def to_stdout(text: str) -> None:
    """Print a result, without the control characters that a terminal would obey."""
    from pretune.terminal import printable  # here, since help is to be instant

    sys.stdout.write(printable(text) + "\n")


def to_stderr(text: str) -> None:
    """Print anything else, without buffering. If nobody reads it any more, the command goes on without.

    Escape sequences are removed: `text` may quote one of the user's files.
    """
    from pretune.terminal import clean_lines  # here, as above

    with suppress(OSError):
        sys.stderr.write(clean_lines(text) + "\n")
        sys.stderr.flush()
