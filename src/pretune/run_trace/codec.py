"""Between the dataclasses of the trace and JSON: numbers of six significant digits, unknown members ignored."""

from __future__ import annotations

import json
import math
import re
import types
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pretune.errors import InputDataError
from pretune.run_trace.log_values import rounded
from pretune.trace_schema import SCHEMA_VERSION, RunTrace

T = TypeVar("T")
_SURROGATE = re.compile("[\ud800-\udfff]")
MAJOR = SCHEMA_VERSION.partition(".")[0]  # readers accept every version that begins with this


def to_json(value: Any) -> Any:
    """A dataclass of the schema (or a list, a dict, a plain value) as JSON values. A number that is not finite becomes
    None, and a lone surrogate U+FFFD."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {_clean(str(name)): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def from_json(cls: type[T], data: Any) -> T:
    """The value of a dataclass of the schema from JSON values. Members that the class does not have are ignored; one
    that is missing is None, empty, or its default.

    Raises:
        ValueError: a member is missing that must be there, or has another type; the message begins with its pointer
    """
    value: T = _read(cls, data, "")
    return value


def as_written(value: T) -> T:
    """The value with the numbers that its file has."""
    return from_json(type(value), to_json(value))


def read_run_trace(path: Path) -> RunTrace:
    """The trace in a file, which may be that of a later version with the same major number.

    Raises:
        InputDataError: the file is missing, damaged, of another major version, or no trace of a run
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _name: None)
    except FileNotFoundError as error:
        raise InputDataError(f"{path} does not exist; `pretune run` writes it at the end of a run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputDataError(f"{path} is damaged ({error}); delete it and run the same command again.") from error
    version = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(version, str):
        raise InputDataError(f"{path} has no version of a trace; expected a trace.json that `pretune run` wrote.")
    if version.partition(".")[0] != MAJOR:
        raise InputDataError(
            f"{path} is of version {version!r}; this version of pretune reads {MAJOR}.x. Write it again with "
            "`pretune run`, or open it with the version that wrote it."
        )
    try:
        return from_json(RunTrace, data)
    except ValueError as error:
        raise InputDataError(f"{path} is damaged: {error}; delete it and run the same command again.") from error


# Members that a document of version 1.0, which knew one metric, has under another name.
_EARLIER = {"score": "accuracy", **{f"score_{part}": f"accuracy_{part}" for part in ("low", "high", "noise")}}


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass, with their annotations."""
    return typing.get_type_hints(cls, include_extras=True)


def _read(hint: Any, value: Any, place: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return _read(args[0], value, place)
    if origin in (types.UnionType, typing.Union):
        return _read_union(args, value, place)
    if origin is Literal:
        return value if value in args else _refuse(value, f"one of {', '.join(map(str, args))}", place)
    if origin is list:
        items = value if isinstance(value, list) else _refuse(value, "a list", place)
        return [_read(args[0], item, f"{place}/{index}") for index, item in enumerate(items)]
    if origin is dict:
        found = value if isinstance(value, dict) else _refuse(value, "an object", place)
        return {str(name): _read(args[1], item, f"{place}/{name}") for name, item in found.items()}
    return _read_object(hint, value, place) if is_dataclass(hint) else _read_plain(hint, value, place)


def _read_union(args: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in args:
        return None
    problem = None
    for each in (arg for arg in args if arg is not type(None)):
        try:
            return _read(each, value, place)
        except ValueError as error:
            problem = problem or error
    raise problem or ValueError(f"{place}: found nothing")


def _read_object(cls: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        _refuse(value, "an object", place)
    hints = hints_of(cls)
    found = {}
    for each in fields(cls):
        earlier = _EARLIER.get(each.name)
        if each.name not in value and earlier in value:
            found[each.name] = _read(hints[each.name], value[earlier], f"{place}/{earlier}")
        elif each.name in value:
            found[each.name] = _read(hints[each.name], value[each.name], f"{place}/{each.name}")
        elif not _has_default(each):
            found[each.name] = _read(hints[each.name], _absent(hints[each.name]), f"{place}/{each.name}")
    return cls(**found)


def _has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _absent(hint: Any) -> Any:
    """What a member is that an earlier version did not write."""
    if get_origin(hint) is Annotated:
        return _absent(get_args(hint)[0])
    return {list: [], dict: {}}.get(get_origin(hint))


def _read_plain(hint: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is hint:
        return value
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return _refuse(value, names.get(hint, str(hint)), place)


def _refuse(value: Any, expected: str, place: str) -> Any:
    found = "nothing" if value is None else type(value).__name__
    raise ValueError(f"{place or '/'}: found {found}, expected {expected}")
