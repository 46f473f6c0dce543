"""Labelled rows come once per epoch, padded to a little more than the longest; masks and weights are a function of
seed, epoch and place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pretune.data.labelled_rows import LabeledShard, LabelledBatches, load_labeled
from pretune.data.special_ids import SpecialIds
from pretune.data.targets import Targets
from pretune.text.tokenizer.windows import WindowRule

NUM_ROWS = 600


@pytest.fixture
def data(write_shard: Any, draw_documents: Any) -> LabeledShard:
    folder = write_shard(draw_documents(NUM_ROWS, 60), "train")
    return load_labeled(folder, "train", Targets.of_rows(np.arange(NUM_ROWS) % 3))


def make_rows(data: LabeledShard, special: SpecialIds, **settings: Any) -> LabelledBatches:
    return LabelledBatches(data, special, **{"batch_size": 16, "seed": 0, **settings})


@pytest.mark.parametrize("batch_size", [1, 7, 16, 600, 1000])
def test_every_row_comes_once_per_epoch(data: LabeledShard, special: SpecialIds, batch_size: int) -> None:
    rows = make_rows(data, special, batch_size=batch_size)
    epochs = [rows.epoch(epoch) for epoch in range(3)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(NUM_ROWS))
        assert len(batches) == rows.batches_per_epoch
        assert max(len(batch) for batch in batches) <= batch_size
    assert len({tuple(np.concatenate(batches).tolist()) for batches in epochs}) == 3


def test_an_epoch_is_a_function_of_seed_and_number(data: LabeledShard, special: SpecialIds) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(make_rows(data, special, seed=seed).epoch(epoch)).tolist()

    assert order(0, 3) == order(0, 3) != order(1, 3)


def test_rows_of_a_batch_have_similar_lengths(data: LabeledShard, special: SpecialIds) -> None:
    rows = make_rows(data, special)
    batches = [rows.batch(chosen) for chosen in rows.epoch(0)]
    padded = sum(batch.input_ids.numel() for batch in batches)
    assert sum(batch.num_tokens for batch in batches) == data.shard.num_tokens
    assert data.shard.num_tokens / padded > 0.85


@pytest.mark.parametrize("multiple", [1, 8])
def test_rows_are_padded_to_the_longest_or_the_next_multiple(
    data: LabeledShard, special: SpecialIds, multiple: int
) -> None:
    rows = make_rows(data, special, width_multiple=multiple)
    for chosen in rows.epoch(0):
        batch = rows.batch(chosen)
        longest = max(len(data.text(int(row))) for row in chosen)
        assert batch.input_ids.shape[1] % multiple == 0
        assert longest <= batch.input_ids.shape[1] < longest + multiple
        for i, row in enumerate(chosen):
            text = data.text(int(row))
            assert batch.input_ids[i, : len(text)].tolist() == text.tolist()
            assert (batch.input_ids[i, len(text) :] == special.pad).all()
            assert ((batch.attention.document_ids[i] >= 0).sum()) == len(text)
            assert batch.labels[i] == row % 3


def test_evaluation_reads_all_rows_in_a_known_order(data: LabeledShard, special: SpecialIds) -> None:
    rows = make_rows(data, special, mask_augment=0.5)
    batches = [rows.batch(chosen) for chosen in rows.in_order()]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [n % 3 for n in rows.order()]
    assert not any((batch.input_ids == special.mask).any() for batch in batches)
    assert sorted(rows.order().tolist()) == list(range(NUM_ROWS))


def test_hidden_tokens_are_a_function_of_their_place(data: LabeledShard, special: SpecialIds) -> None:
    rows = make_rows(data, special, mask_augment=0.2)
    chosen = rows.epoch(0)[0]

    def hidden(seed: int, epoch: int, index: int) -> list[int]:
        batch = make_rows(data, special, mask_augment=0.2, seed=seed).training_batch(chosen, epoch, index)
        return (batch.input_ids == special.mask).flatten().nonzero()[:, 0].tolist()

    assert hidden(0, 1, 2) == hidden(0, 1, 2)
    assert len({tuple(hidden(*place)) for place in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]}) == 4


@pytest.mark.parametrize("pad", [0, 5])  # an ordinary token, with which a foreign tokenizer may pad
def test_hidden_tokens_do_not_depend_on_padding(data: LabeledShard, special: SpecialIds, pad: int) -> None:
    special = replace(special, pad=pad)
    for index, chosen in enumerate(make_rows(data, special).epoch(0)[:5]):
        narrow, wide = (
            make_rows(data, special, mask_augment=0.3, width_multiple=multiple).training_batch(chosen, 0, index)
            for multiple in (1, 64)
        )
        assert torch.equal(wide.input_ids[:, : narrow.input_ids.shape[1]], narrow.input_ids)
        assert (wide.input_ids[wide.attention.document_ids < 0] == pad).all()


def test_only_ordinary_tokens_are_hidden_and_about_the_requested_fraction(
    data: LabeledShard, special: SpecialIds
) -> None:
    rows = make_rows(data, special, mask_augment=0.2)
    hidden = ordinary = 0
    for index, chosen in enumerate(rows.epoch(0)):
        clean, batch = rows.batch(chosen), rows.training_batch(chosen, 0, index)
        changed = clean.input_ids != batch.input_ids
        assert (batch.input_ids[changed] == special.mask).all()
        assert (clean.input_ids[changed] >= special.first_ordinary).all()
        hidden, ordinary = hidden + int(changed.sum()), ordinary + int((clean.input_ids >= 4).sum())
    assert hidden / ordinary == pytest.approx(0.2, abs=0.01)


def test_labels_have_the_weight_of_their_class(data: LabeledShard, special: SpecialIds) -> None:
    weights = np.array([0.5, 1.0, 4.0], dtype=np.float32)
    rows = make_rows(data, special, label_weights=weights[data.targets.values])
    batch = rows.training_batch(np.array([0, 1, 2, 3]), 0, 0)
    assert batch.label_weights is not None
    assert batch.label_weights.tolist() == [0.5, 1.0, 4.0, 0.5]
    assert make_rows(data, special).batch(np.array([0])).label_weights is None


def test_a_subset_of_rows_is_spread_evenly(write_shard: Any, draw_documents: Any, special: SpecialIds) -> None:
    documents = draw_documents(90, 20)
    folder = write_shard(documents, "some")
    data = load_labeled(folder, "some", Targets.of_rows(np.arange(90)), 30)
    assert data.targets.values.tolist() == list(range(0, 90, 3))
    assert [data.text(i).tolist() for i in range(30)] == documents[::3]
    rows = make_rows(data, special, batch_size=30)
    assert sorted(rows.batch(rows.in_order()[0]).labels.tolist()) == data.targets.values.tolist()
    assert len(load_labeled(folder, "some", Targets.of_rows(np.arange(90)), 500)) == 90


@pytest.fixture
def rule(is_sentence_end: Any) -> WindowRule:
    return WindowRule(max_seq_len=16, is_sentence_end=is_sentence_end, starts_word=np.ones(50, dtype=np.bool_))


def test_evaluation_reads_all_windows_of_every_text(data: LabeledShard, special: SpecialIds, rule: WindowRule) -> None:
    rows = make_rows(data, special, window_rule=rule)
    batches = [rows.batch(chosen) for chosen in rows.in_order()]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [n % 3 for n in rows.order()]
    assert sorted(rows.order().tolist()) == list(range(NUM_ROWS))
    assert max(batch.input_ids.shape[1] for batch in batches) <= 16
    assert max(len(batch.input_ids) for batch in batches) == 16
    seen = [
        [token for token in window if token >= special.first_ordinary]
        for batch in batches
        for window in batch.input_ids.tolist()
    ]
    expected = [token for row in rows.order().tolist() for token in data.text(row).tolist() if token >= 4]
    assert [token for window in seen for token in window] == expected


def test_without_long_rows_windows_change_nothing(data: LabeledShard, special: SpecialIds, rule: WindowRule) -> None:
    wide = WindowRule(max_seq_len=60, is_sentence_end=rule.is_sentence_end, starts_word=rule.starts_word)
    one, other = (make_rows(data, special, mask_augment=0.1, window_rule=each) for each in (None, wide))
    assert [batch.tolist() for batch in one.epoch(3)] == [batch.tolist() for batch in other.epoch(3)]
    batch, same = (rows.training_batch(rows.epoch(3)[0], 3, 0) for rows in (one, other))
    assert torch.equal(batch.input_ids, same.input_ids)
    assert same.windows is None


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 2])
def test_an_epoch_draws_windows_anew(data: LabeledShard, special: SpecialIds, rule: WindowRule, most: int) -> None:
    rows = make_rows(data, special, window_rule=rule, train_windows=most)
    chosen = np.flatnonzero(data.lengths > 40)[:12]

    def drawn(seed: int, epoch: int, index: int = 0) -> list[list[int]]:
        made = make_rows(data, special, window_rule=rule, train_windows=most, seed=seed)
        return made.training_batch(chosen, epoch, index).input_ids.tolist()

    assert drawn(0, 1) == drawn(0, 1) == drawn(0, 1, 5) == rows.training_batch(chosen, 1, 0).input_ids.tolist()
    assert len({str(drawn(*place)) for place in [(0, 1), (1, 1), (0, 2)]}) == 3
    assert len(drawn(0, 1)) == most * len(chosen)
    alone = rows.training_batch(chosen[3:4], 1, 0)  # a function of the row, not of its batch
    assert alone.input_ids.tolist()[0] == drawn(0, 1)[3 * most][: alone.input_ids.shape[1]]
    every = {tuple(row) for epoch in range(40) for row in drawn(0, epoch)}
    assert sum(map(len, every)) > 0.9 * 16 * sum(len(rule.spans(data.text(int(row)))) for row in chosen)
    assert rows.lengths.max() <= most * 16
