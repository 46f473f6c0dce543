"""Self-training: sentences of the corpus and what the fine-tuned model says of them in; rows for a student out.

A student is one more network, which starts from the base and learns from these sentences and from the labelled rows.
Pseudo-labels that are smoothed over documents: docs/experiments.md has the measurements, ADR 0031 the decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.data.labelled_rows import EncodedRows, LabeledShard, LabelledBatches
from pretune.data.targets import Targets
from pretune.errors import UsageError
from pretune.runtime.atomic import write_text
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.manifest import read_manifest, read_manifest_if_any
from pretune.scoring.pseudo_labels import PseudoLabels, make_pseudo_labels
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.method import at_mask, encode_in_pattern
from pretune.stages.finetune.prepared_rows import PreparedRows
from pretune.stages.finetune.rows import EVALUATION_ROWS, TRAIN_WINDOWS, texts_of
from pretune.text.document_store import iter_corpus
from pretune.text.sentences import split_sentences
from pretune.text.tokenizer.rows import encode_rows
from pretune.text.tokenizer.tokenizer import Tokenizer

PSEUDO_LABELS = "pseudo_labels.jsonl"  # in the folder of the stage
COPIES = 2  # of each labelled row, among the sentences of an epoch
EVALUATIONS = 5  # of a student, which sees every row in one epoch
LEAST_SENTENCES = 200
_LENGTHS = (5, 95)  # percentiles of the labelled rows, between which a sentence is of a usual length
_SPARE = 1.5  # documents read for those whose sentences are too short, too long, or repeated
_DIGITS = 6
_BLOCK_DOCUMENTS = 1000

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """The texts that a student may read, and the number (N,) of the document of each."""

    texts: list[str]
    documents: IntArray


def find_corpus(pretrained: Path, given: Path | None) -> Path:
    """The output folder of preprocess that was `given`, or the one in the same run as the base.

    Raises UsageError if none is given and none is found, and InputDataError if what was given is none.
    """
    if given is not None:
        read_manifest(given, "preprocess")
        return given
    for run in (pretrained, *pretrained.resolve().parents[:2]):
        base = read_manifest_if_any(run / "pretrain")
        found = read_manifest_if_any(run / "preprocess")
        if base is not None and found is not None and base.inputs.get("preprocessed") == found.fingerprint:
            return run / "preprocess"
    raise UsageError(
        f"--self-train reads unlabelled text, and there is no output folder of preprocess beside {pretrained}; name "
        "one with --corpus, or leave --self-train out."
    )


# -- the sentences -------------------------------------------------------------------------------------------------


def read_sentences(corpus: Path, data: PreparedRows, most: int) -> Sentences:
    """At most `most` sentences of the training documents of a corpus, of documents that are evenly spread over it.

    They are as long as the labelled training rows usually are; a document that is no longer than that is taken as a
    whole. What occurs among the labelled rows, or a second time, is left out.
    """
    summary = read_manifest(corpus, "preprocess").summary
    shortest, longest = np.percentile(_lengths(data.tokenizer, [row["text"] for row in data.rows["train"]]), _LENGTHS)
    total = max(1, summary["train_documents"])
    usual = max(1.0, summary["train_tokens"] / total / max(1.0, (shortest + longest) / 2))  # sentences of a document
    step = max(1, int(total / (_SPARE * most / usual)))
    known = {_key(text) for rows in data.rows.values() for row in rows for text in texts_of(row)}
    texts: list[str] = []
    numbers: list[int] = []
    in_training = (document["text"] for document in iter_corpus(corpus) if document.get("split") == "train")
    chosen = [(number, text) for number, text in enumerate(in_training) if number % step == 0]
    for start in range(0, len(chosen), _BLOCK_DOCUMENTS):
        block = chosen[start : start + _BLOCK_DOCUMENTS]
        for number, found in _pieces(data.tokenizer, block, shortest, longest):
            for text in found:
                key = _key(text)
                if key not in known:
                    known.add(key)
                    texts.append(text)
                    numbers.append(number)
    return _thin(texts, np.array(numbers, dtype=np.int64), most)


def _pieces(
    tokenizer: Tokenizer, block: Sequence[tuple[int, str]], shortest: float, longest: float
) -> list[tuple[int, list[str]]]:
    """For each numbered document: itself, or its sentences of a usual length in tokens."""
    split = [split_sentences(text) for _, text in block]
    lengths = iter(_lengths(tokenizer, [sentence for sentences in split for sentence in sentences]).tolist())
    around = sum(tokenizer.num_around)
    found = []
    for (number, text), sentences in zip(block, split, strict=True):
        counts = [next(lengths) for _ in sentences]
        if shortest <= sum(counts) - around * (len(counts) - 1) <= longest:
            found.append((number, [text]))
            continue
        pairs = zip(sentences, counts, strict=True)
        found.append((number, [sentence for sentence, count in pairs if shortest <= count <= longest]))
    return found


def _lengths(tokenizer: Tokenizer, texts: Sequence[str]) -> IntArray:
    return np.array([len(ids) for ids in tokenizer.encode_batch(texts)], dtype=np.int64)


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def _thin(texts: list[str], documents: IntArray, most: int) -> Sentences:
    """The sentences of so many documents, evenly spread, that there are at most `most`."""
    _, firsts, counts = np.unique(documents, return_index=True, return_counts=True)
    if len(texts) <= most:
        return Sentences(texts=texts, documents=documents)
    wanted = int(most / len(texts) * len(firsts))
    places = np.arange(wanted) * len(firsts) // max(wanted, 1)
    rows = [row for place in places.tolist() for row in range(firsts[place], firsts[place] + counts[place])][:most]
    return Sentences(texts=[texts[row] for row in rows], documents=documents[rows])


# -- their labels --------------------------------------------------------------------------------------------------


def label_sentences(
    sentences: Sentences, data: PreparedRows, predict: Callable[[LabelledBatches, Sequence[str]], FloatArray]
) -> PseudoLabels:
    """What a model says of the sentences, made into soft targets; `predict` gives log-probabilities (N, C)."""
    rows = encode(data, sentences.texts)
    nothing = _with_targets(data, rows, np.zeros(len(rows), dtype=np.int64))
    classes = np.asarray(data.targets["train"].values)
    num_classes = len(data.labelling.outputs)
    prior = (np.bincount(classes, minlength=num_classes) + 1) / (len(classes) + num_classes)
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
    hidden as in other training."""
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
        mask_augment=min(2 * config.mask_augment, 0.5) if may_hide else 0.0,
        label_weights=data.soft_label_weights(targets.values) if is_training and data.is_balanced else None,
        width_multiple=data.width_multiple,
        window_rule=data.window_rule,
        train_windows=TRAIN_WINDOWS if is_training else None,
    )
