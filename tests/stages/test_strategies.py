"""The comparison of models that are there already: what it logs, that it resumes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretune.errors import InputDataError, StageDiffersError
from pretune.evaluation.chat import evaluate_chat
from pretune.evaluation.strategies import AS_IS, FINETUNED
from pretune.inference.chat_session import load_chat_session
from pretune.model.folder import load_model_folder, save_model_folder
from pretune.model.transformer import LanguageModel
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import to_json
from pretune.run_trace.redact import redact
from pretune.runtime.events import read_events
from pretune.runtime.manifest import read_manifest
from pretune.settings import PrepareConfig, SplitConfig, StrategiesConfig
from pretune.stages import strategies
from pretune.stages.prepare_chat import prepare_chat
from pretune.stages.strategies import Candidate, Circumstances, compare_strategies, read_held_out_texts
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.chat.columns import NamedColumns

CONFIG = StrategiesConfig(tokens=1000, questions=2, reply_tokens=5)
WORDS = "sun east film hotel soup rooms book phone waiter food".split()
SPLIT = SplitConfig(task="chat", validation_fraction=0.2, test_fraction=0.2)
TEMPLATE = "The food was cold and the rooms of the hotel were noisy and dreadful."  # 14 words
CIRCUMSTANCES = Circumstances(budget="A budget.", base="A base.", reasons={AS_IS: "Chance.", FINETUNED: "Skill."})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, save_language_model: Callable[[Path, str], Path]) -> Path:
    return save_language_model(tmp_path_factory.mktemp("base") / "model", "causal")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    rows = [{"question": f"The {a} {b}?", "answer": f"The {b}."} for a in WORDS for b in WORDS]
    file = folder / "talks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare_chat(file, folder / "prepared", PrepareConfig(max_seq_len=64), base=base, split=SPLIT)
    return folder / "prepared"


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory, base: Path, prepared: Path) -> list[Candidate]:
    """The base, and the same with random weights for the marks of the chat template."""
    small = load_model_folder(base).model
    assert isinstance(small, LanguageModel)
    vocab_size = len(json.loads((prepared / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]) + 2
    model = LanguageModel(replace(small.config, vocab_size=vocab_size))
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tuned = tmp_path_factory.mktemp("tuned") / "model"
    save_model_folder(tuned, model, prepared)
    return [
        Candidate(kind=kind, seed=0, path=path, fingerprint=kind, training=f"{kind}.", minutes=1.0)
        for kind, path in ((AS_IS, base), (FINETUNED, tuned))
    ]


def run(candidates: list[Candidate], prepared: Path, out: Path, config: StrategiesConfig = CONFIG, **more: Any) -> Path:
    compare_strategies(candidates, prepared, out, config, circumstances=CIRCUMSTANCES, **more)
    return out


def test_all_models_are_measured_on_the_same_replies(
    candidates: list[Candidate], prepared: Path, tmp_path: Path
) -> None:
    out = run(candidates, prepared, tmp_path / "out")
    found = build_run_trace(out).strategies
    assert found is not None
    assert [each.kind for each in found.strategies] == [AS_IS, FINETUNED]
    [text] = found.held_out
    assert text.conversations == read_manifest(prepared).summary["test"]
    assert len(found.answers) == 2
    assert [reply.kind for reply in found.answers[0].replies] == [AS_IS, FINETUNED, "reference"]
    [verdict] = found.verdicts
    assert verdict.between == [FINETUNED, AS_IS]
    losses = {each.kind: each.losses[0].loss for each in found.strategies}
    assert verdict.difference == pytest.approx(losses[AS_IS] - losses[FINETUNED], abs=1e-4)
    assert found.reason == CIRCUMSTANCES.reasons[min(losses, key=lambda kind: losses[kind])]
    first, _, _ = found.conclusion.partition(". ")
    assert build_run_trace(out).run.headline == f"{first}."


def test_no_reason_is_given_where_nothing_is_clear(candidates: list[Candidate], prepared: Path, tmp_path: Path) -> None:
    equal = [candidates[0], replace(candidates[0], kind=FINETUNED)]
    found = build_run_trace(run(equal, prepared, tmp_path / "out", replace(CONFIG, questions=0))).strategies
    assert found is not None
    assert found.conclusion.startswith("No clear winner")
    assert found.reason == ""


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(
    candidates: list[Candidate], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", list[str]()
    measure = strategies._Comparison._measure

    def stopped_at_the_second(self: Any, candidate: Candidate) -> dict[str, Any]:
        calls.append(candidate.kind)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, candidate)

    monkeypatch.setattr(strategies._Comparison, "_measure", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(candidates, prepared, out)
    run(candidates, prepared, out)
    assert calls == [AS_IS, FINETUNED, FINETUNED]
    progress = [event for event in read_events(out) if event["event"] == "progress"]
    assert [(event["done"], event["done_before"]) for event in progress] == [(1, 1), (2, 1)]
    run(candidates, prepared, out)  # finished
    assert len(calls) == 3
    monkeypatch.undo()
    whole = run(candidates, prepared, tmp_path / "whole")
    events = [next(e for e in read_events(folder) if e["event"] == "strategies") for folder in (out, whole)]
    assert all(events[0][name] == events[1][name] for name in events[0] if name != "time")
    with pytest.raises(StageDiffersError, match="questions"):
        run(candidates, prepared, out, replace(CONFIG, questions=1))


def test_other_conversations_are_measured_too(candidates: list[Candidate], prepared: Path, tmp_path: Path) -> None:
    other = tmp_path / "clinic.jsonl"
    rows = [{"question": "The film?", "answer": f"The {word} was warm."} for word in WORDS]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trace = build_run_trace(run(candidates, prepared, tmp_path / "out", other=other))
    found = trace.strategies
    assert found is not None
    assert [text.name for text in found.held_out] == ["held out", "clinic"]
    assert all(len(each.losses) == 2 for each in found.strategies)
    assert [verdict.slice for verdict in found.verdicts] == [None, "clinic"]
    assert "clinic" not in str(to_json(redact(trace)))


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def crowded(question: str) -> dict[str, Any]:
    """A conversation whose system message leaves no room for the reply."""
    texts = {"system": "The hotel was dreadful. " * 30, "user": question, "assistant": "It was warm."}
    return {"messages": [{"role": role, "content": content} for role, content in texts.items()]}


def plain(question: str) -> dict[str, Any]:
    return {"messages": crowded(question)["messages"][1:]}


def test_what_was_trained_on_or_has_no_room_is_left_out_of_other_conversations(
    candidates: list[Candidate], prepared: Path, tmp_path: Path
) -> None:
    trained = read_chat_lines(prepared, "train").conversations[0].question
    rows = [plain("Which film?"), plain("Which hotel?"), plain(trained.upper()), crowded("Which food?")]
    out = run(candidates, prepared, tmp_path / "out", other=write_rows(tmp_path / "clinic.jsonl", rows))
    found = build_run_trace(out).strategies
    assert found is not None
    assert [text.conversations for text in found.held_out][1] == 2
    warnings = [event for event in read_events(out) if event["event"] == "warning"]
    assert [(event["rule"], event["count"]) for event in warnings] == [("trained_on", 1), ("reply_cut_away", 1)]


@pytest.mark.parametrize("has_template", [True, False])
def test_a_base_with_the_marks_but_no_template_reads_a_transcript(
    candidates: list[Candidate], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_template: bool
) -> None:
    tokenizer, folder = shutil.copytree(prepared, tmp_path / "tokenizer"), tmp_path / "base"
    if not has_template:
        (tokenizer / "tokenizer_config.json").unlink()
    save_model_folder(folder, load_model_folder(candidates[1].path).model, tokenizer)
    measure, found = strategies.measure_conversations, list[bool]()

    def measured(*given: Any, base_tokenizer: Any) -> Any:
        found.append(base_tokenizer is not None)
        return measure(*given, base_tokenizer=base_tokenizer)

    monkeypatch.setattr(strategies, "measure_conversations", measured)
    both = [replace(candidates[0], path=folder), candidates[1]]
    run(both, prepared, tmp_path / "out", replace(CONFIG, questions=1))
    assert found == [not has_template, False]
    generator = load_chat_session(folder).generator
    assert generator.has_chat_template == has_template
    figures = evaluate_chat(folder, prepared, num_replies=0)
    assert figures["read_as"] == ("chat template" if has_template else "transcript")


def prepared_with_replies(
    base: Path, folder: Path, reply_of: Callable[[int], str], config: SplitConfig = SPLIT
) -> Path:
    """A prepare folder of a hundred questions with these replies."""
    questions = [f"The {a} {b}?" for a in WORDS for b in WORDS]
    rows = [{"question": question, "answer": reply_of(number)} for number, question in enumerate(questions)]
    file = write_rows(folder / "talks.jsonl", rows)
    prepare_chat(file, folder / "prepared", PrepareConfig(max_seq_len=64), base=base, split=config)
    return folder / "prepared"


def test_held_out_conversations_with_a_long_reply_of_the_training_are_left_out(base: Path, tmp_path: Path) -> None:
    prepared = prepared_with_replies(base, tmp_path, lambda number: TEMPLATE if number % 2 else f"Room {number}.")
    every = read_chat_lines(prepared, "test").conversations
    new = [each for each in every if each.last_reply != TEMPLATE]
    assert 2 <= len(new) < len(every)
    [text] = read_held_out_texts(prepared, None)
    assert text.conversations == new
    [concern] = text.concerns
    assert (concern.rule, concern.count) == ("trained_on", len(every) - len(new))


def test_held_out_conversations_that_are_all_trained_on_are_measured_with_a_warning(base: Path, tmp_path: Path) -> None:
    prepared = prepared_with_replies(base, tmp_path, lambda _number: TEMPLATE)
    every = read_chat_lines(prepared, "test").conversations
    [text] = read_held_out_texts(prepared, None)
    assert text.conversations == every
    [concern] = text.concerns
    assert (concern.rule, concern.count) == ("trained_on", len(every))
    assert "the losses of the models that were trained are too low" in concern.sentence


def test_validation_conversations_that_chose_the_weights_are_named(base: Path, tmp_path: Path) -> None:
    without_test = replace(SPLIT, test_fraction=0.0)
    prepared = prepared_with_replies(base, tmp_path, lambda number: f"Room {number}.", without_test)
    validation = read_chat_lines(prepared, "validation").conversations
    rows = [plain("Which film?"), plain("Which hotel?"), plain(validation[0].question)]
    own, other = read_held_out_texts(prepared, write_rows(tmp_path / "clinic.jsonl", rows))
    assert own.conversations == validation
    [concern] = own.concerns
    assert (concern.rule, concern.count) == ("chosen_by", len(validation))
    assert "by which each training also chose its weights" in concern.sentence
    assert len(other.conversations) == 2
    assert [(each.rule, each.count) for each in other.concerns] == [("trained_on", 1)]


def test_the_columns_of_other_conversations_can_be_named(prepared: Path, tmp_path: Path) -> None:
    rows = [{"Frage": f"Which {what}?", "Antwort": "It was warm."} for what in ("film", "hotel")]
    file = write_rows(tmp_path / "fragen.jsonl", rows)
    with pytest.raises(InputDataError, match="name these with --text-column and --response-column"):
        read_held_out_texts(prepared, file)
    assert len(read_held_out_texts(prepared, file, NamedColumns("Frage", "Antwort"))[1].conversations) == 2


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"question": "Which film?", "answer": "It was warm."}], "has 1 held-out conversation to measure"),
        ([crowded("Which food?"), crowded("Which hotel?")], "has 0 .* 2 of 2 .* fits within 64 tokens"),
    ],
)
def test_two_other_conversations_are_needed(
    prepared: Path, tmp_path: Path, rows: list[dict[str, Any]], problem: str
) -> None:
    with pytest.raises(InputDataError, match=problem):
        read_held_out_texts(prepared, write_rows(tmp_path / "one.jsonl", rows))
