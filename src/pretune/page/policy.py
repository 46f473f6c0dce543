"""The content security policy of the page: nothing runs and nothing is loaded that pretune did not write."""

from __future__ import annotations

import base64
import hashlib

_NOTHING_ELSE = (
    "default-src 'none'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    # No string may become markup or script, even by a mistake in our own script.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)


def policy_of_file(script: str, style: str) -> str:
    """The policy of a report: its own script and style, by their hashes, and no connection at all."""
    own = (f"script-src {_source_of(script)}", f"style-src {_source_of(style)}", "connect-src 'none'")
    return "; ".join((*own, *_NOTHING_ELSE))


def policy_of_server() -> str:
    """The policy of the live page, sent as a header: script, style and data come from the server that sent it."""
    own = ("script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'")
    return "; ".join((*own, *_NOTHING_ELSE))


def _source_of(text: str) -> str:
    """What names an inline script or style in a policy: the hash of its bytes."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
