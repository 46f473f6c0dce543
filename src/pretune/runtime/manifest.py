"""Manifests: what a stage folder records about its settings, inputs and outputs, with the hashes that show changes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.runtime.json_text import parse_json

MANIFEST_NAME = "manifest.json"
RECIPE_NAME = "recipe.toml"  # in a run: every setting, resolved
TRACE_NAME = "trace.json"  # in a run: all of it as one value
REPORT_NAME = "report.html"  # in a run: its page as one file
OWN_HASH = "sha256"  # the key in our JSON files for the hash of everything else in the file
_SETTLED_SECONDS = 2.0  # since its last change; of two changes in one tick of the clock, the second does not show
_TEXT_SEAL = f"# {OWN_HASH} of the lines above: "


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a stage folder. `outputs` maps each relative path to its size and sha256; `log` has those of the
    event log, which contains times and is therefore not part of the fingerprint."""

    stage: str
    status: str  # "running" until everything is written, then "finished"
    version: str
    config: dict[str, Any]
    inputs: dict[str, str]  # fingerprints of what it was made from, by name
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)  # small facts that the next stage or a reader needs
    log: dict[str, Any] | None = None  # None until finished, or if the stage logged nothing

    @property
    def fingerprint(self) -> str:
        """A hash of all outputs: the identity of this folder as an input of the next stage."""
        return hash_json({name: output["sha256"] for name, output in self.outputs.items()})


def read_manifest(path: Path, stage: str | None = None) -> Manifest:
    """The manifest of a finished stage folder.

    Raises InputDataError if the folder is missing, is not a stage folder, is not finished, or belongs to another stage
    than expected, or if one of its files is missing or has another size than was written.
    """
    if not path.exists():
        raise InputDataError(f"{path} does not exist; expected the folder of the {stage or 'earlier'} stage.")
    manifest = read_manifest_if_any(path)
    if manifest is None:
        raise InputDataError(f"{path} has no {MANIFEST_NAME}; expected the folder of the {stage or 'earlier'} stage.")
    if stage is not None and manifest.stage != stage:
        raise InputDataError(f"{path} was written by the {manifest.stage} stage; expected a {stage} folder.")
    if manifest.status != "finished":
        raise InputDataError(
            f"{path} is not finished: its {manifest.stage} stage was interrupted; run that command again first."
        )
    _check_outputs(path, manifest)
    return manifest


def _check_outputs(path: Path, manifest: Manifest) -> None:
    """Compare sizes only: hashing a corpus at every start would take too long."""
    for name, output in manifest.outputs.items():
        file, expected = path / name, output["size_bytes"]
        size = file.stat().st_size if file.is_file() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise InputDataError(
                f"{file} {found}; expected the {expected:,} bytes that the {manifest.stage} stage wrote: restore it, "
                f"or move {path} away and rerun the command that made it."
            )


def check_hashes(path: Path, manifest: Manifest, endings: tuple[str, ...] = ("",)) -> None:
    """Compare the outputs that have one of these endings with their hashes; `read_manifest` compares only sizes.

    Raises InputDataError that names the first altered file.
    """
    for name, output in manifest.outputs.items():
        if name.endswith(endings) and hash_file(path / name) != output["sha256"]:
            raise InputDataError(
                f"{path / name} was altered after the {manifest.stage} stage wrote it: its sha256 does not match "
                f"{MANIFEST_NAME}; restore it, or move {path} away and rerun the command that made it."
            )


def read_manifest_if_any(path: Path) -> Manifest | None:
    """The manifest of a stage folder, finished or not; None if there is none.

    Raises InputDataError if it is damaged, was altered after it was written, or names files outside its folder.
    """
    file = path / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
        is_unaltered = is_seal_intact(found)
        manifest = Manifest(**{name: value for name, value in found.items() if name != OWN_HASH})
        for described in [*manifest.outputs.values(), *([manifest.log] if manifest.log else [])]:
            check_description(described)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputDataError(f"{file} is damaged ({error!r}); restore it, or choose another folder.") from error
    if (outside := name_outside(manifest.outputs)) is not None:
        raise InputDataError(f"{file} lists {outside!r}, which is outside its folder; do not use this folder.")
    if not is_unaltered:
        raise InputDataError(
            f"{file} was altered after it was written: its {OWN_HASH} does not match its contents; restore it, or "
            "choose another folder."
        )
    return manifest


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting that differs between two configs, with both values as text."""

    name: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.name} (was {self.was}, now {self.now})"


def describe_differences(before: dict[str, Any], now: dict[str, Any], *, exactly: bool = False) -> list[str]:
    """The settings that differ between two configs, each as `name (was X, now Y)`."""
    return [str(difference) for difference in find_differences(before, now, exactly=exactly)]


def find_differences(before: dict[str, Any], now: dict[str, Any], *, exactly: bool = False) -> list[Difference]:
    """The settings that differ between two configs, in the order of their names.

    Unless compared `exactly`, a setting that was off (False or 0.0) and is now left to the default (None) does not
    differ: it stays off. The reverse differs, since the default may have switched it on. Compared
    `exactly`, a setting that only one version has differs, whatever its value: without it, its default may be new.
    """

    def is_kept(name: str) -> bool:
        was, is_now = before.get(name), now.get(name)
        if exactly:
            return name in before and name in now and was == is_now
        if was == is_now:
            return True
        if name in before and name in now:
            return is_now is None and (was is False or (isinstance(was, float) and was == 0))
        return not (was or is_now) and {type(was), type(is_now)} == {bool, type(None)}  # one version lacks the setting

    def shown(config: dict[str, Any], name: str) -> str:
        is_only_new_or_lost = before.get(name) is None and now.get(name) is None
        return "unknown" if is_only_new_or_lost and name not in config else repr(config.get(name))

    differing = [name for name in sorted({*before, *now}) if not is_kept(name)]
    return [Difference(name=name, was=shown(before, name), now=shown(now, name)) for name in differing]


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """The JSON object with a hash of itself, which reveals any change to its values; a previous hash is replaced."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return {**rest, OWN_HASH: hash_json(json.loads(json.dumps(rest)))}


def is_seal_intact(value: dict[str, Any]) -> bool:
    """Whether a JSON object matches the hash it carries; False if it carries none."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return value.get(OWN_HASH) == hash_json(rest)


def sealed_text(text: str) -> str:
    """The text, of a format with # comments, followed by a comment line with its hash."""
    return f"{text}{_TEXT_SEAL}{_hash_text(text)}\n"


def is_text_seal_intact(text: str) -> bool:
    """Whether a text matches the hash in its last line; False if it has none."""
    body, _, sealed_hash = text.rpartition(_TEXT_SEAL)
    return sealed_hash == f"{_hash_text(body)}\n"


def describe_file(path: Path) -> dict[str, Any]:
    """The size and sha256 of a file, as manifests record them."""
    return {"size_bytes": path.stat().st_size, "sha256": hash_file(path)}


def check_description(described: dict[str, Any]) -> None:
    """Raise KeyError or TypeError if a manifest's entry is not of the form that `describe_file` returns."""
    size, sha256 = described["size_bytes"], described["sha256"]
    if type(size) is not int or type(sha256) is not str:
        raise TypeError(f"a file with the size {size!r} and the sha256 {sha256!r}")


def name_outside(names: Iterable[str]) -> str | None:
    """The first name that leads out of the folder in which it is listed; None if there is none."""
    return next((name for name in names if Path(name).is_absolute() or ".." in Path(name).parts), None)


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_input(path: Path) -> str:
    """The sha256 of a file of the user, which is read once as long as it does not change: a run compares its inputs
    before its first stage, and each stage does so again."""
    found = path.stat()
    if time.time() - found.st_ctime < _SETTLED_SECONDS:
        return hash_file(path)
    return _hash_once(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@cache
def _hash_once(path: Path, *_state: int) -> str:
    return hash_file(path)


def hash_json(value: Any) -> str:
    """The sha256 of a JSON value in canonical form."""
    return _hash_text(json.dumps(value, sort_keys=True, ensure_ascii=False))


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
