"""Scores of sentences equal those of a loop over positions, and do not depend on the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.errors import InputDataError, ModelError, UsageError
from pretune.inference import sentence_scores, token_scores
from pretune.inference.load import load_scorer
from pretune.inference.sentence_scores import SentenceScorer
from pretune.model.config import ObjectiveName
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel

SENTENCES = ["The sun rises in the east.", "The sun rise in the east.", "A film!", "We never liked the food, ever."]


def places_of(sentences: list[str]) -> list[str]:
    return [f"pairs.txt, line {number}" for number in range(1, len(sentences) + 1)]


def save_as(folder: Path, run_folder: Path, objective: ObjectiveName) -> Path:
    """The pre-trained model of a run with the same weights, as if trained for another objective."""
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    model = LanguageModel(replace(loaded.config, objective=objective))
    model.load_state_dict(loaded.model.state_dict())
    save_model_folder(folder, model, loaded.path)
    return folder


def loop_over_positions(scorer: SentenceScorer, sentence: str) -> float:
    ids = scorer.tokenizer.encode(sentence)
    total = 0.0
    for place in range(1, len(ids) - 1):
        if scorer.scoring == "masked":
            shown, causal = [*ids[:place], scorer.tokenizer.mask_id, *ids[place + 1 :]], False
        else:
            shown, causal = ids[:place], True
        rows = torch.tensor([shown])
        logits = scorer.model(rows, torch.zeros_like(rows), is_causal=torch.tensor([causal]))[0].double()
        at = place if scorer.scoring == "masked" else -1
        total += float(torch.log_softmax(logits[at], dim=-1)[ids[place]].detach())
    return total


@pytest.mark.parametrize(
    ("objective", "asked", "used"),
    [
        ("masked", "auto", "masked"),
        ("causal", "auto", "causal"),
        ("hybrid", "auto", "masked"),
        ("hybrid", "causal", "causal"),
    ],
)
def test_scores_are_those_of_a_loop(
    tmp_path: Path, run_folder: Path, objective: ObjectiveName, asked: str, used: str
) -> None:
    scorer = load_scorer(save_as(tmp_path / "model", run_folder, objective), asked)
    assert scorer.scoring == used
    found = scorer.scores(SENTENCES, places_of(SENTENCES))
    assert found == pytest.approx([loop_over_positions(scorer, sentence) for sentence in SENTENCES], abs=1e-4)


@pytest.mark.parametrize("objective", ["masked", "causal"])
def test_scores_do_not_depend_on_batches(
    tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, objective: ObjectiveName
) -> None:
    scorer = load_scorer(save_as(tmp_path / "model", run_folder, objective))
    expected = scorer.scores(SENTENCES, places_of(SENTENCES))
    monkeypatch.setattr(token_scores, "TOKENS_PER_BATCH", 16)
    monkeypatch.setattr(sentence_scores, "_SENTENCES_AT_ONCE", 3)
    monkeypatch.setattr(token_scores, "_LOGITS_AT_ONCE", 1000)
    done: list[tuple[int, int]] = []
    mixed = [*reversed(SENTENCES), SENTENCES[0]]
    found = scorer.scores(mixed, places_of(mixed), on_progress=lambda *counts: done.append(counts))
    assert found == pytest.approx([*expected[::-1], expected[0]], abs=1e-4)
    assert found[0 + 3] == found[4], "the same sentence has the same score"
    assert done == [(3, 4), (4, 4)]


def test_a_model_without_preference_has_no_temperature(tmp_path: Path, run_folder: Path) -> None:
    """With weights of zero every token has probability 1 / V, so a score is the number of tokens times -ln V."""
    scorer = load_scorer(save_as(tmp_path / "model", run_folder, "causal"))
    with torch.no_grad():
        scorer.model.lm_head.weight.zero_()
    found = scorer.scores(SENTENCES, places_of(SENTENCES))
    counts = np.array([len(scorer.tokenizer.encode(sentence)) - 2 for sentence in SENTENCES])
    assert found == pytest.approx(-counts * np.log(scorer.model.config.vocab_size), rel=1e-6)


def test_a_way_of_scoring_that_was_not_trained(tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(UsageError, match="trained to fill in words, not to predict the next token"):
        load_scorer(run_folder, "causal")
    with pytest.raises(UsageError, match="trained to predict the next token, not to fill in words"):
        load_scorer(save_as(tmp_path / "model", run_folder, "causal"), "masked")


def test_a_model_without_a_language_model_head(run_folder: Path) -> None:
    with pytest.raises(ModelError, match="a classifier, which has no probability for a sentence"):
        load_scorer(run_folder / "finetune")


def test_sentences_that_have_no_score(run_folder: Path) -> None:
    scorer = load_scorer(run_folder)
    with pytest.raises(InputDataError, match=r"pairs\.txt, line 2: a sentence has no words"):
        scorer.scores(["A film.", "<b></b>"], places_of(["", ""]))
    with pytest.raises(InputDataError, match=r"line 1: a sentence has .* tokens, and the model reads at most 512"):
        scorer.scores(["A film. " * 300], places_of([""]))
