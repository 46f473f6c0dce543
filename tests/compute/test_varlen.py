"""Spans match a block mask: every position in one span, documents and padding apart, each row in its mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pretune.compute import varlen
from pretune.compute.varlen import attend_spans, can_attend, find_spans
from pretune.model.transformer import attend, attention_bias

ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=5)
MODES = st.lists(st.booleans(), min_size=5, max_size=5)


def lay_out(rows: list[list[int]]) -> Tensor:
    """Document ids of rows with documents of these lengths, followed by padding."""
    width = max(sum(lengths) for lengths in rows)
    ids = torch.full((len(rows), width), -1)
    for row, lengths in enumerate(rows):
        ids[row, : sum(lengths)] = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return ids


@given(rows=ROWS, modes=MODES)
def test_every_position_is_in_one_span_and_attends_like_the_mask(rows: list[list[int]], modes: list[bool]) -> None:
    ids, is_causal = lay_out(rows), torch.tensor(modes[: len(rows)])
    visible = attention_bias(ids, is_causal, torch.float32)[:, 0] == 0
    spans = find_spans(ids, is_causal)
    assert spans is not None
    assert [row for run in spans.runs for row in range(run.first, run.last)] == list(range(len(rows)))
    width = ids.shape[1]
    for run in spans.runs:
        assert (is_causal[run.first : run.last] == run.is_causal).all()
        size = len(run.edges)
        assert size & (size - 1) == 0  # a power of two
        seen = torch.zeros((run.last - run.first) * width, (run.last - run.first) * width, dtype=torch.bool)
        for start, end in pairwise(run.edges.tolist()):
            square = torch.ones(end - start, end - start, dtype=torch.bool)
            seen[start:end, start:end] = square.tril() if run.is_causal else square
        assert torch.equal(seen, torch.block_diag(*visible[run.first : run.last].int()).bool())


def test_a_document_that_continues_after_another_needs_a_mask() -> None:
    assert find_spans(torch.tensor([[0, 1, 0], [0, 0, 1]]), None) is None
    assert find_spans(torch.tensor([[0, 1, 1], [0, 0, 1]]), None) is not None


@pytest.mark.parametrize("is_causal", [None, torch.zeros(0, dtype=torch.bool)])
def test_a_batch_without_rows_needs_no_spans(is_causal: Tensor | None) -> None:
    assert find_spans(torch.zeros(0, 7, dtype=torch.long), is_causal) is None


def test_batches_of_one_kind_have_spans_of_one_shape() -> None:
    sizes = set()
    for longest in range(20, 31):
        spans = find_spans(lay_out([[longest, 5, 60 - longest]] * 32), None)
        assert spans is not None
        sizes.add(len(spans.runs[0].edges))
    assert sizes == {128}
    assert all(spans is not None and len(spans.runs[0].edges) == 16 for spans in [find_spans(lay_out([[3]]), None)])


@pytest.mark.usefixtures("with_plain_kernel")
def test_attention_by_spans_is_attention_by_mask() -> None:
    ids, is_causal = lay_out([[3, 4], [2], [9], [1, 1, 5]]), torch.tensor([False, True, True, False])
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 9, 6, 8, generator=rng, requires_grad=True) for _ in range(3))
    k, v = k[:, :, :2], v[:, :, :2]  # three heads of q share one
    spans = find_spans(ids, is_causal)
    assert spans is not None
    found = attend_spans(q, k, v, spans)
    heads = [q.transpose(1, 2), *(x.repeat_interleave(3, dim=2).transpose(1, 2) for x in (k, v))]
    expected = attend(heads[0], heads[1], heads[2], attention_bias(ids, is_causal, torch.float32)).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_kernel_is_used_only_if_it_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(varlen, "_has_kernel", lambda: True)
    assert can_attend(cuda, torch.bfloat16, 64)
    assert can_attend(cuda, torch.float16, 256)
    assert not can_attend(cuda, torch.float32, 64)  # no kernel in single precision
    assert not can_attend(cuda, torch.bfloat16, 60)
    assert not can_attend(cuda, torch.bfloat16, 264)
    assert not can_attend(torch.device("cpu"), torch.bfloat16, 64)
    monkeypatch.setattr(varlen, "_has_kernel", lambda: False)
    assert not can_attend(cuda, torch.bfloat16, 64)


def _older_kernel(query: Tensor) -> Tensor:
    return query


@pytest.mark.parametrize(
    ("chip", "hip", "kernel", "expected"),
    [
        ((9, 0), None, None, True),
        ((8, 0), None, None, True),
        ((7, 5), None, None, False),
        ((9, 0), "6.4", None, False),
        ((9, 0), None, _older_kernel, False),
    ],
)
def test_older_chips_and_versions_have_no_kernel(
    chip: tuple[int, int],
    hip: str | None,
    kernel: Callable[..., Tensor] | None,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: chip)
    monkeypatch.setattr(torch.version, "hip", hip)
    if kernel is not None:
        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    assert inspect.unwrap(varlen._has_kernel)() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("heads", [2, 6])
def test_the_kernel_agrees_with_plain_products(heads: int, plain_varlen_attn: Callable[..., Tensor]) -> None:
    """Torch's kernel in bf16 against fp32 on a CPU: outputs, gradients, empty spans, shared heads, both modes."""
    ids, is_causal = lay_out([[30, 4], [2], [60], [1, 1, 50]]), torch.tensor([False, True, True, False])
    rng = torch.Generator().manual_seed(0)
    parts = [torch.randn(4, 60, n, 64, generator=rng).bfloat16() for n in (6, heads, heads, 6)]
    spans = find_spans(ids, is_causal)
    assert spans is not None
    found = []
    for device in ("cpu", "cuda"):
        q, k, v = (part.to(device).requires_grad_() for part in parts[:3])
        runs = tuple(run._replace(edges=run.edges.to(device)) for run in spans.runs)
        with pytest.MonkeyPatch.context() as patch:
            if device == "cpu":
                patch.setattr("torch.nn.attention.varlen.varlen_attn", plain_varlen_attn)
            mixed = attend_spans(q, k, v, spans._replace(runs=runs))
        (mixed * parts[3].to(device)).sum().backward()
        found.append([mixed, q.grad, k.grad, v.grad])
    for here, there in zip(*found, strict=True):
        assert (there.cpu().float() - here.float()).norm() < 0.02 * here.float().norm()
