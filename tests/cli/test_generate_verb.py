"""`generate` on the command line and in Python: the continuation after its prompt, or one sentence about a mistake."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pretune
from pretune.cli.main import run_command_line
from pretune.errors import ModelError, UsageError

PROMPT = "The sun rises in"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> str:
    return str(save_language_model(tmp_path_factory.mktemp("causal") / "model", "causal"))


def shown_by(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert run_command_line(["generate", *words]) == code
    said = capsys.readouterr()
    return said.out if code == 0 else said.err


def test_the_text_is_the_same_in_words_in_json_and_in_python(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--max-tokens", "8", "--seed", "3", "--top-k", "20", "--top-p", "0.9", "--repetition-penalty", "1.2"]
    shown = shown_by(capsys, folder, PROMPT, *words)
    found = json.loads(shown_by(capsys, folder, PROMPT, *words, "--json"))
    assert shown.startswith(PROMPT) and len(shown.splitlines()) >= 1
    assert found["prompt"] == PROMPT and found["tokens"] == 8 and found["ending"] == "max_tokens"
    settings = {"max_tokens": 8, "seed": 3, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.2}
    model = pretune.load_pretrained_model(folder)
    assert model.generate(PROMPT, **settings) == found["text"]
    assert model.generate([PROMPT], **settings) == [found["text"]]
    assert shown_by(capsys, folder, PROMPT, *words, "--seed", "4") != shown


def test_the_prompt_can_come_from_stdin(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = ["--temperature", "0", "--max-tokens", "5"]
    typed = shown_by(capsys, folder, PROMPT, *greedy)
    monkeypatch.setattr("sys.stdin", io.StringIO(PROMPT + "\n"))
    assert shown_by(capsys, folder, "-", *greedy) == typed


def test_the_last_line_break_of_stdin_is_no_part_of_the_prompt_of_a_public_model(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a model reads a prompt as it is, and `echo` ends its text with a line break."""
    monkeypatch.setattr("pretune.text.tokenizer.tokenizer.Tokenizer.is_own", False)
    for given, expected in ((f"{PROMPT}\n", PROMPT), (PROMPT, PROMPT), (f"{PROMPT}\n\n", f"{PROMPT}\n")):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert json.loads(shown_by(capsys, folder, "-", "--max-tokens", "2", "--json"))["prompt"] == expected


def test_ctrl_c_ends_the_line_and_speaks_of_no_resuming(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: object) -> Iterator[str]:
        yield " the east"
        raise KeyboardInterrupt

    monkeypatch.setattr("pretune.inference.generate.TextGenerator.stream", interrupted)
    assert run_command_line(["generate", folder, PROMPT]) == 130
    said = capsys.readouterr()
    assert said.out == f"{PROMPT} the east\n"
    assert said.err == "Interrupted. The same command starts from the beginning.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([" "], "The prompt is empty"),
        (["<p></p>"], "The prompt is empty"),
        (["The sun. " * 40], "The prompt has 121 tokens, and the model reads 64"),
        ([PROMPT, "--temperature", "-1"], "--temperature is -1.0; expected a number from 0"),
        ([PROMPT, "--temperature", "warm"], "'warm' is not a number"),
        ([PROMPT, "--max-tokens", "0"], "--max-tokens is 0; expected at least 1"),
        ([PROMPT, "--top-p", "2"], "--top-p is 2.0; expected a probability"),
        ([], "PROMPT"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: str, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    said = shown_by(capsys, folder, *words, code=2)
    assert sentence in said and len(said.splitlines()) == 1


def test_a_model_of_masked_words_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], save_language_model: Callable[[Path, str], Path]
) -> None:
    masked = str(save_language_model(tmp_path / "masked", "masked"))
    said = shown_by(capsys, masked, PROMPT, code=4)
    assert f"pretune pretrain PREPROCESSED --from {masked} --objective causal" in said and len(said.splitlines()) == 1
    with pytest.raises(ModelError, match="masked words"):
        pretune.load_pretrained_model(masked).generate(PROMPT)


def test_wrong_settings_in_python_are_refused(folder: str) -> None:
    model = pretune.load_pretrained_model(folder)
    with pytest.raises(UsageError, match="no setting 'temprature'; did you mean temperature"):
        model.generate(PROMPT, temprature=1.0)
    with pytest.raises(UsageError, match=r"max_tokens in Sampling is 1\.5; expected a whole number"):
        model.generate(PROMPT, max_tokens=1.5)
    assert model.generate(PROMPT, temperature=0, max_tokens=3) == model.generate(PROMPT, temperature=0.0, max_tokens=3)
