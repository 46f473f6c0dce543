"""A model that labels tokens goes unchanged into transformers as EuroBertForTokenClassification."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import TokenClassifier, initialize
from pretune.text.labels.labelling import Labelling
from pretune.text.labels.word_windows import read_words

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

NAMES = ("LOC", "PER")
OUTPUTS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TEXTS = [
    "Ada Lovelace went to London .",
    "x",
    "The hotel in New York was dreadful : cold soup , noisy rooms , and we never liked the food",
    "Großartig ! 🙂 電話 special words",
]


@pytest.fixture(scope="module")
def folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pre-trained model of the run with a random head for entities."""
    base = load_model_folder(run_folder / "pretrain" / "checkpoint")
    model = TokenClassifier(base.config, len(OUTPUTS))
    initialize(model, 3)
    model.transformer.load_state_dict(base.model.transformer.state_dict())
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.5)
        model.classifier.bias.normal_(std=0.5)
    labelling = Labelling(names=NAMES, task="tokens", output_names=OUTPUTS, decision={"words": "blanks"})
    target = tmp_path_factory.mktemp("tokens") / "model"
    save_model_folder(target, model, base.tokenizer_path, labelling)
    return target


@pytest.fixture(scope="module")
def ours(folder: Path) -> Classifier:
    return load_classifier(folder)


def test_the_folder_says_what_it_is(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["EuroBertForTokenClassification"]
    assert [config["id2label"][str(index)] for index in range(len(OUTPUTS))] == list(OUTPUTS)
    assert "problem_type" not in config


def test_the_outputs_are_those_of_transformers(folder: Path, ours: Classifier) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    assert type(theirs).__name__ == "EuroBertForTokenClassification"
    for text in TEXTS:
        ids = ours.tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids
        with torch.no_grad():
            expected = theirs(**tokenizer(text, return_tensors="pt")).logits
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(ours.predict_logits([ids]), expected, atol=1e-4, rtol=0)


def test_the_labelled_tokens_are_the_first_of_the_words_of_transformers(folder: Path, ours: Classifier) -> None:
    """Words are given to transformers one by one, as its examples for entities do."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        words = text.split(" ")
        read = read_words(ours.tokenizer, [text], "blanks", ours.max_seq_len)
        encoded = tokenizer(words, is_split_into_words=True)
        assert encoded["input_ids"] == read.rows[0]
        ids = encoded.word_ids()
        assert read.positions[0].tolist() == [ids.index(place) for place in range(len(words))]


def test_a_folder_that_transformers_wrote_comes_back(folder: Path, ours: Classifier, tmp_path: Path) -> None:
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "model")
    for name in ("labels.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).write_bytes((folder / name).read_bytes())
    back = load_model_folder(tmp_path / "model")
    assert isinstance(back.model, TokenClassifier)
    for name, tensor in ours.model.state_dict().items():
        assert torch.equal(tensor, back.model.state_dict()[name])


def test_the_pipeline_of_transformers_finds_the_same_tags(folder: Path, ours: Classifier) -> None:
    pipeline = transformers.pipeline("token-classification", model=str(folder), device="cpu", ignore_labels=[])
    for text in TEXTS[:3]:
        found = {item["index"]: item["entity"] for item in pipeline(text)}
        [row] = ours.predict_logits([ours.tokenizer.encode(text)])
        assert found == {place: OUTPUTS[int(row[place].argmax())] for place in range(1, len(row) - 1)}
