"""Fine-tuning with few labels: cloze or a fitted head, a budget in updates, and nothing chosen on few rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretune.errors import UsageError
from pretune.inference.load import load_classifier, load_filler
from pretune.model.folder import load_model_folder
from pretune.model.transformer import ClozeClassifier, SequenceClassifier
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.notices import describe_few_rows
from pretune.stages.finetune.stage import finetune
from pretune.tracing.prediction import read_texts, trace_prediction

WORDS = ("bad=cold", "good=warm")
TEXTS = ["the film was wonderful and very wonderful", "dreadful food", "a book [MASK] of days"]


def run(pretrained: Path, prepared: Path, out: Path, **settings: Any) -> Manifest:
    return finetune(pretrained, prepared, out, FinetuneConfig(**{"updates": 9, "seeds": 2, **settings}))


@pytest.fixture(scope="module")
def cloze(run_folder: Path, prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "finetune"
    run(run_folder / "pretrain", prepared_folder, folder, method="cloze", pattern="It was [MASK] .", label_words=WORDS)
    return folder


@pytest.fixture(scope="module")
def head(run_folder: Path, prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "finetune"
    run(run_folder / "pretrain", prepared_folder, folder)
    return folder


def of_kind(folder: Path, kind: str) -> list[Event]:
    return [event for event in read_events(folder) if event["event"] == kind]


def test_a_cloze_folder_is_a_language_model_with_answers(cloze: Path) -> None:
    loaded = load_model_folder(cloze / "checkpoint")
    assert isinstance(loaded.model, ClozeClassifier)
    labels = json.loads((cloze / "checkpoint" / "labels.json").read_text("utf-8"))
    assert (labels["method"], labels["pattern"]) == ("cloze", "{text} It was [MASK] .")
    assert dict(zip(labels["names"], labels["label_words"], strict=True)) == {"bad": ["cold"], "good": ["warm"]}
    config = json.loads((cloze / "checkpoint" / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["EuroBertForMaskedLM"]
    [sentence] = [e["sentence"] for e in of_kind(cloze, "notice") if e["sentence"].startswith("Cloze")]
    assert "'{text} It was [MASK] .' (as given)" in sentence
    assert "bad=cold,good=warm (as given)" in sentence


def test_its_probabilities_are_those_of_the_words_that_it_fills_in(cloze: Path) -> None:
    classifier, filler = load_classifier(cloze), load_filler(cloze / "checkpoint")
    for text in TEXTS[:2]:
        [prediction] = classifier.predict([text])
        found = filler.predict_masked(f"{text} It was [MASK] .")[0]
        p = np.array([float(found[filler.tokenizer.encode(word)[1]]) for word in ("cold", "warm")])
        np.testing.assert_allclose([prediction.probabilities[name] for name in ("bad", "good")], p / p.sum(), atol=1e-5)
    assert classifier.predict([TEXTS[2]])[0].label in ("bad", "good")  # a typed [MASK] is plain text


def test_transformers_fills_in_the_same_words(cloze: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(cloze / "checkpoint")
    model = transformers.AutoModelForMaskedLM.from_pretrained(cloze / "checkpoint").eval()
    rows = tokenizer([f"{text} It was [MASK] ." for text in TEXTS[:2]], return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**{name: rows[name] for name in ("input_ids", "attention_mask")}).logits
    at_mask = logits[rows["input_ids"] == tokenizer.mask_token_id]
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("cold", "warm")]
    expected = torch.softmax(at_mask[:, ids], dim=-1).numpy()
    found = [[p.probabilities[name] for name in ("bad", "good")] for p in load_classifier(cloze).predict(TEXTS[:2])]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_long_text_is_cut_and_the_pattern_stays(cloze: Path) -> None:
    classifier = load_classifier(cloze)
    assert classifier.pattern_encoder is not None
    text = "wonderful " * 599 + "wonderful"
    read = read_texts(classifier, text)
    assert read.was_cut
    assert read.ids == classifier.pattern_encoder.encode(text)
    assert "".join(token.surface for token in read.tokens[-6:]).endswith(" was[MASK] .[EOS]")


def test_a_cloze_is_traced_exactly(cloze: Path) -> None:
    text = TEXTS[0]
    found = trace_prediction(load_classifier(cloze), text)
    assert found.text == f"{text} It was [MASK] ."
    assert not found.was_cut
    assert max(found.contribution_error, found.head_error, found.prediction_error) < 1e-4
    assert [token.surface for token in found.tokens if token.is_special] == ["[BOS]", "[MASK]", "[EOS]"]
    [prediction] = load_classifier(cloze).predict([text])
    np.testing.assert_allclose(found.decision.probability, prediction.probability, atol=1e-5)
    if found.reasons is not None and found.reasons.is_converged:
        change = found.reasons.score - found.reasons.masked_score
        assert sum(found.reasons.integrated_gradients) == pytest.approx(change, abs=0.02 * abs(change) + 0.02)


def test_the_mean_of_the_seeds_is_delivered(head: Path) -> None:
    chosen = read_manifest(head, "finetune").summary["chosen"]
    assert chosen["averaged_trials"] == [0, 1]
    [event] = of_kind(head, "chosen")
    assert event["sentence"].startswith("Delivered: the mean of the weights of 2 seeds at learning rate 0.0005")
    assert event["sentence"].endswith("validation rows are too few to choose an epoch or a seed.")
    tests = of_kind(head, "test")
    assert [test["seed"] for test in tests] == [0, 1, None]
    predicted = load_classifier(head)
    lines = [json.loads(line) for line in (head / "predictions" / "averaged.jsonl").read_text("utf-8").splitlines()]
    assert tests[-1]["n"] == len(lines)
    assert isinstance(predicted.model, SequenceClassifier)


def test_nothing_is_chosen_and_the_budget_is_in_updates(head: Path) -> None:
    started, ended = of_kind(head, "trial_started"), of_kind(head, "trial_finished")
    assert [(event["learning_rate"], event["is_search"]) for event in started] == [(5e-4, False)] * 2
    assert [(event["step"], event["best_step"], event["stopped"]) for event in ended] == [(9, 9, "updates")] * 2
    [sentence] = [e["sentence"] for e in of_kind(head, "notice") if e["sentence"].startswith("There are")]
    assert "They still decide on whether the mean of the seeds' weights is delivered" in sentence


def test_rates_that_are_given_are_searched_and_the_notice_says_so(
    run_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    """It said that the learning rate is not chosen on the validation rows."""
    out = tmp_path / "out"
    run(run_folder / "pretrain", prepared_folder, out, updates=1, seeds=1, learning_rates=(1e-4, 1e-3))
    assert [event["is_search"] for event in of_kind(out, "trial_started")] == [True, True, False]
    [sentence] = [e["sentence"] for e in of_kind(out, "notice") if e["sentence"].startswith("There are")]
    assert "neither the epoch nor the seed is chosen on them. The learning rate is: the best of the 2" in sentence


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ((0, False, False, False), "neither the learning rate, nor the epoch, nor the seed is chosen on them."),
        ((0, False, True, False), "nor the seed is chosen on them. They still decide on the thresholds of the labels."),
        (
            (0, True, False, False),
            "nor the seed is chosen on them. They still decide on whether the mean of the seeds' weights is delivered.",
        ),
        (
            (3, True, True, True),
            "They still decide on whether the mean of the seeds' weights is delivered, the thresholds of the labels "
            "and the weights of linear models that are combined with the network.",
        ),
    ],
)
def test_what_few_rows_still_decide_is_said(facts: tuple[int, bool, bool, bool], end: str) -> None:
    num_rates, may_average, has_thresholds, may_stack = facts
    found = describe_few_rows(
        60, num_rates=num_rates, may_average=may_average, has_thresholds=has_thresholds, may_stack=may_stack
    )
    assert found.startswith("There are 60 validation rows, fewer than 200, so")
    assert found.endswith(end)


def test_the_head_starts_from_a_linear_probe(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    run(run_folder / "pretrain", prepared_folder, tmp_path / "one", updates=1, seeds=1, learning_rates=(1e-9,))
    found = load_classifier(tmp_path / "one")
    [evaluation] = of_kind(tmp_path / "one", "evaluation")
    assert evaluation["accuracy"] > 0.7  # with an untrained head it would be a guess
    assert found.labelling.answers is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pattern": "It was so."}, "has no [MASK]"),
        ({"pattern": "[MASK] or [MASK]"}, "has 2 times [MASK]"),
        ({"label_words": ("bad=cold", "good=wonderfully")}, "'wonderfully' for the label 'good' is"),
        ({"label_words": ("bad=cold",)}, "no word for 'good'"),
        ({"label_words": ("bad=cold", "good=cold")}, "'cold' stands for two labels"),
    ],
)
def test_answers_that_cannot_work_get_a_sentence(
    run_folder: Path, prepared_folder: Path, tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run(run_folder / "pretrain", prepared_folder, tmp_path / "out", method="cloze", **settings)
    assert sentence in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_base_that_predicts_no_words_has_no_cloze(run_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not predict words at a"):
        run(run_folder / "finetune", prepared_folder, tmp_path / "out", method="cloze", label_words=WORDS)
