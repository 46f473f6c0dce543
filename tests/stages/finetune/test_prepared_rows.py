"""What prepared rows determine about a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pretune.model.folder import load_model_folder
from pretune.runtime.manifest import read_manifest
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.text.labels.labelling import Labelling


@pytest.mark.parametrize("labels", [["-1", "1"], ["bad", "good"], None])
def test_labels_that_were_renamed_are_kept(
    labels: list[str] | None, run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    """`evaluate` has to understand the numbers of the training file."""
    prepared = tmp_path / "prepare"
    shutil.copytree(prepared_folder, prepared)
    saved = json.loads((prepared / "labels.json").read_text(encoding="utf-8"))
    fields = {**saved, "labels": labels} if labels else {name: saved[name] for name in saved if name != "labels"}
    (prepared / "labels.json").write_text(json.dumps(fields), encoding="utf-8")
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    source = read_manifest(prepared_folder, "prepare")
    rows = PreparedRows(prepared, source, loaded, FinetuneConfig(), width_multiple=1, given=run_folder)
    assert rows.labelling.names == ("bad", "good")
    assert rows.labelling.labels == (("-1", "1") if labels == ["-1", "1"] else ())
    assert Labelling.from_dict(rows.labelling.to_dict()).labels == rows.labelling.labels
