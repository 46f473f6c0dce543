"""The laws of drawing a token, and the same probabilities as transformers computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pretune.errors import ModelError, UsageError
from pretune.inference.sampling import Sampler, draw, most_probable, penalized
from pretune.settings import Sampling

EVERYTHING = Sampling(temperature=1.0, top_k=0)
scores = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40).map(lambda found: torch.tensor(found))


@settings(max_examples=40)
@given(scores, st.integers(1, 50), st.floats(0.1, 5))
def test_top_k_keeps_the_k_largest(logits: Tensor, k: int, temperature: float) -> None:
    ids, probabilities = most_probable(logits, Sampling(top_k=k, temperature=temperature))
    assert len(set(ids.tolist())) == len(ids) == min(k, len(logits))
    assert sorted(logits[ids].tolist()) == sorted(logits.tolist())[-len(ids) :]
    expected = torch.softmax(logits[ids].double() / temperature, 0).float()
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)


@settings(max_examples=40)
@given(scores, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_tokens_of_that_mass(logits: Tensor, p: float) -> None:
    ids, probabilities = most_probable(logits, replace(EVERYTHING, top_p=p))
    whole = torch.softmax(logits, 0)
    assert float(whole[ids].sum()) >= p - 1e-5
    assert len(ids) == 1 or float(whole[ids[:-1]].sum()) < p + 1e-5
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(probabilities, whole[ids] / whole[ids].sum(), atol=1e-5, rtol=1e-4)


@settings(max_examples=40)
@given(scores, st.integers(0, 5), st.integers(0, 5))
def test_temperature_0_takes_the_most_probable(logits: Tensor, seed: int, row: int) -> None:
    sampler = Sampler(Sampling(temperature=0.0, seed=seed), [0], row)
    assert logits[sampler.take(logits)] == logits.max()
    almost = Sampler(Sampling(temperature=1e-6, seed=seed), [0], row)
    assert float(logits[almost.take(logits)]) >= float(logits.max()) - 1e-3


@settings(max_examples=40)
@given(scores, st.floats(0.5, 3), st.data())
def test_a_penalty_lowers_what_has_occurred(logits: Tensor, penalty: float, data: st.DataObject) -> None:
    seen = data.draw(st.lists(st.integers(0, len(logits) - 1), unique=True))
    found = penalized(logits, seen, penalty)
    for token, (before, after) in enumerate(zip(logits.tolist(), found.tolist(), strict=True)):
        expected = before / penalty if before > 0 else before * penalty
        assert after == pytest.approx(expected if token in seen else before, rel=1e-5)


def test_a_penalty_counts_the_prompt_and_what_was_taken() -> None:
    logits = torch.tensor([4.0, 3.0, 2.9, 1.0])
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0), [0])
    assert [sampler.take(logits) for _ in range(3)] == [1, 2, 0]


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).filter(lambda found: sum(found) > 1e-3), st.floats(0, 1))
def test_a_number_falls_in_the_stretch_of_a_possible_token(weights: list[float], number: float) -> None:
    probabilities = torch.tensor(sorted(weights, reverse=True))
    index = draw(probabilities, number)
    assert probabilities[index] > 0
    up_to = probabilities.double().cumsum(0) / probabilities.double().sum()
    assert float(up_to[index]) >= number - 1e-5 and (index == 0 or float(up_to[index - 1]) <= number + 1e-5)


def test_tokens_come_as_often_as_their_probability() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0, -3.0])
    sampler = Sampler(Sampling(temperature=1.0, top_k=3, seed=5), [0])
    taken = [sampler.take(logits) for _ in range(1000)]
    expected = torch.softmax(logits[:3], 0).tolist()
    assert [taken.count(token) / 1000 for token in range(3)] == pytest.approx(expected, abs=0.06)
    assert 3 not in taken


def test_tokens_that_are_never_taken() -> None:
    logits = torch.tensor([9.0, 1.0, 0.0])
    for temperature in (0.0, 3.0):
        sampler = Sampler(Sampling(temperature=temperature), [], never=torch.tensor([0]))
        assert 0 not in {sampler.take(logits) for _ in range(50)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    for temperature in (0.0, 1.0):
        with pytest.raises(ModelError, match="not finite"):
            Sampler(Sampling(temperature=temperature), []).take(torch.tensor([1.0, bad, 0.0]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"^--{name.replace('_', '-')} is {value}; expected "):
        Sampling(**{name: value})  # type: ignore[arg-type]
