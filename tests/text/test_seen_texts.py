from pathlib import Path

import pytest

from pretune.errors import CorruptModelError
from pretune.text.seen_texts import (
    PRETRAINING,
    TRAINING,
    describe_seen,
    hand_on_seen,
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
    save_seen(tmp_path, TRAINING, ["two"], before.hashes)
    both = load_seen(tmp_path, TRAINING)
    assert both is not None
    assert both.among(["one", "two", "three"]).tolist() == [True, True, False]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "seen-training.npy").write_bytes(b"no array")
    with pytest.raises(CorruptModelError, match=r"seen-training\.npy is damaged"):
        load_seen(tmp_path, TRAINING)


def test_the_sentence_for_an_evaluation() -> None:
    assert "not known" in describe_seen(9, {PRETRAINING: None, TRAINING: None})
    assert describe_seen(9, {PRETRAINING: 0, TRAINING: 0}).startswith("None of the 9 rows")
    sentence = describe_seen(9, {PRETRAINING: 4, TRAINING: 1})
    assert "4 in the pre-training text and 1 among the training rows" in sentence
