"""No position sees other documents, padding or the future; tests/parity checks the rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pretune.compute.varlen import can_attend, find_spans
from pretune.data.batch import Attention
from pretune.model.config import ModelConfig, tiny
from pretune.model.transformer import (
    LanguageModel,
    SequenceClassifier,
    attend,
    attention_bias,
    initialize,
    mean_over_text,
    rotary_tables,
    rotate,
)

CONFIG = ModelConfig(
    vocab_size=60, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48
)
DOCUMENTS = torch.tensor([[0] * 7 + [1] * 6 + [2] * 4 + [-1] * 3, [0] * 20])


def strong(model: torch.nn.Module) -> torch.nn.Module:
    """Weights so large that attention is far from uniform, so that a leak is visible."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.5, generator=rng)
    return model.eval()


def token_ids(seed: int = 0) -> Tensor:
    ids = torch.randint(4, CONFIG.vocab_size, (2, 20), generator=torch.Generator().manual_seed(seed))
    return ids.masked_fill(DOCUMENTS < 0, 0)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return strong(LanguageModel(CONFIG))  # type: ignore[return-value]


@torch.no_grad()
def logits(model: LanguageModel, ids: Tensor, is_causal: Tensor | None = None) -> Tensor:
    return model(ids, DOCUMENTS, is_causal=is_causal)


@pytest.mark.parametrize("document", [0, 1, 2])
@pytest.mark.parametrize("causal", [None, True])
def test_other_documents_of_a_row_change_nothing(model: LanguageModel, document: int, causal: bool | None) -> None:
    """A probe for leaks: all text except one document is replaced."""
    is_causal = None if causal is None else torch.tensor([True, True])
    own = (document == DOCUMENTS[0]) & (DOCUMENTS[0] >= 0)
    ids, other = token_ids(0), token_ids(1)
    other[0, own] = ids[0, own]
    assert (other[0, ~own] != ids[0, ~own]).any()
    one, two = logits(model, ids, is_causal), logits(model, other, is_causal)
    torch.testing.assert_close(one[0, own], two[0, own], atol=0, rtol=0)
    assert (one[0, ~own] - two[0, ~own]).abs().max() > 0.1


def test_the_gradient_of_a_document_reaches_no_other(model: LanguageModel) -> None:
    vectors = model.transformer.embed_tokens(token_ids()).detach().requires_grad_()
    cos, sin = rotary_tables(CONFIG, 20, vectors.device)
    bias, x = attention_bias(DOCUMENTS, None, torch.float32), vectors
    for block in model.transformer.blocks:
        x = block(x, cos, sin, bias)
    x[0, 8].sum().backward()
    reached = vectors.grad is not None and vectors.grad.abs().sum(-1) > 0
    assert torch.equal(torch.as_tensor(reached), torch.stack([DOCUMENTS[0] == 1, torch.zeros(20, dtype=torch.bool)]))


def test_tokens_in_padding_change_nothing(model: LanguageModel) -> None:
    ids = token_ids()
    other = torch.where(DOCUMENTS < 0, 17, ids)
    real = DOCUMENTS >= 0
    torch.testing.assert_close(logits(model, ids)[real], logits(model, other)[real], atol=0, rtol=0)


def test_more_padding_changes_nothing(model: LanguageModel) -> None:
    ids, documents = token_ids()[1:, :11], DOCUMENTS[1:, :11]
    wide_ids, wide_documents = torch.zeros(1, 30, dtype=torch.long), torch.full((1, 30), -1)
    wide_ids[:, :11], wide_documents[:, :11] = ids, documents
    with torch.no_grad():
        torch.testing.assert_close(model(wide_ids, wide_documents)[:, :11], model(ids, documents), atol=1e-5, rtol=1e-5)


def test_a_row_of_padding_only_is_finite(model: LanguageModel) -> None:
    with torch.no_grad():
        found = model(torch.zeros(1, 5, dtype=torch.long), torch.full((1, 5), -1))
    assert found.isfinite().all()


def test_a_causal_row_does_not_see_its_future_and_the_others_do(model: LanguageModel) -> None:
    ids = token_ids()
    other = ids.clone()
    other[:, 12] = (ids[:, 12] + 5) % 50 + 4
    is_causal = torch.tensor([False, True])
    one, two = logits(model, ids, is_causal), logits(model, other, is_causal)
    torch.testing.assert_close(one[1, :12], two[1, :12], atol=0, rtol=0)
    assert (one[1, 12:] - two[1, 12:]).abs().amax(-1).min() > 0
    assert (one[0, 7:12] - two[0, 7:12]).abs().amax(-1).min() > 0  # token 12 is in document 1 of row 0


def test_logits_at_positions_equal_those_of_the_whole(model: LanguageModel) -> None:
    positions = torch.tensor([0, 3, 21, 39])
    with torch.no_grad():
        some = model(token_ids(), DOCUMENTS, positions)
    torch.testing.assert_close(some, logits(model, token_ids()).flatten(0, 1)[positions], atol=1e-5, rtol=1e-5)


def test_bf16_products_stay_close_to_those_in_fp32() -> None:
    model = LanguageModel(CONFIG)
    initialize(model, 0)
    with torch.no_grad():
        exact, rounded = (model(token_ids(), DOCUMENTS, dtype=d).float() for d in (torch.float32, torch.bfloat16))
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0.02)


def test_plain_products_are_attention() -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 20, 8, generator=rng) for _ in range(3))
    bias = attention_bias(DOCUMENTS, torch.tensor([True, False]), torch.float32)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    torch.testing.assert_close(attend(q, k, v, bias), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_causal", [None, torch.tensor([False, True]), torch.tensor([True, True])])
@pytest.mark.usefixtures("with_plain_kernel")
def test_spans_equal_the_additive_mask(model: LanguageModel, is_causal: Tensor | None) -> None:
    spans, positions = find_spans(DOCUMENTS, is_causal), torch.tensor([0, 3, 21, 39])
    found = []
    for used in (None, spans):
        model.zero_grad()
        hidden = model.transformer(token_ids(), DOCUMENTS, is_causal, positions=positions, spans=used)
        hidden.square().sum().backward()
        found.append([hidden, *(parameter.grad for parameter in model.transformer.parameters())])
    for masked, spanned in zip(*found, strict=True):
        torch.testing.assert_close(spanned, masked, atol=1e-4, rtol=1e-4)


def moderate() -> LanguageModel:
    """Weights large enough for every layer to matter, and small enough for bf16."""
    model, rng = LanguageModel(CONFIG), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=rng)
    return model.eval()


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.float().cpu() - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize("is_causal", [None, torch.tensor([False, True])])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bf16_is_close_to_fp32_with_a_mask_and_with_spans(device: str, is_causal: Tensor | None) -> None:
    """On a GPU with the kernel itself; the difference from fp32 on a CPU is far below that of a leak."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model = moderate()
    exact = model.transformer(token_ids(), DOCUMENTS, is_causal)
    assert distance(model.transformer(token_ids(), torch.zeros_like(DOCUMENTS), is_causal), exact) > 0.1
    attention = Attention(document_ids=DOCUMENTS, is_causal=is_causal, spans=find_spans(DOCUMENTS, is_causal))
    there = attention.each(lambda tensor: tensor.to(device))
    model.to(device)
    for spans in (there.spans, None):
        ids = token_ids().to(device)
        found = model.transformer(ids, there.document_ids, there.is_causal, torch.bfloat16, spans=spans)
        assert distance(found, exact) < 0.03
    assert can_attend(torch.device(device), torch.bfloat16, CONFIG.head_dim) == (device == "cuda")


def test_without_the_kernel_spans_change_nothing(model: LanguageModel) -> None:
    with torch.no_grad():
        one = model.transformer(token_ids(), DOCUMENTS, spans=find_spans(DOCUMENTS, None))
        torch.testing.assert_close(one, model.transformer(token_ids(), DOCUMENTS), atol=0, rtol=0)


def test_rotation_keeps_lengths_and_depends_on_distances_only() -> None:
    cos, sin = rotary_tables(CONFIG, 20, torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, generator=rng).expand(1, 20, 1, 8) for _ in range(2))
    turned_q, turned_k = rotate(q, cos, sin), rotate(k, cos, sin)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm(dim=-1))
    scores = turned_q[0, :, 0] @ turned_k[0, :, 0].T
    for distance in range(-10, 10):
        along = scores.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)


def test_the_mean_excludes_padding() -> None:
    hidden = torch.arange(2 * 20 * 3, dtype=torch.float32).view(2, 20, 3)
    means = mean_over_text(hidden, DOCUMENTS)
    torch.testing.assert_close(means[0], hidden[0, :17].mean(0))
    torch.testing.assert_close(means[1], hidden[1].mean(0))
    assert mean_over_text(hidden, torch.full_like(DOCUMENTS, -1)).isfinite().all()


def test_the_mean_over_windows_is_that_over_all_their_positions() -> None:
    hidden = torch.randn(4, 20, 3, generator=torch.Generator().manual_seed(0))
    documents = torch.zeros(4, 20, dtype=torch.long)
    documents[0, 17:], documents[2, 5:] = -1, -1
    means = mean_over_text(hidden, documents, torch.tensor([3, 1]))
    torch.testing.assert_close(means[0], torch.cat([hidden[0, :17], hidden[1], hidden[2, :5]]).mean(0))
    assert torch.equal(means[1], mean_over_text(hidden, documents)[3])


def test_texts_of_one_window_give_the_same_bits() -> None:
    model = strong(SequenceClassifier(CONFIG, 3))
    documents = DOCUMENTS.clamp(max=0)
    with torch.no_grad():
        one = model(token_ids(), documents)
        assert torch.equal(model(token_ids(), documents, windows=torch.tensor([1, 1])), one)
        assert model(token_ids(), documents, windows=torch.tensor([2])).shape == (1, 3)


def test_a_classifier_ignores_padding() -> None:
    model = strong(SequenceClassifier(CONFIG, 3))
    documents = DOCUMENTS.clamp(max=0)
    other = torch.where(documents < 0, 17, token_ids())
    with torch.no_grad():
        torch.testing.assert_close(model(token_ids(), documents), model(other, documents), atol=0, rtol=0)


def test_blocks_start_as_the_identity_and_weights_depend_on_the_seed() -> None:
    one, again, other = (LanguageModel(tiny(60)) for _ in range(3))
    for model, seed in ((one, 1), (again, 1), (other, 2)):
        initialize(model, seed)
    state = one.state_dict()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
    assert not torch.equal(state["lm_head.weight"], other.state_dict()["lm_head.weight"])
    ids = torch.arange(4, 13)[None]
    with torch.no_grad():
        embedded = one.transformer.embed_tokens(ids)
        found = one.transformer(ids, torch.zeros_like(ids))
    torch.testing.assert_close(found, one.transformer.final_norm(embedded))
    assert one.lm_head.weight is one.transformer.embed_tokens.weight
    assert state["lm_head.weight"].std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_are_the_same_on_every_device() -> None:
    here, there = LanguageModel(CONFIG), LanguageModel(CONFIG).to("cuda")
    for model in (here, there):
        initialize(model, 1)
    assert all(torch.equal(value, there.state_dict()[name].cpu()) for name, value in here.state_dict().items())


def test_a_classifier_is_initialised_with_an_unbiased_head() -> None:
    model = SequenceClassifier(CONFIG, 3)
    initialize(model, 0)
    assert model.classifier.bias.abs().max() == 0
    assert model.classifier.weight.std() > 0.01
