"""The forward pass taken apart gives what the model gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pretune.inference.classify import Classifier
from pretune.inference.load import load_classifier
from pretune.model.config import ModelConfig
from pretune.model.transformer import Block, SequenceClassifier, attention_bias, rotary_tables
from pretune.tracing.forward import (
    attention_weights,
    classify_embeddings,
    contributions,
    logits_of_rows,
    pooled_states,
    read_out,
    split_residual_stream,
)

TEXT = "A wonderful film, warm and funny. 🙂"


@pytest.fixture(scope="module")
def classifier(run_folder: Path) -> Classifier:
    return load_classifier(run_folder)


def test_embeddings_are_classified_as_their_tokens_are(classifier: Classifier) -> None:
    ids = torch.tensor([classifier.tokenizer.encode(TEXT)] * 3)
    with torch.no_grad():
        found = classify_embeddings(classifier.model, classifier.model.transformer.embed_tokens(ids))
    torch.testing.assert_close(found, classifier.predict_logits(ids.tolist()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_kv_heads", [4, 2, 1])
def test_attention_weights_are_those_that_the_model_uses(num_kv_heads: int) -> None:
    config = ModelConfig(
        vocab_size=50,
        hidden_size=64,
        num_layers=1,
        num_heads=4,
        num_kv_heads=num_kv_heads,
        head_dim=16,
        intermediate_size=96,
    )
    torch.manual_seed(0)
    block, x = Block(config), torch.randn(2, 9, 64)
    cos, sin = rotary_tables(config, 9, torch.device("cpu"))
    with torch.no_grad():
        weights = attention_weights(block, x, cos, sin)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 9), atol=1e-6, rtol=0)
        values = block.qkv_proj(block.attention_norm(x))[..., -num_kv_heads * 16 :].view(2, 9, num_kv_heads, 16)
        values = values.transpose(1, 2).repeat_interleave(4 // num_kv_heads, dim=1)
        heads = (weights @ values).transpose(1, 2).reshape(2, 9, 64)
        bias = attention_bias(torch.zeros(2, 9, dtype=torch.long), None, torch.float32)
        torch.testing.assert_close(heads, block.attention_half(x, cos, sin, bias), atol=1e-6, rtol=1e-5)


def test_the_terms_sum_to_the_final_stream_and_the_contributions_to_the_logits(classifier: Classifier) -> None:
    ids = classifier.tokenizer.encode(TEXT)
    terms = split_residual_stream(classifier.model.transformer, ids)
    final = terms.after_layers()[-1]
    torch.testing.assert_close(sum(term for _, term in terms.named()), final, atol=1e-4, rtol=1e-4)
    _, logits = read_out(classifier.model, final)
    torch.testing.assert_close(logits, classifier.predict_logits([ids])[0], atol=1e-5, rtol=1e-5)
    total = sum(term for _, term in contributions(classifier.model, terms, final))
    torch.testing.assert_close(total, logits.double(), atol=1e-4, rtol=1e-4)
    assert not terms.attention_weights


def test_pooled_states_of_many_texts_are_those_of_each(classifier: Classifier) -> None:
    rows = [classifier.tokenizer.encode(text) for text in [TEXT, "sun", "A film. " * 40]]
    states = pooled_states(classifier.model.transformer, rows)
    for number, ids in enumerate(rows):
        streams = split_residual_stream(classifier.model.transformer, ids).after_layers()
        alone = [read_out(classifier.model, stream)[0].numpy() for stream in streams]
        np.testing.assert_allclose(states[:, number], alone, atol=1e-4)


def test_rows_are_scored_in_batches_as_alone(classifier: Classifier) -> None:
    ids = torch.randint(4, 300, (70, 60), generator=torch.Generator().manual_seed(0))
    found = logits_of_rows(classifier, ids)
    assert found.shape == (70, 3)
    torch.testing.assert_close(found[69], classifier.predict_logits([ids[69].tolist()])[0], atol=1e-4, rtol=1e-4)


def test_a_model_keeps_its_gradient_setting(classifier: Classifier) -> None:
    model: SequenceClassifier = classifier.model
    before = [parameter.requires_grad for parameter in model.parameters()]
    split_residual_stream(model.transformer, [1, 5, 2], keep_attention=True)
    assert [parameter.requires_grad for parameter in model.parameters()] == before
