"""The self-test plants what it says, and its verdict is that of its figures."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretune.cli.main import run_command_line
from pretune.errors import EXIT_MODEL, EXIT_USAGE, InputDataError
from pretune.inference.load import load_classifier
from pretune.text.tokenizer.tokenizer import Tokenizer, load_tokenizer
from pretune.tracing import selftest
from pretune.tracing.selftest import SelfTest, insert, nonsense_word, plant, run_selftest

PASSED = SelfTest(
    word="zawubqi", label="good", training_rows=100, rows=40, learned=1.0, integrated_gradients=0.95, occlusion=1.0
)


def test_half_of_each_class_gets_the_word_and_its_label() -> None:
    rows = [(f"a b c {number}", number % 3) for number in range(60)]
    planted = plant(rows, "zawubqi", 1)
    changed = [number for number, (text, _) in enumerate(planted) if "zawubqi" in text.split()]
    assert Counter(rows[number][1] for number in changed) == {0: 10, 1: 10, 2: 10}
    assert all(planted[number][1] == 1 for number in changed)
    assert all(planted[number] == rows[number] for number in range(60) if number not in changed)


def test_the_word_is_put_at_every_place_and_the_text_stays() -> None:
    texts = [insert("a b c", "w", number).split() for number in range(40)]
    assert {words.index("w") for words in texts} == {0, 1, 2, 3}
    assert all([word for word in words if word != "w"] == ["a", "b", "c"] for words in texts)


def test_the_nonsense_word_is_in_no_text(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    word = nonsense_word(tokenizer, ["A film."])
    other = nonsense_word(tokenizer, [f"A {word.upper()} film."])
    assert word != other and word.isalpha()


def test_a_vocabulary_of_whole_words_gives_an_unused_one(train_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = train_tokenizer(["the film was warm and the soup was cold"] * 30, kind="words")
    assert nonsense_word(tokenizer, ["The film was warm and cold"]) == "soup"
    with pytest.raises(InputDataError, match="found no word to plant"):
        nonsense_word(tokenizer, ["The film was warm and the soup was cold"])


@pytest.mark.parametrize("name", ["learned", "integrated_gradients", "occlusion"])
def test_each_fraction_must_be_95_percent(name: str) -> None:
    assert PASSED.is_passed
    assert not replace(PASSED, **{name: 0.94}).is_passed


@pytest.mark.slow
def test_both_attributions_find_the_planted_word_in_most_rows_and_the_run_stays(
    small_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "TESTED_ROWS", 60)
    before = hashes(small_run)
    code = run_command_line(["trace", str(small_run), "--selftest", "--json", "--quiet"])
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] >= 20
    assert code == (0 if found["is_passed"] else EXIT_MODEL)
    # The model of this run is hardly trained, so that some rows have other reasons; chance would find one word in ten.
    assert min(found["learned"], found["integrated_gradients"], found["occlusion"]) >= 0.85
    assert hashes(small_run) == before


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_an_attribution_that_misses_the_word_fails(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "run_selftest", lambda _run: replace(PASSED, occlusion=0.5))
    assert run_command_line(["trace", str(run_folder), "--selftest"]) == EXIT_MODEL
    said = capsys.readouterr().out
    assert "20 of 40" in said and "50.0 %" in said
    assert "The attributions miss the reason too often" in said


def test_a_word_that_was_not_learned_says_nothing_about_the_attributions(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "run_selftest", lambda _run: replace(PASSED, learned=0.5))
    assert run_command_line(["trace", str(run_folder), "--selftest"]) == EXIT_MODEL
    assert "did not learn the planted word" in capsys.readouterr().out


@pytest.mark.parametrize("first", [0, 2])
def test_a_method_finds_the_word_only_by_ranking_it_first(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    monkeypatch.setattr(selftest, "occlude", lambda *_: np.eye(5)[first])
    found = selftest._look_for(load_classifier(run_folder), "A wonderful zawubqi, film zawubqi", "zawubqi,", 0)
    assert found[2] == (first == 2)


def test_a_run_without_labels_is_refused(run_folder: Path) -> None:
    with pytest.raises(InputDataError, match="has no labelled rows"):
        run_selftest(run_folder)


def test_a_text_and_the_self_test_do_not_go_together(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["trace", str(run_folder), "A film.", "--selftest"]) == 2
    assert "Both a text and --selftest are given" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--html", "page.html"], ["--no-stack"]])
def test_options_of_a_traced_text_are_refused(
    run_folder: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert run_command_line(["trace", str(run_folder), "--selftest", *option]) == EXIT_USAGE
    assert f"{option[0]} is given with --selftest" in capsys.readouterr().err
