"""`compare --strategies` from a base to its conclusion, and what it refuses before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import ModelError, UsageError
from pretune.model import cost
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest
from pretune.settings import PrepareConfig, SplitConfig, StrategiesConfig
from pretune.stages.prepare_chat import prepare_chat
from pretune.strategies import run_strategies

WORDS = "sun east film hotel soup rooms book phone waiter food".split()


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    rows = [{"question": f"The {a} and the {b}?", "answer": f"The {b} was warm."} for a in WORDS for b in WORDS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("domain") / "texts.txt"
    lines = [f"The {a} of the {b} is {c}, and the {c} rises.\n" for a in WORDS for b in WORDS for c in WORDS]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def prepared_for(base: Path, talks: Path, folder: Path) -> Path:
    split = SplitConfig(task="chat", validation_fraction=0.2, test_fraction=0.2)
    prepare_chat(talks, folder, PrepareConfig(max_seq_len=64), base=base, split=split)
    return folder


@pytest.mark.slow
def test_four_strategies_from_the_command_line(
    save_language_model: Callable[[Path, str], Path],
    talks: Path,
    domain: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = save_language_model(tmp_path / "base", "causal")
    prepared, out = prepared_for(base, talks, tmp_path / "prepared"), tmp_path / "out"
    words = ["compare", str(base), str(prepared), "--strategies", "--domain", str(domain), "--tokens", "14000"]
    words += ["--questions", "2", "--reply-tokens", "6", "--out", str(out)]
    assert run_command_line(words) == 0
    shown = capsys.readouterr().out
    for text in ("WHICH WAY TO A CHATBOT?", "as it is", "from scratch", "fine-tuned", "pre-trained further", "14,000"):
        assert text in shown
    trained = {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")}
    assert run_command_line(words) == 0  # finished: read from the logs
    assert capsys.readouterr().out == shown
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")} == trained
    assert run_command_line(["show", str(out / "strategies")]) == 0
    assert "WHICH WAY TO A CHATBOT?" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert run_command_line(["report", str(out / "strategies"), "--out", str(page)]) == 0
    assert page.stat().st_size > 100_000


@pytest.mark.slow
def test_a_large_base_without_a_gpu_goes_on_in_small_updates_of_adamw(
    save_language_model: Callable[[Path, str], Path],
    talks: Path,
    domain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = save_language_model(tmp_path / "base", "causal")
    prepared, out = prepared_for(base, talks, tmp_path / "prepared"), tmp_path / "out"
    monkeypatch.setattr(cost, "is_slow", lambda _model, _device: True)
    config = StrategiesConfig(tokens=120_000, questions=1, reply_tokens=4)
    run_strategies(base, prepared, [str(domain)], out, config)
    settings = read_manifest(out / "work" / "pretrain", "pretrain").config
    assert settings["optimizer"] == "adamw"
    assert settings["tokens_per_step"] == 1024  # 2,400 elsewhere
    assert settings["evaluations"] < 8
    [found] = [event for event in read_events(out / "strategies") if event["event"] == "strategies"]
    assert "base" in found["base"]
    assert str(tmp_path) not in json.dumps(found)  # a page with a path of the machine fails its own check


def test_a_masked_base_is_refused_before_anything_is_trained(
    save_language_model: Callable[[Path, str], Path], talks: Path, domain: Path, tmp_path: Path
) -> None:
    base = save_language_model(tmp_path / "base", "masked")
    prepared = prepared_for(base, talks, tmp_path / "prepared")
    with pytest.raises(ModelError, match="--objective causal"):
        run_strategies(base, prepared, [str(domain)], tmp_path / "out", StrategiesConfig(tokens=1000))
    assert not (tmp_path / "out").exists()


def test_a_budget_is_needed_and_only_one() -> None:
    with pytest.raises(UsageError, match="either --minutes X or --tokens N"):
        StrategiesConfig()
    with pytest.raises(UsageError, match="either --minutes X or --tokens N"):
        StrategiesConfig(minutes=1.0, tokens=1000)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--strategies", "--minutes", "1"], "give it with --domain PATH"),
        (["--domain", "x"], "--domain is given without --strategies"),
        (["--minutes", "1"], "--minutes is given without --strategies"),
        (["--strategies", "--domain", "x", "--minutes", "1", "--scratch", "x"], "--scratch is given with --strategies"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["compare", "base", "prepared", "--out", str(tmp_path / "out"), *words]) == 2
    assert problem in capsys.readouterr().err
