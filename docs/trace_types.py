"""The types of pretune.trace_schema in; the JSON Schema of `trace.json` and the TypeScript types of the page out."""

from __future__ import annotations

import types
import typing
from dataclasses import Field, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pretune import trace_schema
from pretune.trace_schema import SCHEMA_VERSION, RunTrace

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBERS = {int: "integer", float: "number", str: "string", bool: "boolean"}
_SCRIPT = {int: "number", float: "number", str: "string", bool: "boolean"}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12). Unknown keys are allowed, so that readers accept later minor versions."""
    return {
        "$schema": DIALECT,
        "title": f"A run of pretune, {SCHEMA_VERSION}",
        "$ref": f"#/$defs/{RunTrace.__name__}",
        "$defs": {each.__name__: _describe_class(each) for each in _classes()},
    }


def typescript() -> str:
    """The same types for the page."""
    blocks = ["// Written by `make docs` from src/pretune.trace_schema.py. Do not edit.\n"]
    blocks += [_interface(each) for each in _classes()]
    return "\n".join(blocks)


def _classes() -> list[type]:
    """The dataclasses of the schema, in the order of the file."""
    return [each for each in vars(trace_schema).values() if isinstance(each, type) and is_dataclass(each)]


def _hints(owner: type) -> dict[str, Any]:
    return typing.get_type_hints(owner, include_extras=True)


# ---- JSON Schema


def _describe_class(owner: type) -> dict[str, Any]:
    hints = _hints(owner)
    described = {
        "type": "object",
        "properties": {each.name: _describe(hints[each.name]) for each in fields(owner)},
        "required": [each.name for each in fields(owner)],
    }
    return described if _is_undocumented(owner) else {"description": _one_line(owner.__doc__ or ""), **described}


def _describe(hint: Any) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_describe(args[0]), "description": args[1]}
    if hint is Any:
        return {}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _describe(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(args[1])}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_describe(each) for each in args]}
    if hint is type(None):
        return {"type": "null"}
    return {"$ref": f"#/$defs/{hint.__name__}"} if is_dataclass(hint) else {"type": _NUMBERS[hint]}


# ---- TypeScript


def _interface(owner: type) -> str:
    hints = _hints(owner)
    lines = [] if _is_undocumented(owner) else [f"/** {_one_line(owner.__doc__ or '')} */"]
    lines += [
        f"export interface {owner.__name__} {{",
        *(_member(each, hints[each.name]) for each in fields(owner)),
        "}\n",
    ]
    return "\n".join(lines)


def _member(member: Field[Any], hint: Any) -> str:
    note = _note(hint)
    return (f"  /** {note} */\n" if note else "") + f"  {member.name}: {_script(hint)};"


def _script(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _script(args[0])
    if hint is Any:
        return "unknown"
    if origin is Literal:
        return " | ".join(f'"{each}"' for each in args)
    if origin is list:
        inner = _script(args[0])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<string, {_script(args[1])}>"
    if origin in (types.UnionType, typing.Union):
        return " | ".join(dict.fromkeys(_script(each) for each in args))
    if hint is type(None):
        return "null"
    return hint.__name__ if is_dataclass(hint) else _SCRIPT[hint]


def _note(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return str(get_args(hint)[1])
    return next((note for each in get_args(hint) if (note := _note(each))), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_undocumented(owner: type) -> bool:
    """dataclass writes a signature as the docstring of a class without one."""
    return (owner.__doc__ or "").startswith(f"{owner.__name__}(")
