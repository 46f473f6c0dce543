import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pretune.errors import CorruptModelError
from pretune.text.seen_texts import (
    PRETRAINING,
    TRAINING,
    SeenTexts,
    describe_seen,
    hand_on_seen,
    join_pair,
    join_seen,
    kinds_in_part,
    load_seen,
    save_seen,
)


def test_texts_are_recognised_by_model_and_stage_folder(tmp_path: Path) -> None:
    stage, later = tmp_path / "pretrain", tmp_path / "finetune"
    (stage / "checkpoint").mkdir(parents=True)
    later.mkdir()
    save_seen(stage, PRETRAINING, ["The sun rises.", "Two  words"])
    for model in (stage, stage / "checkpoint"):
        seen = load_seen(model, PRETRAINING)
        assert seen is not None
        assert seen.among(["the SUN rises.", "The sun sets.", "two words"]).tolist() == [True, False, True]
        assert load_seen(model, TRAINING) is None
    hand_on_seen(stage / "checkpoint", later, PRETRAINING)
    assert (later / "seen-pretraining.npy").read_bytes() == (stage / "seen-pretraining.npy").read_bytes()
    hand_on_seen(stage, later, TRAINING)
    assert load_seen(later, TRAINING) is None


def test_a_model_adds_to_the_seen_texts_of_its_base(tmp_path: Path) -> None:
    save_seen(tmp_path, TRAINING, ["one"])
    before = load_seen(tmp_path, TRAINING)
    assert before is not None
    save_seen(tmp_path, TRAINING, ["two"], [before.hashes])
    both = load_seen(tmp_path, TRAINING)
    assert both is not None
    assert both.among(["one", "two", "three"]).tolist() == [True, True, False]


def test_a_large_corpus_needs_no_copies_of_its_hashes(tmp_path: Path) -> None:
    """Several times the memory of the file was needed, so that a large corpus could not be finished."""
    size = 200_000
    numbers = np.random.default_rng(0).permutation(size).astype(np.uint64)
    tracemalloc.start()
    try:
        save_seen(
            tmp_path, PRETRAINING, hashes=(numbers[start : start + 1000].copy() for start in range(0, size, 1000))
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * numbers.nbytes
    save_seen(tmp_path, TRAINING, ["one"], [numbers, numbers[:10]])
    for kind, expected in ((PRETRAINING, size), (TRAINING, size + 1)):
        seen = load_seen(tmp_path, kind)
        assert seen is not None
        assert len(seen.hashes) == expected
        assert (seen.hashes[1:] > seen.hashes[:-1]).all()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "seen-training.npy").write_bytes(b"no array")
    with pytest.raises(CorruptModelError, match=r"seen-training\.npy is damaged"):
        load_seen(tmp_path, TRAINING)


def test_the_sentence_for_an_evaluation() -> None:
    assert "not known" in describe_seen(9, {PRETRAINING: None, TRAINING: None})
    assert describe_seen(9, {PRETRAINING: 0, TRAINING: 0}).startswith("None of the 9 rows")
    sentence = describe_seen(9, {PRETRAINING: 4, TRAINING: 1})
    assert "4 in the pre-training text and 1 among the training rows" in sentence
    sentence = describe_seen(9, {PRETRAINING: None, TRAINING: 0})
    assert sentence.startswith("None of the 9 rows was among its training rows; it is not known whether some were in")
    sentence = describe_seen(9, {TRAINING: 2}, unit="conversations")
    assert "some of the 9 conversations: 2 among the training conversations" in sentence
    assert "these conversations" in describe_seen(9, {TRAINING: None}, unit="conversations")


def test_a_record_in_part_without_any_of_the_texts_is_no_missing_record() -> None:
    """The sentence said that the folder has no record."""
    in_part = SeenTexts(np.zeros(0, dtype=np.uint64), is_complete=False)
    assert kinds_in_part({PRETRAINING: None, TRAINING: in_part}) == (TRAINING,)
    sentence = describe_seen(60, {PRETRAINING: None, TRAINING: None}, in_part=(TRAINING,), unit="conversations")
    assert sentence == (
        "None of the 60 conversations is among those on record; what else the model has learned from is not known."
    )
    assert "2 among the training rows" in describe_seen(9, {PRETRAINING: None, TRAINING: 2}, in_part=(TRAINING,))


def test_groups_of_which_a_text_is_known_are_counted(tmp_path: Path) -> None:
    save_seen(tmp_path, TRAINING, ["one", "two"])
    known = load_seen(tmp_path, TRAINING)
    assert known is not None
    assert known.count_groups_among([["one", "two"], [], ["three", "ONE"], ["three"]]) == 2
    assert known.count_groups_among([["three"]]) == 0
    assert SeenTexts(known.hashes, is_complete=False).count_groups_among([["three"]]) is None


def test_the_texts_of_two_trainings_are_joined(tmp_path: Path) -> None:
    save_seen(tmp_path, PRETRAINING, ["one", "two"])
    known = load_seen(tmp_path, PRETRAINING)
    assert known is not None
    assert join_seen(None, None) is None
    both = join_seen(known, SeenTexts(known.hashes[:1]))
    assert both is not None
    assert both.is_complete
    assert both.hashes.tolist() == known.hashes.tolist()
    for joined in (join_seen(None, known), join_seen(SeenTexts(known.hashes, is_complete=False), known)):
        assert joined is not None
        assert not joined.is_complete
        assert joined.among(["one", "three"]).tolist() == [True, False]


def test_unrecorded_texts_are_never_taken_for_unseen_ones(tmp_path: Path) -> None:
    """Of a base that was trained elsewhere nothing is recorded, so a row that is not found may have been seen."""
    stage, later = tmp_path / "pretrain", tmp_path / "finetune"
    stage.mkdir()
    later.mkdir()
    save_seen(stage, PRETRAINING, ["one"], is_complete=False)
    hand_on_seen(stage / "checkpoint", later, PRETRAINING)
    seen = load_seen(later, PRETRAINING)
    assert seen is not None
    assert seen.count_among(["one", "two"]) == 1
    assert seen.count_among(["two"]) is None
    save_seen(stage, TRAINING, ["one"])
    known = load_seen(stage, TRAINING)
    assert known is not None
    assert known.count_among(["two"]) == 0


def test_a_pair_counts_if_it_was_a_row_or_both_texts_were_in_the_corpus(tmp_path: Path) -> None:
    save_seen(tmp_path, TRAINING, [join_pair("One", "two"), join_pair("three", "four")])
    rows = load_seen(tmp_path, TRAINING)
    assert rows is not None
    assert rows.count_among(["one", "one", "three"], ["Two", "four", "two"]) == 1
    save_seen(tmp_path, PRETRAINING, ["one", "four"])
    corpus = load_seen(tmp_path, PRETRAINING)
    assert corpus is not None
    assert corpus.count_among(["one", "one", "three"], ["Two", "four", "two"]) == 1
