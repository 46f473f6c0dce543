"""Expected labels may be written in every way that labels may be written in for a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.errors import InputDataError
from pretune.inference.classify import Classifier
from pretune.inference.expected_labels import describe_labels
from pretune.inference.load import load_classifier
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import SequenceClassifier, TokenClassifier
from pretune.text.labels.labelling import Labelling

MakeClassifier = Callable[..., Classifier]
TAGS = ("O", "B-place", "I-place")


@pytest.fixture
def make_classifier(run_folder: Path, tokenizer_folder: Path, tmp_path: Path) -> MakeClassifier:
    """A function: a model with random weights for a task."""

    def make(task: str, *names: str, **columns: str) -> Classifier:
        config = load_model_folder(run_folder / "pretrain" / "checkpoint").config
        outputs = TAGS if task == "tokens" else names
        model = (TokenClassifier if task == "tokens" else SequenceClassifier)(config, len(outputs))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)
        labelling = Labelling(names=names, task=task, output_names=outputs, columns={"text_column": "text", **columns})
        save_model_folder(tmp_path / task, model, tokenizer_folder, labelling)
        return load_classifier(tmp_path / task)

    return make


def describe(classifier: Classifier, *labels: Any) -> list[str | None]:
    return describe_labels(["Ada went to London."] * len(labels), labels, classifier)


def test_several_labels_in_a_cell(make_classifier: MakeClassifier) -> None:
    """Joined labels and lists written as text were refused as a label that the model does not know."""
    model = make_classifier("multilabel", "bug", "payment", label_separator="|")
    both = "bug, payment"
    assert describe(model, "payment|bug", "['bug', 'payment']", ["payment", "bug"], {"bug", "payment"}) == [both] * 4
    assert describe(model, "bug", [], "[]", "", None, float("nan")) == ["bug", *["(no label)"] * 2, None, None, None]
    with pytest.raises(InputDataError, match="item 2: the label 'nothing' is not one of"):
        describe(model, "bug", "bug|nothing")
    model = make_classifier("multilabel", "bug|payment", "crash")
    assert describe(model, "bug|payment") == ["bug|payment"]


@pytest.mark.parametrize(
    ("form", "labels", "expected"),
    [
        ("1250,5", ["12,5", "7", 7.25, np.float32(0.5)], ["12.5", "7", "7.25", "0.5"]),
        ("1.250,5", ["1.250", 1.25, "1250"], ["1250", "1.25", "1250"]),
        ("1250.5%", ["45 %", 45], ["45", "45"]),
        (None, ["12,5", "3"], ["12.5", "3"]),
        (None, ["2.5", "nan", None, float("inf"), np.nan], ["2.5", None, None, None, None]),
    ],
)
def test_scores_as_text(
    make_classifier: MakeClassifier, form: str | None, labels: list[Any], expected: list[str | None]
) -> None:
    """Scores that train reads, such as 12,5 and 45 %, were refused."""
    model = make_classifier("regression", "score", **({} if form is None else {"number_form": form}))
    assert describe(model, *labels) == expected
    for word in ("good", True):
        with pytest.raises(InputDataError, match=r"not those of the task regression: item 2: .* is not a number"):
            describe(model, 1, word)


def test_entities_in_a_cell(make_classifier: MakeClassifier) -> None:
    model = make_classifier("tokens", "place")
    spans = [[12, 18, "place"]]
    assert describe(model, spans, str(spans), [], "[]", None) == ["London (place)"] * 2 + ["no entity"] * 2 + [None]
    with pytest.raises(InputDataError, match="not those of the task tokens"):
        describe(model, "London")
