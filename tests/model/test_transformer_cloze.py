"""A cloze classifier has the weights of a language model, and its logits are those of the label words at the [MASK]."""

from __future__ import annotations

import pytest
import torch

from pretune.data.padding import pad_rows
from pretune.model.config import ModelConfig
from pretune.model.transformer import ClozeClassifier, LanguageModel

WORDS = [[7, 9], [11], [20, 21, 22]]
ROWS = [[1, 5, 6, 3, 2], [1, 3, 8, 2], [1, 30, 31, 32, 33, 3, 34, 2]]


@pytest.fixture(params=[True, False])
def language_model(request: pytest.FixtureRequest) -> LanguageModel:
    config = ModelConfig(
        vocab_size=100,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
        tie_word_embeddings=request.param,
    )
    model, rng = LanguageModel(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0 if parameter.ndim > 1 else 1.0, 0.2, generator=rng)
    return model


def test_the_logit_of_a_class_is_the_mean_over_its_words(language_model: LanguageModel) -> None:
    model = ClozeClassifier.of_language_model(language_model, WORDS)
    input_ids, document_ids = pad_rows(ROWS, 0)
    positions = torch.tensor([3, 8 + 1, 16 + 5])
    with torch.no_grad():
        found, whole = model(input_ids, document_ids), language_model(input_ids, document_ids, positions=positions)
    expected = torch.stack([whole[:, ids].mean(1) for ids in WORDS], dim=1)
    torch.testing.assert_close(found, expected)
    model.bias += torch.tensor([1.0, 0.0, -1.0])
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids, document_ids), expected + model.bias)


def test_training_it_trains_the_language_model(language_model: LanguageModel) -> None:
    model = ClozeClassifier.of_language_model(language_model, WORDS)
    assert set(model.state_dict()) == set(language_model.state_dict())
    model(*pad_rows(ROWS, 0)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(list(model.parameters())) == len(list(language_model.parameters()))
    back = model.to_language_model().state_dict()
    assert all(torch.equal(tensor, back[name]) for name, tensor in language_model.state_dict().items())


@pytest.mark.parametrize("row", [[1, 5, 2], [1, 3, 3, 2]])
def test_a_row_has_one_mask(language_model: LanguageModel, row: list[int]) -> None:
    model = ClozeClassifier.of_language_model(language_model, WORDS)
    with pytest.raises(ValueError, match="one mask token"):
        model(*pad_rows([row], 0))
