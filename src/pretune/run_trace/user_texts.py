"""The texts in a trace by their type: those of the user, and our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_args, get_origin

from pretune.run_trace.codec import hints_of
from pretune.trace_schema import UserText

_MARK = get_args(UserText)[1]  # Annotated[UserText, "a description"] has it, too, but is not equal to UserText


@dataclass(frozen=True)
class Place:
    """The class and the field that a text stands in."""

    owner: str
    field: str


def is_of_user(hint: Any) -> bool:
    """Whether a type is UserText, with or without a description, or that or None."""
    return any(_MARK in getattr(each, "__metadata__", ()) for each in (hint, *get_args(hint)))


def texts_of(value: Any, hint: Any = None, place: Place | None = None) -> Iterator[tuple[str, bool, Place | None]]:
    """Every text in a value of the schema: whether it is the user's, and where it stands."""
    if isinstance(value, str):
        yield value, is_of_user(hint), place
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item, _of_items(hint), place)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name), False, place
            yield from texts_of(item, None, place)
    elif is_dataclass(value) and not isinstance(value, type):
        hints, owner = hints_of(type(value)), type(value).__name__
        for each in fields(value):
            yield from texts_of(getattr(value, each.name), hints[each.name], Place(owner, each.name))


def with_texts_changed(value: Any, change: Callable[[str, Place], str], hint: Any = None, place: Any = None) -> Any:
    """The same value with every text of the user changed; what has another type stays as it is."""
    if isinstance(value, str):
        return change(value, place) if is_of_user(hint) else value
    if isinstance(value, list):
        return [with_texts_changed(item, change, _of_items(hint), place) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        hints, owner = hints_of(type(value)), type(value).__name__
        changed = {
            each.name: with_texts_changed(getattr(value, each.name), change, hints[each.name], Place(owner, each.name))
            for each in fields(value)
        }
        return replace(value, **changed)
    return value


def _of_items(hint: Any) -> Any:
    """The type of the items of a list, which may be one of several possible types."""
    for each in (hint, *get_args(hint)):
        if get_origin(each) is list:
            return get_args(each)[0]
    return None
