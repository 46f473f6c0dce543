"""The folder of a training that a program asks for, with its examples as label files; nothing stays if they are
refused."""

from __future__ import annotations

import json
import re
import tempfile
import typing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from pretune.errors import (
    FolderInTheWayError,
    InputDataError,
    InterruptedByUserError,
    ModelError,
    StageDiffersError,
    StoppedError,
    UsageError,
)
from pretune.inference.load import own_model_folder
from pretune.runtime.atomic import remove_folder, write_text
from pretune.runtime.home import expand_home
from pretune.runtime.interruption import RUN_AGAIN
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import RECIPE_NAME
from pretune.settings import FinetuneConfig, PrepareConfig, SplitConfig
from pretune.text.labels.label_text import compose
from pretune.text.labels.python_data import Written, as_pairs, existing_file

LABELS_NAME, TEST_LABELS_NAME = "labels.jsonl", "test-labels.jsonl"
DATA_NAME = "data"  # what the examples of a program are called in its errors: the parameter of `train`
_CONFIGS = (SplitConfig, PrepareConfig, FinetuneConfig)
_KINDS = {name: kind for config in _CONFIGS for name, kind in typing.get_type_hints(config).items()}
_OTHERS = {"test_labels": "test_data", "corpus": "corpus="}
_KEYWORDS = {field.name: field.name for config in _CONFIGS for field in fields(config)} | _OTHERS
# A command in backticks, which stays, or an option with what may be its value.
_OPTION = re.compile(
    r"`[^`]*`|--(?P<no>no-)?(?P<name>[a-z]+(?:-[a-z]+)*)"
    r"(?: (?P<value>'[^']*'|[a-z]+\b|[0-9][0-9.e-]*\b)(?!=|,\S))?"  # not the first of several, as in 0=O,1=B-PER
)


class TrainFolder:
    """The folder at `out`, or a temporary one.

    Raises FolderInTheWayError for that of a command-line run, whose stages were made from other examples, and for a
    model folder, whose model would be loaded in place of the trained one.
    """

    def __init__(self, out: Path | str | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pretune-")) if out is None else expand_home(out)
        self.is_temporary = out is None
        self._new_folders = list(takewhile(lambda folder: not folder.exists(), (self.path, *self.path.parents)))
        self._written: list[Path] = []
        self._given_as: dict[str, str] = {}  # the parameter with the examples that are in a file here
        if (self.path / RECIPE_NAME).is_file():
            raise FolderInTheWayError(f"{self.path} is a run made by `pretune run`; choose another out=.")
        if own_model_folder(self.path) is not None:
            raise FolderInTheWayError(
                f"{self.path} has a model of its own, which would be loaded in place of the trained one; choose "
                "another out=."
            )

    def labels_file(self, examples: Examples, name: str) -> Path:
        """The file of labelled examples: the given one, or `name` in the folder after writing it."""
        content = examples.content
        if isinstance(content, Path):
            return content
        target = self.path / name
        self._given_as[str(target)] = DATA_NAME if name == LABELS_NAME else "test_data"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, content)
            self._written.append(target)
        elif not _have_same_examples(target.read_text(encoding="utf-8"), content):
            raise FolderInTheWayError(f"{target} has other examples and is not overwritten; choose another out=.")
        return target

    def refuse_own_model(self, model: Path) -> None:
        """Raise UsageError if the model to train from is what an earlier training wrote to this folder: the stage there
        would be renamed or refused, and it is what the model was loaded from."""
        if model.resolve().is_relative_to((self.path / "finetune").resolve()):
            raise UsageError(
                f"{self.path} has the model to start from: it was trained there. Choose another out=, or load the base "
                "again to train it with other settings."
            )

    def in_terms_of_python(self, message: str) -> str:
        """A sentence of a stage in the terms of the call: its examples by their number, options as keyword arguments.

        The examples are in files that the caller did not write, one in a line.
        """
        for file, name in self._given_as.items():
            if file in message:
                before = rf"({re.escape(name)}, |\(|\bin )"  # elsewhere, it is in a text of the user
                message = re.sub(rf"{before}line(s?) (?=[0-9])", r"\1example\2 ", message.replace(file, name))
        return as_keywords(message)

    def remove_refused(self) -> None:
        """Remove what was written for a call that was refused, so that the corrected call finds nothing in its way.

        The label files of prepared rows stay: they belong to what a later call resumes.
        """
        if self.is_temporary:
            remove_folder(self.path)
        elif not (self.path / "prepare").exists():
            for file in self._written:
                file.unlink(missing_ok=True)
            with suppress(OSError):  # missing, or not empty
                for folder in self._new_folders:
                    folder.rmdir()


def _have_same_examples(before: str, now: str) -> bool:
    """Whether two files have the same examples. Up to version 0.3, a missing label was written as a blank one, entities
    in the order given, and letters as they were."""
    old, new = before.split("\n"), now.split("\n")
    try:
        return before == now or (len(old) == len(new) and list(map(_parse_row, old)) == list(map(_parse_row, new)))
    except (ValueError, RecursionError):
        return False


def _parse_row(line: str) -> dict[str, Any]:
    row = _composed(parse_json(line)) if line else {}
    if not isinstance(row, dict):
        raise ValueError("no row")
    for name, value in row.items():
        if isinstance(value, list) and all(isinstance(item, list) for item in value):
            row[name] = sorted({json.dumps(span) for span in value})
    return {name: value for name, value in row.items() if value not in (None, "")}


def _composed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _composed(item) for name, item in value.items()}
    if isinstance(value, list):
        return list(map(_composed, value))
    return compose(value) if isinstance(value, str) else value


@contextmanager
def train_folder(out: Path | str | None) -> Iterator[TrainFolder]:
    """Within this block, the stages write to the folder; see `TrainFolder.remove_refused`.

    The errors of a training that was stopped name the folder: without it, the same call starts over in another one.
    """
    folder = TrainFolder(out)
    try:
        yield folder
    except (InterruptedByUserError, StoppedError) as error:
        advice = f"Call train again with out={str(folder.path)!r} to resume."
        error.args = (str(error).replace(RUN_AGAIN, advice),)
        raise
    except FolderInTheWayError as error:  # it is about the files themselves
        if not isinstance(error, StageDiffersError):
            folder.remove_refused()
        error.args = (str(error).replace("--out", "out=").replace("--redo", "redo=True"),)
        raise
    except (InputDataError, ModelError, UsageError) as error:
        folder.remove_refused()
        error.args = (folder.in_terms_of_python(str(error)),)
        raise


def as_keywords(message: str) -> str:
    """A message with keyword arguments of `train` in place of options of the command line."""
    return _OPTION.sub(_as_keyword, message)


def _as_keyword(found: re.Match[str]) -> str:
    name, value = (found["name"] or "").replace("-", "_"), found["value"] or ""
    if name not in _KEYWORDS:
        return found[0]
    if found["no"]:
        return f"{_KEYWORDS[name]}=False" + (f" {value}" if value else "")
    if value in typing.get_args(_KINDS.get(name)):
        return f'{_KEYWORDS[name]}="{value}"'
    is_value = value[:1] == "'" or value[:1].isdigit()
    return f"{_KEYWORDS[name]}{'=' if is_value else ' '}{value}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Labelled examples: a file, or the content of one to write, and whether its rows have two texts."""

    content: Path | str
    has_pairs: bool = False


def read_examples(data: Any, split: SplitConfig) -> Examples:
    """The examples in one of the forms that `Model.train` takes; they are written in the columns that `split` names."""
    if isinstance(data, str | Path):
        return Examples(content=existing_file(data))
    names = _column_names(split)
    pairs = as_pairs(data, split.text_column, split.label_column, split.text_pair_column)
    return Examples(
        content="".join(json.dumps(_to_row(*pair, *names), ensure_ascii=False) + "\n" for pair in pairs),
        has_pairs=any(isinstance(text, tuple) for text, _ in pairs),
    )


def with_columns(split: SplitConfig, *examples: Examples) -> SplitConfig:
    """The settings of the split with the names of the columns, if all of them are written here.

    Otherwise they would be looked for, which fails for texts without letters.
    """
    if split.task == "chat" or any(isinstance(each.content, Path) for each in examples):
        return split
    text, label, second = _column_names(split)
    has_pairs = split.task not in ("multilabel", "tokens") and any(each.has_pairs for each in examples)
    return replace(
        split, text_column=text, label_column=label, text_pair_column=second if has_pairs else split.text_pair_column
    )


def _column_names(split: SplitConfig) -> tuple[str, str, str]:
    return split.text_column or "text", split.label_column or "label", split.text_pair_column or "text_pair"


def _to_row(
    text: str | tuple[str, str], label: Written, text_column: str, label_column: str, text_pair_column: str
) -> dict[str, Any]:
    texts = {text_column: text} if isinstance(text, str) else {text_column: text[0], text_pair_column: text[1]}
    # Null is a missing label; in a file of several labels a row, a blank one is an answer: none of the labels.
    return {**texts, label_column: None if label == "" else label}
