"""Manifests: what a stage folder records about its settings, inputs and outputs, with the hashes that show changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError

MANIFEST_NAME = "manifest.json"
RECIPE_NAME = "recipe.toml"  # in a run: every setting, resolved
TRACE_NAME = "trace.json"  # in a run: the prediction trace of its example
OWN_HASH = "sha256"  # the key in our JSON files for the hash of everything else in the file
_TEXT_SEAL = f"# {OWN_HASH} of the lines above: "


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a stage folder says of itself. `outputs` maps a relative path to its size and sha256; `log` has those of the
    event log, which holds times and so is no part of the fingerprint."""

    stage: str
    status: str  # "running" until everything is written, then "finished"
    version: str
    config: dict[str, Any]
    inputs: dict[str, str]  # what it was made from, by name, as a fingerprint
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)  # small facts the next stage or a reader needs
    log: dict[str, Any] | None = None  # None until everything is written, and of a stage that logged nothing

    @property
    def fingerprint(self) -> str:
        """A hash of everything that came out: the identity of this folder as an input of the next stage."""
        return hash_json({name: output["sha256"] for name, output in self.outputs.items()})


def read_manifest(path: Path, stage: str | None = None) -> Manifest:
    """The manifest of a finished stage folder.

    Raises InputDataError where the folder is missing, is not a stage folder, is not finished, is of another stage
    than the one expected, or where a file of it is missing or of another size than was written.
    """
    if not path.exists():
        raise InputDataError(f"{path} does not exist; expected the folder of the {stage or 'earlier'} stage.")
    manifest = read_manifest_if_any(path)
    if manifest is None:
        raise InputDataError(f"{path} has no {MANIFEST_NAME}; expected the folder that the {stage} stage wrote.")
    if stage is not None and manifest.stage != stage:
        raise InputDataError(f"{path} was written by the {manifest.stage} stage; expected a {stage} folder.")
    if manifest.status != "finished":
        raise InputDataError(
            f"{path} is not finished: its {manifest.stage} stage was interrupted; give that command again first."
        )
    _check_outputs(path, manifest)
    return manifest


def _check_outputs(path: Path, manifest: Manifest) -> None:
    """Sizes only: to hash a corpus at every start would take too long."""
    for name, output in manifest.outputs.items():
        file, expected = path / name, output["size_bytes"]
        size = file.stat().st_size if file.is_file() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise InputDataError(
                f"{file} {found}; expected the {expected:,} bytes that the {manifest.stage} stage wrote: restore it, "
                f"or move {path} away and give the command that made it again."
            )


def check_hashes(path: Path, manifest: Manifest, endings: tuple[str, ...] = ("",)) -> None:
    """Compare the outputs with such endings with their hashes, as `read_manifest` does with their sizes.

    Raises InputDataError naming the first that was altered.
    """
    for name, output in manifest.outputs.items():
        if name.endswith(endings) and hash_file(path / name) != output["sha256"]:
            raise InputDataError(
                f"{path / name} was altered after the {manifest.stage} stage wrote it: its sha256 is not the one in "
                f"{MANIFEST_NAME}; restore it, or move {path} away and give the command that made it again."
            )


def read_manifest_if_any(path: Path) -> Manifest | None:
    """The manifest of a stage folder, finished or not; None where there is none.

    Raises InputDataError where it is damaged, or was altered after it was written.
    """
    file = path / MANIFEST_NAME
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        is_sealed = is_as_sealed(told)
        manifest = Manifest(**{name: value for name, value in told.items() if name != OWN_HASH})
        for described in [*manifest.outputs.values(), *([manifest.log] if manifest.log else [])]:
            check_description(described)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputDataError(f"{file} is damaged ({error!r}); restore it, or choose another folder.") from error
    if not is_sealed:
        raise InputDataError(
            f"{file} was altered after it was written: its {OWN_HASH} is not that of the rest of it; restore it, or "
            "choose another folder."
        )
    return manifest


def describe_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The settings in which two configs differ, each as `name (was X, now Y)`."""
    names = sorted({*before, *now})
    return [f"{n} (was {before.get(n)!r}, now {now.get(n)!r})" for n in names if before.get(n) != now.get(n)]


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a hash of itself, which reveals a change of any value in it; an older hash is replaced."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return {**rest, OWN_HASH: hash_json(json.loads(json.dumps(rest)))}


def is_as_sealed(value: dict[str, Any]) -> bool:
    """Whether a JSON object is as it was sealed; one without a hash of itself is not."""
    rest = {name: item for name, item in value.items() if name != OWN_HASH}
    return value.get(OWN_HASH) == hash_json(rest)


def sealed_text(text: str) -> str:
    """A text in which # begins a comment, with a hash of itself in its last line."""
    return f"{text}{_TEXT_SEAL}{_hash_text(text)}\n"


def is_text_as_sealed(text: str) -> bool:
    """Whether such a text is as it was sealed; one without a hash of itself is not."""
    body, _, told = text.rpartition(_TEXT_SEAL)
    return told == f"{_hash_text(body)}\n"


def describe_file(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file, as manifests record them."""
    return {"size_bytes": path.stat().st_size, "sha256": hash_file(path)}


def check_description(described: dict[str, Any]) -> None:
    """Raise KeyError or TypeError if a manifest's entry does not hold what `describe_file` gives."""
    size, sha256 = described["size_bytes"], described["sha256"]
    if type(size) is not int or type(sha256) is not str:
        raise TypeError(f"a file with the size {size!r} and the sha256 {sha256!r}")


def hash_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """The sha256 of a JSON value in canonical form."""
    return _hash_text(json.dumps(value, sort_keys=True, ensure_ascii=False))


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
