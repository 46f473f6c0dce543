"""Check and convert the values of settings by the types of their fields; nothing here imports torch or numpy."""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Literal

from pretune.errors import UsageError


def checked(config: type, name: str, value: Any, *, section: str) -> Any:
    """A value for a field of a settings class.

    Lists and arrays become tuples, numbers of numpy those of Python, and whole numbers floats if the field is one.
    Raises UsageError for an unknown setting or a value of the wrong kind.
    """
    kinds = _kinds_of(config)
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(kinds)}."
        raise UsageError(f"{section} has no setting {name!r}; {hint}")
    value = to_python(value)
    options = typing.get_args(kinds[name]) if _is_optional(kinds[name]) else (kinds[name],)
    value = _as_float(value, options)
    if not any(_has_kind(value, kind) for kind in options):
        raise UsageError(f"{name} in {section} is {value!r}; expected {_describe_kind(options[0])}.")
    return value


def check_kinds(config: Any, *, endless: str | None = None) -> None:
    """Replace the values of a frozen settings object by those that `checked` returns, or raise its UsageError, or that
    for a number that is none (`nan`) or has no end (`inf`): comparisons with a limit let one or the other pass. The
    setting `endless` may have no end."""
    kind = type(config)
    for each in fields(config):
        value = checked(kind, each.name, getattr(config, each.name), section=kind.__name__)
        object.__setattr__(config, each.name, value)  # as frozen classes do
        if (each.name, value) != (endless, math.inf):
            expect(config, _is_finite, "a finite number", each.name)


def expect(config: Any, is_valid: Callable[[Any], bool], expected: str, *names: str) -> None:
    """Raise UsageError for a value that a stage cannot work with; None is always valid."""
    for name in names:
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not all(each is None or is_valid(each) for each in values):
            shown = ",".join(map(str, values))
            raise UsageError(f"--{name.replace('_', '-')} is {shown}; expected {expected}.")


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def is_positive(value: float) -> bool:
    """Whether a number is above zero and finite."""
    return 0 < value < float("inf")


def to_python(value: Any) -> Any:
    """A value with Python's numbers instead of numpy's, and a tuple instead of a list or an array."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(to_python, value)) if isinstance(value, list | tuple) else value


@cache
def _kinds_of(config: type) -> dict[str, Any]:
    return typing.get_type_hints(config)


def _is_optional(kind: Any) -> bool:
    return typing.get_origin(kind) is types.UnionType


def _as_float(value: Any, kinds: Sequence[Any]) -> Any:
    """Accept 1 for 1.0, which is how people write it in TOML."""
    if float in kinds and type(value) is int:
        return float(value)
    if isinstance(value, tuple) and tuple[float, ...] in kinds:
        return tuple(float(item) if type(item) is int else item for item in value)
    return value


def _has_kind(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(type(each) is item for each in value)
    return type(value) is kind


def _describe_kind(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return f"a list, each item {_describe_kind(typing.get_args(kind)[0])}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
    return names.get(kind, f"a {kind.__name__}")
