"""Values of events in; out come clean figures, texts and lists, whatever another version or a torn log has written.

A figure is rounded to the six significant digits that `trace.json` has, before anything is computed from it: so what
the terminal shows, what the file says and what a reader computes from the file are the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from pretune.runtime.events import Event

_LARGEST = 2**53 - 1  # a whole number above has no exact value in a browser
EXCERPT = 2000  # characters of a text that are kept
_SURROGATE = re.compile("[\ud800-\udfff]")


def of_stage(events: Iterable[Event], stage: str, kind: str | None = None) -> list[Event]:
    """The events of one stage (and of one kind, if given), in the order of the log."""
    return [e for e in events if e.get("stage") == stage and (kind is None or e["event"] == kind)]


def last_of(events: Iterable[Event], stage: str, kind: str) -> Event:
    """The last event of a kind in a stage, or an empty one."""
    found = of_stage(events, stage, kind)
    return found[-1] if found else {}


def rounded(value: float) -> float:
    """The number with six significant digits."""
    return float(f"{value:.6g}")


def figure(value: Any) -> float | None:
    """A finite number with six significant digits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return rounded(number) if math.isfinite(number) else None


def figures(values: Any, count: int) -> list[float] | None:
    """A list of `count` finite numbers, such as an interval; None for anything else."""
    if not isinstance(values, list) or len(values) != count:
        return None
    found = [figure(value) for value in values]
    kept = [number for number in found if number is not None]
    return kept if len(kept) == count else None


def whole(value: Any) -> int | None:
    """A whole number that every reader of JSON can hold; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if -_LARGEST <= value <= _LARGEST else None


def words(value: Any, limit: int = EXCERPT) -> str | None:
    """A text of at most `limit` characters and without lone surrogates, which are not Unicode; None for no text."""
    if not isinstance(value, str):
        return None
    kept = value if len(value) <= limit else value[: limit - 1] + "…"
    return _SURROGATE.sub("\ufffd", kept)


def name_of(value: Any) -> str:
    """A name of any type as a text, and "?" for a missing or empty one."""
    return "?" if value is None else words(str(value)) or "?"


def objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list; none if it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def members(value: Any) -> dict[str, Any]:
    """The members of a JSON object; none if it is no object."""
    return value if isinstance(value, dict) else {}


def texts(value: Any, limit: int = EXCERPT) -> list[str]:
    """The texts of a list."""
    found = [words(item, limit) for item in value] if isinstance(value, list) else []
    return [text for text in found if text is not None]


def wholes(value: Any) -> list[int]:
    """The whole numbers of a list."""
    found = [whole(item) for item in value] if isinstance(value, list) else []
    return [number for number in found if number is not None]


def counts(value: Any) -> dict[str, int]:
    """The whole numbers of a JSON object, by name."""
    found = {str(name): whole(number) for name, number in members(value).items()}
    return {name: number for name, number in found.items() if number is not None}
