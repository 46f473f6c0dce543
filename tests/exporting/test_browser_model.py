"""The models of a run as bytes for its report: as small as they must be, and the same bytes every time."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import ModelError, ModelNotFoundError, ModelTooLargeError
from pretune.exporting.browser_model import pack_model
from pretune.inference.load import load_classifier
from pretune.model.folder import save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.text.labels.labelling import Labelling


def read_header(packed: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes of the tensors."""
    unpacked = gzip.decompress(packed)
    end = 4 + int.from_bytes(unpacked[:4], "little")
    header: dict[str, Any] = json.loads(unpacked[4:end])
    return header, unpacked[end:]


def test_the_same_run_gives_the_same_bytes(run_folder: Path) -> None:
    assert pack_model(run_folder) == pack_model(run_folder)


def test_weights_are_halves_and_the_head_is_exact(run_folder: Path) -> None:
    header, data = read_header(pack_model(run_folder))
    model = load_classifier(run_folder).model
    assert header["precision"] == "fp16"
    assert sum(tensor["bytes"] for tensor in header["tensors"]) == len(data)
    starts = np.cumsum([0, *(tensor["bytes"] for tensor in header["tensors"])])

    def read(name: str) -> tuple[str, bytes]:
        place = header["classifier"]["weights"][name]
        return header["tensors"][place]["type"], data[starts[place] : starts[place + 1]]

    kind, stored = read("classifier.weight")
    assert kind == "fp32" and stored == model.classifier.weight.detach().numpy().tobytes()
    kind, stored = read("transformer.embed_tokens.weight")
    halves = np.frombuffer(stored, np.uint8).reshape(2, -1).T.copy().view("<f2").ravel()
    np.testing.assert_array_equal(halves, model.transformer.embed_tokens.weight.detach().numpy().astype("<f2").ravel())
    assert kind == "fp16"


def test_equal_weights_are_stored_once(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder / "finetune", tmp_path / "finetune")
    model = load_classifier(run_folder).model
    untrained = LanguageModel(model.config)
    untrained.transformer.load_state_dict(model.transformer.state_dict())
    save_model_folder(tmp_path / "pretrain" / "checkpoint", untrained, run_folder / "finetune" / "checkpoint")
    (twice, _), (once, _) = (read_header(pack_model(run)) for run in (run_folder, tmp_path))
    assert twice["language_model"]["weights"] != twice["classifier"]["weights"]
    assert once["language_model"]["weights"].items() <= once["classifier"]["weights"].items()
    assert len(once["tensors"]) == len(once["classifier"]["weights"]) + 1  # and the merges of the tokenizer


def test_eight_bits_are_taken_where_halves_are_too_large(run_folder: Path) -> None:
    halves = pack_model(run_folder)
    smaller = pack_model(run_folder, most_bytes=len(halves))
    assert read_header(smaller)[0]["precision"] == "int8"
    assert len(smaller) * 4 / 3 <= len(halves)


def test_a_model_that_is_too_large_is_refused_with_both_sizes(run_folder: Path) -> None:
    halves = pack_model(run_folder)
    packed = len(pack_model(run_folder, most_bytes=len(halves))) * 4 // 3
    for most_bytes, size in ((1000, "at least 0 MB"), (packed - 4, "0 MB")):  # the second one is packed to be measured
        with pytest.raises(ModelTooLargeError, match=f"take {size} .*at most 0 MB.*Leave --with-model out"):
            pack_model(run_folder, most_bytes=most_bytes)


def test_a_run_with_one_model_carries_that_one(run_folder: Path, tmp_path: Path) -> None:
    for stage, missing in (("pretrain", "classifier"), ("finetune", "language_model")):
        run = tmp_path / stage
        shutil.copytree(run_folder / stage, run / stage)
        header, _ = read_header(pack_model(run))
        assert header[missing] is None
        assert header["classifier" if missing == "language_model" else "language_model"] is not None


def test_a_run_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="has no model yet"):
        pack_model(tmp_path)


def test_a_run_whose_models_the_page_does_not_compute_is_refused(
    run_folder: Path, save_language_model: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    save_language_model(tmp_path / "writer" / "pretrain" / "checkpoint", "causal")
    model = load_classifier(run_folder).model
    labelling = Labelling(names=("a", "b", "c"), task="multilabel", decision={"thresholds": [0.5, 0.5, 0.5]})
    save_model_folder(
        tmp_path / "labels" / "finetune" / "checkpoint", model, run_folder / "finetune" / "checkpoint", labelling
    )
    for run, instead in (("writer", r"out\."), ("labels", r"out; `pretune watch .*` answers")):
        with pytest.raises(
            ModelError, match=rf"a single text, and masked words, .*neither\. Leave --with-model {instead}"
        ):
            pack_model(tmp_path / run)
