"""Cloze is taken when it is asked for, or for few rows whose label words the base expects; else a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretune.errors import UsageError
from pretune.inference.load import load_matching_tokenizer
from pretune.model.folder import load_model_folder
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.method import Method, at_mask, choose_method, encode_in_pattern

NAMES = ("cold", "warm")  # words of one token
LINES = [{"text": "a wonderful film", "label": 1}, {"text": "dreadful food", "label": 0}] * 4


def choose(run_folder: Path, num_copies: int = 1, task: str = "classification", **settings: Any) -> Method:
    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    names = settings.pop("names", NAMES)
    windows, max_seq_len = settings.pop("reads_windows", False), settings.pop("max_seq_len", 64)
    config = FinetuneConfig(**settings)
    tokenizer, lines = load_matching_tokenizer(loaded), LINES * num_copies
    return choose_method(config, loaded, tokenizer, task, names, lines, max_seq_len, reads_windows=windows)


@pytest.fixture
def expects_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.stages.finetune.method.LEAST_EXPECTED", 0.0)


@pytest.mark.usefixtures("expects_everything")
def test_few_rows_with_known_words_are_a_cloze(run_folder: Path) -> None:
    found = choose(run_folder)
    assert found.answers is not None
    assert found.answers.words == (("cold",), ("warm",))
    assert found.sentence is not None
    assert "the names of the labels; --label-words changes them" in found.sentence
    assert "--method head switches it off" in found.sentence


@pytest.mark.usefixtures("expects_everything")
@pytest.mark.parametrize(
    "settings",
    [
        {"num_copies": 1000},
        {"names": ("0", "card_arrival")},
        {"method": "head"},
        {"from_scratch": True},
        {"task": "multilabel"},
        {"reads_windows": True},
        {"max_seq_len": 8},  # was refused for a pattern that the user had not given
    ],
)
def test_everything_else_is_a_head(run_folder: Path, settings: dict[str, Any]) -> None:
    assert choose(run_folder, **settings) == Method()


def test_a_base_that_does_not_expect_the_words_gets_a_head(run_folder: Path) -> None:
    assert choose(run_folder) == Method()  # its weights are random


def test_a_pattern_alone_asks_for_cloze(run_folder: Path) -> None:
    found = choose(run_folder, num_copies=1000, pattern="It is [MASK] .")
    assert found.answers is not None
    assert found.answers.pattern.written == "{text} It is [MASK] ."


def test_a_cloze_that_was_asked_for_needs_room_for_its_pattern(run_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"leaves \d of 8 tokens for the text; give a shorter one"):
        choose(run_folder, method="cloze", max_seq_len=8)


def test_a_cloze_that_cuts_long_texts_says_so(run_folder: Path) -> None:
    """`prepare` said that they are read in windows."""
    found = choose(run_folder, method="cloze", reads_windows=True)
    assert found.answers is not None
    assert "Long texts are cut to 64 tokens with the pattern, although prepare reads them in windows" in str(
        found.sentence
    )
    assert "Long texts" not in str(choose(run_folder, method="cloze").sentence)


def test_words_are_chosen_if_names_say_nothing(run_folder: Path) -> None:
    found = choose(run_folder, method="cloze", names=("0", "1"))
    assert found.answers is not None
    assert len({token for ids in found.answers.word_ids for token in ids}) >= 2
    assert "words that the model expects for the rows of one label (8 rows)" in str(found.sentence)


def test_cloze_is_for_classification(run_folder: Path) -> None:
    with pytest.raises(UsageError, match="--method cloze is for classification, and the labels are regression"):
        choose(run_folder, task="regression", method="cloze")


def test_the_targets_are_at_the_mask(run_folder: Path) -> None:
    from pretune.data.targets import Targets

    loaded = load_model_folder(run_folder / "pretrain" / "checkpoint")
    tokenizer = load_matching_tokenizer(loaded)
    found = choose(run_folder, method="cloze")
    rows = encode_in_pattern(found.answers, tokenizer, {"train": LINES}, 64)["train"]
    targets = at_mask(Targets.of_rows(np.arange(len(LINES))), rows, tokenizer.mask_id)
    assert targets.positions is not None
    assert all(rows.doc(index)[place] == tokenizer.mask_id for index, place in enumerate(targets.positions))
    assert encode_in_pattern(None, tokenizer, {"train": LINES}, 64) == {}
