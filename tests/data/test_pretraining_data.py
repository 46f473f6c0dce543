"""Short rows, long rows and validation rows of one corpus: the batches of a run are a function of its step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pretune.data.batch import Batch
from pretune.data.masking import frequency_weights
from pretune.data.pretraining_data import Corpus, RowSettings
from pretune.data.rank_slice import ALONE, RankSlice
from pretune.data.special_ids import SpecialIds
from pretune.errors import InputDataError, UsageError

SETTINGS = RowSettings(
    row_tokens=16, long_row_tokens=40, tokens_per_step=128, mask_prob=0.2, validation_tokens=512, seed=0
)
MakeCorpus = Callable[..., Corpus]


@pytest.fixture
def make_corpus(
    write_shard: Any, draw_documents: Any, special: SpecialIds, is_sentence_end: npt.NDArray[np.bool_]
) -> MakeCorpus:
    def make(
        count: int = 200,
        longest: int = 60,
        validation: int = 80,
        rank_slice: RankSlice = ALONE,
        special: SpecialIds = special,
        **settings: Any,
    ) -> Corpus:
        write_shard(draw_documents(count, longest), "train")
        folder = write_shard(draw_documents(validation, longest, seed=1), "validation")
        return Corpus(folder, replace(SETTINGS, **settings), special, is_sentence_end, rank_slice)

    return make


def ids_of(batches: list[Batch]) -> list[list[int]]:
    return [batch.input_ids.flatten().tolist() for batch in batches]


def test_rows_become_long_after_the_given_step(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    widths = [corpus.batches(step, 5)[0].input_ids.shape[1] for step in range(1, 9)]
    assert widths == [16] * 5 + [40] * 3
    assert ids_of(corpus.batches(6, 5)) == ids_of(corpus.long_batches(1))
    assert ids_of(corpus.batches(5, 5)) == ids_of(corpus.short_batches(5))
    assert ids_of(make_corpus().batches(7, 5)) == ids_of(corpus.batches(7, 5))


@pytest.mark.parametrize(("longest", "has_any"), [(60, True), (16, False)])
def test_only_a_document_longer_than_a_row_has_words_around_it(
    make_corpus: MakeCorpus, longest: int, has_any: bool
) -> None:
    corpus = make_corpus(longest=longest, has_neighbours=True)
    assert (corpus.neighbours is not None) == has_any
    assert all((batch.neighbours is not None) == has_any for batch in corpus.batches(1, 5))


def test_training_and_validation_hide_tokens_by_the_same_weights(make_corpus: MakeCorpus) -> None:
    uniform, weighted = make_corpus(), make_corpus(mask_weights="frequency")
    assert uniform.log_weights is None
    assert weighted.log_weights is not None
    assert weighted.log_weights.tolist() == frequency_weights(weighted.counts).tolist()
    assert weighted.counts.sum() == weighted.tokens_per_epoch
    for own, other in (
        (weighted.batches(1, 9)[0], uniform.batches(1, 9)[0]),
        (weighted.masked_validation[0], uniform.masked_validation[0]),
    ):
        assert len(own.labels) == len(other.labels)
        assert own.positions.tolist() != other.positions.tolist()


def test_the_id_of_padding_may_come_after_all_others(make_corpus: MakeCorpus, special: SpecialIds) -> None:
    special = replace(special, pad=60, later=(60,))
    corpus = make_corpus(mask_weights="frequency", special=special)
    batches = [*corpus.batches(1, 9), *corpus.long_batches(1), *corpus.masked_validation]
    assert any(60 in batch.input_ids for batch in batches)
    assert all(60 not in batch.labels for batch in batches)


def test_long_rows_have_about_as_many_tokens(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    short, long = corpus.batches(1, 5)[0], corpus.batches(6, 5)[0]
    assert long.num_tokens == pytest.approx(short.num_tokens, rel=0.3)
    assert corpus.tokens_per_step == pytest.approx(short.num_tokens, rel=0.1)


@pytest.mark.parametrize(("longest", "long_row_tokens"), [(16, 40), (60, 16)])
def test_there_are_no_unnecessary_long_rows(make_corpus: MakeCorpus, longest: int, long_row_tokens: int) -> None:
    corpus = make_corpus(longest=longest, long_row_tokens=long_row_tokens)
    assert corpus.long is None
    assert corpus.batches(9, 5)[0].input_ids.shape[1] == 16


def test_a_large_step_is_divided_into_micro_batches(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(count=1500, tokens_per_step=40_000)
    assert corpus.short.micro_batches == 3
    batches = corpus.batches(2, 99)
    assert len(batches) == 3
    assert all(batch.input_ids.numel() <= 16_384 for batch in batches)
    assert ids_of(batches) == ids_of([corpus.short.batch(3 + i) for i in range(3)])
    assert corpus.micro_batch_tokens == batches[0].input_ids.numel()
    assert corpus.tokens_per_step == pytest.approx(sum(batch.num_tokens for batch in batches), rel=0.01)


def test_a_step_larger_than_the_text_takes_all_of_it(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(count=20, tokens_per_step=100_000)
    assert corpus.batches(1, 9)[0].num_tokens == corpus.tokens_per_epoch


def test_validation_is_the_same_whatever_the_seed(make_corpus: MakeCorpus) -> None:
    one, other = make_corpus(seed=0), make_corpus(seed=1)
    assert ids_of(one.masked_validation) == ids_of(other.masked_validation)
    assert ids_of(one.batches(1, 9)) != ids_of(other.batches(1, 9))


@pytest.mark.parametrize("mask_prob", [0.15, 0.4])
def test_validation_hides_the_same_fraction_as_training(make_corpus: MakeCorpus, mask_prob: float) -> None:
    """The gap between the two losses means overfitting only if both are of the same task."""
    corpus = make_corpus(mask_prob=mask_prob)
    for batch in (corpus.masked_validation[0], corpus.batches(1, 9)[0]):
        assert batch.positions is not None
        ordinary = (batch.input_ids.flatten() >= 4).sum() + len(batch.labels)
        assert len(batch.labels) / int(ordinary) == pytest.approx(mask_prob, rel=0.1)


def test_validation_stays_within_its_tokens(make_corpus: MakeCorpus) -> None:
    tokens = [
        sum(b.input_ids.numel() for b in make_corpus(validation_tokens=n).masked_validation) for n in (1, 600, 10**6)
    ]
    assert tokens[0] == 32 * 16
    assert tokens[1] == 32 * 16
    assert tokens[2] > 1500


@pytest.mark.parametrize(
    ("row_tokens", "settings", "expected"),
    [
        (16, {"tokens_per_step": 32, "micro_batch_tokens": 16, "validation_tokens": 1}, 32),
        (256, {"tokens_per_step": 4096, "validation_tokens": 8000}, 16),
        (256, {"tokens_per_step": 32_768, "validation_tokens": 8000}, 31),
        (256, {"tokens_per_step": 32_768, "micro_batch_tokens": 3000, "validation_tokens": 8000}, 11),
        (256, {"tokens_per_step": 32_768, "validation_tokens": 64_000}, 32),
        (256, {"tokens_per_step": 256, "validation_tokens": 1}, 8),
    ],
)
def test_an_evaluation_reads_no_more_at_once_than_training(
    make_corpus: MakeCorpus, row_tokens: int, settings: dict[str, Any], expected: int
) -> None:
    usual: dict[str, Any] = {"long_row_tokens": row_tokens, "count": 400, "longest": 250, "validation": 400}
    for objective in ("masked", "causal"):
        corpus = make_corpus(row_tokens=row_tokens, objective=objective, **usual, **settings)
        batches = corpus.masked_validation or corpus.causal_validation
        assert {batch.input_ids.shape for batch in batches} == {(expected, row_tokens)}
        assert sum(batch.input_ids.numel() for batch in batches) <= max(2048, settings["validation_tokens"])


def test_too_little_text_is_refused(make_corpus: MakeCorpus) -> None:
    with pytest.raises(
        InputDataError, match=r"tokens in 3 documents and the validation .* in rows of 16 tokens; give more text"
    ):
        make_corpus(count=3, longest=10)
    with pytest.raises(InputDataError, match="validation split 0 tokens"):
        make_corpus(validation=0)


def test_references_are_entropies_of_the_labels(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus()
    found = corpus.references(50)
    counts = torch.bincount(torch.from_numpy(corpus.train.tokens.astype(np.int64)), minlength=50).double()
    counts[:4] = 0
    labels = torch.cat([batch.labels for batch in corpus.masked_validation])
    shares = (counts + 1) / (counts + 1).sum()
    assert found["uniform_nats"] == pytest.approx(np.log(50))
    assert found["unigram_nats"] == pytest.approx(float(-shares[labels].log().mean()))
    assert found["most_frequent_share"] == pytest.approx(float((labels == counts.argmax()).double().mean()))


def test_references_are_of_the_tokens_that_are_hidden(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(mask_weights="frequency")
    corpus.log_weights = np.linspace(0.0, -3.0, 50)
    counts = np.bincount(corpus.train.tokens.astype(np.int64), minlength=50) * np.exp(corpus.log_weights)
    counts[:4] = 0
    labels = np.concatenate([batch.labels.numpy() for batch in corpus.masked_validation])
    shares = (counts + 1) / (counts + 1).sum()
    found = corpus.references(50)
    assert found["unigram_nats"] == pytest.approx(float(-np.log(shares[labels]).mean()))
    assert found["most_frequent_share"] == pytest.approx(float((labels == counts.argmax()).mean()))


def test_each_objective_has_validation_batches_of_its_own(make_corpus: MakeCorpus) -> None:
    masked, causal, hybrid = (make_corpus(objective=name) for name in ("masked", "causal", "hybrid"))
    assert (causal.masked_validation, masked.causal_validation) == ([], [])
    assert ids_of(hybrid.masked_validation) == ids_of(masked.masked_validation)
    assert ids_of(hybrid.causal_validation) == ids_of(causal.causal_validation)
    assert all(batch.label_weights is None for batch in hybrid.masked_validation + hybrid.causal_validation)
    kinds = [len(corpus.first_validation()) for corpus in (masked, causal, hybrid)]
    assert kinds == [1, 1, 2]


def test_a_causal_reference_counts_the_ends_of_documents(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus(objective="causal")
    counts = np.bincount(corpus.train.tokens.astype(np.int64), minlength=50).astype(float)
    counts[[0, 1, 3]] = 0
    labels = np.concatenate([batch.labels.numpy() for batch in corpus.causal_validation])
    shares = (counts + 1) / (counts + 1).sum()
    assert corpus.references(50)["unigram_nats"] == pytest.approx(float(-np.log(shares[labels]).mean()))


def test_a_hybrid_step_of_one_row_is_refused(make_corpus: MakeCorpus) -> None:
    with pytest.raises(UsageError, match=r"cannot be both masked and causal; give --tokens-per-step 32 or more"):
        make_corpus(objective="hybrid", tokens_per_step=16)


def test_a_text_of_too_few_long_rows_for_a_hybrid_step_has_short_ones_only(make_corpus: MakeCorpus) -> None:
    settings = {"count": 2, "longest": 100, "long_row_tokens": 96, "tokens_per_step": 4096}
    assert make_corpus(objective="masked", **settings).long is not None
    corpus = make_corpus(objective="hybrid", **settings)
    assert len(corpus.short.table) >= 8
    assert corpus.long is None


def test_a_hybrid_step_of_one_long_row_is_refused_with_a_size_that_works(make_corpus: MakeCorpus) -> None:
    settings: dict[str, Any] = {"objective": "hybrid", "row_tokens": 24, "long_row_tokens": 40}
    with pytest.raises(UsageError, match=r"one row of 40, .* give --tokens-per-step 96 or more"):
        make_corpus(tokens_per_step=64, **settings)
    assert make_corpus(tokens_per_step=96, **settings).long is not None


def test_processes_without_a_causal_row_are_refused(make_corpus: MakeCorpus) -> None:
    def make(tokens_per_step: int) -> Corpus:
        return make_corpus(
            objective="hybrid",
            causal_share=0.25,
            tokens_per_step=tokens_per_step,
            long_row_tokens=16,
            rank_slice=RankSlice(rank=0, size=3),
        )

    sentence = (
        r"3 processes cannot divide a step of 2 micro-batches with as few as 1 rows of 16 .*-per-step 192 or more"
    )
    with pytest.raises(UsageError, match=sentence):
        make(64)
    assert len(make(128).batches(1, 99)) == 1
    assert len(make(192).batches(1, 99)) == 2


@pytest.mark.parametrize("size", [2, 3, 7, 16, 20])
def test_a_step_of_as_many_tokens_as_the_sentence_names_is_divided(make_corpus: MakeCorpus, size: int) -> None:
    """16 processes and 4 micro-batches of 8 rows were refused, with a smaller number than was given."""

    def slices(tokens_per_step: int) -> list[list[Batch]]:
        settings = {"tokens_per_step": tokens_per_step, "long_row_tokens": 16, "micro_batch_tokens": 6 * 16}
        ranks = [RankSlice(rank=rank, size=size) for rank in range(size)]
        return [make_corpus(rank_slice=rank, **settings).short_batches(1) for rank in ranks]

    with pytest.raises(UsageError, match=f"{size} processes cannot divide a step of .*tokens-per-step") as caught:
        slices(16 * (size - 1))
    words = str(caught.value).split()
    needed = int(words[words.index("--tokens-per-step") + 1])
    assert 16 * size <= needed < 16 * (size + 6)
    for tokens in (needed, 16 * 32):
        assert all(sum(len(batch.input_ids) for batch in own) for own in slices(tokens))
