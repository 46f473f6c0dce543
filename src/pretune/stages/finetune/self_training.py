"""Self-training: sentences of the corpus and what the fine-tuned model says of them in; rows for a student out.

A student is one more network, which starts from the base and learns from these sentences and from the labelled rows.
Pseudo-labels that are smoothed over documents: docs/experiments.md has the measurements, ADR 0031 the decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.labelled_rows import EncodedRows, LabeledShard, LabelledBatches
from pretune.data.targets import Targets
from pretune.runtime.atomic import write_text
from pretune.runtime.json_lines import read_json_lines
from pretune.scoring.pseudo_labels import PseudoLabels, make_pseudo_labels
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.corpus_sentences import Sentences
from pretune.stages.finetune.method import at_mask, encode_in_pattern
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.rows import EVALUATION_ROWS, TRAIN_WINDOWS
from pretune.text.tokenizer.rows import encode_rows

PSEUDO_LABELS = "pseudo_labels.jsonl"  # in the folder of the stage
COPIES = 2  # of each labelled row, among the sentences of an epoch
EVALUATIONS = 5  # of a student, which sees every row in one epoch
_DIGITS = 6

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


# -- their labels --------------------------------------------------------------------------------------------------


def label_sentences(
    sentences: Sentences, data: PreparedRows, predict: Callable[[LabelledBatches, Sequence[str]], FloatArray]
) -> PseudoLabels:
    """What a model says of the sentences, made into soft targets; `predict` gives log-probabilities (N, C)."""
    rows = encode(data, sentences.texts)
    nothing = _with_targets(data, rows, np.zeros(len(rows), dtype=np.int64))
    classes = np.asarray(data.targets["train"].values)
    num_classes = len(data.labelling.outputs)
    prior = np.bincount(classes, minlength=num_classes) / len(classes)
    batches = _batches(data, rows, nothing, data.config, seed=data.config.seed, is_training=False)
    return make_pseudo_labels(predict(batches, sentences.texts), sentences.documents, prior)


def write_pseudo_labels(folder: Path, sentences: Sentences, found: PseudoLabels) -> None:
    """Write a JSON line for each sentence that is kept: its document, its text, and the soft target of each class."""
    lines = []
    for row, target in zip(found.rows.tolist(), found.targets.tolist(), strict=True):
        line = {
            "document": int(sentences.documents[row]),
            "text": sentences.texts[row],
            "probabilities": [round(value, _DIGITS) for value in target],
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(folder / PSEUDO_LABELS, "".join(lines))


# -- the student's rows --------------------------------------------------------------------------------------------


def student_batches(folder: Path, data: PreparedRows, seed: int) -> LabelledBatches:
    """The sentences with the targets that were written, and each labelled training row twice, with twice as many tokens
    hidden as in other training, up to half of them."""
    lines = read_json_lines(folder / PSEUDO_LABELS)
    labelled = data.batches("train", seed)
    num_classes = len(data.labelling.outputs)
    true = np.eye(num_classes, dtype=np.float32)[np.asarray(labelled.targets.values)]
    soft = np.array([line["probabilities"] for line in lines], dtype=np.float32).reshape(-1, num_classes)
    own = [labelled.data.text(row) for row in range(len(labelled.data))]
    others = encode(data, [line["text"] for line in lines])
    read = [ids.tolist() for ids in map(others.doc, range(len(others)))]
    rows = EncodedRows([*(ids.tolist() for ids in own * COPIES), *read])
    targets = _with_targets(data, rows, np.concatenate([*[true] * COPIES, soft]))
    return _batches(data, rows, targets, data.config, seed=seed, is_training=True)


def encode(data: PreparedRows, texts: Sequence[str]) -> EncodedRows:
    """The token ids of single texts as the model reads those of the prepare folder."""
    lines = [{"text": text, "label": 0} for text in texts]
    if data.labelling.answers is not None:
        return encode_in_pattern(data.labelling.answers, data.tokenizer, {"train": lines}, data.max_seq_len)["train"]
    if data.window_rule is not None:
        return EncodedRows(data.tokenizer.encode_batch(texts))
    return EncodedRows(encode_rows(data.tokenizer, [(text, None) for text in texts], data.max_seq_len))


def _with_targets(data: PreparedRows, rows: EncodedRows, values: npt.NDArray[Any]) -> Targets:
    targets = Targets.of_rows(values)
    return targets if data.labelling.answers is None else at_mask(targets, rows, data.special.mask)


def _batches(
    data: PreparedRows, rows: EncodedRows, targets: Targets, config: FinetuneConfig, *, seed: int, is_training: bool
) -> LabelledBatches:
    may_hide = is_training and data.special.mask >= 0
    return LabelledBatches(
        LabeledShard(shard=rows, all_targets=targets, rows=np.arange(len(rows))),
        data.special,
        batch_size=config.batch_size if is_training else EVALUATION_ROWS,
        seed=seed,
        mask_augment=max(config.mask_augment, min(2 * config.mask_augment, 0.5)) if may_hide else 0.0,
        label_weights=data.soft_label_weights(targets.values) if is_training and data.is_balanced else None,
        width_multiple=data.width_multiple,
        window_rule=data.window_rule,
        train_windows=TRAIN_WINDOWS if is_training else None,
    )
