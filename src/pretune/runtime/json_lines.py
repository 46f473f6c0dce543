"""JSON lines that a stage wrote: read as a whole, with one error for a file that is missing or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.runtime.json_text import parse_json


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON object of each line of a file. Raises InputDataError if it is missing or damaged."""
    found: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as file:  # not splitlines: texts may contain other line separators
            for line in file:
                found.append(_as_object(parse_json(line)))
    except FileNotFoundError as error:
        raise InputDataError(f"{path} does not exist; rerun the command that writes it.") from error
    except (ValueError, TypeError) as error:
        place = "" if isinstance(error, UnicodeDecodeError) else f"line {len(found) + 1}: "
        raise InputDataError(
            f"{path} is damaged ({place}{error}); restore it or rerun the command that writes it."
        ) from error
    return found


def _as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("found no JSON object")
    return value
