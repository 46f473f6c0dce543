"""A recipe: every setting of a run in one file. Read from TOML, overridden from the command line, saved with the run.

Paths in a recipe file are relative to the folder of the file, so a recipe means the same in any working directory.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pretune.errors import InputDataError, UsageError
from pretune.model.gguf_folder import ENDING as GGUF_ENDING
from pretune.model.hub import is_hub_name
from pretune.runtime.atomic import write_text
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import RECIPE_NAME, Difference, find_differences, sealed_text
from pretune.setting_kinds import check_kinds, checked
from pretune.settings import (
    SPEED_ONLY,
    CollectConfig,
    FinetuneConfig,
    PrepareConfig,
    PreprocessConfig,
    PretrainConfig,
    SplitConfig,
    to_dict,
)
from pretune.text.raw.text_stream import STDIN
from pretune.text.sources.hub import PREFIX as HUB_PREFIX
from pretune.text.sources.patterns import describe_no_match, match_paths
from pretune.text.sources.public_data import PREFIX as PUBLIC_PREFIX
from pretune.text.sources.public_data import REGISTRY, data_set_of
from pretune.version import VERSION

Settings = TypeVar("Settings")

_LISTS = ("corpus", "protect")  # of paths
_PATHS = ("labels", "test_labels", "base", "data_root")
_SHELL_PIPES = "/dev/fd/"  # as in --corpus <(zcat a.gz)
_BUDGETS = {"pretrain": ("minutes", "tokens", "epochs"), "finetune": ("epochs", "updates")}  # one of them is given


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The inputs and settings of a run; without corpus and labels, the run is on the built-in world.

    A leading `~` of a path is expanded here, so that every reader of the recipe finds the file. Paths may be given as
    `Path`, and a single one for a list; UsageError is raised for a value of another kind.
    """

    out: str | None = None  # the folder of the run
    corpus: tuple[str, ...] = ()  # files, folders, globs, - for standard input, or public data sets
    labels: str | None = None  # a csv, tsv, jsonl or parquet file with a text and a label column
    test_labels: str | None = None  # a separate test set of the same form
    base: str | None = None  # a model from which pre-training starts: a folder, a GGUF file, or hf:OWNER/NAME
    protect: tuple[str, ...] = ()  # files or folders with text that must not be in the corpus
    data_root: str | None = None  # the folder of public data sets, each in a folder of its name
    control: bool = True  # also train the same network from scratch, to show whether pre-training helped
    split: SplitConfig = field(default_factory=SplitConfig)
    collect: CollectConfig = field(default_factory=CollectConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # as frozen classes do
        for name in _LISTS:
            given = getattr(self, name)
            paths = [given] if isinstance(given, str | os.PathLike) else given
            set_field(self, name, tuple(map(_expand_home, paths)) if isinstance(paths, Iterable) else paths)
        for name in ("out", *_PATHS):
            set_field(self, name, _expand_home(getattr(self, name)))
        check_kinds(self)
        if self.test_labels is not None and self.labels is None:
            raise UsageError("--test-labels is given without --labels; give the labelled file to learn from as well.")

    @property
    def is_builtin(self) -> bool:
        """Whether the run is on the built-in, synthetic world."""
        return not self.corpus and self.labels is None

    @property
    def has_labels(self) -> bool:
        """Whether there are labels for stages 4 and 5; the built-in world has its own."""
        return self.labels is not None or self.is_builtin


_STAGES = {item.name: item for item in fields(Recipe) if item.name not in ("out", "control", *_LISTS, *_PATHS)}


def read_recipe(path: Path | str) -> Recipe:
    """The recipe in a TOML file, with its paths resolved against the file's folder.

    Raises InputDataError if the file is missing or is not TOML, UsageError if it has an unknown setting or a value of
    the wrong kind.
    """
    path = expand_home(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "" if name_of_text(str(path)) is None else _advise_corpus(path)
        found = f"{path} does not exist; expected a recipe, such as the recipe.toml of a run.{hint}"
        raise InputDataError(found) from error
    except IsADirectoryError as error:
        saved = path / RECIPE_NAME
        hint = f": try {saved}." if saved.is_file() else f".{_advise_corpus(path)}"
        raise InputDataError(f"{path} is a folder; expected a recipe{hint}") from error
    except (ValueError, RecursionError) as error:  # for tables that nest too deeply
        hint = "" if path.suffix == ".toml" else _advise_corpus(path, ", or labelled examples with --labels")
        raise InputDataError(f"{path} is not a recipe in TOML: {error}.{hint}") from error
    values.pop("version", None)
    folder = _real_folder(path.parent)
    for name in ("out", *_PATHS):
        if isinstance(values.get(name), str):
            values[name] = _resolve(values[name], folder)
    if isinstance(values.get("protect"), list):
        values["protect"] = [_resolve(str(item), folder) for item in values["protect"]]
    if isinstance(values.get("corpus"), list):
        values["corpus"] = [name_of_text(str(item), folder) or _resolve(str(item), folder) for item in values["corpus"]]
    try:
        return override(Recipe(), values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _advise_corpus(path: Path, more: str = "") -> str:
    return f" To pre-train on this text, give it with --corpus {shlex.quote(str(path))}{more}."


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings replaced: `{"labels": ..., "pretrain": {"minutes": 20}}`.

    A budget replaces any budget that the recipe had. Raises UsageError for an unknown setting.
    """
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name in _STAGES:
            changes[name] = _override_stage(name, getattr(recipe, name), value)
        else:
            changes[name] = checked(Recipe, name, value, section="a recipe")
    return replace(recipe, **changes)


def settings_of(config: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings of one class from values by name. Raises UsageError for an unknown setting or a wrong value."""
    return config(**{name: checked(config, name, value, section=config.__name__) for name, value in values.items()})


def _override_stage(stage: str, config: Any, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise UsageError(f"{stage} is {values!r}; expected a section [{stage}] with its settings.")
    given = {name: checked(type(config), name, value, section=f"[{stage}]") for name, value in values.items()}
    budgets = _BUDGETS.get(stage, ())
    if any(given.get(name) is not None for name in budgets):
        config = replace(config, **dict.fromkeys(budgets))
    return replace(config, **given)


def _expand_home(path: Any) -> Any:
    """A path as text, with its `~` expanded; anything else as it is."""
    if not isinstance(path, str | os.PathLike):
        return path
    text = os.fspath(path)
    return str(expand_home(text)) if text.startswith("~") else text


def name_of_text(path: str, folder: Path = Path()) -> str | None:
    """The name of the public data set that a word of the corpus means: `public:NAME` or `hf:OWNER/NAME`.

    None for a path. A file of that name in `folder` takes precedence, as in `collect`.
    """
    if path.startswith(HUB_PREFIX):
        return path
    if path == STDIN or (folder / path).exists():
        return None
    data_set = data_set_of(path)
    return None if data_set is None else f"{PUBLIC_PREFIX}{data_set.name}"


def _real_folder(folder: Path) -> Path:
    """The folder itself, or where it really is if symbolic links lead to it: a saved recipe is relative to that."""
    real = Path(os.path.realpath(folder))
    return folder if real == folder.absolute() else real


def _resolve(path: str, folder: Path) -> str:
    return path if path == STDIN or is_hub_name(path) else os.path.normpath(folder / _expand_home(path))


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON values: absolute paths and every setting, without the folder of the run."""
    values: dict[str, Any] = {
        "corpus": [name_of_text(path) or _absolute(path) for path in recipe.corpus],
        "labels": _absolute(recipe.labels),
        "test_labels": _absolute(recipe.test_labels),
        "base": _absolute(recipe.base),
        "protect": [_absolute(path) for path in recipe.protect],
        "data_root": _absolute(recipe.data_root),
        "control": recipe.control,
    }
    return values | {stage: to_dict(getattr(recipe, stage)) for stage in _STAGES}


def _absolute(path: str | None) -> str | None:
    """The path from the root in its real folder, wherever links lead, under its own name, which is part of the input
    even if it is that of a link. The real folder of a pipe of the shell belongs to this process alone."""
    if path is None or path == STDIN or is_hub_name(path) or path.startswith(_SHELL_PIPES):
        return path
    named = Path(path).absolute()
    if named.name in ("", ".."):
        return os.path.realpath(named)  # unlike Path.resolve, it takes links that lead to themselves
    return str(Path(os.path.realpath(named.parent), named.name))


def save_recipe(recipe: Recipe, folder: Path) -> None:
    """Write `recipe.toml` into the run's folder, with paths relative to it, so that a project can be moved."""
    import tomli_w

    values = {"version": VERSION, "out": ".", **_with_saved_paths(describe_recipe(recipe), folder)}
    text = "# Every setting of this run, resolved. Repeat it elsewhere: pretune run THIS_FILE --out DIR\n"
    text += "# A setting that is missing here is chosen from the data.\n"
    write_text(folder / RECIPE_NAME, sealed_text(text + tomli_w.dumps(_without_none(values))))


def _with_saved_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a recipe with its paths as they are saved in this folder."""
    saved = {name: _relative(values[name], folder) for name in _PATHS}
    return values | saved | {name: [_relative(path, folder) for path in values[name]] for name in _LISTS}


def _relative(path: str | None, folder: Path) -> str | None:
    """A path relative to `folder`; a path that is not absolute, or has only the root in common with it, is kept."""
    if path is None or not Path(path).is_absolute():
        return path
    start = os.path.realpath(folder)
    return path if os.path.commonpath([path, start]) == Path(start).anchor else os.path.relpath(path, start)


def _without_none(value: Any) -> Any:
    """Leave out settings that were not given; TOML has no null."""
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return value


def find_changes(before: Recipe, now: Recipe) -> list[Difference]:
    """The inputs and settings that make the results of two recipes differ; of a stage, as `stage.setting`."""
    return find_differences(_flat(before), _flat(now))


def _flat(recipe: Recipe) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in describe_recipe(recipe).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{setting}": item for setting, item in value.items() if setting not in SPEED_ONLY}
        elif name != "data_root":  # the data are verified, so their folder does not matter
            flat[name] = value
    return flat


def check_inputs(recipe: Recipe) -> None:
    """Raise InputDataError if a named input does not exist or cannot be saved, before anything is started."""
    _refuse_undecodable_paths(recipe)
    for path in recipe.corpus:
        if path != STDIN and not name_of_text(path) and _is_missing(path):
            raise InputDataError(
                f"{path} does not exist; give --corpus a file, a folder, a glob, - for standard input, or the name of "
                f"a public data set ({', '.join(REGISTRY)})."
            )
    for path in recipe.protect:
        if _is_missing(path):
            raise InputDataError(f"{path} does not exist; give --protect a file, a folder or a glob.")
    if recipe.base is not None and not _may_be_base(recipe.base):
        problem = "is a file" if Path(recipe.base).exists() else "does not exist"
        raise InputDataError(
            f"{recipe.base} {problem}; give --from a run, a stage folder, a model folder, a GGUF file or hf:OWNER/NAME."
        )
    for option, labels in (("--labels", recipe.labels), ("--test-labels", recipe.test_labels)):
        if labels is not None and not Path(labels).is_file():
            problem = "is a folder" if Path(labels).is_dir() else "does not exist"
            raise InputDataError(f"{labels} {problem}; give {option} a csv, tsv, jsonl or parquet file.")


def _refuse_undecodable_paths(recipe: Recipe) -> None:
    """A saved recipe is UTF-8: a path with other bytes, as of an old Latin-1 disk, could not be read from it again."""
    values = _with_saved_paths(describe_recipe(recipe), expand_home(recipe.out or ""))
    for path in (*values["corpus"], *values["protect"], *(values[name] or "" for name in _PATHS)):
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        if os.fsencode(shown) != os.fsencode(path):
            raise InputDataError(
                f"The path {shown} has bytes that are not UTF-8, so it could not be saved in the recipe of the run; "
                "rename the file or the folder."
            )


def _is_missing(path: str) -> bool:
    """Whether there is no such file or folder, and no match. Raises InputDataError if links may be the reason."""
    passed_over: set[str] = set()
    if Path(path).exists() or match_paths(path, passed_over):
        return False
    if passed_over:
        raise InputDataError(describe_no_match(path, passed_over))
    return True


def _may_be_base(path: str) -> bool:
    """Whether this is a folder, a GGUF file or the name of a model on the hub, which is asked only later."""
    found = Path(path)
    return is_hub_name(path) or found.is_dir() or (found.is_file() and found.suffix.lower() == GGUF_ENDING)
