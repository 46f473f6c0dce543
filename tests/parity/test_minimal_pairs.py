"""Scores of sentences equal those of a short script with transformers that knows nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.errors import ModelError
from pretune.inference.load import load_filler, load_scorer
from pretune.model.config import ObjectiveName
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel

transformers = pytest.importorskip("transformers")

SENTENCES = [
    "The sun rises in the east.",
    "The sun rise in the east.",
    "Das Buch ist großartig, aber der Schluss enttäuscht.",
    "I bought this phone in May; the battery lasts two days!",
]


@torch.no_grad()
def reference_score(model: Any, tokenizer: Any, sentence: str) -> float:
    """Salazar et al. 2020 for a masked model, the chain rule for a causal one; both without [BOS] and [EOS]."""
    ids = torch.tensor(tokenizer(sentence)["input_ids"])
    total = 0.0
    for place in range(1, len(ids) - 1):
        if tokenizer.mask_token_id is not None and "Masked" in type(model).__name__:
            masked = ids.clone()
            masked[place] = tokenizer.mask_token_id
            logits = model(masked[None]).logits[0, place]
        else:
            logits = model(ids[None]).logits[0, place - 1]
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


@pytest.mark.parametrize(
    ("objective", "architecture"), [("masked", "EuroBertForMaskedLM"), ("causal", "LlamaForCausalLM")]
)
def test_scores_are_those_of_transformers(
    tmp_path: Path, run_folder: Path, objective: ObjectiveName, architecture: str
) -> None:
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    ours = LanguageModel(replace(loaded.config, objective=objective))
    ours.load_state_dict(loaded.model.state_dict())
    save_model_folder(tmp_path / "model", ours, loaded.path)
    auto = "AutoModelForMaskedLM" if objective == "masked" else "AutoModelForCausalLM"
    model = getattr(transformers, auto).from_pretrained(tmp_path / "model").eval()
    assert type(model).__name__ == architecture
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    expected = [reference_score(model, tokenizer, sentence) for sentence in SENTENCES]
    found = load_scorer(tmp_path / "model").scores(SENTENCES, [""] * len(SENTENCES))
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {}),
        ("roberta", {}),
        *(pytest.param(kind, {}, marks=pytest.mark.slow) for kind in ("distilbert", "modernbert", "electra")),
        *(pytest.param("deberta-v2", {"legacy": legacy}, marks=pytest.mark.slow) for legacy in (True, False)),
    ],
)
def test_public_masked_models_are_scored_as_transformers_does(
    public_model: Callable[..., Path], kind: str, options: dict[str, Any]
) -> None:
    folder = public_model(kind, "ForMaskedLM", **options)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["The hotel was cold.", "The waiter was rude, and the soup was cold."]
    expected = [reference_score(model, tokenizer, text) for text in texts]
    scorer = load_scorer(folder)
    assert scorer.scoring == "masked"
    assert scorer.scores(texts, ["", ""]) == pytest.approx(expected, abs=2e-4)


def test_a_public_encoder_without_its_head_is_refused(public_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"without its head for words \(.* is missing\); give the folder of a masked"):
        load_scorer(public_model("bert"))
    with pytest.raises(ModelError, match="has an encoder of type bert, which is loaded without a head for words and"):
        load_filler(public_model("bert", "ForMaskedLM"))
