"""The models of a run as bytes that a report carries, from which its page predicts in the reader's browser.

The bytes are gzip of: four bytes with the length of a JSON header, the header, and the tensors one after another. The
header names every tensor by its place; web/src/engine/payload.ts reads it. Weights have 16 bits, the lower bytes of a
tensor before the upper ones, which compress better; where that is too large, 8 bits with a scale for each row. Vectors
and the head stay in single precision. The same run gives the same bytes.
"""

from __future__ import annotations

import gzip
import html.entities
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pretune.errors import ModelError, ModelNotFoundError, ModelTooLargeError
from pretune.inference.classify import MAX_SEQ_LEN, Classifier
from pretune.inference.fill_mask import MaskFiller
from pretune.inference.load import classifier_of, find_model_folder, load_filler, load_matching_tokenizer
from pretune.model.config import ForeignConfig
from pretune.model.folder import LoadedModel, Model, load_model_folder
from pretune.model.transformer import ClozeClassifier, LanguageModel
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.tracing.probes import FittedProbe
from pretune.tracing.run_context import fill_counts, read_run_context

FORMAT = "model/1"
MOST_BYTES = 20_000_000  # in the report, where four characters stand for three bytes

Precision = Literal["fp32", "fp16", "int8"]
Array = npt.NDArray[Any]

_LEAST_COMPRESSION = 0.5  # no trained weights of 8 bits are smaller than this, so a larger model need not be tried


def pack_model(run: Path, most_bytes: int = MOST_BYTES, precisions: Sequence[Precision] = ("fp16", "int8")) -> bytes:
    """The fine-tuned and the pre-trained model of a run, or the one that there is, with the tokenizer.

    The weights have the first of the `precisions` in which the report grows by at most `most_bytes`. Raises
    ModelNotFoundError if the run has neither model, CorruptModelError if one is damaged, ModelTooLargeError if no
    precision is small enough, and ModelError if the page can compute none of its models.
    """
    classifier, filler = _load_models(Path(run))
    weights = [dict(_weights(each.model)) for each in (classifier, filler) if each is not None]
    least = sum(array.size for each in weights for array in each.values()) * _LEAST_COMPRESSION
    size, is_exact = _size_in_report(int(least)), False
    if size <= most_bytes:
        for precision in precisions:
            packed = _pack(classifier, filler, precision)
            size, is_exact = _size_in_report(len(packed)), True
            if size <= most_bytes:
                return packed
    raise ModelTooLargeError(
        f"The models of {run} take {'' if is_exact else 'at least '}{size / 1e6:,.0f} MB in a report, even with 8 "
        f"bits for each weight; expected at most {most_bytes / 1e6:,.0f} MB. Leave --with-model out; `pretune watch "
        f"{shlex.quote(str(run))}` answers typed text, too."
    )


def _load_models(run: Path) -> tuple[Classifier | None, MaskFiller | None]:
    """The classifier and the language model of a run; None for one that it does not have."""
    loaded = _load(run, "finetune")
    classifier = None if loaded is None or loaded.label_names is None else classifier_of(loaded)
    if classifier is not None and not _is_known_to_page(classifier):
        classifier = None  # the page says so; its traced predictions are in the report
    if loaded is not None and (
        isinstance(loaded.config, ForeignConfig)
        or loaded.config.rope_scaling
        or not load_matching_tokenizer(loaded).is_own
    ):
        raise ModelError(
            f"The model of {run} began as a public one, and the page computes only models that pretune pre-trained, "
            f"with their tokenizers. Leave --with-model out; `pretune watch {shlex.quote(str(run))}` answers typed "
            "text, too."
        )
    filler = _load_filler(run, loaded, is_alone=classifier is None)
    if classifier is None and filler is None:
        raise _nothing_for_page(run, loaded)
    if classifier and filler and classifier.tokenizer.backend.to_str() != filler.tokenizer.backend.to_str():
        raise ModelError(f"The two models of {run} have different tokenizers; expected two models of one run.")
    return classifier, filler


def _load_filler(run: Path, loaded: LoadedModel | None, *, is_alone: bool) -> MaskFiller | None:
    """The pre-trained model, or, if the page has no other one, a fine-tuned one that fills in words."""
    folder = _find(run, "pretrain")
    if folder is not None and (loaded is None or folder != loaded.path):
        return load_filler(folder) if load_model_folder(folder).config.can_fill else None
    if loaded is None or not is_alone or not isinstance(loaded.model, LanguageModel | ClozeClassifier):
        return None
    return load_filler(loaded.path) if loaded.config.can_fill else None


def _nothing_for_page(run: Path, loaded: LoadedModel | None) -> ModelError:
    if loaded is None and _find(run, "pretrain") is None:
        return ModelNotFoundError(f"{run} has no model yet; --with-model needs a run with a finished pretrain stage.")
    labels_texts = loaded is not None and loaded.label_names is not None
    instead = f"; `pretune watch {shlex.quote(str(run))}` answers typed text, too" if labels_texts else ""
    return ModelError(
        f"The page computes the class of a single text, and masked words, and {run} has a model for neither. Leave "
        f"--with-model out{instead}."
    )


def _is_known_to_page(classifier: Classifier) -> bool:
    """Whether the page can decide as this model does: one class for one text, from the mean over its tokens."""
    is_plain = classifier.pattern_encoder is None and not classifier.labelling.has_pairs
    return is_plain and classifier.task.name == "classification"


def _load(run: Path, stage: Literal["finetune", "pretrain"]) -> LoadedModel | None:
    folder = _find(run, stage)
    return None if folder is None else load_model_folder(folder)


def _find(run: Path, stage: Literal["finetune", "pretrain"]) -> Path | None:
    try:
        return find_model_folder(run, stage)
    except ModelNotFoundError:
        return None


def _size_in_report(num_bytes: int) -> int:
    return 4 * -(-num_bytes // 3)


@dataclass
class _Tensors:
    """Tensors that are stored once, however often they are added, and the entries of the header for them."""

    precision: Precision
    entries: list[dict[str, Any]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    _places: dict[tuple[str, tuple[int, ...], bytes], int] = field(default_factory=dict)

    def add(self, values: Array, kind: str | None = None) -> int:
        """The place of an array in the header: a matrix of weights by the precision, or as `kind` says."""
        kind = kind or (self.precision if values.ndim == 2 else "fp32")
        values = np.ascontiguousarray(values)
        encoded = _ENCODERS[kind](values)
        key = (kind, values.shape, encoded)
        if key not in self._places:
            self._places[key] = len(self.entries)
            self.entries.append({"type": kind, "shape": list(values.shape), "bytes": len(encoded)})
            self.data.append(encoded)
        return self._places[key]


def _encode_fp16(values: Array) -> bytes:
    """All lower bytes, then all upper ones."""
    pairs = values.astype("<f2").view(np.uint8).reshape(-1, 2)
    return np.ascontiguousarray(pairs.T).tobytes()


def _encode_int8(values: Array) -> bytes:
    """The scale of each row, in single precision, then the rows as multiples of it."""
    scales = (np.abs(values).max(1) / 127).astype("<f4")
    rows = values / np.where(scales > 0, scales, 1)[:, None]
    return scales.tobytes() + np.clip(np.rint(rows), -127, 127).astype(np.int8).tobytes()


_ENCODERS = {
    "fp16": _encode_fp16,
    "int8": _encode_int8,
    "fp32": lambda values: values.astype("<f4").tobytes(),
    "uint32": lambda values: values.astype("<u4").tobytes(),
}


def _pack(classifier: Classifier | None, filler: MaskFiller | None, precision: Precision) -> bytes:
    tensors = _Tensors(precision)
    some = classifier or filler
    assert some is not None
    tokenizer = some.tokenizer
    header = {
        "format": FORMAT,
        "precision": precision,
        "tokenizer": _describe_tokenizer(tokenizer),
        "merges": tensors.add(_merges(tokenizer), "uint32"),
        "entities": html.entities.html5,
        "max_seq_len": min(MAX_SEQ_LEN, some.model.config.max_seq_len),
        "classifier": None if classifier is None else _describe_classifier(classifier, tensors),
        "language_model": None if filler is None else _describe_model(filler.model, tensors),
        **_describe_context(classifier, filler, tensors),
    }
    text = json.dumps(header | {"tensors": tensors.entries}, ensure_ascii=False, separators=(",", ":")).encode()
    return gzip.compress(b"".join([len(text).to_bytes(4, "little"), text, *tensors.data]), 9, mtime=0)


def _describe_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    model = json.loads(tokenizer.backend.to_str())["model"]
    return {
        "kind": tokenizer.kind,
        "is_lowercase": tokenizer.is_lowercase,
        "tokens": [tokenizer.backend.id_to_token(index) or "" for index in range(tokenizer.vocab_size)],
        "special": {"unk": None} | tokenizer.special_ids,
        "longest_word": model.get("max_input_chars_per_word", 0),
    }


def _merges(tokenizer: Tokenizer) -> Array:
    """(merges, 3): the ids of both parts and of the whole, in the order in which they were learned."""
    model = json.loads(tokenizer.backend.to_str())["model"]
    ids = model["vocab"]
    rows = [(ids[first], ids[second], ids[first + second]) for first, second in model.get("merges", [])]
    return np.array(rows, dtype=np.uint32).reshape(-1, 3)


def _weights(model: Model) -> list[tuple[str, Array]]:
    """The weights by name, a tied matrix once."""
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    return [(name, each.detach().cpu().numpy()) for name, each in model.state_dict().items() if name not in tied]


def _describe_model(model: Model, tensors: _Tensors) -> dict[str, Any]:
    places = {
        name: tensors.add(values, "fp32" if name.startswith("classifier") else None) for name, values in _weights(model)
    }
    return {"config": asdict(model.config), "weights": places}


def _describe_classifier(classifier: Classifier, tensors: _Tensors) -> dict[str, Any]:
    return {
        **_describe_model(classifier.model, tensors),
        "label_names": list(classifier.label_names),
        # What the page does not do, and says of its answers: add the linear models, and read a long text in windows.
        "has_stack": classifier.stacked is not None,
        "reads_windows": classifier.labelling.reads_windows,
    }


def _describe_context(classifier: Classifier | None, filler: MaskFiller | None, tensors: _Tensors) -> dict[str, Any]:
    """The counts of the tokens in the training text, and the probes of the layers, where the run has them."""
    if classifier is None:
        counts, probes = fill_counts(filler) if filler is not None else None, None
    else:
        context = read_run_context(classifier)
        counts, probes = context.counts, context.probes
    return {
        "counts": None if counts is None else tensors.add(np.minimum(counts, 2**32 - 1), "uint32"),
        "probes": None if probes is None else [_describe_probe(probe, tensors) for probe in probes],
    }


def _describe_probe(probe: FittedProbe, tensors: _Tensors) -> dict[str, Any]:
    """A probe as one linear layer over the pooled state; with two classes the first one has the logit 0."""
    regression = probe.regression
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    weight = weight / probe.deviation
    return {
        "weight": tensors.add(weight, "fp32"),
        "bias": (bias - weight @ probe.mean).tolist(),
        "classes": [int(each) for each in regression.classes_],
        "validation_accuracy": probe.validation_accuracy,
        "shuffled_accuracy": probe.shuffled_accuracy,
        "random_weights_accuracy": probe.random_weights_accuracy,
        "n": probe.n,
    }
