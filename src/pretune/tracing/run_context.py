"""What the folder of a run adds to the trace of one of its models: token counts of the corpus, and layer probes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pretune.data.labelled_rows import LabeledShard, load_labeled
from pretune.data.targets import Targets
from pretune.errors import InputDataError, PretuneError
from pretune.inference.classify import Classifier
from pretune.inference.fill_mask import MaskFiller
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.model.weights import WEIGHTS_NAME
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.json_text import parse_json
from pretune.text.labels.labelling import LABELS_NAME
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.tracing.probes import (
    TRAINING_ROWS,
    TRAINING_TOKENS,
    VALIDATION_ROWS,
    VALIDATION_TOKENS,
    FittedProbe,
    choose_rows,
    fit_probes,
)

_TOKENS_AT_A_TIME = 1 << 22
_MODELS_KEPT = 4

CountArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Both are None where the run does not have them; `counts` (V,) are those of the training text."""

    counts: CountArray | None = None
    probes: tuple[FittedProbe, ...] | None = None


NO_CONTEXT = RunContext()


def read_run_context(classifier: Classifier) -> RunContext:
    """Counts and probes from the run that a classifier is part of; None for what is missing there.

    Both are computed once per model and kept in memory. The probes of the demo take about two seconds.
    """
    key = _key_of(classifier.path)
    if key not in _contexts:
        run = run_of(classifier.path)
        found = NO_CONTEXT
        if run is not None:
            found = RunContext(
                counts=token_counts(run, classifier.tokenizer), probes=_read_probes(run / "prepare", classifier)
            )
        _keep(_contexts, key, found)
    return _contexts[key]


def fill_counts(filler: MaskFiller) -> CountArray | None:
    """The token counts of the run that a pre-trained model is part of; kept in memory, too."""
    key = _key_of(filler.path)
    if key not in _counts:
        run = run_of(filler.path)
        _keep(_counts, key, None if run is None else token_counts(run, filler.tokenizer))
    return _counts[key]


_Key = tuple[str, int]
_Value = TypeVar("_Value")
_contexts: dict[_Key, RunContext] = {}
_counts: dict[_Key, CountArray | None] = {}


def _key_of(model_folder: Path) -> _Key:
    """A key that changes when other weights are written to the folder."""
    weights = model_folder / WEIGHTS_NAME
    return str(model_folder.resolve()), weights.stat().st_mtime_ns if weights.is_file() else 0


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    while len(kept) >= _MODELS_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


def run_of(model_folder: Path) -> Path | None:
    """The run, or the folder of stages, that a checkpoint is part of; None for a model on its own."""
    if model_folder.name != CHECKPOINT_NAME:
        return None
    run = model_folder.resolve().parent.parent
    return run if (run / "preprocess").is_dir() or (run / "prepare").is_dir() else None


def token_counts(run: Path, tokenizer: Tokenizer) -> CountArray | None:
    """How often each token occurs in the training text of a run; None if it has none with this tokenizer."""
    folder, size = run / "preprocess", tokenizer.vocab_size
    if not _has_tokenizer(folder, tokenizer):
        return None
    try:
        tokens = TokenShard(folder, "train").tokens
    except InputDataError:
        return None
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(tokens), _TOKENS_AT_A_TIME):
        part = np.bincount(tokens[start : start + _TOKENS_AT_A_TIME], minlength=size)
        if len(part) > size:
            return None
        counts += part
    return counts


def _has_tokenizer(folder: Path, tokenizer: Tokenizer) -> bool:
    try:
        return load_tokenizer(folder).backend.to_str() == tokenizer.backend.to_str()
    except PretuneError:
        return False


def _read_probes(prepared: Path, classifier: Classifier) -> tuple[FittedProbe, ...] | None:
    """Probes from the rows of a prepare folder; None if it is missing, or of another task, labels or tokenizer.

    None for a cloze, too: probes read the mean over the text, and a cloze one position.
    """
    if classifier.task.name != "classification" or classifier.pattern_encoder is not None:
        return None
    try:
        names = parse_json((prepared / LABELS_NAME).read_text(encoding="utf-8"))["names"]
        if tuple(names) != classifier.label_names or not _has_tokenizer(prepared, classifier.tokenizer):
            return None
        training, validation = (read_labelled(prepared, split) for split in ("train", "validation"))
    except (OSError, ValueError, KeyError, PretuneError):
        return None
    return fit_probes(
        classifier,
        choose_rows(training, TRAINING_ROWS, TRAINING_TOKENS, classifier.window_rule),
        choose_rows(validation, VALIDATION_ROWS, VALIDATION_TOKENS, classifier.window_rule),
    )


def read_labelled(prepared: Path, split: str) -> LabeledShard:
    """The encoded rows of a split of a prepare folder with their labels. Raises OSError or InputDataError."""
    labels = [row["label"] for row in read_json_lines(prepared / f"{split}.jsonl")]
    return load_labeled(prepared, split, Targets.of_rows(np.array(labels, dtype=np.int64)))
