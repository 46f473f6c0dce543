"""The `~` at the beginning of a path."""

from __future__ import annotations

from pathlib import Path


def expand_home(path: Path | str) -> Path:
    """The path with a leading `~` or `~name` replaced by that user's folder; as it is if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # so it is the name of a file
        return Path(path)
