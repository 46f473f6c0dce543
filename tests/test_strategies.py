"""`compare --strategies` from a base to its conclusion, and what it refuses before anything is trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tokenizers

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, ModelError, UsageError
from pretune.evaluation.strategies import FINETUNED
from pretune.model import cost
from pretune.model.base_folder import read_base_folder
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest
from pretune.runtime.stage_folder import open_stage
from pretune.settings import PrepareConfig, SplitConfig, StrategiesConfig, to_identity
from pretune.stages.prepare_chat import prepare_chat
from pretune.strategies import _describe_tuning, _Strategies, run_strategies
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.collect.protected_texts import protected_texts
from pretune.text.reading_report import Findings

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
    for name, budget in (("scratch", 14_000), ("finetune", 14_000), ("further", 7_000)):
        assert read_manifest(out / "work" / name).summary["tokens"] == pytest.approx(budget, rel=0.05)
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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> Path:
    return save_language_model(tmp_path_factory.mktemp("base") / "model", "causal")


@pytest.fixture
def prepared(base: Path, talks: Path, tmp_path: Path) -> Path:
    """Conversations for the base, in a folder of the test."""
    folder = talks.parent / "prepared"
    if not folder.exists():
        prepared_for(base, talks, folder)
    shutil.copytree(folder, tmp_path / "prepared")
    return tmp_path / "prepared"


@pytest.mark.parametrize("redo", [False, True])
@pytest.mark.parametrize("was_slow", [False, True])
def test_the_settings_are_those_that_an_earlier_call_chose_perhaps_on_another_machine(
    base: Path,
    prepared: Path,
    domain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    was_slow: bool,
    redo: bool,
) -> None:
    """After a call without a GPU, one with a GPU differed in settings that nobody had given, and `redo` trained all
    models again."""
    monkeypatch.setattr(cost, "is_slow", lambda _model, _device: not was_slow)

    def checked(tokens: int) -> _Strategies:
        config = StrategiesConfig(tokens=tokens)
        run = _Strategies(base, prepared, [str(domain)], tmp_path / "out", config, redo, lambda _sentence: None)
        run.check()
        return run

    settings = to_identity(checked(20_000)._further_settings(0, is_slow=was_slow))
    inputs = {"base": read_base_folder(base).fingerprint}
    open_stage(tmp_path / "out" / "work" / "pretrain", "pretrain", config=settings, inputs=inputs).finish()
    assert checked(20_000)._is_slow is was_slow
    assert checked(30_000)._is_slow is (not was_slow if redo else was_slow)  # with redo, it is done again


def test_a_base_that_has_changed_is_trained_further_with_the_settings_of_this_machine(
    base: Path, prepared: Path, domain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "is_slow", lambda _model, _device: False)
    config = StrategiesConfig(tokens=20_000)
    run = _Strategies(base, prepared, [str(domain)], tmp_path / "out", config, True, lambda _sentence: None)
    run.check()
    settings = to_identity(run._further_settings(0, is_slow=True))
    open_stage(tmp_path / "out" / "work" / "pretrain", "pretrain", config=settings, inputs={"base": "other"}).finish()
    run.check()
    assert run._is_slow is False


def write_pairs(file: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    rows = [json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in pairs]
    file.write_text("".join(rows), encoding="utf-8")
    return file


def refuse(
    monkeypatch: pytest.MonkeyPatch, base: Path, prepared: Path, other: Path | None, tokens: int = 20_000
) -> str:
    """The sentence with which these are refused before any stage begins."""
    for stage in ("collect", "preprocess", "pretrain"):
        monkeypatch.delattr(f"pretune.stages.{stage}.stage.{stage}", raising=False)
    config = StrategiesConfig(tokens=tokens)
    with pytest.raises(InputDataError) as caught:
        run_strategies(base, prepared, ["domain.txt"], prepared.parent / "out", config, other=other)
    assert not (prepared.parent / "out").exists()
    return str(caught.value)


def test_bad_held_out_files_are_refused_before_anything_is_trained(
    base: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "clinic.jsonl" in refuse(monkeypatch, base, prepared, tmp_path / "clinic.jsonl")
    one = write_pairs(tmp_path / "clinic.jsonl", [("Where is it?", "Here.")])
    assert "clinic.jsonl has 1 held-out conversation to measure" in refuse(monkeypatch, base, prepared, one)


def test_a_single_held_out_conversation_is_refused_before_anything_is_trained(
    base: Path, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, prepared = write_pairs(tmp_path / "one.jsonl", [("Where is it?", "Here.")]), tmp_path / "prepared"
    prepare_chat(talks, prepared, PrepareConfig(max_seq_len=64), base=base, test_conversations=one)
    assert "prepared has 1 held-out conversation to measure" in refuse(monkeypatch, base, prepared, None)


def test_a_budget_that_leaves_too_few_updates_is_refused_before_anything_is_trained(
    base: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = refuse(monkeypatch, base, prepared, None, tokens=1000)
    enough = re.search(r"1,000 tokens leave \d+ updates .* needs 20; give --tokens (\d+) or more", sentence)
    assert enough is not None
    run = _Strategies(base, prepared, ["domain.txt"], prepared, StrategiesConfig(tokens=int(enough[1])), False, print)
    run.check()


def test_another_tokenizer_is_refused_before_anything_is_trained(
    base: Path, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.add_tokens(["aneurysm"])
    (tmp_path / "other").mkdir()
    tokenizer.save(str(tmp_path / "other" / "tokenizer.json"))
    shutil.copy(base / "tokenizer_config.json", tmp_path / "other")
    prepared = prepared_for(tmp_path / "other", talks, tmp_path / "prepared")
    assert "was encoded with another tokenizer" in refuse(monkeypatch, base, prepared, None)


def test_all_held_out_messages_are_kept_out_of_the_text_of_the_domain(
    base: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = read_chat_lines(prepared, "train").conversations[0].question
    pairs = [("Where is it?", "Here."), ("Who is it?", "Me."), (trained, "Known.")]
    other, said = write_pairs(tmp_path / "clinic.jsonl", pairs), list[str]()
    config = StrategiesConfig(tokens=20_000, conversations=2)
    run = _Strategies(base, prepared, ["domain.txt"], tmp_path / "out", config, False, said.append, other)
    run.check()
    assert said == [
        "1 of 3 conversations of clinic.jsonl left out because their question, or a reply of 13 words or more, is in "
        "the training or validation conversations."
    ]
    protected, trained_alone = list[Path](), list[bool]()
    monkeypatch.setattr("pretune.stages.collect.stage.collect", lambda *_args, **_more: None)
    monkeypatch.setattr(
        "pretune.stages.pretrain.stage.pretrain", lambda *_args, alone, **_more: trained_alone.append(alone)
    )
    monkeypatch.setattr(
        "pretune.stages.preprocess.stage.preprocess", lambda *_args, protect, **_more: protected.extend(protect)
    )
    run._pretrain_further(0)
    assert trained_alone == [True]  # under torchrun, it waited for processes that had ended
    texts = set(protected_texts(protected, Findings()))
    held_out = [m.content for m in read_chat_lines(prepared, "test").conversations[0].messages]
    assert {"Where is it?", "Here.", "Who is it?", "Me.", *held_out} <= texts
    assert trained not in texts


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        (StrategiesConfig(tokens=1_000_000), "had 1,000,000 tokens, seed 0"),
        (StrategiesConfig(tokens=123_456_789), "had 123,456,789 tokens, seed 0"),
        (StrategiesConfig(minutes=7.5, seeds=3), "had 7.5 minutes, seeds 0 to 2"),
        (StrategiesConfig(minutes=10.0), "had 10 minutes, seed 0"),
    ],
)
def test_the_budget_is_written_out(config: StrategiesConfig, shown: str) -> None:
    run = _Strategies(Path("base"), Path("prepared"), [], Path("out"), config, False, print)
    assert shown in run.budget()


@pytest.mark.parametrize(("epochs", "shown"), [(0.338, "0.34"), (1.0, "1"), (123.4, "123"), (1234.5, "1,234")])
def test_many_passes_are_counted_in_full(epochs: float, shown: str, tmp_path: Path) -> None:
    """120 were written as 1.2e+02."""
    folder = open_stage(tmp_path / "tuned", "finetune", config={}, inputs={})
    folder.finish(tokens=5000, epochs=epochs, best_step=9, steps=10)
    sentence = _describe_tuning(FINETUNED, read_manifest(tmp_path / "tuned"), None)
    assert f"5,000 tokens of the conversations ({shown} passes) in 10 updates" in sentence


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
        (["--text-column", "x"], "--text-column is given without --strategies"),
        (
            ["--strategies", "--domain", "x", "--minutes", "1", "--response-column", "x"],
            "--response-column is given without --held-out",
        ),
        (["--strategies", "--domain", "x", "--minutes", "1", "--scratch", "x"], "--scratch is given with --strategies"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["compare", "base", "prepared", "--out", str(tmp_path / "out"), *words]) == 2
    assert problem in capsys.readouterr().err
