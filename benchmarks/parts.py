"""Parts of a benchmark: commands of pretune whose finished folders are kept, with a record of what made them.

The record of FOLDER is the JSON file FOLDER.command: the command, the fingerprints of its inputs, and the version, the
commit and the load of the machine when it ran. A report written later can therefore say what made its figures, and a
part is made again if an input at the same path has changed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import commit, say

from pretune.model.base_folder import read_base_folder
from pretune.runtime.manifest import hash_file, read_manifest_if_any
from pretune.version import VERSION

Record = dict[str, Any]
UNKNOWN = "unknown"  # the commit of a part that was made before parts had records
_SHOWN_LINES = 12  # of the output of a command that failed


class PartFailedError(Exception):
    """A command of pretune ended with an error; the message has the command and the end of its output."""


def run_part(words: list[str], folder: Path) -> Record:
    """Run a command with `folder` as its output, unless it is finished and was made by the same command from the same
    inputs; returns its record. What is in the way is renamed by the command's --redo. Raises PartFailedError."""
    words = [*words, "--out", str(folder)]
    line, inputs = shlex.join(words), {word: fingerprint(Path(word)) for word in words[1:-2] if Path(word).exists()}
    if is_finished(folder):
        record = read_record(folder)
        if record.get("command") == line and record.get("inputs", inputs) == inputs:
            return record
        words.append("--redo")
    return make(words, folder, {"command": line, "inputs": inputs})


def make(words: list[str], folder: Path, known: Record) -> Record:
    """Run a command and write the record of its folder, which has none until it is finished."""
    file = _record_file(folder)
    file.unlink(missing_ok=True)
    record = {**known, "version": VERSION, "commit": commit()}
    run_pretune(words, folder.with_suffix(".log"))
    record["load_average"] = os.getloadavg()[0]
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def read_record(folder: Path) -> Record:
    """The record of a finished folder. One that was made before there were records has its command at most."""
    file = _record_file(folder)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if text.startswith("{"):
        record: Record = json.loads(text)
        return record
    return {"command": text, "version": UNKNOWN, "commit": UNKNOWN, "load_average": None}


def _record_file(folder: Path) -> Path:
    return folder.with_suffix(".command")


def fingerprint(path: Path) -> str:
    """The identity of an input: of a stage's folder by its manifest, else of a base by its weights, or of a file.

    Raises ModelNotFoundError if a folder is neither.
    """
    if path.is_file():
        return hash_file(path)
    manifest = read_manifest_if_any(path)
    return read_base_folder(path).fingerprint if manifest is None else manifest.fingerprint


def describe_records(records: Sequence[Record]) -> Record:
    """What a figure from all these parts was made by: the fields that `write_result` has for one that is made now.

    The load is the highest at the end of a part.
    """
    loads = [record["load_average"] for record in records if record["load_average"] is not None]
    found: Record = {name: ", ".join(sorted({record[name] for record in records})) for name in ("version", "commit")}
    return {**found, "load_average": max(loads, default=None)}


def is_finished(folder: Path) -> bool:
    """Whether a stage has finished this folder."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("status") == "finished"


def run_pretune(words: list[str], log: Path) -> None:
    """Run `pretune WORDS`, with its output in a file. Raises PartFailedError."""
    say(f"pretune {shlex.join(words)}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ pretune {shlex.join(words)}\n")
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "pretune", *words], stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        last = log.read_text(encoding="utf-8").splitlines()[-_SHOWN_LINES:]
        raise PartFailedError("\n".join([f"exit code {done.returncode}; the end of {log}:", *last]))
