"""The command to type after a stage that was run alone."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pretune.runtime.manifest import read_manifest_if_any

_CONVERSATIONS = "CONVERSATIONS.jsonl"


def objective_of(pretrained: Path) -> str:
    """What the model in the folder of a pre-training predicts."""
    manifest = read_manifest_if_any(pretrained)
    model = {} if manifest is None else manifest.summary.get("model", {})
    return str(model.get("objective", "masked"))


def prepare_chat(base: Path | str, out: Path | str) -> str:
    """The command that prepares conversations for a base that writes text."""
    return _command("prepare", _CONVERSATIONS, "--task", "chat", "--base", str(base), "--out", str(out))


def after_split(out: Path) -> str:
    """Stage 1, which keeps the held-out rows out of the corpus."""
    return _command("collect", "TEXTS", "--split", str(out), "--out", _next_to(out, "collect"))


def after_collect(out: Path, arguments: argparse.Namespace) -> str:
    """Stage 2, with the same split."""
    split = () if arguments.split is None else ("--split", arguments.split)
    return _command("preprocess", str(out), *split, "--out", _next_to(out, "preprocess"))


def after_preprocess(out: Path, arguments: argparse.Namespace) -> str:
    """Stage 3, from the base whose tokenizer was used, if there is one."""
    base = () if arguments.base is None else ("--from", arguments.base)
    return _command("pretrain", str(out), *base, "--out", _next_to(out, "pretrain"))


def after_pretrain(out: Path) -> str:
    """Stage 4 on labelled examples, those of the split that the text was made with, or on conversations for a model
    that writes text."""
    prepared = _next_to(out, "prepare")
    if objective_of(out) != "masked":
        return prepare_chat(out, prepared)
    return _command("prepare", _labels_of(out), "--base", str(out), "--out", prepared)


def _labels_of(pretrained: Path) -> str:
    """What to prepare for a pre-trained model: the split whose held-out rows it has not read, if there is one; the
    manifest has only the fingerprint, so the folder is known only where it is next to the model."""
    manifest, beside = read_manifest_if_any(pretrained), pretrained.parent / "split"
    wanted = None if manifest is None else manifest.summary.get("split")
    if wanted is None:
        return "LABELLED.csv"
    found = read_manifest_if_any(beside)
    return str(beside) if found is not None and found.fingerprint == wanted else "SPLIT"


def after_prepare(out: Path, arguments: argparse.Namespace) -> str:
    """Stage 5 from the same base."""
    return _command("finetune", arguments.base, str(out), "--out", _next_to(out, "finetune"))


def after_finetune(out: Path, prepared: Path, *, is_chat: bool, from_scratch: bool = False) -> str:
    """A conversation, a prediction, or for the control from scratch the comparison."""
    if is_chat:
        return _command("chat", str(out))
    if from_scratch:
        return _command("compare", "FINETUNED", str(prepared), "--scratch", str(out), "--out", _next_to(out, "compare"))
    manifest = read_manifest_if_any(prepared)
    has_pairs = manifest is not None and "text_pair" in manifest.summary.get("example", {})
    return _command("predict", str(out), "A text of your own.", *(["Its second text."] if has_pairs else []))


def _next_to(out: Path, stage: str) -> str:
    """A new folder next to that of the stage before."""
    folder = out.parent / stage
    return "DIR" if folder.exists() else str(folder)


def _command(*words: str) -> str:
    return shlex.join(["pretune", *words])
