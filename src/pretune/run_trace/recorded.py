"""The traced predictions of a run in its trace.json, and whether they are still those of its model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pretune.errors import InputDataError
from pretune.run_trace.codec import MAJOR, read_run_trace
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import OWN_HASH, TRACE_NAME, is_seal_intact, read_manifest_if_any
from pretune.trace_schema import FillTrace, PredictionTrace


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What trace.json has. `is_damaged`: it is there and cannot be read. `sha256` is the hash that it carries."""

    sha256: str | None = None
    fingerprint: str | None = None
    predictions: list[PredictionTrace] = field(default_factory=list)
    fills: list[FillTrace] = field(default_factory=list)
    is_damaged: bool = False


def traced_model(run: Path) -> str | None:
    """The fingerprint of the model whose predictions are traced: the fine-tuned one, or without labels the pre-trained
    one. None if neither is finished."""
    for stage in ("finetune", "pretrain"):
        try:
            manifest = read_manifest_if_any(run / stage)
        except InputDataError:
            manifest = None
        if manifest is not None and manifest.status == "finished":
            return manifest.fingerprint
    return None


def read_recorded(run: Path) -> Recorded:
    """The predictions that were traced before; none if there is no file, or one of an earlier form."""
    path = run / TRACE_NAME
    if not path.is_file():
        return Recorded()
    try:
        trace = read_run_trace(path)
    except InputDataError:
        return Recorded(is_damaged=not _is_of_another_version(path))
    sealed = json.loads(path.read_text(encoding="utf-8"))
    sha256 = sealed.get(OWN_HASH) if is_seal_intact(sealed) else None
    return Recorded(sha256=sha256, fingerprint=trace.fingerprint, predictions=trace.predictions, fills=trace.fills)


def _is_of_another_version(path: Path) -> bool:
    """Whether a file is sound and of another form: versions before 1.0 wrote the trace of one prediction."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    version = found.get("schema") if isinstance(found, dict) else None
    if isinstance(version, str):
        return version.partition(".")[0] != MAJOR
    return isinstance(found, dict) and "layers" in found
