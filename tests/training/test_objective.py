"""The loss at masked positions is the summed cross-entropy of the full logits there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pretune.compute.cpu_threads import Lanes
from pretune.data.hybrid_rows import HybridRows
from pretune.data.packing import build_rows
from pretune.data.special_ids import SpecialIds
from pretune.model.folder import load_model_folder
from pretune.model.transformer import TokenClassifier
from pretune.tasks.registry import task_named
from pretune.training.loop import accumulate
from pretune.training.microbatch_split import MicrobatchSplit
from pretune.training.objective import TaskObjective, TokenObjective, predict_tokens_sum
from pretune.training.parallel import alone
from pretune.training.threaded_objective import ThreadedObjective


def test_the_masked_head_is_cross_entropy_of_the_full_logits(make_language_model: Any, draw_masked: Any) -> None:
    model, batch = make_language_model(), draw_masked(5, 13)
    targets = torch.full((60,), -100)
    targets[batch.positions] = batch.labels
    logits = model(batch.input_ids, batch.attention.document_ids)
    expected = F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100, reduction="sum")
    sums = TokenObjective(model, torch.float32, compiled=False)(batch)
    torch.testing.assert_close(sums.loss, expected, atol=1e-4, rtol=1e-6)
    right = (logits.flatten(0, 1).argmax(-1) == targets).sum()
    assert (sums.weight, sums.count, int(sums.correct)) == (13.0, 13, int(right))
    expected.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sums.loss.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], atol=1e-4, rtol=1e-5)


def test_the_head_computes_the_loss_in_fp32() -> None:
    rng = torch.Generator().manual_seed(0)
    hidden, embedding = torch.randn(6, 8, generator=rng), torch.randn(20, 8, generator=rng)
    labels = torch.arange(6)
    loss, _ = predict_tokens_sum(hidden, embedding, labels, None, torch.bfloat16)
    exact, _ = predict_tokens_sum(hidden, embedding, labels, None, torch.float32)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=0.02)


@pytest.mark.parametrize("kind", ["albert", "electra", "bert"])
def test_entities_are_classified_in_fp32(public_model: Callable[..., Path], draw_labelled: Any, kind: str) -> None:
    """The vectors of encoders whose embeddings are projected stay in bf16, which the head would refuse."""
    encoder = load_model_folder(public_model(kind, embedding_size=16)).model.transformer
    model = TokenClassifier(encoder.config, 5, encoder)
    batch = draw_labelled(3)
    batch = replace(batch, input_ids=batch.input_ids % 12, positions=torch.arange(24), labels=torch.arange(24) % 5)
    objective = TaskObjective(model, task_named("tokens").losses, torch.bfloat16, compiled=False)
    sums = objective(batch)
    sums.loss.backward()
    assert objective.logits(batch).dtype == sums.loss.dtype == torch.float32
    assert model.classifier.weight.grad is not None


@pytest.mark.parametrize("is_weighted", [False, True])
def test_labelled_texts_are_weighted(make_classifier: Any, draw_labelled: Any, is_weighted: bool) -> None:
    model, batch = make_classifier(), draw_labelled(7, is_weighted=is_weighted)
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    logits = model(batch.input_ids, batch.attention.document_ids)
    torch.testing.assert_close(objective.logits(batch), logits)
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    weights = batch.label_weights if is_weighted else torch.ones(7)
    sums = objective(batch)
    torch.testing.assert_close(sums.loss, (losses * weights).sum())
    assert sums.weight == pytest.approx(float(weights.sum()))
    assert (sums.count, int(sums.correct)) == (7, int((logits.argmax(-1) == batch.labels).sum()))


def test_a_text_in_windows_has_the_same_gradient_in_any_division(make_classifier: Any, draw_labelled: Any) -> None:
    model, batch = make_classifier(), draw_labelled(6)
    batch = replace(batch, labels=batch.labels[:3], windows=torch.tensor([2, 1, 3]))
    objective = TaskObjective(model, task_named("classification").losses, torch.float32, compiled=False)
    found = []
    for count in (1, 2, 3):
        model.zero_grad()
        for part in batch.cut(count):
            objective(part).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for each in found[1:]:
        for name, gradient in each.items():
            torch.testing.assert_close(gradient, found[0][name], atol=1e-5, rtol=1e-4)
    hidden = model.transformer(batch.input_ids, batch.attention.document_ids)
    expected = model.classifier(torch.stack([hidden[:2].mean((0, 1)), hidden[2].mean(0), hidden[3:].mean((0, 1))]))
    torch.testing.assert_close(objective.logits(batch), expected, atol=1e-5, rtol=1e-5)


COMPILED_ON_NO_DEVICE = """
import torch
from torch._dynamo.backends.debugging import aot_eager
from pretune.compute.varlen import find_spans
from pretune.data.batch import Attention
from pretune.model import transformer
from pretune.model.config import ModelConfig
from pretune.training.objective import layers_of

graphs, compile = [], torch.compile
def count(graph, inputs):
    graphs.append(graph)
    return aot_eager(graph, inputs)
torch.compile = lambda function, **settings: compile(function, backend=count, fullgraph=True, **settings)
transformer.can_attend = lambda device, dtype, head_dim: True
sizes = dict(vocab_size=60, hidden_size=32, num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48)
config = ModelConfig(**sizes)
model = transformer.Transformer(config).to("meta")
layers = layers_of(model, compiled=True)
for cuts in ([10, 20], [30], [5, 9, 40]):
    documents = torch.zeros(4, 64, dtype=torch.long)
    for cut in cuts:
        documents[:, cut:] += 1
    attention = Attention(document_ids=documents, spans=find_spans(documents, None)).each(lambda x: x.to("meta"))
    hidden = model(attention.document_ids, attention.document_ids, None, torch.bfloat16, None, layers, attention.spans)
    hidden.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    print(len(graphs), end=" ")
"""


@pytest.mark.slow
def test_variable_length_attention_compiles_whole_and_once_for_all_layers() -> None:
    """Torch's own kernel, on meta tensors: no graph breaks, and it recompiles only for more edges."""
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        COMPILED_ON_NO_DEVICE,
    ]  # not in this process, which checks types at calls
    process = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "2 2 3 "


COMPILED_FOR_LABELS = """
import torch
from dataclasses import replace
from torch._dynamo.backends.debugging import aot_eager
from pretune.data.batch import Attention, Batch
from pretune.model.config import ModelConfig
from pretune.model.transformer import LanguageModel
from pretune.training.objective import TokenObjective

graphs, compile = [], torch.compile
def count(graph, inputs):
    graphs.append(graph)
    return aot_eager(graph, inputs)
def with_counting(function, options=None, **settings):
    return compile(function, backend=count, fullgraph=True, **settings)
torch.compile = with_counting
sizes = dict(vocab_size=60, hidden_size=32, num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48)
torch.manual_seed(0)
model = LanguageModel(ModelConfig(**sizes, objective=OBJECTIVE))
compiled, plain = (TokenObjective(model, torch.float32, compiled=is_compiled) for is_compiled in (True, False))
ids = torch.randint(4, 60, (4, 24))
causal = Attention(document_ids=torch.zeros_like(ids), is_causal=torch.ones(4, dtype=torch.bool))
for number in range(12):
    positions = torch.randperm(96)[: 41 + 3 * number].sort().values
    labels = torch.randint(4, 60, (len(positions),))
    batch = Batch(input_ids=ids, labels=labels, positions=positions, attention=causal, num_tokens=96)
    gradients = []
    for objective in (compiled, plain):
        model.zero_grad()
        objective(batch).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*gradients))
    print(len(graphs), end=" ")
"""


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["causal", "hybrid"])
def test_any_number_of_labels_is_compiled_once(objective: str) -> None:
    """Each number was compiled anew, and after eight of them the layer was not compiled any more."""
    script = COMPILED_FOR_LABELS.replace("OBJECTIVE", repr(objective))
    words = [sys.executable, "-W", "ignore", "-c", script]  # not in this process, which checks types at calls
    process = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "4 " * 12  # the attention half, the other half of a lower and of the last layer, the head


def test_weighted_labels_are_summed_with_their_weights(make_language_model: Any, draw_masked: Any) -> None:
    model, batch = make_language_model(), draw_masked(5, 13)
    weights = torch.rand(13, generator=torch.Generator().manual_seed(0))
    weighted = replace(batch, label_weights=weights)
    objective = TokenObjective(model, torch.float32, compiled=False)
    with torch.no_grad():
        single = objective(batch).losses
        evaluated = objective(weighted)
    assert single is not None
    trained = objective(weighted)
    for sums in (trained, evaluated):
        torch.testing.assert_close(sums.loss, (single * weights).sum(), atol=1e-4, rtol=1e-5)
        assert sums.weight == pytest.approx(float(weights.sum()))
        assert sums.count == 13


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_a_hybrid_step_has_the_gradient_of_the_weighted_means(make_language_model: Any, share: float) -> None:
    """(1 - share) * mean over masked labels + share * mean over causal labels, however many labels there are."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 30, size=40)
    tokens = np.concatenate([[1, *rng.integers(4, 300, size=n - 2), 2] for n in lengths]).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    table = build_rows(offsets, 16, np.zeros(len(tokens), dtype=np.bool_))
    special = SpecialIds(pad=0, mask=3, first_ordinary=4)
    rows = HybridRows(
        tokens, table, special, rows_per_step=12, rows_at_once=5, causal_share=share, mask_prob=0.3, seed=0
    )
    batches = [rows.batch(number) for number in range(rows.micro_batches)]
    model = make_language_model()
    wanted = torch.zeros(())
    for kind, part in ((False, 1 - share), (True, share)):
        losses = []
        for batch in batches:
            if (batch.attention.is_causal is not None) is kind:
                logits = model(
                    batch.input_ids, batch.attention.document_ids, batch.positions, batch.attention.is_causal
                )
                losses.append(F.cross_entropy(logits, batch.labels, reduction="none"))
        assert len(losses) >= 1
        wanted = wanted + part * torch.cat(losses).mean()
    wanted.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    objective = TokenObjective(model, torch.float32, compiled=False)
    weight = sum(batch.weight for batch in batches)
    loss, _ = accumulate(objective, batches, weight, alone(model), MicrobatchSplit(count=2))
    torch.testing.assert_close(loss, wanted.detach(), atol=1e-5, rtol=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], atol=1e-5, rtol=1e-4)


def draw_neighbours(rows: int) -> torch.Tensor:
    """Seven places around each row, some without a word; around the last row there is none."""
    rng = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 300, (rows, 7), generator=rng)
    ids[torch.rand(rows, 7, generator=rng) < 0.3] = -1
    ids[-1] = -1
    return ids


@pytest.mark.parametrize("is_weighted", [False, True])
def test_words_around_a_row_are_predicted_from_the_mean_of_its_vectors(
    make_language_model: Any, draw_masked: Any, is_weighted: bool
) -> None:
    model, neighbours = make_language_model(), draw_neighbours(5)
    weights = torch.rand(23, generator=torch.Generator().manual_seed(0)) + 0.5 if is_weighted else None
    batch = replace(draw_masked(5, 23), neighbours=neighbours, label_weights=weights)
    sums = TokenObjective(model, torch.float32, compiled=False, neighbour_weight=0.3)(batch)
    plain = TokenObjective(model, torch.float32, compiled=False)(replace(batch, neighbours=None))
    torch.testing.assert_close(sums.loss, plain.loss)  # what is logged is the loss of the hidden words
    assert sums.second is not None and plain.second is None
    hidden = model.transformer(batch.input_ids, batch.attention.document_ids).flatten(0, 1)[batch.positions]
    expected = torch.zeros(())
    for row in range(5):
        is_own = batch.positions // 12 == row
        words = neighbours[row][neighbours[row] >= 0]
        if len(words) and is_own.any():
            log_probs = (hidden[is_own].mean(0) @ model.lm_head.weight.T).log_softmax(-1)
            labels = is_own.sum() if weights is None else weights[is_own].sum()
            expected = expected - labels * log_probs[words].mean()
    torch.testing.assert_close(sums.second, 0.3 * expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(sums.trained, sums.loss + 0.3 * expected, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_gradient_with_words_around_rows_does_not_depend_on_the_division(
    make_language_model: Any, draw_masked: Any, lanes: int
) -> None:
    model, found = make_language_model(), []
    batch = replace(draw_masked(6, 31), neighbours=draw_neighbours(6))
    for count in (1, 3):
        plain = TokenObjective(model, torch.float32, compiled=False, neighbour_weight=0.5)
        objective = plain if lanes == 1 else ThreadedObjective(plain, model, Lanes(lanes, lanes))
        model.zero_grad()
        loss, _ = accumulate(objective, [batch], batch.weight, alone(model), MicrobatchSplit(count=count))
        found.append((float(loss), {name: p.grad.clone() for name, p in model.named_parameters()}))
    (one, expected), (other, gradients) = found
    assert other == pytest.approx(one, rel=1e-5)
    with torch.no_grad():
        alone_loss = float(TokenObjective(model, torch.float32, compiled=False)(batch).loss)
    assert one == pytest.approx(alone_loss / 31, rel=1e-5)  # the second loss is not in what is logged
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-5, rtol=1e-4)
