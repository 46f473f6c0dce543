"""A model of entities labels the rows that it may learn from: texts, and lists of words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pretune.api import load_model
from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.inference.predict import predict_file
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import TokenClassifier
from pretune.text.labels.labelling import Labelling

WORDS = [["Ada", "went", "to", " London "], ["It", "", "rained."], [], None]
TEXTS = ["Ada went to London", "It rained.", "", ""]


@pytest.fixture(scope="module")
def classifier(run_folder: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A model with random weights that was trained on words in the column `tokens`."""
    config = load_model_folder(run_folder / "pretrain" / "checkpoint").config
    model, rng = TokenClassifier(config, 3), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=rng)
    labelling = Labelling(
        names=("place",),
        task="tokens",
        output_names=("O", "B-place", "I-place"),
        columns={"text_column": "tokens", "label_column": "tags"},
    )
    folder = tmp_path_factory.mktemp("entities") / "model"
    save_model_folder(folder, model, tokenizer_folder, labelling)
    return load_classifier(folder)


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_lists_of_words_are_texts(classifier: Classifier, tmp_path: Path, ending: str) -> None:
    """Such rows, which the model had learned from, were written without any entities."""
    source = tmp_path / f"in{ending}"
    if ending == ".csv":
        cells = [f'"{words}"' if words is not None else "" for words in WORDS]
        source.write_text("".join(f"{n},{cell}\n" for n, cell in zip(["id", *"1234"], ["tokens", *cells], strict=True)))
    else:
        source.write_text("".join(json.dumps({"tokens": words}) + "\n" for words in WORDS))
    result = predict_file(classifier, source, tmp_path / "out.jsonl")
    assert (result.rows, result.without_text) == (4, 2)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    expected = [list(each.cells()) for each in classifier.predict(TEXTS)]
    assert [[row["entities"]] for row in rows] == expected
    assert any(row["entities"] for row in rows)
    model = load_model(classifier.path)
    assert [each.text for each in model.predict(source)] == TEXTS


def test_a_text_in_brackets_stays_a_text(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,tokens\n1,"[London, Paris]"\n2,It rained.\n')
    predict_file(classifier, tmp_path / "in.csv", tmp_path / "out.txt")
    texts = [line.split("\t")[0] for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert texts == ["[London, Paris]", "It rained."]
