"""The split: a file of labelled examples in; checked, clean rows for training, validation and test out.

It comes before stage 1, so that the pre-training text never contains the rows held out here.
"""

from __future__ import annotations

import time
from pathlib import Path

from pretune.runtime.atomic import write_json, write_text
from pretune.runtime.manifest import Manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.settings import SplitConfig, to_dict
from pretune.tasks.labelled_file import split_file
from pretune.text.labels.labelling import LABELS_NAME
from pretune.text.labels.split import example_of, fingerprint_labels, labels_fields, log_split, split_lines
from pretune.text.splits import SPLITS


def split(
    labels: Path,
    out: Path,
    config: SplitConfig = SplitConfig(),
    *,
    test_labels: Path | None = None,
    redo: bool = False,
    synthetic: bool = False,
) -> Manifest:
    """Read, check, clean and split the rows of `labels` into `out`; those of `test_labels` are the test split.

    The stages that read text or encode rows take this folder. `synthetic` marks the rows as generated.
    Raises InputDataError for rows that cannot work (see `pretune.text.labels.checks`); a refusal leaves no new folder.
    """
    files = {"labels": Path(labels)} | ({} if test_labels is None else {"test_labels": Path(test_labels)})
    inputs = {name: fingerprint_labels(path) for name, path in files.items()}
    folder = open_stage(Path(out), "split", config=to_dict(config), inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        _split(folder, files, config, synthetic)
    return folder.manifest


def _split(folder: StageFolder, files: dict[str, Path], config: SplitConfig, synthetic: bool) -> None:
    start, log = time.monotonic(), folder.log
    inputs = {name: str(path) for name, path in files.items()}
    log.write("stage_started", config=to_dict(config), inputs=inputs, synthetic=synthetic)
    found = split_file(files["labels"], files.get("test_labels"), config)
    for side in SPLITS:
        write_text(folder.path / f"{side}.jsonl", split_lines(found, side))
    write_json(folder.path / LABELS_NAME, labels_fields(found))
    log_split(log, found)
    side, row = example_of(found)
    log.write("example", text=row.raw, label=found.describe(row), split=side)
    rows = {split: len(found.by_split[split]) for split in SPLITS}
    shape_out = {f"{side} rows": count for side, count in rows.items()}
    folder.log_flow(
        found.num_read,
        {**shape_out, found.rules.counted_as: len(found.names)},
        dropped=found.lint.dropped.to_event(),
        parts=found.count_slices(),
        seconds=round(time.monotonic() - start, 3),
    )
    folder.finish(classes=len(found.names), **rows, synthetic=synthetic, example={"text": row.raw, "split": side})
