"""From the fields of a settings class to command-line options, and from a parsed command line back to settings."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union

from pretune.errors import UsageError

# The words for values that are no names, by the name of the setting.
_METAVARS = {"label_separator": "SIGN", "notice": "TEXT", "pattern": "TEXT"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One option, and the fields `stage.name` of the settings that it sets."""

    flag: str
    fields: tuple[str, ...]
    kind: Any  # the annotation of the field
    default: Any
    help: str

    @property
    def dest(self) -> str:
        """The attribute of the namespace; argparse sets it only if the option was typed."""
        return "set:" + ",".join(self.fields)


def options_of(
    stage: str, config: type, *, flags: Mapping[str, str] | None = None, without: Collection[str] = ()
) -> list[Option]:
    """The options of one stage's settings.

    `flags` gives some fields another option name than their own; fields in `without` get no option.
    """
    kinds = typing.get_type_hints(config)
    return [
        Option(
            flag=(flags or {}).get(field.name, "--" + field.name.replace("_", "-")),
            fields=(f"{stage}.{field.name}",),
            kind=kinds[field.name],
            default=field.default,
            help=field.metadata["help"],
        )
        for field in dataclasses.fields(config)
        if field.name not in without
    ]


def merge_options(options: Sequence[Option]) -> list[Option]:
    """Merge options of the same name into one that sets all their fields and has the help text of the first."""
    merged: dict[str, Option] = {}
    for option in options:
        known = merged.get(option.flag)
        merged[option.flag] = (
            option if known is None else dataclasses.replace(known, fields=known.fields + option.fields)
        )
    return list(merged.values())


def add_options(parser: argparse._ActionsContainer, options: Sequence[Option]) -> None:
    """Add options to a parser or to a group of one."""
    for option in options:
        _add_option(parser, option)


def _add_option(parser: argparse._ActionsContainer, option: Option) -> None:
    kind, origin = _without_none(option.kind), typing.get_origin(_without_none(option.kind))
    name = option.fields[0].split(".")[1]
    text = _help_text(option)
    common: dict[str, Any] = {"dest": option.dest, "default": argparse.SUPPRESS, "help": text}
    if kind is bool:
        action: Any = "store_true" if option.default is False else argparse.BooleanOptionalAction
        parser.add_argument(option.flag, action=action, **common)
    elif origin is Literal:
        parser.add_argument(option.flag, choices=typing.get_args(kind), **common)
    elif origin is tuple:
        item = typing.get_args(kind)[0]
        parser.add_argument(
            option.flag, action=_ExtendTuple, type=_list_of(item), metavar=f"{_metavar(item)},...", **common
        )
    else:
        parser.add_argument(
            option.flag, type=number_of(kind) if kind in (int, float) else kind, metavar=_metavar(kind, name), **common
        )


class _ExtendTuple(argparse.Action):
    """Adds the items to those of the same option before it, of which argparse would keep only the last."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), *values))


class JoinLists(argparse.Action):
    """As `_ExtendTuple`, for a list that stays the text that was typed."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def _without_none(kind: Any) -> Any:
    """`int` for `int | None`: an option that is not given keeps its default."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        kinds = [each for each in typing.get_args(kind) if each is not type(None)]
        return kinds[0]
    return kind


def _metavar(kind: Any, name: str = "") -> str:
    return _METAVARS.get(name) or {int: "N", float: "X", str: "NAME"}.get(kind, "VALUE")


def number_of(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function that converts a typed word to a number, or raises ArgumentTypeError."""

    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError as error:
            expected = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from error

    return read


def _list_of(kind: Any) -> Callable[[str], tuple[Any, ...]]:
    read = number_of(kind) if kind in (int, float) else kind

    def read_list(text: str) -> tuple[Any, ...]:
        return tuple(read(item.strip()) for item in text.split(",") if item.strip())

    return read_list


def _help_text(option: Option) -> str:
    text = option.help.replace("%", "%%")
    default = option.default
    if default is None or default is False or default == () or default is dataclasses.MISSING:
        return text
    shown = "on" if default is True else ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} (default: {shown})".strip()


def typed_values(namespace: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings that were typed on the command line, without any defaults, as {stage: {field: value}}."""
    values: dict[str, dict[str, Any]] = {}
    for dest, value in vars(namespace).items():
        if dest.startswith("set:"):
            for field in dest.removeprefix("set:").split(","):
                stage, name = field.split(".")
                values.setdefault(stage, {})[name] = value
    return values


def typed_only_for(namespace: argparse.Namespace, stages: Collection[str]) -> dict[tuple[str, str], Any]:
    """The settings that were typed with an option for no other stages than these, as {(stage, field): value}."""
    values: dict[tuple[str, str], Any] = {}
    for dest, value in vars(namespace).items():
        if dest.startswith("set:"):
            settings = [tuple(field.split(".")) for field in dest.removeprefix("set:").split(",")]
            if all(stage in stages for stage, _ in settings):
                values |= {(stage, name): value for stage, name in settings}
    return values


def refuse_options(namespace: argparse.Namespace, options: Sequence[str], where: str, advice: str) -> None:
    """Raise UsageError for an option that has no effect."""
    for option in options:
        name = option.removeprefix("--").removeprefix("no-").replace("-", "_")
        is_given = not vars(namespace)[name] if option.startswith("--no-") else vars(namespace)[name] not in (None, "")
        if is_given:
            raise UsageError(f"{option} is given {where}; {advice}, or omit {option}.")
