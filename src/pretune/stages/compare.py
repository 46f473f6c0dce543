"""From a fine-tuned model, its control and the test split on disk to the log of a comparison with linear baselines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError
from pretune.evaluation.verdicts import Contender, HeldOutRows, describe_contender, describe_coverage, judge, row_of
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.runtime.stage_folder import StageFolder, open_stage
from pretune.scoring.prediction_files import (
    AVERAGED_PREDICTIONS,
    PREDICTIONS,
    SEED_PREDICTIONS,
    STACK_PREDICTIONS,
    STUDENT_PREDICTIONS,
    TEACHER_PREDICTIONS,
    write_predictions,
)
from pretune.scoring.stacked_model import name_delivered
from pretune.tasks.registry import task_named
from pretune.tasks.task import LabelledLines, Line
from pretune.text.chat.prepared_folder import refuse_conversations
from pretune.text.labels.labelling import LABELS_NAME
from pretune.text.seen_texts import SEEN_KINDS, describe_seen, load_seen

CHOSEN = ("C", "beta", "alpha", "epochs")  # the settings of a baseline that the log names
NAMES = {"scratch": "from scratch", "pretrained": "pre-trained"}


def compare(finetuned: Path, scratch: Path | None, prepared: Path, out: Path, *, redo: bool = False) -> Manifest:
    """Compare the fine-tuned model with its control and the baselines on the test rows of `prepared`.

    The predictions of the networks are read; only the baselines are trained. Raises InputDataError if a folder is
    missing or not finished, if there are no test rows, or if predictions belong to other rows, and UsageError for
    conversations.
    """
    folders = {"prepared": Path(prepared), "finetuned": Path(finetuned)}
    if scratch is not None:
        folders["scratch"] = Path(scratch)
    manifests = {name: read_manifest(path) for name, path in folders.items()}
    advice = "`pretune compare BASE PREPARED --strategies` compares four ways to a chatbot."
    refuse_conversations(folders["prepared"], manifests["prepared"], advice)
    folder = open_stage(
        Path(out), "compare", config={}, inputs={n: m.fingerprint for n, m in manifests.items()}, redo=redo
    )
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    with folder.at_work():
        _run(folder, folders, manifests["prepared"].summary)
    return folder.manifest


def _run(folder: StageFolder, folders: dict[str, Path], summary: dict[str, Any]) -> None:
    start = time.monotonic()
    inputs = {name: str(path) for name, path in folders.items()}
    folder.log.write("stage_started", config={}, inputs=inputs, synthetic=bool(summary.get("synthetic", False)))
    prepared = folders["prepared"]
    labels = parse_json((prepared / LABELS_NAME).read_text(encoding="utf-8"))
    test_lines = read_json_lines(prepared / "test.jsonl")
    if not test_lines:
        raise InputDataError(f"{prepared} has no test rows, so nothing can be compared; prepare with --test-labels.")
    test = HeldOutRows(
        task=task_named(labels["task"]),
        names=labels["names"],
        lines=test_lines,
        metric=summary.get("early_stopping_metric", "accuracy"),
    )
    # The networks come first, so that predictions that do not fit are refused before anything is trained.
    networks = [
        _read_predictions(folders[source], test, kind, NAMES[kind])
        for kind, source in (("scratch", "scratch"), ("pretrained", "finetuned"))
        if source in folders
    ]
    finetuned = folders["finetuned"]
    averaged, teacher = (finetuned / PREDICTIONS / name for name in (AVERAGED_PREDICTIONS, TEACHER_PREDICTIONS))
    is_teacher = teacher.is_file() and averaged.is_file() and teacher.read_bytes() == averaged.read_bytes()
    if averaged.is_file() and not is_teacher:
        name = f"mean weights of {len(networks[-1].runs)} seeds"
        networks.append(_read_predictions(finetuned, test, "averaged", name, AVERAGED_PREDICTIONS))
    if (finetuned / PREDICTIONS / STUDENT_PREDICTIONS).is_file():
        networks += [
            _read_predictions(finetuned, test, "teacher", "the model before self-training", TEACHER_PREDICTIONS),
            _read_predictions(finetuned, test, "student", "student of the corpus", STUDENT_PREDICTIONS),
        ]
    if (finetuned / PREDICTIONS / STACK_PREDICTIONS).is_file():
        name = name_delivered(finetuned / CHECKPOINT_NAME)
        networks.append(_read_predictions(finetuned, test, "stack", name, STACK_PREDICTIONS))
    _log_seen_rows(folder, finetuned, test_lines)
    contenders = [*_train_baselines(folder, prepared, test), *networks]
    rows = [describe_contender(contender, test) for contender in contenders]
    verdicts = judge(contenders, test)
    folder.log.write("comparison", rows=rows, verdicts=verdicts, coverage=describe_coverage(contenders, verdicts))
    folder.log_flow(
        {"test rows": len(test.rows)},
        {"models": len(rows), "verdicts": len(verdicts)},
        seconds=round(time.monotonic() - start, 3),
    )
    folder.finish(verdicts=[verdict["sentence"] for verdict in verdicts])


def _log_seen_rows(folder: StageFolder, finetuned: Path, lines: Sequence[Line]) -> None:
    """Log how many of the test rows the fine-tuned model was trained on, if any."""
    seen = {kind: load_seen(finetuned, kind) for kind in SEEN_KINDS}
    texts = [line["text"] for line in lines]
    text_pairs = [line["text_pair"] for line in lines] if "text_pair" in lines[0] else None
    num_seen = {kind: None if it is None else it.count_among(texts, text_pairs) for kind, it in seen.items()}
    count = sum(number or 0 for number in num_seen.values())
    if count:
        folder.log.write("warning", rule="seen", count=count, sentence=describe_seen(len(texts), num_seen))


# -- the contenders ------------------------------------------------------------------------------------------------


def _train_baselines(folder: StageFolder, prepared: Path, test: HeldOutRows) -> list[Contender]:
    train, validation = (read_json_lines(prepared / f"{split}.jsonl") for split in ("train", "validation"))
    data = LabelledLines(train=train, validation=validation, test=test.lines, names=test.names, metric=test.metric)
    predictions = folder.path / PREDICTIONS
    predictions.mkdir(exist_ok=True)
    contenders = []
    for baseline in test.task.baselines(data):
        settings = ", ".join(f"{name} {value:.4g}" for name, value in baseline.chosen.items() if name in CHOSEN)
        if settings:
            sentence = f"{baseline.name} trained; settings chosen on validation: {settings}."
            folder.log.write("notice", sentence=sentence)
        fields_of = partial(test.task.to_fields, baseline.outputs)
        write_predictions(predictions / f"{baseline.kind}.jsonl", test.lines, fields_of)
        contenders.append(Contender(name=baseline.name, kind=baseline.kind, runs=[baseline.outputs]))
    return contenders


def _read_predictions(
    folder: Path, test: HeldOutRows, kind: str, name: str, pattern: str = SEED_PREDICTIONS
) -> Contender:
    """A network with the predictions of each seed, in the order of the test rows."""
    files = sorted((folder / PREDICTIONS).glob(pattern), key=lambda file: (len(file.name), file.name))
    if not files:
        raise InputDataError(
            f"{folder} has no {PREDICTIONS}/{SEED_PREDICTIONS}; expected the folder of a finetune stage."
        )
    seeds = []
    for file in files:
        by_row = {row_of(line): line for line in read_json_lines(file)}
        fits = by_row.keys() == set(test.rows) and all(
            by_row[row_of(line)]["label"] == line["label"] for line in test.lines
        )
        if not fits:
            raise InputDataError(
                f"{file} has predictions for rows other than the test split; "
                "compare with the prepare folder that the model was fine-tuned on."
            )
        seeds.append([by_row[row] for row in test.rows])
    return Contender(name=name, kind=kind, runs=[test.task.from_lines(seed) for seed in seeds])
